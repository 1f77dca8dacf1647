package diagnosis_test

import (
	"os"

	. "github.com/pullprobe/pullprobe/diagnosis"
	. "github.com/pullprobe/pullprobe/report"
)

// Checks become a verdict, and a verdict becomes text.
func ExampleDiagnose() {
	checks := []Check{
		{
			ID: IDReference, Kind: KindReference, Target: "registry.example/app:1", Outcome: Pass,
			Evidence: map[string]string{KeyDomain: "registry.example", KeyPath: "app", KeyTag: "1"},
		},
		{
			ID: IDPod, Kind: KindPod, Outcome: Fail, Cause: TagNotFound, Summary: "registry.example/app:1: not found",
			Evidence: map[string]string{KeyNamespace: "shop", KeyName: "web", KeyContainer: "app"},
		},
		{
			ID: ManifestID("registry.example"), Kind: KindManifest, Host: "registry.example", Outcome: Fail, Cause: TagNotFound,
			Summary: `tag "1" does not exist in registry.example/app; closest existing tag: "1.0"`,
			Evidence: map[string]string{
				KeySuggestTag: "1.0",
				KeyRepository: "exists", // its tag list was read,
				KeyListed:     "false",  // does not have the tag,
				KeyGetStatus:  "404",    // and GET fails like HEAD
			},
		},
	}
	d := Diagnosis{Image: "registry.example/app:1", Pod: "shop/web", Checks: checks, Verdict: Diagnose(checks)}
	d.Text(os.Stdout)
	// Output:
	// cluster-config  TagNotFound  (confirmed)
	//   pod          shop/web
	//   image        registry.example/app:1
	//   why          tag "1" does not exist in registry.example/app; closest existing
	//                tag: "1.0"
	//   fix          use the existing tag:
	//                kubectl -n shop set image pod/web app=registry.example/app:1.0
	//                or push registry.example/app:1
	//   evidence     manifest/registry.example, pod
	//   check again  kubectl -n shop annotate pod web probe=$(date +%s) --overwrite
}
