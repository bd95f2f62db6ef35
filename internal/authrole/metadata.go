package authrole

import (
	"slices"
	"strings"

	"github.com/strongroom/strongroom/internal/api"
)

// allMetadata chooses all that a login tells, as no choice does.
const allMetadata = "default"

// CheckMetadata returns Invalid, naming the field, where what is chosen of a login's metadata is none of the names that there are.
func CheckMetadata(field string, chosen []string, names ...string) error {
	for _, name := range chosen {
		if name != allMetadata && !slices.Contains(names, name) {
			return api.Errorf(api.Invalid, "%s: takes %s and %s", field, strings.Join(names, ", "), allMetadata)
		}
	}
	return nil
}

// Metadata is what an alias has of all that a login tells: what is chosen or, where nothing is, all of it.
func Metadata(chosen []string, all map[string]string) map[string]string {
	if len(chosen) == 0 || slices.Contains(chosen, allMetadata) {
		return all
	}
	of := map[string]string{}
	for _, name := range chosen {
		if value, told := all[name]; told {
			of[name] = value
		}
	}
	return of
}
