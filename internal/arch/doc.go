// Package arch tests the repository itself: who may import whom, what a program that uses the library links, and what a
// reader finds documented.
//
// A [Rule] is data: a sentence, why it is so, the remedy, and a pure function from the repository's files to findings. The
// tests run every rule on the repository, and on small bad examples, so that each rule is known to be able to fail. The
// tables that a change has to keep up with are in layers.go (imports) and links.go (dependencies).
//
// Rules read files and ask the go command; none of them depends on the commit or on the network.
package arch
