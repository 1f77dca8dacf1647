package similar

// Near returns the one of names that is most like name: at most two letters differ, and
// fewer than a third of them. It is empty if there is none.
func Near(name string, names []string) string {
	nearest, least := "", min(2, (len(name)-1)/3)
	for _, n := range names {
		if n == name || len(n) > maxName || len(name) > maxName {
			continue
		}
		if d := distance(name, n); d < least || d == least && nearest == "" && least > 0 {
			nearest, least = n, d
		}
	}
	return nearest
}
