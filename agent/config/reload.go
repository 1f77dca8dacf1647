package config

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// reloadEvery is how often the configuration file is read. Its content tells
// whether it has changed: a mounted ConfigMap changes behind a symbolic link,
// which no watch on the file itself sees.
const reloadInterval = 10 * time.Second

// reloader puts the settings in force that the configuration file has come to
// have. One that is wrong, or gone, leaves those in force that hold.
type Reloader struct {
	file  string
	parse func(text []byte) (Options, error) // nil: there is no file
	live  *Live
	log   *slog.Logger

	lastContent string // the content that was last judged, or why there was none
	overridden  []string

	done func(ok bool, at time.Time) // told of every file that was judged, the one at the start included
}

// newReloader goes on from the options at the start.
func NewReloader(opts Options, l *Live, log *slog.Logger, done func(bool, time.Time)) *Reloader {
	r := &Reloader{file: opts.Config, parse: opts.reparse, live: l, log: log, done: done}
	if r.parse != nil {
		r.lastContent = "content:" + string(opts.file)
		r.done(true, time.Now())
		r.logOverridden(opts.overridden)
	}
	return r
}

// run reads the file again and again until ctx ends.
func (r *Reloader) Run(ctx context.Context) {
	if r.parse == nil {
		return
	}
	tick := time.NewTicker(reloadInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			r.check()
		}
	}
}

// look reads the file once, and judges it if it is not what it was.
func (r *Reloader) check() {
	text, err := readFile(r.file)
	content := "content:" + string(text)
	if err != nil {
		content = "error:" + err.Error()
	}
	if content == r.lastContent {
		return
	}
	r.lastContent = content
	var opts Options
	if err == nil {
		opts, err = r.parse(text)
	}
	if err != nil {
		r.done(false, time.Now())
		r.log.Error("the configuration file is not taken, and the settings before it stay in force: mend it, it is read every 10 s",
			"file", r.file, "error", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	r.done(true, time.Now())
	changed := opts.Settings.Changed(r.live.Get())
	r.log.Info("the configuration file was read again", "file", r.file, "changed", strings.Join(changed, ", "))
	r.logOverridden(opts.overridden)
	if len(changed) > 0 {
		r.live.Set(opts.Settings)
	}
}

// tellOverridden says which settings of the file do not count: nothing else
// would show why a change of them changes nothing.
func (r *Reloader) logOverridden(names []string) {
	if len(names) > 0 && !slices.Equal(names, r.overridden) {
		r.log.Warn("settings of the configuration file do not count: flags or the environment set them", "file", r.file, "settings", strings.Join(names, ", "))
	}
	r.overridden = names
}
