//go:build !linux

package checks

func lookAtVolume(string, bool) volumeLook { return volumeLook{unsupported: true} }
