package geo

import (
	"slices"
	"strings"
	"testing"
)

func TestCheck(t *testing.T) {
	if err := Check([]string{"DE", "US", "XK", "EU", "AP"}); err != nil {
		t.Error(err)
	}
	for in, want := range map[string]string{
		"UK": "write GB (United Kingdom)", "de": "write DE (Germany)", "germany": "DE (Germany)", "USA": "US (United States)", "korea": "KP (North Korea), KR (South Korea)",
		"XX": "did you mean XK (Kosovo)?", "": "write two letters", "1234567": "such as DE (Germany)", "AB": "AD (Andorra)", strings.Repeat("z", 1000): "such as DE",
	} {
		err := Check([]string{"DE", in})
		if err == nil || !strings.Contains(err.Error(), want) || len(err.Error()) > 300 {
			t.Errorf("%q: got %v, want %q", in, err, want)
		}
	}
	if err := Check([]string{"QQ", "WW"}); err == nil || !strings.Contains(err.Error(), `"QQ"`) || !strings.Contains(err.Error(), `"WW"`) {
		t.Errorf("got %v, want both mistakes", err)
	}
	all := Countries()
	if !slices.IsSortedFunc(all, func(a, b Country) int { return strings.Compare(a.Code.String(), b.Code.String()) }) || len(all) != 252 {
		t.Errorf("got %d countries, want 252 in order", len(all))
	}
	if got := Name("CI"); got != "Côte d'Ivoire" {
		t.Errorf("got %q", got)
	}
	if Name("ZZ") != "" || Name("") != "" {
		t.Error("a name for nobody")
	}
}
