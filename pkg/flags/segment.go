package flags

// A Segment is a named audience that gates, configs and experiments share.
type Segment struct {
	ID   string `json:"id,omitempty"`
	Name string `json:"name" flags:"required"`
	About

	// Type says how the audience is described: by rules, or by an id list, whose
	// members are apart from the document ([IDBatch]). It never changes.
	Type     string `json:"type,omitempty"`
	Status   Status `json:"status,omitempty"`
	UnitType string `json:"unitType,omitempty"`
	Salt     string `json:"salt,omitempty"`
	Rules    []Rule `json:"rules"`
}

// The types of segments.
const (
	SegmentRules  = "rules"
	SegmentIDList = "idList"
)

// Ref implements [Document].
func (s *Segment) Ref() Ref { return Ref{KindSegment, s.ID} }

// DocName implements [Document].
func (s *Segment) DocName() string { return s.Name }

func (s *Segment) header() header {
	return header{&s.ID, &s.Name, &s.About, s.Status == StatusArchived}
}

func (s *Segment) normalize() {
	normalizeAbout(&s.About)
	normalizeStatus(&s.Status)
	if s.Type == "" {
		s.Type = SegmentRules
	}
	s.UnitType = CanonicalUnitType(s.UnitType)
	normalizeRules(&s.Rules)
}

func (s *Segment) validate(v *validation) {
	oneOfValues(v, "/type", s.Type, SegmentRules, SegmentIDList)
	if before, ok := v.before.(*Segment); ok && before.Type != s.Type {
		v.add("/type", CodeImmutable, "a segment stays what it is, %s: make another one", before.Type)
	}
	if s.Type == SegmentIDList && len(s.Rules) > 0 {
		v.add("/rules", CodeInvalid, "an id list has members and no rules")
	}
	oneOfValues(v, "/status", s.Status, StatusInProgress, StatusArchived)
	v.unitType("/unitType", s.UnitType)
	v.salt("/salt", s.Salt)
	v.rules(s.Rules, rulesOf{pointer: "/rules"})
}

func (s *Segment) references(yield func(mention)) {
	mentionRules("/rules", s.Rules, yield)
}
