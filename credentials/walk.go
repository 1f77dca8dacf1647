package credentials

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/pullprobe/pullprobe/report"
)

// Found is one pull secret that a pod names, as far as it could be read.
type Found struct {
	Namespace, Name string
	Secret          *Secret // nil: absent or not readable
	Err             error   // why it is not readable; nil with a nil Secret means that it does not exist
}

// Walk goes through the pod's pull secrets as the kubelet does and lists the
// credentials that apply to a repository (host/path without tag), in the order
// in which the kubelet tries them. The check, id "credentials", says where each
// comes from, what is missing and what cannot be used.
func Walk(repository string, secrets []Found) ([]Credential, report.Check) {
	c := report.Check{ID: "credentials", Kind: report.KindCredentials, Evidence: map[string]string{}}
	var ring Keyring
	var absent, unreadable, fatal, ignored []string
	decisive := "" // name of the secret that the check is about
	about := func(f Found) {
		if decisive == "" {
			decisive = f.Name
		}
	}
	for _, f := range secrets {
		name := label(f.Namespace, f.Name)
		switch {
		case f.Err != nil:
			unreadable = append(unreadable, fmt.Sprintf("%s (%v)", name, f.Err))
			continue
		case f.Secret == nil:
			absent = append(absent, name)
			about(f)
			continue
		}
		entries, err := Decode(*f.Secret)
		var bad *UnusableError
		if errors.As(err, &bad) {
			if bad.Fatal {
				fatal = append(fatal, bad.Error())
				decisive = f.Name
			} else {
				ignored = append(ignored, bad.Error())
				about(f)
			}
			continue
		}
		for _, e := range entries {
			ring.Add(e)
		}
	}
	matched := ring.Lookup(repository)

	list := func(key string, values []string) {
		if len(values) > 0 {
			c.Evidence[key] = strings.Join(values, "; ")
		}
	}
	list("absent", absent)
	list("unreadable", unreadable)
	list("malformed", fatal)
	list("ignored", ignored)
	
	var sources []string
	for _, m := range matched {
		sources = append(sources, m.String())
	}
	list("matched", sources)
	switch {
	case len(fatal) > 0:
		c.Outcome, c.Cause = report.Fail, report.PullSecretMalformed
		c.Summary = fatal[0]
		c.Evidence["fatal"] = "true"
		matched = nil
	case len(unreadable) > 0:
		c.Outcome = report.Skipped
		c.Summary = "could not read " + strings.Join(unreadable, ", ")
	case len(matched) > 0:
		c.Outcome = report.Pass
		c.Summary = "the kubelet would use " + strings.Join(sources, ", then ")
		_, decisive, _ = strings.Cut(matched[0].Source, "/")
	case len(absent) > 0:
		c.Outcome, c.Cause = report.Fail, report.PullSecretMissing
		c.Summary = strings.Join(absent, ", ") + " does not exist"
	case len(ignored) > 0:
		c.Outcome, c.Cause = report.Fail, report.PullSecretMalformed
		c.Summary = "the kubelet passes over " + ignored[0]
	case len(secrets) > 0:
		c.Outcome, c.Cause = report.Fail, report.PullSecretOtherRegistry
		c.Summary = "the pull secrets are for " + "x" + " only"
		decisive = secrets[0].Name
	default:
		c.Outcome = report.Pass
		c.Summary = "the pod names no pull secrets"
	}
	if decisive != "" {
		c.Evidence["secret"] = decisive
	}
	return slices.Clone(matched), c
}
