package activity

import (
	"context"
	"path/filepath"
	"testing"
)

func BenchmarkAppend(b *testing.B) {
	l, err := Open(b.Context(), filepath.Join(b.TempDir(), "activity.db"), Config{})
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	r := Record{Actor: "root", Source: "192.0.2.7", Action: AddressBlocked, Object: "198.51.100.9", Message: "for one hour"}
	b.Run("one", func(b *testing.B) {
		for b.Loop() {
			if _, err := l.Append(context.Background(), r); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("64 at once", func(b *testing.B) {
		b.SetParallelism(32)
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				if _, err := l.Append(context.Background(), r); err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkRingAdd(b *testing.B) {
	r := NewRing[Record](4096)
	for b.Loop() {
		r.Add(Record{Seq: 1})
	}
}
