// Package yamlfile reads configuration files in YAML strictly, and says of whatever is wrong where it is: line, column,
// the line itself with a caret, and what to do about it.
//
// It is the one place that knows the YAML library, goccy/go-yaml, which was chosen because its syntax tree keeps the
// positions of keys and values. The library is contained here: it reads a subset of YAML (see [Read]) within limits that
// bound its time, memory and recursion, and a panic in it is an error.
package yamlfile
