package nats

import "github.com/eventbus-go/eventbus/brokers"

type jetSettings struct{}

func jetDefaults() jetSettings         { return jetSettings{} }
func (*jetSettings) read(*brokers.URL) {}
func (jetSettings) check() error       { return nil }

type setupError struct{ err error }

func (e *setupError) Error() string { return e.err.Error() }
