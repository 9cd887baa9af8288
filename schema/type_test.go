package schema

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"reflect"
	"strings"
	"sync"
	"testing"
	"time"
)

type order struct {
	OrderID int64    `json:"order_id"`
	Items   []string `json:"items"`
	Note    string   `json:"note,omitempty"`
	Express bool     `json:"express,omitempty"`
}

// publishable returns e with what the bus would fill in.
func publishable(e Event) Event {
	e.ID, e.Time = "1", time.Unix(0, 0)
	if e.Source == "" {
		e.Source = "s"
	}
	return e
}

func TestATypeFillsTheEnvelopeFromItsDefinition(t *testing.T) {
	c := NewCatalogue("shop")
	placed := MustDefine(c, Definition[order]{
		Type: "order.placed", Priority: High,
		Subject:  func(o order) string { return Ref("order", o.OrderID) },
		Resource: func(o order) string { return "shop:main" },
		Key:      func(o order) string { return "customer:7" },
	})
	e := placed.New(order{OrderID: 5})
	if e.Type != "order.placed" || e.Priority != High || e.Source != "shop" || e.Subject != "order:5" ||
		e.Resource != "shop:main" || e.Key() != "customer:7" || e.ID != "" || !e.Time.IsZero() {
		t.Errorf("%+v", e)
	}
	if string(e.Data) != `{"order_id":5,"items":[]}` {
		t.Errorf("%s", e.Data)
	}
	if placed.Name() != "order.placed" || placed.Priority() != High || placed.Source() != "shop" || !placed.Is(e) || placed.Is(Event{}) {
		t.Error("the type does not know itself")
	}
	got, err := placed.Decode(mustDecode(t, mustEncode(t, publishable(e))))
	if err != nil || got.OrderID != 5 || got.Items == nil {
		t.Errorf("%+v, %v", got, err)
	}
}

func TestAPayloadMayBeChangedOnceItsEventIsMade(t *testing.T) {
	placed := MustDefine(NewCatalogue("shop"), Definition[order]{Type: "a"})
	p := order{OrderID: 1, Items: []string{"x"}}
	e := placed.New(p)
	p.Items[0] = "y"
	placed.New(order{OrderID: 2, Items: []string{"z"}})
	if string(e.Data) != `{"order_id":1,"items":["x"]}` {
		t.Errorf("%s", e.Data)
	}
}

type (
	nested struct {
		Inner struct{ A []map[string]secretive }
	}
	secretive struct {
		Key string `json:"apiKey"`
	}
	embedding struct{ secretive }
	recursive struct {
		Name     string      `json:"name"`
		Children []recursive `json:"children"`
	}
	renamed struct {
		Password string `json:"pw_hint"`
	}
	ignored struct {
		A        int    `json:"a"`
		Password string `json:"-"`
	}
	quoted struct {
		A int `json:"'re\\u0073et_token'"`
	}
	embedded struct {
		A    int            `json:"a"`
		Rest map[string]any `json:",embed"`
	}
	asText   struct{ A int }
	asObject struct{ A int }
	asArray  struct{ A int }
	shy      struct{ A int }
	holding  struct {
		S shy `json:"s"`
	}
)

func (asText) MarshalText() ([]byte, error)   { return []byte("x"), nil }
func (asObject) MarshalJSON() ([]byte, error) { return []byte(`{"a":1}`), nil }
func (asArray) MarshalJSON() ([]byte, error)  { return []byte(`[]`), nil }

func (s shy) MarshalText() ([]byte, error) {
	if s.A == 0 {
		return nil, errors.New("not the zero value")
	}
	return []byte("x"), nil
}

// defining returns the error of defining a type with payload T.
func defining[T any](t *testing.T) error {
	t.Helper()
	_, err := Define(NewCatalogue("s"), Definition[T]{Type: "a.b"})
	return err
}

