package wiretest

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"
)

// Side is the side of a connection that the runner takes.
type Side string

// The sides.
const (
	Dialling  Side = "dial"   // the runner says hello
	Accepting Side = "accept" // the runner answers it
)

// Scenario is one conversation. Load makes them.
type Scenario struct {
	Name    string   // unique
	Section string   // of the protocol's document
	Side    Side     // the only one that can be taken; empty if both can
	Streams bool     // it needs items, pieces or credit, and not only calls
	Needs   []string // compression methods that the other end must inflate: zstd, flate

	hello handshake
	steps []step
}

// handshake is how a scenario begins.
type handshake struct {
	none   bool   // the steps say it all
	v1     bool   // the runner is a version 1 peer
	fields fields // else it says hello, with these changes
}

// UnmarshalJSON takes false, "v1" and an object.
func (h *handshake) UnmarshalJSON(b []byte) error {
	switch string(b) {
	case "false":
		h.none = true
	case `"v1"`:
		h.v1 = true
	default:
		return json.Unmarshal(b, &h.fields)
	}
	return nil
}

// Plays reports whether the runner can take a side of the scenario.
func (s *Scenario) Plays(side Side) bool { return s.Side == "" || s.Side == side }

// Load reads the scenarios of all JSON files in the root of fsys, in the order of the names.
func Load(fsys fs.FS) ([]Scenario, error) {
	names, err := fs.Glob(fsys, "*.json")
	if err != nil {
		return nil, err
	}
	var all []Scenario
	seen := make(map[string]bool)
	for _, name := range names {
		list, err := loadFile(fsys, name)
		if err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		for _, s := range list {
			if seen[s.Name] {
				return nil, fmt.Errorf("%s: there are two scenarios %q", name, s.Name)
			}
			seen[s.Name] = true
		}
		all = append(all, list...)
	}
	if len(all) == 0 {
		return nil, errors.New("there are no scenarios")
	}
	return all, nil
}

// rawScenario is a scenario as it stands in a file.
type rawScenario struct {
	Name    string    `json:"name"`
	Section string    `json:"section"`
	As      string    `json:"as"`
	Streams bool      `json:"streams"`
	Needs   []string  `json:"needs"`
	Hello   handshake `json:"hello"`
	Steps   []rawStep `json:"steps"`
}

// loadFile reads one file.
func loadFile(fsys fs.FS, name string) ([]Scenario, error) {
	data, err := fs.ReadFile(fsys, name)
	if err != nil {
		return nil, err
	}
	var raw []rawScenario
	if err := strictly(data, &raw); err != nil {
		return nil, err
	}
	list := make([]Scenario, len(raw))
	for i := range raw {
		if list[i], err = raw[i].compile(); err != nil {
			return nil, fmt.Errorf("scenario %q: %w", raw[i].Name, err)
		}
		if prefix := "section" + raw[i].Section; !strings.HasPrefix(path.Base(name), prefix) {
			return nil, fmt.Errorf("scenario %q of section %s: the file's name doesn't begin with %s", raw[i].Name, raw[i].Section, prefix)
		}
	}
	return list, nil
}

// compile checks a scenario.
func (r *rawScenario) compile() (Scenario, error) {
	s := Scenario{Name: r.Name, Section: r.Section, Streams: r.Streams, Needs: r.Needs, hello: r.Hello}
	switch {
	case r.Name == "" || r.Section == "" || len(r.Steps) == 0:
		return s, errors.New("a name, a section and steps are what it needs")
	case r.As == string(Dialling) || r.As == string(Accepting):
		s.Side = Side(r.As)
	case r.As != "both":
		return s, fmt.Errorf("%q is no side: dial, accept and both are", r.As)
	}
	if err := s.checkNeeds(); err != nil {
		return s, err
	}
	for i := range r.Steps {
		st, err := r.Steps[i].compile()
		if err != nil {
			return s, fmt.Errorf("step %d: %w", i+1, err)
		}
		s.steps = append(s.steps, st)
	}
	switch s.steps[len(s.steps)-1].kind {
	case stepSend, stepSendHello, stepPump, stepOverdraw:
		return s, errors.New("nothing is expected in the end")
	}
	return s, nil
}

// checkNeeds says what is wrong with what the scenario needs.
func (s *Scenario) checkNeeds() error {
	for i, method := range s.Needs {
		if method != "zstd" && method != "flate" || slices.Contains(s.Needs[:i], method) {
			return fmt.Errorf("needs has %q: zstd and flate are what can be needed, each once", method)
		}
	}
	if len(s.Needs) > 0 && (s.hello.none || s.hello.v1) {
		return errors.New("needs is for what begins with the runner's hello")
	}
	return nil
}

// ends reports whether the last step expects the end of the connection.
func (s *Scenario) ends() bool {
	return slices.IndexFunc(s.steps, func(st step) bool { return st.kind == stepClosed }) == len(s.steps)-1
}

// Expected returns the number of bytes that the scenario expects, hello's not counted.
func (s *Scenario) Expected() int {
	n := 0
	for i := range s.steps {
		for j := range s.steps[i].want {
			n += s.steps[i].want[j].size()
		}
	}
	return n
}

// Mutate returns a copy of the scenario that expects another byte i, counted from 0 up to Expected.
func (s *Scenario) Mutate(i int) Scenario {
	m := *s
	m.steps = slices.Clone(s.steps)
	for k := range m.steps {
		for j := range m.steps[k].want {
			w := &m.steps[k].want[j]
			if i < w.size() {
				m.steps[k].want = slices.Clone(m.steps[k].want)
				m.steps[k].want[j] = w.flipped(i)
				return m
			}
			i -= w.size()
		}
	}
	return m
}
