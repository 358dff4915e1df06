package compose

import (
	"path"
	"slices"
	"strconv"
	"strings"

	"github.com/compose-spec/compose-go/v2/types"

	"github.com/platformd/platformd/apps"
	"github.com/platformd/platformd/proxy/field"
)

// folders takes what is mounted into the app.
func (im *importer) folders(at string) {
	for i, v := range im.app.Volumes {
		p := field.Index(at, i)
		why, note := im.folder(&v)
		switch {
		case why != "":
			im.left(p, "%s", why)
		case note != "":
			im.changed(p, "%s", note)
		default:
			im.taken(p)
		}
	}
}

// folder makes data of one mount. why says why it cannot be, note what is different.
func (im *importer) folder(v *types.ServiceVolumeConfig) (why, note string) {
	target := path.Clean(v.Target)
	if why := refused(apps.Manifest{Data: []apps.Data{{Name: "data", Path: target}}}); why != "" {
		return why, ""
	}
	if slices.ContainsFunc(im.m.Data, func(d apps.Data) bool { return d.Path == target }) {
		return "something else is mounted at " + target + " already", ""
	}
	switch v.Type {
	case "tmpfs":
		t := apps.Tmpfs{Path: target}
		if v.Tmpfs != nil {
			t.Size = apps.Size(v.Tmpfs.Size)
			if v.Tmpfs.Mode != 0 {
				t.Mode = strconv.FormatUint(uint64(v.Tmpfs.Mode), 8)
			}
		}
		if why := refused(apps.Manifest{Tmpfs: []apps.Tmpfs{t}}); why != "" {
			return why, ""
		}
		im.m.Tmpfs = append(im.m.Tmpfs, t)
		return "", ""
	case "bind":
		return im.bind(v, target)
	case "volume", "":
	default:
		return "mounts of type " + v.Type + " do not exist here", ""
	}
	if v.ReadOnly {
		return "a folder that the app only reads is filled by somebody else, and an app shares its folders with nobody", ""
	}
	if v.Volume != nil && v.Volume.Subpath != "" {
		return "a part of a volume cannot be mounted; mount all of it", ""
	}
	if first := im.volumes[v.Source]; first != "" && v.Source != "" {
		return "the volume " + v.Source + " is " + first + " already, and a folder has one place", ""
	}
	name := v.Source
	if name == "" {
		name = path.Base(target)
		note = "the volume without a name is kept as " + im.dataName(name)
	}
	im.addData(name, target)
	if v.Source != "" {
		im.volumes[v.Source] = "the folder " + target + " of the app"
	}
	return "", note
}

// refused says what a manifest with nothing but this part in it would be refused for.
func refused(m apps.Manifest) string {
	m.Version, m.ID, m.Image = apps.ManifestVersion, "trial", "trial"
	err := m.Validate()
	if err == nil {
		return ""
	}
	_, reason, _ := strings.Cut(strings.ReplaceAll(err.Error(), "\n", "; "), ": ")
	return reason
}

// bind is a mount of something of the host.
func (im *importer) bind(v *types.ServiceVolumeConfig, target string) (why, note string) {
	base := path.Base(v.Source)
	switch {
	case strings.HasSuffix(v.Source, "docker.sock") || strings.HasSuffix(v.Source, "podman.sock") || strings.HasSuffix(v.Source, "containerd.sock"):
		return "an app never gets the socket of the container engine, which is as good as root on the host", ""
	case v.Source == "/etc/localtime" || v.Source == "/etc/timezone":
		return "", "an app has the time zone of its image; set TZ in its environment where it matters"
	case strings.HasPrefix(v.Source, "/") || strings.HasPrefix(v.Source, "~"):
		return "an app sees no files of the host; name a volume in the place of " + v.Source + ", and copy what is needed into its folder", ""
	case v.ReadOnly || path.Ext(base) != "" && base != ".":
		return "files beside the compose file do not come along; put " + v.Source + " into a folder of the app after it was installed, or set by environment what it says", ""
	}
	name := strings.Trim(base, "./")
	if name == "" || name == "data" && im.hasData(name) {
		name = path.Base(target)
	}
	note = "is the folder " + im.dataName(name) + " of the app's own, which begins empty; copy what is in " + v.Source + " into it"
	im.addData(name, target)
	return "", note
}

func (im *importer) hasData(name string) bool {
	return slices.ContainsFunc(im.m.Data, func(d apps.Data) bool { return d.Name == name })
}

// dataName is what a folder is called: no two the same.
func (im *importer) dataName(name string) string {
	name = nameFrom(name, "data")
	for n, base := 2, name; im.hasData(name); n++ {
		name = strings.TrimRight(base[:min(len(base), 29)], "-") + strconv.Itoa(n)
	}
	return name
}

func (im *importer) addData(name, target string) {
	im.m.Data = append(im.m.Data, apps.Data{Name: im.dataName(name), Path: target})
}

// tmpfs takes folders in memory, as "/run:size=64m,mode=1777".
func (im *importer) tmpfs(at string) {
	list, isList := im.raw(im.app.Name)["tmpfs"].([]any)
	for i, entry := range im.app.Tmpfs {
		p := at
		if isList && i < len(list) {
			p = field.Index(at, i)
		}
		folder, options, _ := strings.Cut(entry, ":")
		t := apps.Tmpfs{Path: path.Clean(folder)}
		var lost []string
		for o := range strings.SplitSeq(options, ",") {
			k, v, _ := strings.Cut(o, "=")
			switch k {
			case "size":
				if t.Size.UnmarshalText([]byte(v)) != nil {
					lost = append(lost, o)
				}
			case "mode":
				t.Mode = strings.TrimPrefix(v, "0")
			case "exec":
				t.Exec = true
			case "", "rw", "noexec", "nosuid", "nodev":
			default:
				lost = append(lost, o)
			}
		}
		if why := refused(apps.Manifest{Tmpfs: []apps.Tmpfs{t}}); why != "" {
			im.left(p, "%s", why)
			continue
		}
		im.m.Tmpfs = append(im.m.Tmpfs, t)
		if len(lost) > 0 {
			im.left(p, "the folder is taken, but without %s, which folders in memory do not have here", strings.Join(lost, ","))
		} else {
			im.taken(p)
		}
	}
}
