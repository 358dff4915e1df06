#!/usr/bin/env bash
# Fuzzes each fuzz target of the module, or below folder $2, for the time $1 (default 10s), one after the other. What a crash leaves in
# testdata/fuzz is a regression test from then on: commit it with the mend.
set -euo pipefail
cd "$(dirname "$0")/.."
go=${GO:-go}
time=${1:-10s}
below=${2:-.}
failed=0
while IFS=: read -r file target; do
    dir=./$(dirname "${file#./}")
    echo "== $dir $target"
    "$go" test -run '^$' -fuzz "^$target\$" -fuzztime "$time" "$dir" || failed=1
done < <(grep -roE '^func Fuzz[A-Za-z0-9_]+' --include='*_test.go' "$below" | sed 's/func //' | sort)
exit $failed
