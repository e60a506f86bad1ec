package command

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/url"
	"reflect"
	"strings"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"mesoscope/collector"
	"mesoscope/collector/alert"
	"mesoscope/collector/check"
	checkdocument "mesoscope/collector/document"
	"mesoscope/collector/nagios"
	"mesoscope/collector/status"
	"mesoscope/config"
	"mesoscope/record"
)

// told are the keys that say whom a collector tells. While they stay the same,
// a reload leaves its outputs alone.
type told struct {
	Cluster, URL, Name string
	Alertmanager       []string
	Username, Password string
	Nagios             config.Nagios
	Token              string // of NRDP
	Elasticsearch      *config.Elasticsearch
	Memory             config.Bytes
}

func toldOf(cfg config.Config) (t told, err error) {
	o := cfg.Collector
	t = told{Cluster: o.Cluster, URL: o.URL, Name: cfg.Node.Name, Alertmanager: o.Alertmanager, Nagios: o.Nagios, Memory: cfg.MemoryLimit}
	if f := o.AlertmanagerCredentialsFile; f != "" {
		if t.Username, t.Password, err = config.Credentials(f); err != nil {
			return t, fmt.Errorf("collector.alertmanager_credentials_file: %w", err)
		}
	}
	if f := o.Nagios.TokenFile; f != "" {
		if t.Token, err = config.Secret(f); err != nil {
			return t, fmt.Errorf("collector.nagios.token_file: %w", err)
		}
	}
	if es := cfg.Output.Elasticsearch; es != nil {
		own := *es
		own.Dataset = checkdocument.Dataset // which is all that goes there
		t.Elasticsearch = &own
	}
	return t, nil
}

// collectorOutputs are what a collector tells others by.
type collectorOutputs struct {
	alerts    *alert.Alerts
	nagios    *nagios.Nagios
	documents *checkdocument.Writer // nil: none
}

// newCollectorOutputs makes the outputs of c. namespace is that of documents, ""
// if there are none; takes is whether their sink wants some.
func newCollectorOutputs(t told, c *collector.Collector, namespace string, takes func(string) bool, reg prometheus.Registerer, log *slog.Logger) (o collectorOutputs, err error) {
	events := func(yield func(check.Event) bool) {
		for _, e := range c.Events() {
			if !yield(e) {
				return
			}
		}
	}
	apps := func(yield func(check.App) bool) {
		for _, a := range c.Apps() {
			if !yield(a) {
				return
			}
		}
	}
	if o.alerts, err = alert.New(alert.Options{
		Cluster: t.Cluster, Collector: t.Name, Events: events, Apps: apps, Link: t.link, Alertmanagers: t.Alertmanager, Username: t.Username, Password: t.Password,
		Registry: reg, Log: log,
	}); err != nil {
		return o, err
	}
	if o.nagios, err = nagios.New(nagios.Options{
		Cluster: t.Cluster, Events: events, Apps: apps, CommandFile: t.Nagios.CommandFile, NRDP: t.Nagios.NRDP, Token: t.Token, Registry: reg, Log: log,
	}); err != nil {
		return o, err
	}
	if namespace == "" {
		return o, nil
	}
	o.documents, err = checkdocument.New(checkdocument.Options{Namespace: namespace, Vantage: t.Name, Takes: takes, Registry: reg, Log: log})
	return o, err
}

// list is what the Collector has to tell.
func (o collectorOutputs) list() []collector.Output {
	list := []collector.Output{o.alerts, o.nagios}
	if o.documents != nil {
		list = append(list, o.documents)
	}
	return list
}

// handler adds what the outputs serve to next.
func (o collectorOutputs) handler(next http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.Handle("/", next)
	mux.Handle(nagios.ServicesPath, o.nagios)
	mux.Handle(nagios.ObjectsPath, o.nagios)
	return mux
}

// tellers are the outputs of `mesoscope collector`, and what belongs to them.
type tellers struct {
	collectorOutputs
	told     told
	sink     *elasticsearchOutput // of documents; nil: none
	registry *undoable
	stop     func()
	group    sync.WaitGroup
}

// newTellers begins to tell. dir is for what the sink keeps.
func newTellers(t told, c *collector.Collector, dir string, reg prometheus.Registerer, log *slog.Logger) (_ *tellers, err error) {
	o := &tellers{told: t, registry: &undoable{Registerer: reg}}
	defer func() {
		if err != nil {
			o.registry.undo()
		}
	}()
	namespace, takes := "", func(string) bool { return false }
	if t.Elasticsearch == nil {
		log.Info("changes of checks are kept nowhere: no output is configured")
	} else {
		if o.sink, err = openElasticsearchOutput(dir, t.Memory, *t.Elasticsearch, o.registry, log); err != nil {
			return nil, err
		}
		namespace, takes = t.Elasticsearch.Namespace, o.sink.Takes
	}
	if o.collectorOutputs, err = newCollectorOutputs(t, c, namespace, takes, o.registry, log); err != nil {
		return nil, err
	}
	ctx, stop := context.WithCancel(context.Background())
	o.stop = stop
	o.group.Go(func() { o.alerts.Run(ctx) })
	o.group.Go(func() { o.nagios.Run(ctx) })
	if o.documents != nil {
		o.group.Go(func() { o.write(ctx, log) })
	}
	return o, nil
}

// write brings documents to the store until ctx ends, and then what is left.
func (o *tellers) write(ctx context.Context, log *slog.Logger) {
	sinking, cut := context.WithCancel(context.WithoutCancel(ctx))
	defer cut()
	in := make(chan *record.Batch)
	sunk := make(chan error, 1)
	go func() { sunk <- o.sink.Run(sinking, in) }()
	o.documents.Run(ctx, in)
	close(in)
	timer := time.AfterFunc(drainTime, cut)
	defer timer.Stop()
	if err := <-sunk; err != nil {
		log.Error("documents about checks may be lost: the store did not take them, and the process ends", "error", err)
	}
}

// close ends the outputs, when they have told what they still can.
func (o *tellers) close() {
	o.stop()
	o.group.Wait()
	o.registry.undo()
}

// same says whether t asks for what there is.
func (o *tellers) same(t told) bool { return reflect.DeepEqual(o.told, t) }

// link is where a check can be looked at; "" if nobody said how to get here.
func (t told) link(e check.Event) string {
	if t.URL == "" || e.App == "" {
		return t.URL
	}
	return strings.TrimRight(t.URL, "/") + status.ChecksPath + "?app=" + url.QueryEscape(e.App)
}

// undoable is a Registerer whose metrics can be taken back.
type undoable struct {
	prometheus.Registerer
	mine []prometheus.Collector
}

// Register implements prometheus.Registerer.
func (u *undoable) Register(c prometheus.Collector) error {
	err := u.Registerer.Register(c)
	if err == nil {
		u.mine = append(u.mine, c)
	}
	return err
}

// MustRegister implements prometheus.Registerer.
func (u *undoable) MustRegister(list ...prometheus.Collector) {
	for _, c := range list {
		if err := u.Register(c); err != nil {
			panic("BUG: command: " + err.Error())
		}
	}
}

func (u *undoable) undo() {
	for _, c := range u.mine {
		u.Unregister(c)
	}
	u.mine = nil
}
