// Package hostinfo owns what can be told of the machine that a server runs on:
// its processors, memory, disk and operating system. On Linux that is read from
// /proc; elsewhere less is known.
package hostinfo

import (
	"errors"
	"fmt"
	"io/fs"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"time"
)

// Info is what is known of the machine. What could not be read is nil.
type Info struct {
	Timestamp time.Time  `json:"timestamp"`
	Host      *Host      `json:"host"`
	CPU       []CPU      `json:"cpu"`
	Times     []CPUTimes `json:"cpu_times"`
	Memory    *Memory    `json:"memory"`
	Disk      []Disk     `json:"disk"`
}

// Host is the operating system.
type Host struct {
	Hostname      string `json:"hostname"`
	Uptime        uint64 `json:"uptime"`   // seconds
	BootTime      uint64 `json:"bootTime"` // seconds since 1970
	Procs         uint64 `json:"procs"`    // processes that can be seen
	OS            string `json:"os"`
	KernelVersion string `json:"kernelVersion"`
	KernelArch    string `json:"kernelArch"`
}

// CPU is one processor.
type CPU struct {
	CPU       int32    `json:"cpu"`
	Vendor    string   `json:"vendorId"`
	Family    string   `json:"family"`
	Model     string   `json:"model"`
	ModelName string   `json:"modelName"`
	Physical  string   `json:"physicalId"`
	Core      string   `json:"coreId"`
	Cores     int32    `json:"cores"`
	MHz       float64  `json:"mhz"`
	CacheSize int32    `json:"cacheSize"` // KiB
	Microcode string   `json:"microcode"`
	Flags     []string `json:"flags"`
}

// CPUTimes is what one processor has done since the machine started, in seconds.
type CPUTimes struct {
	CPU     string  `json:"cpu"`
	User    float64 `json:"user"`
	Nice    float64 `json:"nice"`
	System  float64 `json:"system"`
	Idle    float64 `json:"idle"`
	IOWait  float64 `json:"iowait"`
	IRQ     float64 `json:"irq"`
	SoftIRQ float64 `json:"softirq"`
	Steal   float64 `json:"steal"`
}

// Memory is the machine's memory, in bytes.
type Memory struct {
	Total       uint64  `json:"total"`
	Available   uint64  `json:"available"`
	Used        uint64  `json:"used"`
	UsedPercent float64 `json:"usedPercent"`
	Free        uint64  `json:"free"`
	Buffers     uint64  `json:"buffers"`
	Cached      uint64  `json:"cached"`
	SwapTotal   uint64  `json:"swaptotal"`
	SwapFree    uint64  `json:"swapfree"`
}

// Disk is the file system that a directory lies on, in bytes.
type Disk struct {
	Path        string  `json:"path"`
	Total       uint64  `json:"total"`
	Free        uint64  `json:"free"`
	Used        uint64  `json:"used"`
	UsedPercent float64 `json:"usedPercent"`
}

// Read reads what is known of the machine: from proc, which is /proc, and of the
// disks on which the directories lie. Parts that cannot be read are left out and
// the error says which.
func Read(proc fs.FS, dirs []string, now time.Time) (*Info, error) {
	out := &Info{Timestamp: now.UTC()}
	var errs []error
	part := func(name string, err error) {
		if err != nil {
			errs = append(errs, fmt.Errorf("%s: %w", name, err))
		}
	}
	var err error
	out.Host, err = readHost(proc)
	part("host", err)
	out.CPU, err = readWith(proc, "cpuinfo", parseCPU)
	part("cpu", err)
	out.Times, err = readWith(proc, "stat", parseTimes)
	part("cpu_times", err)
	out.Memory, err = readWith(proc, "meminfo", parseMemory)
	part("memory", err)
	for _, d := range dirs {
		disk, err := DiskOf(d)
		part("disk", err)
		if err == nil {
			out.Disk = append(out.Disk, *disk)
		}
	}
	return out, errors.Join(errs...)
}

func readWith[T any](proc fs.FS, name string, parse func(string) (T, error)) (T, error) {
	b, err := fs.ReadFile(proc, name)
	if err != nil {
		var none T
		return none, err
	}
	return parse(string(b))
}

var errForm = errors.New("is not in the form that Linux gives it")

func readHost(proc fs.FS) (*Host, error) {
	h := &Host{OS: runtime.GOOS, KernelArch: runtime.GOARCH}
	trimmed := func(s string) (string, error) { return strings.TrimSpace(s), nil }
	var errs [5]error
	h.Hostname, errs[0] = readWith(proc, "sys/kernel/hostname", trimmed)
	h.KernelVersion, errs[1] = readWith(proc, "sys/kernel/osrelease", trimmed)
	h.Uptime, errs[2] = readWith(proc, "uptime", parseUptime)
	h.BootTime, errs[3] = readWith(proc, "stat", parseBoot)
	entries, err := fs.ReadDir(proc, ".")
	errs[4] = err
	for _, e := range entries {
		if strings.Trim(e.Name(), "0123456789") == "" {
			h.Procs++
		}
	}
	return h, errors.Join(errs[:]...)
}

