package command

import (
	"context"
	"fmt"
	"strings"
	"sync"
)

// Agents are the flags of commands that ask several agents.
type Agents struct {
	URL       []string `placeholder:"URL" sep:"," env:"MESOSCOPE_AGENTS" help:"Addresses of agents or standalones, repeated or with commas between them. Without one 127.0.0.1:9911 and 127.0.0.1:9912 are asked."`
	TokenFile string   `type:"path" placeholder:"FILE" help:"A file with the token, if the agents want one."`
	CAFile    string   `type:"path" placeholder:"FILE" help:"Certificates to trust for https, in PEM form."`
}

// askAgents asks all agents for the same path at the same time. The answers are
// in the order of the addresses, and failed says which did not answer and why;
// without --url, it is no failure that one of the two is not there.
func askAgents[T any](ctx context.Context, a Agents, path string) (answers []T, failed []string, err error) {
	client, err := (&Status{TokenFile: a.TokenFile, CAFile: a.CAFile}).client()
	if err != nil {
		return nil, nil, Exit{Usage, err}
	}
	urls := a.URL
	if len(urls) == 0 {
		urls = local
	}
	list, errs := make([]T, len(urls)), make([]error, len(urls))
	var group sync.WaitGroup
	for i, u := range urls {
		group.Go(func() { errs[i] = get(ctx, client, strings.TrimRight(u, "/")+path, &list[i]) })
	}
	group.Wait()
	for i, err := range errs {
		if err == nil {
			answers = append(answers, list[i])
		} else {
			failed = append(failed, fmt.Sprintf("  %s: %v", redacted(urls[i]), err))
		}
	}
	if len(a.URL) == 0 && len(answers) > 0 {
		failed = nil
	}
	return answers, failed, nil
}

// nobody is the error of a command that got no answer at all.
func nobody(failed []string) error {
	return Exit{Unknown, fmt.Errorf("nobody could be asked:\n%s\nIs mesoscope running there? Another address: --url http://HOST:9911", strings.Join(failed, "\n"))}
}
