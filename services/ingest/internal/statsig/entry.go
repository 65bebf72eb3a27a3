package statsig

import (
	"strconv"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
)

// Entry says in our words what an SDK logged. Secondary exposures, the gates
// that were consulted on the way, are not entries of their own: one logged event
// is one fact, and a unit that a holdout kept out says so in its rule.
func Entry(e *protocol.LogEvent) intake.Entry {
	entry := intake.Entry{Time: e.Time, User: user(e.User), Fault: fault(e.Fault)}
	switch e.Name {
	case protocol.GateExposure:
		entry.Kind = intake.Gate
		entry.Name, entry.Value = e.Meta("gate"), e.Meta("gateValue")
	case protocol.ConfigExposure:
		entry.Kind = intake.Config
		entry.Name, entry.Value = e.Meta("config"), e.Meta("rulePassed")
	case protocol.LayerExposure:
		entry.Kind = intake.Layer
		entry.Name, entry.Experiment, entry.Parameter = e.Meta("config"), e.Meta("allocatedExperiment"), e.Meta("parameterName")
	default:
		entry.Name, entry.Value, entry.Metadata = e.Name, e.Value, e.Metadata
		return entry
	}
	entry.RuleID, entry.Reason = e.Meta("ruleID"), e.Meta("reason")
	entry.ConfigTime = configTime(e)
	if entry.Name == "" && entry.Fault == nil {
		entry.Fault = &intake.Fault{Code: "no_name", Detail: "metadata of the exposure does not say what was decided"}
	}
	return entry
}

// configTime is the time of the definitions that the SDK decided on.
func configTime(e *protocol.LogEvent) int64 {
	for _, name := range [...]string{"lcut", "configSyncTime"} {
		text := e.Meta(name)
		if text == "" {
			continue
		}
		if ms, err := strconv.ParseInt(text, 10, 64); err == nil && ms > 0 {
			return ms
		}
	}
	return 0
}

func customEntry(x *protocol.CustomExposure) intake.Entry {
	entry := intake.Entry{Kind: intake.Config, Name: x.Experiment, Group: x.Group, RuleID: x.RuleID, Time: x.Time, User: user(x.User), Fault: fault(x.Fault)}
	if x.Gate != "" {
		entry.Kind, entry.Name, entry.Value = intake.Gate, x.Gate, strconv.FormatBool(x.Passes)
	}
	return entry
}

func user(u protocol.LogUser) intake.User {
	return intake.User{ID: u.UserID, Others: u.CustomIDs, Tier: u.Tier, Attributes: u.Attributes}
}

func fault(f *protocol.Fault) *intake.Fault {
	if f == nil {
		return nil
	}
	return &intake.Fault{Code: f.Code, Detail: f.Detail}
}
