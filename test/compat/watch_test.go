package compat

import (
	"reflect"
	"testing"

	vault "github.com/hashicorp/vault/api"
)

// watch is a running lifetime watcher: renewed gives the new lease seconds of each renewal, done its end.
type watch struct {
	renewed func() int
	done    func() error
}

// newWatch starts the client's own lifetime watcher, whose channels carry types of its package and are therefore received
// from through reflection.
func (p parts) newWatch(t *testing.T, in *vault.LifetimeWatcherInput) watch {
	t.Helper()
	w := must(p.watch(recast(reflect.ValueOf(in), reflect.TypeOf(p.input)).Interface()))(t)
	var face struct {
		Start  func()
		Stop   func()
		DoneCh func() <-chan error
	}
	bind(&face, w)
	go face.Start()
	t.Cleanup(face.Stop)
	renewals := reflect.ValueOf(w).MethodByName("RenewCh").Call(nil)[0]
	return watch{
		renewed: func() int {
			out, _ := renewals.Recv()
			of := out.Elem().FieldByName("Secret").Elem()
			if auth := of.FieldByName("Auth"); !auth.IsNil() {
				of = auth.Elem()
			}
			return int(of.FieldByName("LeaseDuration").Int())
		},
		done: func() error { return <-face.DoneCh() },
	}
}
