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
	r := newLogReader(keep)
	defer r.release()
	r.begin(textOf(body))
	r.members(func(name string) {
		switch name {
		case "exposures":
			if listed = true; r.peek() != '[' {
				r.err = web.Invalid("/exposures", "wrong_type", "exposures should be an array")
				return
			}
			r.elements(func() { list = append(list, r.customExposure()) })
		case "statsigMetadata":
			r.sdk(&sdk)
		default:
			r.skip()
		}
	})
	r.end()
	switch {
	case r.err != nil:
		return nil, SDK{}, r.err
	case !listed:
		return nil, SDK{}, web.Invalid("/exposures", "required", "the body has no exposures")
	}
	for i := range list {
		list[i].User.stable(sdk.StableID)
	}
	return list, sdk, nil
}

func (r *logReader) customExposure() (x CustomExposure) {
	if r.peek() != '{' {
		r.skip()
		x.Fault = &Fault{Code: "wrong_type", Detail: "an exposure should be an object"}
		return x
	}
	var e LogEvent // collects the user and the first fault
	r.members(func(name string) {
		switch name {
		case "user":
			r.user(&e)
		case "experimentName":
			x.Experiment = r.name(&e, name)
		case "group":
			x.Group = r.name(&e, name)
		case "gateName":
			x.Gate = r.name(&e, name)
		case "ruleID":
			x.RuleID = r.name(&e, name)
		case "passes":
			switch r.scalar() {
			case "true":
				x.Passes = true
			case "false", "":
			default:
				e.fault("wrong_type", "passes should be true or false")
			}
		case "time":
			x.Time = r.time(&e)
		default:
			r.skip()
		}
	})
	if (x.Experiment == "") == (x.Gate == "") {
		e.fault("no_name", "an exposure names an experimentName or a gateName, and not both")
	}
	x.User, x.Fault = e.User, e.Fault
	return x
}
