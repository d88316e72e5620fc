package source

// LocalPath returns the directory of a source that is read in place; false for all others, and for what is no source.
func LocalPath(url string) (string, bool) {
	at, err := ParseAddress(url)
	return at.Path, err == nil && at.Transport == InPlace
}
