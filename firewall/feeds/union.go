package feeds

import (
	"fmt"

	"github.com/platformd/platformd/firewall/ranges"
)

// Union stores in dir the addresses that any of the files has and remove has not: what the kernel gets. It holds one block
// of each file in memory. A missing or damaged file is an error, not a smaller union.
func Union(files []string, remove []ranges.Range, dir string) (ranges.Info, error) {
	var seqs []ranges.Seq
	for _, path := range files {
		f, err := ranges.Open(path)
		if err != nil {
			return ranges.Info{}, fmt.Errorf("join feeds: %w", err)
		}
		defer f.Close()
		seqs = append(seqs, f.All())
	}
	info, err := ranges.Write(dir, ranges.Subtract(ranges.Merge(seqs...), remove))
	if err != nil {
		return ranges.Info{}, fmt.Errorf("join feeds: %w", err)
	}
	return info, nil
}
