package archiver

import "context"

// clean cleans the spool unless another run writes tapes.
func (w *writer) clean(ctx context.Context) error {
	if !w.lock.held() {
		unlock, err := w.a.env.LockWriterNow()
		if err != nil || unlock == nil {
			return err
		}
		defer unlock()
	}
	ours := map[string]bool{}
	for _, s := range w.sources {
		ours[s.Name] = true
	}
	return w.a.spool.Clean(ctx, ours)
}
