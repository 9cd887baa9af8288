package schema

import "testing"

// FuzzFlatPayloads compares the writer of simple structs with the codec.
func FuzzFlatPayloads(f *testing.F) {
	f.Add("", "", int64(0), 0, uint64(0), int32(0), false, 0)
	f.Add("a", "\"\\\n\x00\x7f", int64(-1<<63), -5, uint64(1<<64-1), int32(-1), true, 3)
	f.Add("é€😀\u2028", "\xff\xfe", int64(7), 1, uint64(1), int32(1), false, 1)
	type flat struct {
		S  string   `json:"s"`
		T  string   `json:"t,omitempty"`
		I  int64    `json:"i"`
		J  int      `json:"j,omitempty"`
		U  uint64   `json:"u,omitempty"`
		K  int32    `json:"k,omitempty"`
		B  bool     `json:"b"`
		C  bool     `json:"c,omitempty"`
		L  []string `json:"l"`
		M  []string `json:"m,omitempty"`
		I2 int64    `json:"i2,omitempty"`
		K2 int32    `json:"k2"`
	}
	enc := newPayloadEncoder[flat]()
	if enc.flat == nil {
		f.Fatal("the struct is not simple")
	}
	f.Fuzz(func(t *testing.T, s, u string, i int64, j int, v uint64, k int32, b bool, n int) {
		p := flat{S: s, T: u, I: i, J: j, U: v, K: k, B: b, C: b, I2: i, K2: k}
		for range n & 3 {
			p.L, p.M = append(p.L, s, u), append(p.M, u)
		}
		got, err := enc.encode(p)
		want, err2 := marshalGuarded(p)
		if err != nil || err2 != nil || string(got) != string(want) {
			t.Fatalf("%v, %v:\ngot  %s\nwant %s", err, err2, got, want)
		}
	})
}
