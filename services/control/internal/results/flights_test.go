package results

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
)

func TestEqualQuestionsAreAskedOnce(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[int]
		var asked atomic.Int32
		release := make(chan struct{})
		ask := func(context.Context) (int, error) {
			asked.Add(1)
			<-release
			return 42, nil
		}
		var all sync.WaitGroup
		for range 20 {
			all.Go(func() {
				if got, err := f.do(t.Context(), "k", ask); got != 42 || err != nil {
					t.Errorf("do() = %d, %v; want 42", got, err)
				}
			})
		}
		synctest.Wait()
		close(release)
		all.Wait()
		if got, err := f.do(t.Context(), "k", ask); got != 42 || err != nil || asked.Load() != 1 {
			t.Errorf("do() later = %d, %v after %d questions; want 42 after one", got, err, asked.Load())
		}
	})
}

func TestAQuestionEndsWhenNobodyWaitsForItsAnswer(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var f flights[int]
		stopped := make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		ended := make(chan error)
		go func() {
			_, err := f.do(ctx, "k", func(ctx context.Context) (int, error) {
				<-ctx.Done()
				close(stopped)
				return 0, ctx.Err()
			})
			ended <- err
		}()
		synctest.Wait()
		leave()
		if err := <-ended; !errors.Is(err, context.Canceled) {
			t.Errorf("do() = %v; want context.Canceled", err)
		}
		<-stopped
		if got, err := f.do(t.Context(), "k", func(context.Context) (int, error) { return 7, nil }); got != 7 || err != nil {
			t.Errorf("do() afterwards = %d, %v; want a new question answered with 7", got, err)
		}
	})
}

func TestAnErrorIsToldAndForgotten(t *testing.T) {
	var f flights[int]
	wrong := errors.New("wrong")
	if _, err := f.do(t.Context(), "k", func(context.Context) (int, error) { return 0, wrong }); !errors.Is(err, wrong) {
		t.Errorf("do() = %v; want %v", err, wrong)
	}
	if got, err := f.do(t.Context(), "k", func(context.Context) (int, error) { return 1, nil }); got != 1 || err != nil {
		t.Errorf("do() again = %d, %v; want 1", got, err)
	}
}

func TestACancelledJobSaysSo(t *testing.T) {
	var jobs Jobs
	job := jobs.Start(t.Context(), "shop", "key_1", func(ctx context.Context) (any, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	})
	if status, _, _ := job.Status(); status != JobRunning {
		t.Errorf("status = %s; want running", status)
	}
	job.Cancel()
	if !job.Wait(t.Context()) {
		t.Fatal("the job did not end")
	}
	if status, _, _ := job.Status(); status != JobCancelled {
		t.Errorf("status = %s; want cancelled", status)
	}
	if _, ok := jobs.Find(job.ID); !ok {
		t.Error("a job that ended a moment ago is forgotten")
	}
}

func TestAJobSaysHowMuchOfItsWorkIsDone(t *testing.T) {
	var jobs Jobs
	step := make(chan struct{})
	job := jobs.Start(t.Context(), "shop", "key_1", func(ctx context.Context) (any, error) {
		for i := range 5 {
			reportPart(ctx, i, 4)
			step <- struct{}{}
			<-step
		}
		return "done", nil
	})
	for i, want := range []float64{0, 0.25, 0.5, 0.75, 0.99} {
		<-step
		if got := job.Progress(); got != want {
			t.Errorf("Progress() with %d of 4 parts done = %v; want %v", i, got, want)
		}
		step <- struct{}{}
	}
	if !job.Wait(t.Context()) || job.Progress() != 1 {
		t.Errorf("Progress() at its end = %v; want 1", job.Progress())
	}
}
