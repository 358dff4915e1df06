package worker

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"os"
	"runtime"
	"sync/atomic"

	"golang.org/x/sys/unix"

	"github.com/platformd/platformd/firewall/geo"
)

// Country data reaches the worker as a file in memory that nobody can change any more. It comes over a connection of its own
// to the control socket, whose hello has nothing but that one descriptor, and is answered by a hello when it is in use.

const (
	parcelCountries = "countries"
	maxCountries    = 256 << 20
	sealed          = unix.F_SEAL_SEAL | unix.F_SEAL_SHRINK | unix.F_SEAL_GROW | unix.F_SEAL_WRITE
)

// SealCountries copies a database of firewall/geo into memory and seals it. The caller closes the file.
func SealCountries(db io.Reader) (*os.File, error) {
	fd, err := unix.MemfdCreate(parcelCountries, unix.MFD_CLOEXEC|unix.MFD_ALLOW_SEALING)
	if err != nil {
		return nil, fmt.Errorf("make a file in memory: %w", err)
	}
	f := os.NewFile(uintptr(fd), parcelCountries)
	n, err := io.Copy(f, io.LimitReader(db, maxCountries+1))
	if err == nil && n > maxCountries {
		err = fmt.Errorf("it has more than %d bytes", maxCountries)
	}
	if err == nil {
		_, err = unix.FcntlInt(uintptr(fd), unix.F_ADD_SEALS, sealed)
	}
	if err != nil {
		f.Close()
		return nil, fmt.Errorf("seal country data: %w", err)
	}
	return f, nil
}

// Countries hands country data to the worker: what SealCountries made. The worker uses it from then on.
func (p *WebProcess) Countries(ctx context.Context, f *os.File, digest string) error {
	if err := p.parcel(ctx, webHello{Version: p.cfg.Version, Parcel: parcelCountries}, []WebSocket{{Kind: parcelCountries, Addr: digest, File: f}}); err != nil {
		return fmt.Errorf("hand over country data: %w", err)
	}
	return nil
}

// webCountries answers from the data that came last. It implements proxy.CountryOf.
type webCountries struct{ index atomic.Pointer[landIndex] }

// landIndex is country data in memory. It is given back when nobody looks into it any more.
type landIndex struct{ *geo.Index }

// Country implements proxy.CountryOf.
func (w *webCountries) Country(a netip.Addr) string {
	m := w.index.Load()
	if m == nil {
		return ""
	}
	cc := m.Country(a)
	runtime.KeepAlive(m)
	if cc == (geo.Code{}) {
		return ""
	}
	return cc.String()
}

// take maps a file that came and closes it. Only what can neither shrink nor change is mapped.
func (w *webCountries) take(f *os.File) error {
	defer f.Close()
	fd, err := rawDescriptor(f)
	if err != nil {
		return err
	}
	seals, err := unix.FcntlInt(uintptr(fd), unix.F_GET_SEALS, 0)
	if err != nil || seals&sealed != sealed {
		return errors.New("country data came that is not sealed")
	}
	var st unix.Stat_t
	if err := unix.Fstat(fd, &st); err != nil || st.Size <= 0 || st.Size > maxCountries {
		return fmt.Errorf("country data of %d bytes came", st.Size)
	}
	b, err := unix.Mmap(fd, 0, int(st.Size), unix.PROT_READ, unix.MAP_PRIVATE)
	if err != nil {
		return fmt.Errorf("map country data: %w", err)
	}
	index, err := geo.NewIndex(b)
	if err != nil {
		_ = unix.Munmap(b)
		return err
	}
	m := &landIndex{index}
	runtime.AddCleanup(m, func(b []byte) { _ = unix.Munmap(b) }, b)
	w.index.Store(m)
	return nil
}
