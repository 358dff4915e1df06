package iptables

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"net/netip"

	"github.com/platformd/platformd/firewall/ranges"
)

// loadName is the set in which a big one is built before it gets its name. What an interrupted Apply leaves of it, the
// next one removes.
func loadName(v6 bool) string { return setPrefix + "load" + digitOf(v6) }

// resolve finds the kernel's set with the content of s, or loads it aside, and returns its name. With stage a set that it
// loads is one that is to stay though no rule refers to it.
func (d *Driver) resolve(ctx context.Context, s *set, k *kernel, stage bool) (string, error) {
	if name := k.find(s); name != "" {
		return name, nil
	}
	d.loading.Lock()
	defer d.loading.Unlock()
	// What was loaded while this waited, and what an interrupted load has left.
	k, err := readOnlySets(true)
	if err != nil {
		return "", err
	}
	if name := k.find(s); name != "" {
		return name, nil
	}
	elements, probes, err := s.measure()
	if err != nil {
		return "", err
	}
	name, temp := s.kernelName(elements), loadName(s.v6)
	d.keep(temp) // from now on: it may come and go while Observe reads
	if k.sets[temp] != nil {
		if err := d.ipsetRun(ctx, "destroy", temp); err != nil {
			return "", err
		}
	}
	s.max = uint32(max(elements, 1))
	hashsize := uint32(64)
	for int(hashsize) < elements/3 {
		hashsize *= 2
	}
	_, err = run(ctx, func(w io.Writer) error {
		b := bufio.NewWriterSize(w, 64<<10)
		fmt.Fprintln(b, s.create(temp, hashsize))
		line := append([]byte("add "+temp), ' ')
		start := len(line)
		if err := s.eachPrefix(func(p netip.Prefix) error {
			line = append(p.AppendTo(line[:start]), '\n')
			_, err := b.Write(line)
			return err
		}); err != nil {
			return err
		}
		return b.Flush()
	}, d.ipset, "restore", "-exist")
	if err != nil {
		return "", fmt.Errorf("load set %s: %w", s.name, err)
	}
	if err := verify(s, temp, elements, probes); err != nil {
		return "", err
	}
	if stage {
		d.keep(name)
	}
	if k.sets[name] != nil { // the right name with other content: somebody else changed it
		if err := d.ipsetRun(ctx, "swap", temp, name); err != nil {
			return "", err
		}
		return name, d.ipsetRun(ctx, "destroy", temp)
	}
	return name, d.ipsetRun(ctx, "rename", temp, name)
}

// measure counts the prefixes of s, and chooses addresses to probe: the ends of the first, a middle and the last range.
func (s *set) measure() (elements int, probes []netip.Addr, err error) {
	if s.big.Path == "" {
		return 0, nil, nil
	}
	err = s.eachPrefix(func(netip.Prefix) error { elements++; return nil })
	if err != nil {
		return 0, nil, err
	}
	f, err := ranges.Open(s.big.Path)
	if err != nil {
		return 0, nil, err
	}
	defer f.Close()
	n := f.Info().V4
	if s.v6 {
		n = f.Info().V6
	}
	for _, i := range []int{0, n / 2, n - 1} {
		if n == 0 {
			break
		}
		r, err := f.At(s.v6, i)
		if err != nil {
			return 0, nil, err
		}
		probes = append(probes, r.From, r.To)
	}
	return elements, probes, nil
}

// eachPrefix streams the ranges of the file as prefixes.
func (s *set) eachPrefix(yield func(netip.Prefix) error) error {
	if s.big.Path == "" {
		return nil
	}
	f, err := ranges.Open(s.big.Path)
	if err != nil {
		return fmt.Errorf("load set %s: %w", s.name, err)
	}
	defer f.Close()
	if got := f.Info().Digest; got != s.big.Digest {
		return fmt.Errorf("load set %s: file %s has the digest %s in its name, want %s", s.name, s.big.Path, got, s.big.Digest)
	}
	for r, err := range f.Family(s.v6) {
		if err != nil {
			return fmt.Errorf("load set %s: %w", s.name, err)
		}
		if err := split(r, yield); err != nil {
			return err
		}
	}
	return nil
}

// verify compares what the kernel holds with what was loaded, by the count and by probes.
func verify(s *set, kernel string, elements int, probes []netip.Addr) error {
	c, err := dialIPSet()
	if err != nil {
		return err
	}
	defer c.Close()
	all, err := list(c, kernel, flagListHeader)
	if err != nil {
		return err
	}
	if have := all[kernel]; have == nil {
		return fmt.Errorf("load set %s: another program has removed it meanwhile", s.name)
	} else if have.elements != uint32(elements) {
		return fmt.Errorf("load set %s: the kernel holds %d elements, want %d", s.name, have.elements, elements)
	}
	for _, a := range probes {
		in, err := test(c, kernel, a)
		if err != nil {
			return err
		}
		if !in {
			return fmt.Errorf("load set %s: the kernel does not know %v, which was loaded", s.name, a)
		}
	}
	return nil
}

func (d *Driver) ipsetRun(ctx context.Context, args ...string) error {
	_, err := run(ctx, nil, d.ipset, args...)
	return err
}
