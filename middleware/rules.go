package middleware

import (
	"cmp"
	"errors"
	"fmt"
	"slices"
	"strings"
)

// anyPath ends a pattern that is a prefix.
const anyPath = "..."

// Rule says who may call the paths of a pattern. Public, Authenticated and Roles make them.
type Rule struct {
	pattern string
	access  access
	roles   []string
}

// access is how much a Rule asks for.
type access uint8

const (
	noAccess        access = iota // of the zero Rule
	publicAccess                  // nothing
	authenticAccess               // a Principal
	roleAccess                    // one with a role
)

// Public returns a Rule that lets everybody call the paths of a pattern. Tokens aren't looked at there.
func Public(pattern string) Rule { return Rule{pattern: pattern, access: publicAccess} }

// Authenticated returns a Rule that lets every Principal call the paths of a pattern, whatever its roles.
func Authenticated(pattern string) Rule { return Rule{pattern: pattern, access: authenticAccess} }

// Roles returns a Rule that lets those call the paths of a pattern who have one of the roles, of which there is at least one.
func Roles(pattern string, roles ...string) Rule {
	return Rule{pattern: pattern, access: roleAccess, roles: slices.Clone(roles)}
}

// allows reports whether a Principal that isn't nil may call the paths of the rule.
func (r *Rule) allows(p *Principal) bool {
	return r.access != roleAccess || slices.ContainsFunc(p.Roles, func(role string) bool { return slices.Contains(r.roles, role) })
}

// check returns what is wrong with the rule, or nil.
func (r *Rule) check() error {
	prefix, isPrefix := strings.CutSuffix(r.pattern, anyPath)
	switch {
	case r.access == noAccess:
		return errors.New("a Rule is empty: make it with Public, Authenticated or Roles")
	case r.pattern == "":
		return errors.New("the pattern of a Rule is empty: " + anyPath + " is all paths")
	case isPrefix && prefix != "" && !strings.HasSuffix(prefix, "/"):
		return fmt.Errorf("the pattern %q: %s stands alone, or behind a slash", r.pattern, anyPath)
	case strings.Contains(prefix, anyPath):
		return fmt.Errorf("the pattern %q: %s stands at the end only", r.pattern, anyPath)
	case strings.ContainsAny(prefix, "{}"):
		return fmt.Errorf("the pattern %q: braces are for routes: write the prefix before them and %s", r.pattern, anyPath)
	case r.access == roleAccess && (len(r.roles) == 0 || slices.Contains(r.roles, "")):
		return fmt.Errorf("the pattern %q: there is no role, or an empty one: for everybody who is known use Authenticated", r.pattern)
	}
	return nil
}

// rules finds the rule of a path.
type rules struct {
	exact    map[string]*Rule // by path
	prefixes []*Rule          // the longest pattern first
}

// newRules returns the rules given, or all that is wrong with them.
func newRules(given []Rule) (*rules, error) {
	rs := &rules{exact: make(map[string]*Rule)}
	var errs []error
	seen := make(map[string]bool)
	for i := range given {
		r := &given[i]
		if err := r.check(); err != nil {
			errs = append(errs, err)
			continue
		}
		if seen[r.pattern] {
			errs = append(errs, fmt.Errorf("there are two rules for the pattern %q: put their roles into one", r.pattern))
			continue
		}
		seen[r.pattern] = true
		if strings.HasSuffix(r.pattern, anyPath) {
			rs.prefixes = append(rs.prefixes, r)
		} else {
			rs.exact[r.pattern] = r
		}
	}
	slices.SortFunc(rs.prefixes, func(a, b *Rule) int { return cmp.Compare(len(b.pattern), len(a.pattern)) })
	return rs, errors.Join(errs...)
}

// of returns the rule of a path: that of its own, or of the longest prefix, or nil.
func (rs *rules) of(path string) *Rule {
	if r := rs.exact[path]; r != nil {
		return r
	}
	for _, r := range rs.prefixes {
		if strings.HasPrefix(path, strings.TrimSuffix(r.pattern, anyPath)) {
			return r
		}
	}
	return nil
}
