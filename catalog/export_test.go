package catalog

// Remembered is how many members the locator has at hand.
func (l *Locator) Remembered() int {
	l.mu.Lock()
	defer l.mu.Unlock()
	return len(l.near)
}
