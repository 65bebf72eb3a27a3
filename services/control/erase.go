package control

import (
	"context"
	"log/slog"
	"time"

	"github.com/sluice-flags/sluice/internal/bus"
	"github.com/sluice-flags/sluice/internal/lifecycle"
	"github.com/sluice-flags/sluice/pkg/flags"
)

// eraseEvery is how often it is looked whether something is to be erased.
const eraseEvery = time.Second

// erase brings what the warehouse keeps to what projects want kept, until ctx is
// done.
func (s *Service) erase(ctx context.Context) {
	defer s.erasures.Wait()
	for ctx.Err() == nil {
		if org, err := s.state(ctx, bus.OrgProject); err == nil {
			for e := range org.All(flags.KindProject) {
				state, err := s.state(ctx, e.Name)
				if err == nil {
					err = s.erasures.Reconcile(ctx, state)
				}
				if err != nil && ctx.Err() == nil {
					s.deps.Logger.WarnContext(ctx, "facts are not erased, or not kept for as long as their project says", slog.String("project", e.Name), slog.Any("error", err))
				}
			}
		}
		lifecycle.Sleep(ctx, eraseEvery)
	}
}
