// Program delivery writes docs/delivery.md: what each broker promises, in the words of a user, from the capabilities that
// the drivers register. A test fails where the file is stale.
//
//	go run ./internal/delivery > docs/delivery.md    # write it
//	go run ./internal/delivery -schemes              # the schemes, a line each, without those that only add TLS
package main

import (
	"flag"
	"fmt"
	"os"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
	_ "github.com/eventbus-go/eventbus/brokers/all"
)

func main() {
	schemes := flag.Bool("schemes", false, "print the schemes only")
	flag.Parse()
	if !*schemes {
		fmt.Print(document(drivers()))
		return
	}
	for _, d := range drivers() {
		fmt.Fprintln(os.Stdout, d.Scheme)
	}
}

// drivers returns the registered drivers without those whose scheme is another one's with TLS.
func drivers() []brokers.Driver {
	var out []brokers.Driver
	all := brokers.Drivers()
	for _, d := range all {
		if withoutTLS(d.Scheme, all) == d.Scheme {
			out = append(out, d)
		}
	}
	return out
}

// withoutTLS returns the scheme that is the same without TLS, as redis is of rediss, or the scheme itself.
func withoutTLS(scheme string, all []brokers.Driver) string {
	base, rest, plus := strings.Cut(scheme, "+")
	for _, d := range all {
		plain, tail, has := strings.Cut(d.Scheme, "+")
		if plain+"s" == base && rest == tail && plus == has {
			return d.Scheme
		}
	}
	return scheme
}
