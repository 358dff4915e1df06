package main

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/internal/api/wire"
)

// completeTime is how long a shell waits for the daemon; completion that fails is quiet.
const completeTime = time.Second

// completion is what cobra calls for the words behind a command.
type completion = func(*cobra.Command, []string, string) ([]string, cobra.ShellCompDirective)

// complete asks the daemon for words, of which the command takes at most n; 0 is any number.
func (a *app) complete(n int, ask func(context.Context) ([]string, error)) completion {
	return func(cmd *cobra.Command, args []string, typed string) ([]string, cobra.ShellCompDirective) {
		ctx, cancel := context.WithTimeout(cmd.Context(), completeTime)
		defer cancel()
		if n > 0 && len(args) >= n {
			return nil, cobra.ShellCompDirectiveDefault
		}
		words, err := ask(ctx)
		if err != nil {
			return nil, cobra.ShellCompDirectiveNoFileComp
		}
		var out []string
		for _, w := range words {
			if strings.HasPrefix(strings.ToLower(w), strings.ToLower(typed)) {
				out = append(out, w)
			}
		}
		return out, cobra.ShellCompDirectiveNoFileComp
	}
}

func names[T any](in []T, name func(T) string) []string {
	var out []string
	for _, v := range in {
		out = append(out, name(v))
	}
	return out
}

func (a *app) completePorts() completion {
	return a.complete(0, func(ctx context.Context) ([]string, error) {
		ports, err := a.client().Ports(ctx)
		return names(ports, func(p firewall.Port) string { return p.Name + "\t" + join(p.Ports) + "/" + string(p.Protocol) }), err
	})
}

func (a *app) completeFeeds() completion {
	return a.complete(0, func(ctx context.Context) ([]string, error) {
		feeds, err := a.client().Feeds(ctx)
		return names(feeds, func(f wire.FeedStatus) string { return f.Name }), err
	})
}

func (a *app) completeBlocks() completion {
	return a.complete(0, func(ctx context.Context) ([]string, error) {
		blocks, err := a.client().Blocks(ctx)
		return names(blocks, func(b firewall.Block) string { return b.Target.String() + "\t" + b.Reason }), err
	})
}

func (a *app) completeAllowed() completion {
	return a.complete(0, func(ctx context.Context) ([]string, error) {
		list, err := a.client().Allowed(ctx)
		return names(list, func(x firewall.Allow) string { return x.Target.String() + "\t" + x.Comment }), err
	})
}

func (a *app) limitClasses(ctx context.Context) ([]string, error) {
	limits, err := a.client().Limits(ctx)
	return names(limits, func(l wire.LimitStatus) string { return l.Name + "\t" + l.Description }), err
}

func (a *app) revisions(ctx context.Context) ([]string, error) {
	revs, err := a.client().Revisions(ctx, 30, 0)
	return names(revs, func(r wire.Revision) string { return fmt.Sprintf("%d\t%s", r.ID, r.Summary) }), err
}

func (a *app) countryCodes(ctx context.Context) ([]string, error) {
	list, err := a.client().Countries(ctx)
	return names(list, func(c wire.Country) string { return c.Code + "\t" + c.Name }), err
}
