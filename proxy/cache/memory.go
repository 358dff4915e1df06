package cache

import (
	"fmt"
	"iter"
	"slices"

	"github.com/maypok86/otter/v2"
)

// memoryTier keeps objects with their bodies, as many as fit, by key. The variants of one address come and go together.
type memoryTier struct {
	objects  *otter.Cache[string, []*object]
	variants int
}

func newMemoryTier(bytes int64, variants int) (*memoryTier, error) {
	objects, err := otter.New(&otter.Options[string, []*object]{
		MaximumWeight: uint64(bytes),
		Weigher: func(_ string, list []*object) uint32 {
			var n int64
			for _, o := range list {
				n += o.weight() + o.body.size()
			}
			return uint32(min(n, 1<<32-1))
		},
		Executor: func(fn func()) { fn() },
	})
	if err != nil {
		return nil, fmt.Errorf("memory tier: %w", err)
	}
	return &memoryTier{objects: objects, variants: variants}, nil
}

func (t *memoryTier) find(key string) []*object {
	list, _ := t.objects.GetIfPresent(key)
	return list
}

// put makes o the newest object of its key, in place of the one of the same variant.
func (t *memoryTier) put(o *object) {
	t.objects.Compute(o.Key, func(old []*object, _ bool) ([]*object, otter.ComputeOp) {
		list := append(make([]*object, 0, len(old)+1), o)
		for _, other := range old {
			if !other.sameVariant(&o.meta) && len(list) < t.variants {
				list = append(list, other)
			}
		}
		return list, otter.WriteOp
	})
}

// drop removes the objects of a key for which f holds, and says how many.
func (t *memoryTier) drop(key string, f func(*meta) bool) (n int) {
	t.objects.ComputeIfPresent(key, func(old []*object) ([]*object, otter.ComputeOp) {
		n = 0
		list := slices.DeleteFunc(slices.Clone(old), func(o *object) bool {
			if f(&o.meta) {
				n++
				return true
			}
			return false
		})
		switch {
		case n == 0:
			return old, otter.CancelOp
		case len(list) == 0:
			return nil, otter.InvalidateOp
		}
		return list, otter.WriteOp
	})
	return n
}

func (t *memoryTier) keys() iter.Seq[string] { return t.objects.Keys() }

func (t *memoryTier) usage() (objects int, bytes int64) {
	return t.objects.EstimatedSize(), int64(t.objects.WeightedSize())
}
