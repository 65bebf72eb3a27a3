package facts

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"

	"github.com/nats-io/nats.go"
	"github.com/nats-io/nats.go/jetstream"

	"github.com/sluice-flags/sluice/internal/bus"
)

// A Plan says which messages of a partition make one batch: those with
// sequences First to Last. It is recorded before the batch is tried for the
// first time, and never changes.
type Plan struct {
	Stream    string `json:"stream"` // [Reader.StreamID]
	Partition int    `json:"partition"`
	Number    uint64 `json:"number"` // dense from 1
	First     uint64 `json:"first"`
	Last      uint64 `json:"last"`
}

// Token names the batch to the warehouse, which stores the rows of a token once.
func (p Plan) Token() string {
	return fmt.Sprintf("%s/%d:%d-%d", p.Stream, p.Partition, p.First, p.Last)
}

// ErrTaken means that another loader was first.
var ErrTaken = errors.New("somebody else was first")

// Plans is the record of the plans of one partition.
type Plans struct {
	conn   *bus.Conn
	stream jetstream.Stream
	id     string // of the stream of facts
	part   int
}

// OpenPlans opens the record that belongs to a reader.
func OpenPlans(ctx context.Context, conn *bus.Conn, r *Reader) (*Plans, error) {
	stream, err := conn.JetStream().Stream(ctx, bus.PlansStream)
	if err != nil {
		return nil, fmt.Errorf("stream %s: %w", bus.PlansStream, err)
	}
	return &Plans{conn: conn, stream: stream, id: r.StreamID(), part: r.partition}, nil
}

func (p *Plans) subject() string { return bus.PlansSubject(p.part) }

// A Cursor is where in the record of plans the last one stands; a plan is
// recorded after it or not at all.
type Cursor struct {
	Plan Plan   // the last plan; its Number is 0 if there is none
	seq  uint64 // of its message
}

// Last returns the plan that was recorded last, of these facts: the zero Plan if
// there is none.
func (p *Plans) Last(ctx context.Context) (Plan, error) {
	plan, _, err := p.last(ctx)
	if plan.Stream != p.id {
		plan = Plan{} // of a stream that is gone: these facts begin anew
	}
	return plan, err
}

// last reads the last plan of the partition, of whatever stream, and the sequence
// of its message: 0 if there is none.
func (p *Plans) last(ctx context.Context) (Plan, uint64, error) {
	m, err := p.conn.Last(ctx, bus.PlansStream, p.subject())
	if errors.Is(err, jetstream.ErrMsgNotFound) {
		return Plan{}, 0, nil
	}
	if err != nil {
		return Plan{}, 0, fmt.Errorf("last plan of partition %d: %w", p.part, err)
	}
	plan, err := p.decode(m.Data)
	return plan, m.Seq, err
}

// After returns the plans that come after the one that was loaded last, whose
// number and last sequence the caller knows (0 if none was), in order, and the
// end of the record.
func (p *Plans) After(ctx context.Context, number, seq uint64) ([]Plan, Cursor, error) {
	end := Cursor{Plan: Plan{Stream: p.id, Partition: p.part, Number: number, Last: seq}}
	plan, last, err := p.last(ctx)
	if err != nil {
		return nil, end, err
	}
	end.seq = last
	if plan.Stream != p.id {
		return nil, end, nil // none, or of a stream that is gone: these facts begin anew
	}
	end.Plan = plan
	if plan.Last <= seq {
		return nil, end, nil
	}

	// Plans lie far apart and are few, so walking back from the last one is
	// enough: usually it is the only one that was not finished.
	var plans []Plan
	for at := last; ; {
		plans = append(plans, plan)
		if plan.First <= seq+1 || plan.Number == 1 {
			break
		}
		var data []byte
		if at, data, err = p.before(ctx, at); err != nil {
			return nil, end, err
		}
		if at == 0 {
			break // older ones are gone, and so are their facts
		}
		if plan, err = p.decode(data); err != nil {
			return nil, end, err
		}
		if plan.Stream != p.id || plan.Last <= seq {
			break
		}
	}
	slices.Reverse(plans)
	return plans, end, nil
}

// before finds the partition's last message before a sequence of the record,
// or 0.
func (p *Plans) before(ctx context.Context, seq uint64) (uint64, []byte, error) {
	for seq--; seq > 0; seq-- {
		m, err := p.stream.GetMsg(ctx, seq)
		switch {
		case errors.Is(err, jetstream.ErrMsgNotFound):
			return 0, nil, nil // messages go from the front, by age or to make room
		case err != nil:
			return 0, nil, fmt.Errorf("plan before %d: %w", seq, err)
		case m.Subject == p.subject():
			return seq, m.Data, nil
		}
	}
	return 0, nil, nil
}

func (p *Plans) decode(data []byte) (Plan, error) {
	var plan Plan
	if err := json.Unmarshal(data, &plan); err != nil {
		return Plan{}, fmt.Errorf("plan of partition %d: %w", p.part, err)
	}
	return plan, nil
}

// Record makes the messages after the last plan, up to a sequence, the next
// plan. It fails with [ErrTaken] if at is not the end of the record; any other
// error leaves open whether the plan was recorded, and [Plans.After] tells.
func (p *Plans) Record(ctx context.Context, at Cursor, last uint64) (Cursor, error) {
	plan := Plan{Stream: p.id, Partition: p.part, Number: at.Plan.Number + 1, First: at.Plan.Last + 1, Last: last}
	body, err := json.Marshal(plan)
	if err != nil {
		return at, err
	}
	msg := nats.NewMsg(p.subject())
	msg.Data = body
	ack, err := p.conn.JetStream().PublishMsg(ctx, msg, jetstream.WithExpectLastSequencePerSubject(at.seq))
	if err != nil {
		if lostRace(err) {
			return at, fmt.Errorf("plan %d of partition %d: %w", plan.Number, p.part, ErrTaken)
		}
		return at, fmt.Errorf("recording plan %d of partition %d: %w", plan.Number, p.part, err)
	}
	return Cursor{Plan: plan, seq: ack.Sequence}, nil
}

// lostRace tells a refusal because somebody else wrote first. It has two codes.
func lostRace(err error) bool {
	refusal, ok := errors.AsType[*jetstream.APIError](err)
	return ok && (refusal.ErrorCode == jetstream.JSErrCodeStreamWrongLastSequence || refusal.ErrorCode == errWrongLastConstant)
}

const errWrongLastConstant = 10164