func parseUptime(text string) (uint64, error) {
	first, _, _ := strings.Cut(text, " ")
	s, err := strconv.ParseFloat(first, 64)
	if err != nil || !(s >= 0 && s < 1e15) {
		return 0, errForm
	}
	return uint64(s), nil
}

func parseBoot(text string) (uint64, error) {
	for line := range strings.Lines(text) {
		if rest, ok := strings.CutPrefix(line, "btime "); ok {
			return strconv.ParseUint(strings.TrimSpace(rest), 10, 64)
		}
	}
	return 0, errForm
}

// parseCPU reads cpuinfo: one paragraph of "name : value" for each processor.
// Other architectures than x86 name less.
func parseCPU(text string) ([]CPU, error) {
	var out []CPU
	for line := range strings.Lines(text) {
		name, value, ok := strings.Cut(line, ":")
		name, value = strings.TrimSpace(name), strings.TrimSpace(value)
		if ok && name == "processor" {
			n, err := strconv.ParseInt(value, 10, 32)
			if err != nil {
				return nil, errForm
			}
			out = append(out, CPU{CPU: int32(n), Cores: 1})
		} else if ok && len(out) > 0 {
			out[len(out)-1].set(name, value)
		}
	}
	if len(out) == 0 {
		return nil, errForm
	}
	return out, nil
}

func (c *CPU) set(name, value string) {
	switch name {
	case "vendor_id":
		c.Vendor = value
	case "cpu family":
		c.Family = value
	case "model":
		c.Model = value
	case "model name":
		c.ModelName = value
	case "physical id":
		c.Physical = value
	case "core id":
		c.Core = value
	case "microcode":
		c.Microcode = value
	case "flags", "Features":
		c.Flags = strings.Fields(value)
	case "cpu MHz":
		if f, err := strconv.ParseFloat(value, 64); err == nil && f >= 0 && f < 1e9 {
			c.MHz = f
		}
	case "cache size":
		if n, err := strconv.ParseInt(strings.TrimSuffix(value, " KB"), 10, 32); err == nil {
			c.CacheSize = int32(n)
		}
	}
}

// ticks is how many of the units of stat make a second (USER_HZ).
const ticks = 100

// parseTimes reads the lines cpuN of stat.
func parseTimes(text string) ([]CPUTimes, error) {
	var out []CPUTimes
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 9 || !strings.HasPrefix(f[0], "cpu") || f[0] == "cpu" {
			continue
		}
		t := CPUTimes{CPU: f[0]}
		for i, at := range []*float64{&t.User, &t.Nice, &t.System, &t.Idle, &t.IOWait, &t.IRQ, &t.SoftIRQ, &t.Steal} {
			n, err := strconv.ParseUint(f[i+1], 10, 64)
			if err != nil {
				return nil, errForm
			}
			*at = float64(n) / ticks
		}
		out = append(out, t)
	}
	if len(out) == 0 {
		return nil, errForm
	}
	return out, nil
}

// parseMemory reads meminfo, whose numbers are in KiB.
func parseMemory(text string) (*Memory, error) {
	m := &Memory{}
	fields := map[string]*uint64{"MemTotal": &m.Total, "MemAvailable": &m.Available, "MemFree": &m.Free, "Buffers": &m.Buffers, "Cached": &m.Cached,
		"SwapTotal": &m.SwapTotal, "SwapFree": &m.SwapFree}
	for line := range strings.Lines(text) {
		f := strings.Fields(line)
		if len(f) < 2 {
			continue
		}
		at := fields[strings.TrimSuffix(f[0], ":")]
		if at == nil {
			continue
		}
		n, err := strconv.ParseUint(f[1], 10, 54)
		if err != nil {
			return nil, errForm
		}
		*at = n << 10
	}
	if m.Total == 0 {
		return nil, errForm
	}
	m.Used = m.Total - min(m.Total, m.Available)
	m.UsedPercent = percent(m.Used, m.Total)
	return m, nil
}

func percent(part, whole uint64) float64 {
	if whole == 0 {
		return 0
	}
	return 100 * float64(part) / float64(whole)
}

// Disks are directories without those that are said twice, and without the empty one.
func Disks(dirs ...string) []string {
	slices.Sort(dirs)
	return slices.DeleteFunc(slices.Compact(dirs), func(d string) bool { return d == "" })
}
