#!/bin/bash
# fill-screens.sh DIR updates README.md and docs/*.md: between the lines
#   <!-- screen NAME -->  and  <!-- end -->
# comes what DIR/NAME.txt has. A screen without such a file stays.
set -euo pipefail
cd "$(dirname "$0")/.."
for doc in README.md docs/*.md; do
  awk -v dir="$1" '
    /^<!-- screen .* -->$/ {
      print
      file = dir "/" $3 ".txt"
      if ((getline line < file) > 0) {
        print "```"
        do print line; while ((getline line < file) > 0)
        print "```"
        close(file)
        skipping = 1
      }
      next
    }
    /^<!-- end -->$/ { skipping = 0 }
    !skipping { print }
  ' "$doc" >"$doc.new"
  if cmp -s "$doc" "$doc.new"; then rm "$doc.new"; else mv "$doc.new" "$doc"; echo "    $doc"; fi
done
