package schema

import (
	"strings"
	"testing"
)

func TestAKeyIsForbiddenByItsWholeWords(t *testing.T) {
	long := strings.Repeat("very_", 100)
	for _, c := range []struct{ name, entry string }{
		{"password", "password"}, {"Password", "password"}, {"PASSWORD", "password"}, {"passwords", "passwords"},
		{"secret", "secret"}, {"token", "token"}, {"authorization", "authorization"},
		{"reset_token", "token"}, {"resetToken", "token"}, {"ResetToken", "token"}, {"RESET_TOKEN", "token"},
		{"reset-token", "token"}, {"X-Token-Id", "token"}, {"tokenID", "token"}, {"tokenId", "token"}, {"IDToken", "token"},
		{"token2", "token"}, {"2token", "token"}, {"oauth2Token", "token"}, {"a.token", "token"}, {"my token", "token"},
		{"api_key", "api_key"}, {"apiKey", "api_key"}, {"APIKey", "api_key"}, {"APIKEY", "api_key"}, {"apikey", "api_key"},
		{"api-key", "api_key"}, {"x_api_key_id", "api_key"}, {"X-APIKeyID", "api_key"}, {"api_keys", "api_keys"},
		{"passWord", "password"}, {"PassWord", "password"}, {"user_password_hash", "password"},
		{"to\u212aen", "token"}, {"pa\u017f\u017fword", "password"}, // the Kelvin sign and the long s fold to k and s
		{long + "token", "token"}, {"token_" + long, "token"}, {"\xfftoken\xff", "token"}, {"übertragungs_token", "token"},

		{"tokenised", ""}, {"tokenisation", ""}, {"detokenise", ""}, {"passwordless", ""}, {"secretary", ""}, {"mytoken", ""},
		{"api", ""}, {"key", ""}, {"api_id_key", ""}, {"key_api", ""}, {"keyboard", ""}, {"apikeyboard", ""},
		{"", ""}, {"_", ""}, {"user_id", ""}, {"session_id", ""}, {"device_fingerprint", ""}, {"backup_codes_count", ""},
		{"ip", ""}, {"user_agent", ""}, {"correlation_id", ""}, {"traceparent", ""}, {"authored_by", ""}, {"mfa_verified", ""},
		{"tokén", ""}, {long, ""},
	} {
		if entry, found := DefaultForbidden().Find(c.name); entry != c.entry || found != (c.entry != "") {
			t.Errorf("%.40q: %q, %v, want %q", c.name, entry, found, c.entry)
		}
	}
}

func TestTheForbiddenListIsConfiguration(t *testing.T) {
	f := NewForbidden("tax_number", "IBAN", "", "-")
	for name, want := range map[string]bool{
		"tax_number": true, "taxNumber": true, "iban": true, "customerIBAN": true, "password": false, "": false, "-": false,
	} {
		if _, found := f.Find(name); found != want {
			t.Errorf("%q: %v", name, found)
		}
	}
	var none *Forbidden
	for _, f := range []*Forbidden{none, NewForbidden(), {}} {
		if _, found := f.Find("password"); found {
			t.Error("an empty list forbids something")
		}
	}
}

func TestForbiddenKeysAreFoundAtAnyDepth(t *testing.T) {
	for in, want := range map[string]string{
		`{"a":1,"token":2}`:                  "token",
		`{"a":{"b":[{"apiKey" : 1}]}}`:       "apiKey",
		`{"to\u006ben":1}`:                   "token",
		`{"a":"token","b":["password"]}`:     "",
		`{"a":"\"token\":1","b\"":"secret"}`: "",
		`{}`:                                 "",
		``:                                   "",
	} {
		if _, key, _ := DefaultForbidden().findIn([]byte(in)); key != want {
			t.Errorf("%s: %q, want %q", in, key, want)
		}
	}
}

func TestFindDoesNotAllocate(t *testing.T) {
	if n := testing.AllocsPerRun(100, func() { DefaultForbidden().Find("someLongish_correlation-id") }); n != 0 {
		t.Errorf("%v allocations", n)
	}
}

// FuzzForbidden checks that joining words does not hide an entry, and that a key without its letters is never found.
func FuzzForbidden(f *testing.F) {
	for _, s := range []string{"", "x", "reset", "aB", "\xff", "é", "API", "1"} {
		f.Add(s, s)
	}
	f.Fuzz(func(t *testing.T, before, after string) {
		for _, joint := range []string{"_", "-", ".", " "} {
			if _, found := DefaultForbidden().Find(before + joint + "token" + joint + after); !found {
				t.Fatalf("%q%stoken%s%q is not found", before, joint, joint, after)
			}
		}
		if entry, found := NewForbidden("token").Find(before); found && !strings.ContainsAny(before, "tT") {
			t.Fatalf("%q names a %s", before, entry)
		}
	})
}

func BenchmarkFind(b *testing.B) {
	b.ReportAllocs()
	for b.Loop() {
		DefaultForbidden().Find("user_agent")
	}
}
