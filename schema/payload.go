package schema

import (
	"github.com/go-json-experiment/json"
	"github.com/go-json-experiment/json/jsontext"
	v1 "github.com/go-json-experiment/json/v1"
)

// payloadOptions is how payloads and metadata values are written: encoding/json/v2 (keys are case-sensitive, duplicates
// are refused, a nil slice is [] and a nil map is {}), except that omitempty also leaves out false, 0 and nil as users of
// encoding/json expect, and that the keys of maps are sorted, so that equal payloads are equal bytes.
var payloadOptions = json.JoinOptions(
	v1.OmitEmptyWithLegacySemantics(true),
	json.Deterministic(true),
	jsontext.EscapeForHTML(false),
)
