package config

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"time"
)

// reloadInterval is how often the configuration file is read and compared. A watch
// on the file would not do: a mounted ConfigMap changes behind a symbolic link.
const reloadInterval = 10 * time.Second

// Reloader follows the configuration file. A file that is invalid or missing leaves
// the current settings as they are.
type Reloader struct {
	file  string
	parse func(text []byte) (Options, error) // nil: there is no file
	live  *LiveSettings
	log   *slog.Logger

	lastContent string // the content that was checked last, or why there was none
	overridden  []string

	done func(ok bool, at time.Time) // called for every content that was checked, the first one included
}

// NewReloader returns a reloader that continues from the options at the start.
func NewReloader(opts Options, l *LiveSettings, log *slog.Logger, done func(bool, time.Time)) *Reloader {
	r := &Reloader{file: opts.Config, parse: opts.reparse, live: l, log: log, done: done}
	if r.parse != nil {
		r.lastContent = "content:" + string(opts.file)
		r.done(true, time.Now())
		r.logOverridden(opts.overridden)
	}
	return r
}

// Run reads the file at an interval until ctx ends.
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

// check reads the file, and applies it if its content has changed.
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
		r.log.Error("invalid configuration file, keeping the previous settings (re-read every 10 s)",
			"file", r.file, "error", strings.ReplaceAll(err.Error(), "\n", "; "))
		return
	}
	r.done(true, time.Now())
	changed := opts.Settings.ChangedNames(r.live.Get())
	r.log.Info("configuration file reloaded", "file", r.file, "changed", strings.Join(changed, ", "))
	r.logOverridden(opts.overridden)
	if len(changed) > 0 {
		r.live.Set(opts.Settings)
	}
}

// logOverridden warns of settings of the file that have no effect: nothing else
// shows why a change of them changes nothing.
func (r *Reloader) logOverridden(names []string) {
	if len(names) > 0 && !slices.Equal(names, r.overridden) {
		r.log.Warn("settings overridden by flags or environment", "file", r.file, "settings", strings.Join(names, ", "))
	}
	r.overridden = names
}
