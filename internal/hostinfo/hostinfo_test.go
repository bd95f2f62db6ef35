package hostinfo

import (
	"os"
	"runtime"
	"strings"
	"testing"
	"testing/fstest"
	"time"
)

// machine is a /proc of two processors.
func machine() fstest.MapFS {
	file := func(text string) *fstest.MapFile { return &fstest.MapFile{Data: []byte(text)} }
	return fstest.MapFS{
		"sys/kernel/hostname":  file("box\n"),
		"sys/kernel/osrelease": file("6.1.0\n"),
		"uptime":               file("1234.56 99.00\n"),
		"stat":                 file("cpu  1 2 3 4 5 6 7 8 9 10\ncpu0 100 200 300 400 500 600 700 800 0 0\ncpu1 1 2 3 4 5 6 7 8 9 10\nbtime 1700000000\n"),
		"meminfo":              file("MemTotal:       1000 kB\nMemFree:  100 kB\nMemAvailable:  250 kB\nBuffers: 1 kB\nCached: 2 kB\nHugePages_Total: 0\n"),
		"cpuinfo":              file("processor\t: 0\nvendor_id\t: V\nmodel name\t: M 1\ncpu MHz\t\t: 2500.5\ncache size\t: 512 KB\nflags\t\t: a b\n\nprocessor\t: 1\n"),
		"1/stat":               file(""), "42/stat": file(""), "self2/stat": file(""),
	}
}

func TestRead(t *testing.T) {
	now := time.Unix(1700001234, 0)
	got, err := Read(machine(), []string{t.TempDir()}, now)
	if err != nil {
		t.Fatal(err)
	}
	if h := *got.Host; h.Hostname != "box" || h.Uptime != 1234 || h.BootTime != 1700000000 || h.Procs != 2 || h.KernelVersion != "6.1.0" || h.OS != runtime.GOOS {
		t.Errorf("host: %+v", h)
	}
	if m := *got.Memory; m.Total != 1000<<10 || m.Used != 750<<10 || m.UsedPercent != 75 || m.Free != 100<<10 || m.Cached != 2<<10 {
		t.Errorf("memory: %+v", m)
	}
	if len(got.CPU) != 2 || got.CPU[0].ModelName != "M 1" || got.CPU[0].MHz != 2500.5 || got.CPU[0].CacheSize != 512 || len(got.CPU[0].Flags) != 2 || got.CPU[1].CPU != 1 {
		t.Errorf("processors: %+v", got.CPU)
	}
	if len(got.Times) != 2 || got.Times[0].User != 1 || got.Times[0].Steal != 8 || got.Times[1].CPU != "cpu1" {
		t.Errorf("times: %+v", got.Times)
	}
	if len(got.Disk) != 1 || got.Disk[0].Total == 0 || got.Disk[0].Used > got.Disk[0].Total || !got.Timestamp.Equal(now) {
		t.Errorf("disk: %+v at %v", got.Disk, got.Timestamp)
	}
}

func TestPartsThatCannotBeReadAreNamed(t *testing.T) {
	for name, part := range map[string]string{"meminfo": "memory", "cpuinfo": "cpu", "uptime": "host", "stat": "cpu_times"} {
		for _, text := range []string{"", "nonsense", "cpu0 a b c d e f g h", "MemTotal: much", "processor : first", "-1 0"} {
			m := machine()
			m[name] = &fstest.MapFile{Data: []byte(text)}
			got, err := Read(m, nil, time.Time{})
			if err == nil || !strings.Contains(err.Error(), part+":") || got == nil {
				t.Errorf("%s as %q: %v", name, text, err)
			}
		}
	}
	if _, err := Read(machine(), []string{"/nonexistent/at/all"}, time.Time{}); err == nil || !strings.Contains(err.Error(), "disk:") {
		t.Errorf("a disk that is not there: %v", err)
	}
	if got, err := Read(fstest.MapFS{}, nil, time.Time{}); err == nil || got.Memory != nil || got.CPU != nil {
		t.Errorf("nothing: %+v, %v", got, err)
	}
}

func TestThisMachine(t *testing.T) {
	if runtime.GOOS != "linux" {
		return
	}
	if got, err := Read(os.DirFS("/proc"), Disks("/", "", "/"), time.Now()); err != nil || got.Memory.Total == 0 || len(got.Disk) != 1 {
		t.Errorf("%+v, %v", got, err)
	}
}

func FuzzParse(f *testing.F) {
	for _, file := range machine() {
		f.Add(string(file.Data))
	}
	f.Fuzz(func(t *testing.T, text string) {
		if cpus, err := parseCPU(text); (err == nil) != (len(cpus) > 0) {
			t.Errorf("%d processors and %v", len(cpus), err)
		}
		if times, err := parseTimes(text); (err == nil) != (len(times) > 0) {
			t.Errorf("%d times and %v", len(times), err)
		}
		if m, err := parseMemory(text); err == nil && (m.Total == 0 || m.Used > m.Total || m.UsedPercent > 100) {
			t.Errorf("%+v", m)
		}
		if _, err := parseUptime(text); err == nil && text == "" {
			t.Error("nothing is a time")
		}
		if _, err := parseBoot(text); err == nil && !strings.Contains(text, "btime ") {
			t.Error("no start is a start")
		}
	})
}
