package lifetime

import "context"

// Await returns nil once done is closed, or ctx's error where ctx ended first.
func Await(ctx context.Context, done <-chan struct{}) error {
	select {
	case <-done:
	case <-ctx.Done():
		select {
		case <-done: // both have
		default:
			return ctx.Err()
		}
	}
	return nil
}

// Outcome returns what done yields, or ctx's error where ctx ended first.
func Outcome(ctx context.Context, done <-chan error) error {
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
		select {
		case err := <-done: // suppose both were there: what is done must not be reported as given up
			return err
		default:
			return ctx.Err()
		}
	}
}
