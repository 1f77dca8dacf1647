package probes

import "slices"

// similar picks up to three of the tags that differ from tag in a slip of the
// keyboard or two, the nearest first.
func similar(tag string, tags []string) []string {
	type near struct {
		tag      string
		distance int
	}
	var found []near
	for _, t := range tags {
		if len(t) > 128 || len(tag) > 128 {
			continue
		}
		if d := distance(tag, t); d > 0 && d <= 2 && d < len(tag) {
			found = append(found, near{t, d})
		}
	}
	slices.SortStableFunc(found, func(a, b near) int { return a.distance - b.distance })
	var out []string
	for _, n := range found[:min(len(found), 3)] {
		out = append(out, n.tag)
	}
	return out
}

// distance is the Levenshtein distance in bytes.
func distance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
