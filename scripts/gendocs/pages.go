package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/platformd/platformd/firewall"
	"github.com/platformd/platformd/firewall/nft"
	"github.com/platformd/platformd/internal/activity"
	"github.com/platformd/platformd/internal/api"
	"github.com/platformd/platformd/internal/host"
	"github.com/platformd/platformd/internal/state"
)

// activityPage lists the names of events.
func activityPage(string) ([]byte, error) {
	var b bytes.Buffer
	b.WriteString("# Actions in the activity log\n\n" + generated)
	b.WriteString("Every record has an actor, the address it was asked from, an action, an object and an outcome. The action is one of these;\n" +
		"`platformctl activity --action NAME` filters by it.\n\n| action | meaning |\n|---|---|\n")
	for _, a := range activity.Actions() {
		fmt.Fprintf(&b, "| `%s` | %s |\n", a.Name, a.Description)
	}
	return b.Bytes(), nil
}

// apiPage is the OpenAPI description, indented so that a change can be read.
func apiPage(string) ([]byte, error) {
	data, err := api.Description("1")
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	if err := json.Indent(&b, data, "", "  "); err != nil {
		return nil, err
	}
	b.WriteByte('\n')
	return b.Bytes(), nil
}

// cliPage joins the pages that platformctl writes about its commands.
func cliPage(root string) ([]byte, error) {
	tmp, err := os.MkdirTemp("", "gendocs-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	cmd := exec.Command("go", "run", "./cmd/platformctl", "docs", tmp)
	cmd.Dir = root
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0", "PLATFORM_SOCKET=") // the default socket, whoever runs this
	if out, err := cmd.CombinedOutput(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, out)
	}
	files, err := filepath.Glob(filepath.Join(tmp, "markdown", "*.md"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("platformctl docs wrote nothing (%w)", err)
	}
	slices.Sort(files)
	// Every page is a part of this one: its headings go down by one, and links to other pages stay here.
	link := regexp.MustCompile(`\]\(([a-z_-]+)\.md\)`)
	var b bytes.Buffer
	b.WriteString("# platformctl\n\n" + generated)
	for _, f := range files {
		data, err := os.ReadFile(f)
		if err != nil {
			return nil, err
		}
		text := link.ReplaceAllStringFunc(string(data), func(l string) string {
			return "](#" + strings.ReplaceAll(link.FindStringSubmatch(l)[1], "_", "-") + ")"
		})
		b.WriteString(strings.TrimSpace(text) + "\n\n")
	}
	return append(bytes.TrimSpace(b.Bytes()), '\n'), nil
}

// manifestSchema is the JSON Schema of manifests.
func manifestSchema(string) ([]byte, error) {
	data, err := api.ManifestSchema()
	return append(data, '\n'), err
}

// rulesetPage shows what the document of a new host means to the kernel.
func rulesetPage(string) ([]byte, error) {
	s := state.Default()
	want, err := host.Compile(&s, host.Facts{Now: time.Unix(0, 0)})
	if err != nil {
		return nil, err
	}
	var b bytes.Buffer
	b.WriteString("# The table `inet platform` of a new host\n\n" + generated)
	fmt.Fprintf(&b, `This is what the nft driver puts into the kernel for the document of a new host. Chains and sets that are
replaced as a whole have `+"`_`"+` and eight characters after their name there: their generation. A packet meets the chains in the order of hook and priority; what a chain accepts still
meets those of a later hook, and those of other programs. Refused packets are logged to NFLOG group %d, at most %d a second.

`, firewall.LogGroup, firewall.LogRate)
	b.WriteString("```\n" + nft.Document(want.Firewall) + "```\n")
	return b.Bytes(), nil
}
