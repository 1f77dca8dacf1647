#!/bin/sh
# fuzz.sh TIME [REGEXP] runs the fuzz targets of all modules one after the other,
# each for TIME, or only those whose "package Target" matches REGEXP. go test keeps
# the input of a crash in the package's testdata/fuzz.
set -eu
time=$1 want=${2:-.}
log=$(mktemp)
trap 'rm -f "$log"' EXIT
failed=0
for module in . kubectl-pullprobe parity lab; do
	cd "$module"
	for package in $(go list ./...); do
		list=$(go test -list '^Fuzz' "$package") # fails if the tests do not build
		for target in $(echo "$list" | grep '^Fuzz'); do
			name="${package#github.com/pullprobe/pullprobe/} $target"
			echo "$name" | grep -Eq "$want" || continue
			if nice -n 10 go test -run '^$' -fuzz "^$target\$" -fuzztime "$time" -parallel 1 "$package" >"$log" 2>&1; then
				execs=$(sed -n 's/.*execs: \([0-9]*\).*/\1/p' "$log" | tail -1)
				printf '%-52s %12s executions in %s\n' "$name" "${execs:-0}" "$time"
			else
				printf '%-52s FAILED\n' "$name"
				cat "$log"
				failed=1
			fi
		done
	done
	cd - >/dev/null
done
exit $failed
