package statsig

import (
	"github.com/sluice-flags/sluice/internal/web"
)

// A CustomExposure is one entry of log_custom_exposure: somebody who decided
// by other means tells what a unit got. Exactly one of Experiment and Gate is
// set unless Fault is.
type CustomExposure struct {
	User       LogUser
	Experiment string
	Group      string
	Gate       string
	Passes     bool
	RuleID     string
	Time       int64 // milliseconds, 0 if the sender gave none
	Fault      *Fault
}

// DecodeCustomExposures reads the body of log_custom_exposure, under the rules
// of [DecodeLogBody].
func DecodeCustomExposures(body []byte, keep ...string) ([]CustomExposure, SDK, error) {
	var list []CustomExposure
	var sdk SDK
	listed := false
	s := newScanner(body, keep)
	s.members(func(name string) {
		switch name {
		case "exposures":
			if listed = true; s.peek() != '[' {
				s.err = web.Invalid("/exposures", "wrong_type", "exposures should be an array")
				return
			}
			s.elements(func() { list = append(list, s.customExposure()) })
		case "statsigMetadata":
			s.sdk(&sdk)
		default:
			s.skip()
		}
	})
	s.end()
	switch {
	case s.err != nil:
		return nil, SDK{}, s.err
	case !listed:
		return nil, SDK{}, web.Invalid("/exposures", "required", "the body has no exposures")
	}
	for i := range list {
		list[i].User.stable(sdk.StableID)
	}
	return list, sdk, nil
}

func (s *scanner) customExposure() (x CustomExposure) {
	if s.peek() != '{' {
		s.skip()
		x.Fault = &Fault{Code: "wrong_type", Detail: "an exposure should be an object"}
		return x
	}
	var e LogEvent // collects the user and the first fault
	s.members(func(name string) {
		switch name {
		case "user":
			s.user(&e)
		case "experimentName":
			x.Experiment = s.name(&e, name)
		case "group":
			x.Group = s.name(&e, name)
		case "gateName":
			x.Gate = s.name(&e, name)
		case "ruleID":
			x.RuleID = s.name(&e, name)
		case "passes":
			switch s.scalar() {
			case "true":
				x.Passes = true
			case "false", "":
			default:
				e.fault("wrong_type", "passes should be true or false")
			}
		case "time":
			x.Time = s.time(&e)
		default:
			s.skip()
		}
	})
	if (x.Experiment == "") == (x.Gate == "") {
		e.fault("no_name", "an exposure names an experimentName or a gateName, and not both")
	}
	x.User, x.Fault = e.User, e.Fault
	return x
}
