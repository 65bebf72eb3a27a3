package statsig

import (
	"strconv"

	protocol "github.com/sluice-flags/sluice/internal/statsig"
	"github.com/sluice-flags/sluice/services/ingest/internal/intake"
)

// Claim says in our words what an SDK logged. Secondary exposures, the gates
// that were consulted on the way, are not claims of their own: one logged event
// is one fact, and a unit that a holdout kept out says so in its rule.
func Claim(e *protocol.LogEvent) intake.Claim {
	c := intake.Claim{Time: e.Time, User: user(e.User), Fault: fault(e.Fault)}
	switch e.Name {
	case protocol.GateExposure:
		c.Kind = intake.Gate
		c.Name, c.Value = e.Meta("gate"), e.Meta("gateValue")
	case protocol.ConfigExposure:
		c.Kind = intake.Config
		c.Name, c.Value = e.Meta("config"), e.Meta("rulePassed")
	case protocol.LayerExposure:
		c.Kind = intake.Layer
		c.Name, c.Experiment, c.Parameter = e.Meta("config"), e.Meta("allocatedExperiment"), e.Meta("parameterName")
	default:
		c.Name, c.Value, c.Metadata = e.Name, e.Value, e.Metadata
		return c
	}
	c.RuleID, c.Reason = e.Meta("ruleID"), e.Meta("reason")
	c.ConfigTime = configTime(e)
	if c.Name == "" && c.Fault == nil {
		c.Fault = &intake.Fault{Code: "no_name", Detail: "metadata of the exposure does not say what was decided"}
	}
	return c
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

func customClaim(x *protocol.CustomExposure) intake.Claim {
	c := intake.Claim{Kind: intake.Config, Name: x.Experiment, Group: x.Group, RuleID: x.RuleID, Time: x.Time, User: user(x.User), Fault: fault(x.Fault)}
	if x.Gate != "" {
		c.Kind, c.Name, c.Value = intake.Gate, x.Gate, strconv.FormatBool(x.Passes)
	}
	return c
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
