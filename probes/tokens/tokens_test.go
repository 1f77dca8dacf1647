package tokens

import "testing"

// FuzzTokenTimes reads the times of any token.
func FuzzTokenTimes(f *testing.F) {
	f.Add("e30.eyJleHAiOjE3MDAwMDAwMDB9.x")
	f.Add("e30.eyJleHAiOi0xfQ.x")
	f.Fuzz(func(_ *testing.T, token string) { tokenTimes(token) })
}
