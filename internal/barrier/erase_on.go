//go:build goexperiment.runtimesecret

package barrier

import "runtime/secret"

func erasing(fn func()) { secret.Do(fn) }
