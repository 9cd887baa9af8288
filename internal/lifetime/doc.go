// Package lifetime has what drivers end their calls and contexts with: a Gate counts the calls that are inside and lets nobody
// in once it is closed, and a Lifetime ends the contexts that were bound to it. Both are safe for concurrent use, and their
// zero values are ready. Await and Outcome wait for what has an end beside that of a context, and prefer it.
package lifetime