func TestAPayloadThatIsNoObjectIsRefusedWhenDefined(t *testing.T) {
	for name, err := range map[string]error{
		"int": defining[int](t), "string": defining[string](t), "bool": defining[bool](t), "slice": defining[[]order](t),
		"array": defining[[2]int](t), "bytes": defining[[]byte](t), "time": defining[time.Time](t), "*time": defining[*time.Time](t),
		"*int": defining[*int](t), "**struct": defining[**order](t), "any": defining[any](t), "*any": defining[*any](t),
		"raw": defining[json.RawMessage](t), "chan": defining[chan int](t), "func": defining[func()](t),
		"complex": defining[complex128](t), "text": defining[asText](t), "array by method": defining[asArray](t),
		"a field of type chan":  defining[struct{ C chan int }](t),
		"a map of funcs":        defining[map[string]func()](t),
		"a map with bool keys":  defining[map[bool]int](t),
		"a duration, ambiguous": defining[struct{ D time.Duration }](t),
	} {
		if err == nil || !strings.Contains(err.Error(), `"a.b"`) {
			t.Errorf("%s: %v", name, err)
		}
	}
	for name, err := range map[string]error{
		"struct": defining[order](t), "empty struct": defining[struct{}](t), "*struct": defining[*order](t),
		"map": defining[map[string]any](t), "map of ints": defining[map[int]string](t), "recursive": defining[recursive](t),
		"object by method": defining[asObject](t), "ignored fields": defining[ignored](t), "a renamed field": defining[renamed](t),
		"embedded map": defining[embedded](t), "a method that refuses the zero value": defining[holding](t),
		"a time": defining[struct{ T time.Time }](t),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestTwoFieldsOfOneNameAreRefusedWhenDefined(t *testing.T) {
	number := reflect.TypeFor[int]()
	doubled := reflect.StructOf([]reflect.StructField{ // as a Go type, linters would refuse it
		{Name: "A", Type: number, Tag: `json:"x"`}, {Name: "B", Type: number, Tag: `json:"x"`},
	})
	if _, err := inspect(doubled, nil); err == nil || !strings.Contains(err.Error(), "has no JSON") {
		t.Errorf("%v", err)
	}
}

func TestAForbiddenFieldIsRefusedWhenDefined(t *testing.T) {
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"by its tag":      {defining[secretive](t), "the field Key, whose name \"apiKey\""},
		"deep inside":     {defining[nested](t), "the field Inner.A.Key"},
		"embedded":        {defining[embedding](t), "the field Key"},
		"by its own name": {defining[struct{ ResetToken string }](t), "the field ResetToken"},
		"in a pointer":    {defining[*secretive](t), "the field Key"},
		"in a map":        {defining[map[string]secretive](t), "the field Key"},
		"quoted":          {defining[quoted](t), `"reset_token"`},
	} {
		if c.err == nil || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	lenient := NewCatalogue("s", WithForbidden(NewForbidden("iban")))
	if _, err := Define(lenient, Definition[secretive]{Type: "a"}); err != nil {
		t.Error(err)
	}
	if _, err := Define(lenient, Definition[struct{ IBAN string }]{Type: "b"}); err == nil {
		t.Error("the catalogue's own list is not used")
	}
}

func TestADefinitionIsRefusedWithTheRemedy(t *testing.T) {
	c := NewCatalogue("shop")
	MustDefine(c, Definition[order]{Type: "order.placed"})
	for _, d := range []struct {
		def  Definition[order]
		says string
	}{
		{Definition[order]{}, "it is empty"},
		{Definition[order]{Type: "Order.Placed"}, "write 'o'"},
		{Definition[order]{Type: "order.*"}, "wildcard"},
		{Definition[order]{Type: "order.placed"}, "defined twice"},
		{Definition[order]{Type: "order.paid", Priority: 7}, "schema.Low"},
	} {
		if _, err := Define(c, d.def); err == nil || !strings.Contains(err.Error(), d.says) {
			t.Errorf("%q: %v", d.def.Type, err)
		}
	}
	if _, err := Define(NewCatalogue("a\nb"), Definition[order]{Type: "a"}); err == nil {
		t.Error("a bad source is not refused")
	}
	if n := len(c.Types()); n != 1 {
		t.Errorf("%d types: a refused one was added", n)
	}
	defer func() {
		if recover() == nil {
			t.Error("MustDefine does not panic")
		}
	}()
	MustDefine(c, Definition[order]{Type: "order.placed"})
}

func TestTheSameNameMayBeInTwoCatalogues(t *testing.T) {
	for range 2 {
		MustDefine(NewCatalogue("shop"), Definition[order]{Type: "order.placed"})
	}
}

func TestACatalogueListsItsTypes(t *testing.T) {
	c := NewCatalogue("shop")
	MustDefine(c, Definition[order]{Type: "b", Priority: Low})
	MustDefine(c, Definition[order]{Type: "a"})
	want := []TypeInfo{{"a", "shop", Normal, "schema.order"}, {"b", "shop", Low, "schema.order"}}
	if got := c.Types(); fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%v", got)
	}
	if got, ok := c.Lookup("b"); !ok || got != want[1] {
		t.Errorf("%v, %v", got, ok)
	}
	if _, ok := c.Lookup("c"); ok {
		t.Error("c is not defined")
	}
}

// kept returns the error that New kept for p.
func kept[T any](t *testing.T, p T, subject func(T) string) error {
	t.Helper()
	c := NewCatalogue("s")
	e := publishable(MustDefine(c, Definition[T]{Type: "a.b", Subject: subject}).New(p))
	if _, err := Encode(e); (err == nil) != (e.Validate(nil) == nil) {
		t.Errorf("Encode: %v", err)
	}
	return e.Validate(nil)
}

func TestWhatIsWrongWithAPayloadIsReportedWhenItIsPublished(t *testing.T) {
	deep := recursive{}
	for range MaxDepth {
		deep = recursive{Children: []recursive{deep}}
	}
	var nobody *order
	cycle := map[string]any{}
	cycle["self"] = cycle
	for name, c := range map[string]struct {
		err  error
		says string
	}{
		"a forbidden key":        {kept(t, map[string]any{"a": map[string]int{"reset_token": 1}}, nil), `"reset_token"`},
		"in a map of numbers":    {kept(t, map[string]int{"reset_token": 1}, nil), `"reset_token"`},
		"a value without JSON":   {kept(t, map[string]any{"a": make(chan int)}, nil), "cannot be encoded"},
		"NaN":                    {kept(t, struct{ F float64 }{math.NaN()}, nil), "cannot be encoded"},
		"too deep":               {kept(t, deep, nil), "64 deep"},
		"a cycle":                {kept(t, cycle, nil), "data"},
		"nil":                    {kept(t, nobody, nil), "is null"},
		"a panic in its methods": {kept(t, map[string]any{"a": panicking{}}, nil), "no JSON of mine"},
		"a panic in Subject":     {kept(t, order{}, func(o order) string { return o.Items[3] }), "index out of range"},
	} {
		var fe *FieldError
		if !errors.As(c.err, &fe) || fe.Field != "data" || fe.Type != "a.b" || !strings.Contains(c.err.Error(), c.says) {
			t.Errorf("%s: %v", name, c.err)
		}
	}
	for name, err := range map[string]error{
		"a map": kept(t, map[string]any{"a": 1}, nil), "a nil map": kept(t, map[string]any(nil), nil),
		"a pointer": kept(t, &order{}, nil), "not UTF-8": kept(t, order{Note: "\xff"}, nil),
		"not UTF-8 in a map": kept(t, map[string]string{"a": "\xff"}, nil),
		"half a surrogate":   kept(t, map[string]any{"a": json.RawMessage(`"\ud800"`)}, nil),
	} {
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestPayloadsAreWrittenTheSameWayEachTime(t *testing.T) {
	bag := MustDefine(NewCatalogue("s"), Definition[map[string]any]{Type: "a"})
	e := bag.New(map[string]any{"b": []int(nil), "a": map[string]int(nil), "c": "<&>\u2028", "d": 1e21, "e": nil})
	if want := `{"a":{},"b":[],"c":"<&>` + "\u2028" + `","d":1e+21,"e":null}`; string(e.Data) != want {
		t.Errorf("%s", e.Data)
	}
	type legacy struct {
		A int      `json:"a,omitempty"`
		B bool     `json:"b,omitempty"`
		C *int     `json:"c,omitempty"`
		D []string `json:"d,omitempty"`
		E float64  `json:"e,omitempty"`
	}
	if e := MustDefine(NewCatalogue("s"), Definition[legacy]{Type: "a"}).New(legacy{}); string(e.Data) != "{}" {
		t.Errorf("omitempty leaves %s", e.Data)
	}
}

func TestDecodingAPayloadNamesTypeAndField(t *testing.T) {
	placed := MustDefine(NewCatalogue("shop"), Definition[order]{Type: "order.placed"})
	for name, c := range map[string]struct {
		typ, data, field, says string
	}{
		"a wrong kind":     {"order.placed", `{"order_id":"5"}`, "/order_id", "order_id"},
		"deep inside":      {"order.placed", `{"items":["a",1]}`, "/items/1", "items"},
		"a key twice":      {"order.placed", `{"order_id":1,"order_id":2}`, "/order_id", "duplicate"},
		"too large":        {"order.placed", `{"order_id":9223372036854775808}`, "/order_id", "order_id"},
		"no JSON":          {"order.placed", `{"order_id":`, "", "EOF"},
		"of another type":  {"order.paid", `{}`, "", `"order.paid"`},
		"of no type, huge": {strings.Repeat("x", 1000), `{}`, "", "xxx"},
	} {
		p, err := placed.Decode(Event{Type: c.typ, Data: json.RawMessage(c.data)})
		var pe *PayloadError
		if !errors.As(err, &pe) || pe.Type != "order.placed" || (c.field != "" && pe.Field != c.field) ||
			!strings.Contains(err.Error(), c.says) || !strings.Contains(err.Error(), "order.placed") || len(err.Error()) > 500 {
			t.Errorf("%s: %v", name, err)
		}
		if p.OrderID != 0 || p.Items != nil {
			t.Errorf("%s: a payload comes with the error: %+v", name, p)
		}
	}
	if p, err := placed.Decode(Event{Type: "order.placed"}); err != nil || p.OrderID != 0 {
		t.Errorf("no data: %+v, %v", p, err)
	}
	if p, err := placed.Decode(Event{Type: "order.placed", Data: json.RawMessage(`{"x":1,"ORDER_ID":2}`)}); err != nil || p.OrderID != 0 {
		t.Errorf("unknown keys: %+v, %v", p, err)
	}
}

type explosive struct{ A int }

func (*explosive) UnmarshalJSON([]byte) error { panic(strings.Repeat("boom ", 1000)) }

func TestAPanicWhileDecodingAPayloadIsContained(t *testing.T) {
	typ := MustDefine(NewCatalogue("s"), Definition[explosive]{Type: "a"})
	if _, err := typ.Decode(Event{Type: "a", Data: json.RawMessage(`{}`)}); err == nil || len(err.Error()) > 400 {
		t.Errorf("%v", err)
	}
}

func TestATypeMayBeUsedConcurrently(t *testing.T) {
	placed := MustDefine(NewCatalogue("shop"), Definition[order]{Type: "a"})
	bag := MustDefine(NewCatalogue("shop"), Definition[map[string]int]{Type: "b"})
	var wg sync.WaitGroup
	for i := range 8 {
		wg.Go(func() {
			for j := range 500 {
				n := int64(i*1000 + j)
				if p, err := placed.Decode(placed.New(order{OrderID: n})); err != nil || p.OrderID != n {
					t.Errorf("%+v, %v", p, err)
				}
				if p, err := bag.Decode(bag.New(map[string]int{"n": int(n)})); err != nil || p["n"] != int(n) {
					t.Errorf("%+v, %v", p, err)
				}
			}
		})
	}
	wg.Wait()
}

func TestMakingATypedEventAllocatesTwice(t *testing.T) {
	placed := MustDefine(NewCatalogue("shop"), Definition[order]{
		Type: "a", Subject: func(o order) string { return Ref("order", o.OrderID) },
	})
	least := math.Inf(1)
	for range 100 { // the race detector makes pools forget at random, but not a hundred times in a row
		least = min(least, testing.AllocsPerRun(1, func() { placed.New(order{OrderID: 123456}) }))
	}
	if least > 2 {
		t.Errorf("%v allocations: one for the data and one for the subject are enough", least)
	}
}
