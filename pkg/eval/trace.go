package eval

type tracer struct{}

func (t *tracer) run(e *evaluation, s *spec) *outcome { return nil }
