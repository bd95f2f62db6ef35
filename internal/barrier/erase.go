package barrier

// Erasing runs fn, and erases what it leaves in registers and on the stack when
// it returns, and what it allocated once nobody refers to it and the garbage
// collector has run. Keys and what they come from are handled inside it. Where the
// toolchain does not offer that (a build without GOEXPERIMENT=runtimesecret, or a platform
// other than Linux on amd64 or arm64), it only runs fn.
func Erasing(fn func() error) (err error) {
	erasing(func() { err = fn() })
	return err
}
