package corev1

import (
	"encoding/json"
	"reflect"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	kubernetes "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

// pair is a kind of Kubernetes and ours.
type pair struct {
	theirs, ours interface {
		runtime.Object
		Unmarshal([]byte) error
		Reset()
	}
}

func pairs() []pair {
	return []pair{
		{&kubernetes.Pod{}, &Pod{}},
		{&kubernetes.PodList{}, &PodList{}},
		{&kubernetes.Node{}, &Node{}},
		{&kubernetes.Secret{}, &Secret{}},
		{&kubernetes.ServiceAccount{}, &ServiceAccount{}},
		{&kubernetes.ConfigMap{}, &ConfigMap{}},
		{&kubernetes.ConfigMapList{}, &ConfigMapList{}},
	}
}

// fill sets every field of v that want has: texts, numbers, times, and one entry of each
// list and map.
func fill(v reflect.Value, want reflect.Type) {
	if v.Type() == reflect.TypeFor[metav1.Time]() {
		v.Set(reflect.ValueOf(metav1.Unix(1_800_000_000, 0)))
		return
	}
	switch v.Kind() {
	case reflect.String:
		v.SetString("text")
	case reflect.Bool:
		v.SetBool(true)
	case reflect.Int32, reflect.Int64:
		v.SetInt(7)
	case reflect.Uint8:
		v.SetUint('x')
	case reflect.Pointer:
		v.Set(reflect.New(v.Type().Elem()))
		fill(v.Elem(), want.Elem())
	case reflect.Slice:
		v.Set(reflect.MakeSlice(v.Type(), 2, 2))
		for i := range 2 {
			fill(v.Index(i), want.Elem())
		}
	case reflect.Map:
		value := reflect.New(v.Type().Elem()).Elem()
		fill(value, want.Elem())
		v.Set(reflect.MakeMap(v.Type()))
		v.SetMapIndex(reflect.ValueOf("key"), value)
	case reflect.Struct:
		for i := range want.NumField() {
			name := want.Field(i).Name
			if f := v.FieldByName(name); f.CanSet() && name != "TypeMeta" && name != "ObjectMeta" && name != "ListMeta" {
				fill(f, want.Field(i).Type)
			}
		}
	}
}

// zero returns the fields of v that are not set.
func zero(v reflect.Value, path string) (out []string) {
	switch {
	case v.Type() == reflect.TypeFor[metav1.ObjectMeta](), v.Type() == reflect.TypeFor[metav1.ListMeta](), v.Type() == reflect.TypeFor[metav1.TypeMeta]():
	case v.Type() == reflect.TypeFor[Present]():
	case v.IsZero():
		return []string{path}
	case v.Type() == reflect.TypeFor[metav1.Time]():
	case v.Kind() == reflect.Pointer:
		return zero(v.Elem(), path)
	case v.Kind() == reflect.Slice:
		for i := range v.Len() {
			out = append(out, zero(v.Index(i), path+"[]")...)
		}
	case v.Kind() == reflect.Struct:
		for i := range v.NumField() {
			out = append(out, zero(v.Field(i), path+"."+v.Type().Field(i).Name)...)
		}
	}
	return out
}

// TestReadsWhatKubernetesWrites checks each field, in protobuf and in JSON.
func TestReadsWhatKubernetesWrites(t *testing.T) {
	for _, p := range pairs() {
		ours := reflect.ValueOf(p.ours).Elem()
		t.Run(ours.Type().Name(), func(t *testing.T) {
			fill(reflect.ValueOf(p.theirs).Elem(), ours.Type())
			meta := reflect.ValueOf(p.theirs).Elem().FieldByName("ObjectMeta")
			if meta.IsValid() {
				meta.Set(reflect.ValueOf(metav1.ObjectMeta{
					Name: "n", Namespace: "ns", UID: "u", Labels: map[string]string{"a": "b"}, CreationTimestamp: metav1.Unix(1_700_000_000, 0),
				}))
			}
			message, err := p.theirs.(interface{ Marshal() ([]byte, error) }).Marshal()
			if err != nil {
				t.Fatal(err)
			}
			if err := p.ours.Unmarshal(message); err != nil {
				t.Fatal(err)
			}
			if unset := zero(ours, ""); len(unset) > 0 {
				t.Errorf("not read: %v", unset)
			}
			compare(t, p)
		})
	}
}

// compare compares what p.ours has read with what p.theirs has.
func compare(t *testing.T, p pair) {
	t.Helper()
	theirs, ok := asOurs(p.theirs, p.ours)
	if !ok {
		return // JSON has no such time
	}
	ours, _ := asOurs(p.ours, p.ours)
	if diff := cmp.Diff(theirs, ours); diff != "" {
		t.Errorf("%T (-kubernetes +ours):\n%s", p.ours, diff)
	}
}

// asOurs returns the JSON of an object, reduced to the fields of kind.
func asOurs(object, kind any) (string, bool) {
	text, err := json.Marshal(object)
	if err != nil {
		return "", false
	}
	into := reflect.New(reflect.TypeOf(kind).Elem()).Interface()
	if err := json.Unmarshal(text, into); err != nil {
		return "", false
	}
	text, err = json.Marshal(into)
	return string(text), err == nil
}

// FuzzUnmarshal reads any message, and then what Kubernetes writes after it has read it.
func FuzzUnmarshal(f *testing.F) {
	for i, p := range pairs() {
		fill(reflect.ValueOf(p.theirs).Elem(), reflect.TypeOf(p.ours).Elem())
		message, err := p.theirs.(interface{ Marshal() ([]byte, error) }).Marshal()
		if err != nil {
			f.Fatal(err)
		}
		f.Add(message, uint8(i))
	}
	f.Fuzz(func(t *testing.T, message []byte, kind uint8) {
		p := pairs()[int(kind)%len(pairs())]
		_ = p.ours.Unmarshal(message) // it must not panic
		if p.theirs.Unmarshal(message) != nil {
			return
		}
		written, err := p.theirs.(interface{ Marshal() ([]byte, error) }).Marshal()
		if err != nil {
			return
		}
		p.ours.Reset()
		if err := p.ours.Unmarshal(written); err != nil {
			t.Fatalf("%T: %v", p.ours, err)
		}
		compare(t, p)
	})
}

// TestEventAsKubernetes checks that an Event is written as with the type of Kubernetes.
func TestEventAsKubernetes(t *testing.T) {
	at := metav1.NewTime(time.Unix(1_800_000_000, 0).UTC())
	ours := Event{
		TypeMeta:       metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
		ObjectMeta:     metav1.ObjectMeta{Name: "e", Namespace: "ns"},
		InvolvedObject: ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "ns", Name: "p", UID: "u"},
		Reason:         "r", Message: "m", Type: EventTypeWarning,
		Source:         EventSource{Component: "c", Host: "h"},
		FirstTimestamp: at, LastTimestamp: at, Count: 2, EventTime: metav1.NewMicroTime(at.Time),
		Action: "a", ReportingController: "rc", ReportingInstance: "ri",
	}
	text, err := json.Marshal(ours)
	if err != nil {
		t.Fatal(err)
	}
	var theirs kubernetes.Event
	if err := json.Unmarshal(text, &theirs); err != nil {
		t.Fatal(err)
	}
	again, err := json.Marshal(theirs)
	if diff := cmp.Diff(string(again), string(text)); err != nil || diff != "" {
		t.Errorf("%v (-kubernetes +ours):\n%s", err, diff)
	}
}
