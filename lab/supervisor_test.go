package lab

import (
	"context"
	"errors"
	"os"
	"testing"
	"time"
)

func TestSupervisor(t *testing.T) {
	d := Dir(t.TempDir())
	if err := os.MkdirAll(d.Bin(""), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink("/bin/sleep", d.Bin("sleep")); err != nil {
		t.Fatal(err)
	}
	s := newSupervisor(d, func(string) (*os.File, error) { return os.OpenFile(os.DevNull, os.O_WRONLY, 0) }, []service{
		{name: "auto", autoStart: true, args: []string{"sleep", "1000"}},
		{name: "manual", args: []string{"sleep", "1000"}},
	})
	ctx, cancel := context.WithCancel(context.Background()) // outlives the test: the clean-up needs it
	ended := make(chan error, 1)
	go func() { ended <- s.run(ctx) }()
	t.Cleanup(func() {
		s.stop("auto")
		s.stop("manual")
		cancel()
		<-ended
	})
	is := func(name string, running bool, starts int) {
		t.Helper()
		err := waitUntil(ctx, 10*time.Second, name, func() error {
			for _, st := range s.status() {
				if st.Name == name && st.Running == running && st.Starts == starts {
					return nil
				}
			}
			return errors.New("not yet")
		})
		if err != nil {
			t.Fatalf("%v: want running %v, starts %d, have %+v", err, running, starts, s.status())
		}
	}

	is("auto", true, 1)
	is("manual", false, 0)
	if err := s.start("manual"); err != nil {
		t.Fatal(err)
	}
	is("manual", true, 1)

	if err := s.kill("auto"); err != nil {
		t.Fatal(err)
	}
	is("auto", true, 2) // it was restarted

	if err := s.stop("auto"); err != nil {
		t.Fatal(err)
	}
	is("auto", false, 2)
	if err := s.kill("auto"); err == nil {
		t.Error("killed what was stopped")
	}
	if err := s.start("auto"); err != nil {
		t.Fatal(err)
	}
	is("auto", true, 3)
	if err := s.start("auto"); err != nil {
		t.Fatal(err)
	}
	is("auto", true, 3) // starting what runs changes nothing
	if err := s.start("nonsense"); err == nil {
		t.Error("started an unknown service")
	}
}
