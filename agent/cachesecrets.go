package agent

import (
	"hash/maphash"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/pullprobe/pullprobe/credentials"
)

// This file holds how an examination becomes due when its secrets have changed.

// secretsCheckDue returns when the secrets that an examination used are to be compared
// with the current ones; zero: never, there are none or they cannot be read.
func (c *examCache) secretsCheckDue(key string) time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil || e.secretsPrint == 0 {
		return time.Time{}
	}
	return e.secretsCheckedAt.Add(c.secretsInterval)
}

// noteSecrets makes an examination due if its secrets have changed. Secrets that could not
// be read prove nothing.
func (c *examCache) noteSecrets(key string, found []credentials.SecretLookup) (changed bool) {
	now := c.fingerprint(found)
	c.mu.Lock()
	defer c.mu.Unlock()
	e := c.byKey[key]
	if e == nil {
		return false
	}
	e.secretsCheckedAt = time.Now()
	if now == 0 || now == e.secretsPrint {
		return false
	}
	e.resetBackoff()
	e.secretsPrint, e.due, e.failures = now, time.Time{}, nil
	return true
}

// fingerprint returns a number that is equal for secrets with the same content in this
// process. It is 0 if there are none or one could not be read. It reveals nothing of the
// content.
func (c *examCache) fingerprint(found []credentials.SecretLookup) uint64 {
	var h maphash.Hash
	h.SetSeed(c.seed)
	for _, f := range found {
		if f.Err != nil {
			return 0
		}
		_, _ = h.WriteString(f.Namespace + "\x00" + f.Name + "\x00")
		if f.Secret == nil {
			_, _ = h.WriteString("absent\x00")
			continue
		}
		_, _ = h.WriteString(f.Secret.Type + "\x00")
		for _, key := range slices.Sorted(maps.Keys(f.Secret.Data)) {
			_, _ = h.WriteString(key + "\x00" + strconv.Itoa(len(f.Secret.Data[key])) + "\x00")
			_, _ = h.Write(f.Secret.Data[key])
		}
	}
	if len(found) == 0 {
		return 0
	}
	return max(h.Sum64(), 1)
}
