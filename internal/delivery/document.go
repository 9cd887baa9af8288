package main

import (
	"fmt"
	"slices"
	"strings"

	"github.com/eventbus-go/eventbus/brokers"
	"github.com/eventbus-go/eventbus/brokers/brokertest"
)

const head = `# What each broker promises

This file is generated from the capabilities of the drivers: change those, or the words in internal/delivery, and run
` + "`go run ./internal/delivery > docs/delivery.md`" + `. A test fails where it is stale.

A promise is more than a remark: the conformance suite ([brokers/brokertest](../brokers/brokertest)) has cases that hold a
driver to it, on the real server, and ` + "`make test`" + ` ends with a table of which ran against what. A subscription that needs a
promise its broker does not make is refused when the service starts, with the brokers that make it.

`

// document returns the whole file.
func document(list []brokers.Driver) string {
	var b strings.Builder
	b.WriteString(head)
	overview(&b, list)
	for _, d := range list {
		section(&b, d)
	}
	cases(&b)
	return b.String()
}

// overview is one row for each promise and one column for each URL.
func overview(b *strings.Builder, list []brokers.Driver) {
	b.WriteString("| |")
	for _, d := range list {
		fmt.Fprintf(b, " `%s://` |", d.Scheme)
	}
	b.WriteString("\n|---|" + strings.Repeat("---|", len(list)) + "\n")
	for _, p := range promises {
		fmt.Fprintf(b, "| %s |", p.title)
		for _, d := range list {
			fmt.Fprintf(b, " %s |", p.value(d.Promises))
		}
		b.WriteString("\n")
	}
}

// section says in words what a URL means to a service.
func section(b *strings.Builder, d brokers.Driver) {
	about := brokerWords[d.Scheme]
	fmt.Fprintf(b, "\n## `%s://`\n\n", d.Scheme)
	if about.what != "" {
		fmt.Fprintf(b, "%s\n\n", about.what)
	}
	for _, p := range promises {
		fmt.Fprintf(b, "- **%s: %s.** %s\n", p.title, p.value(d.Promises), p.means(d.Promises))
	}
	if about.besides != "" {
		fmt.Fprintf(b, "\n%s\n", about.besides)
	}
}

// cases lists what a driver is held to for each promise.
func cases(b *strings.Builder) {
	b.WriteString("\n## The cases behind a promise\n\nEach is run against every driver that makes the promise; a case of " +
		"several promises is under each.\n")
	for _, p := range promises {
		fmt.Fprintf(b, "\n%s:\n\n", p.title)
		for _, c := range brokertest.Cases() {
			holds := slices.ContainsFunc(c.Promises(), func(s string) bool {
				field, _, _ := strings.Cut(s, " ")
				return field == p.field
			})
			if holds {
				fmt.Fprintf(b, "- %s\n", c.Name)
			}
		}
	}
}
