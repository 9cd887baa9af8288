package arch

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"slices"
	"strings"
)

// A Package is a package of this module, with what importing it links from outside of the standard library.
type Package struct {
	// Dir is its folder, relative to the root.
	Dir string
	// Modules are the other modules it links, sorted.
	Modules []string
}

// Dependencies, each in its corner. The reason for each choice is in docs/adr.
const (
	uuid    = "github.com/google/uuid"             // event ids
	jsonV2  = "github.com/go-json-experiment/json" // payloads: case-sensitive, duplicates refused
	yaml    = "github.com/goccy/go-yaml"           // errors with line, column and caret
	xTime   = "golang.org/x/time"                  // the arithmetic of rates
	goRedis = "github.com/redis/go-redis/v9"       // and what it needs itself:
	xxhash  = "github.com/cespare/xxhash/v2"
	atomic  = "go.uber.org/atomic"
	sys     = "golang.org/x/sys"

	sqlite   = "modernc.org/sqlite" // SQLite without cgo, and what it needs itself:
	humanize = "github.com/dustin/go-humanize"
	bigfft   = "github.com/remyoudompheng/bigfft"

	natsGo     = "github.com/nats-io/nats.go" // and what it needs itself:
	nkeys      = "github.com/nats-io/nkeys"
	nuid       = "github.com/nats-io/nuid"
	compress   = "github.com/klauspost/compress"
	crypto     = "golang.org/x/crypto"
	kafkaGo    = "github.com/segmentio/kafka-go"      // and what it needs itself:
	lz4        = "github.com/pierrec/lz4/v4"          // as above
	scram      = "github.com/xdg-go/scram"            // logins
	pbkdf2     = "github.com/xdg-go/pbkdf2"           // of scram
	stringprep = "github.com/xdg-go/stringprep"       // of scram
	text       = "golang.org/x/text"                  // of stringprep
	watermill  = "github.com/ThreeDotsLabs/watermill" // its types, and what it needs itself:
	pkgErrors  = "github.com/pkg/errors"
	shortuuid  = "github.com/lithammer/shortuuid/v3"
	ulid       = "github.com/oklog/ulid"
	amqp091    = "github.com/rabbitmq/amqp091-go"

	watermillStream = "github.com/ThreeDotsLabs/watermill-redisstream" // entries of its format, and what it needs itself:
	retry           = "github.com/Rican7/retry"

	clientGolang = "github.com/prometheus/client_golang" // metrics for Prometheus, and what it needs itself:
	clientModel  = "github.com/prometheus/client_model"
	promCommon   = "github.com/prometheus/common"
	procfs       = "github.com/prometheus/procfs"
	perks        = "github.com/beorn7/perks"
	goautoneg    = "github.com/munnerz/goautoneg"
	protobuf     = "google.golang.org/protobuf"

	otel       = "go.opentelemetry.io/otel" // the API, and what it needs itself:
	otelTrace  = "go.opentelemetry.io/otel/trace"
	otelMetric = "go.opentelemetry.io/otel/metric"
	otelLog    = "go.opentelemetry.io/otel/log"
	autoSDK    = "go.opentelemetry.io/auto/sdk"
	logr       = "github.com/go-logr/logr"
	stdr       = "github.com/go-logr/stdr"
	msgpack    = "github.com/vmihailenco/msgpack"
)

var (
	schemaLinks = []string{uuid, jsonV2}
	routerLinks = append([]string{yaml}, schemaLinks...)
	busLinks    = append([]string{xTime}, routerLinks...)
	sqliteLinks = []string{sqlite, "modernc.org/libc", "modernc.org/mathutil", "modernc.org/memory", humanize, bigfft, sys, uuid}
	redisLinks  = []string{goRedis, xxhash, atomic, sys}
	natsLinks   = []string{natsGo, nkeys, nuid, compress, crypto, sys}
	formatLinks = slices.Concat(redisLinks, []string{watermillStream, watermill, retry, uuid, shortuuid, ulid, pkgErrors, msgpack})
	otelLinks   = []string{otel, otelTrace, otelMetric, otelLog, autoSDK, logr, stdr, xxhash}
	promLinks   = []string{clientGolang, clientModel, promCommon, procfs, perks, goautoneg, protobuf, xxhash, sys}
	kafkaLinks  = []string{kafkaGo, compress, lz4, scram, pbkdf2, stringprep, text}
)

// links is, for each public package, exactly the modules that importing it links.
var links = map[string][]string{
	"schema":                  schemaLinks,
	"schema/userservice":      schemaLinks,
	"router":                  routerLinks,
	"router/middleware":       routerLinks,
	"brokers":                 nil,
	"brokers/brokertest":      nil,
	"brokers/memory":          nil,
	"brokers/redis":           redisLinks,
	"brokers/redis/watermill": formatLinks,
	"brokers/nats":            natsLinks,
	"brokers/kafka":           kafkaLinks,
	"brokers/rabbitmq":        {amqp091},
	"brokers/all":             slices.Concat(formatLinks, natsLinks, kafkaLinks, []string{amqp091}),
	"bus":                     busLinks,
	"health":                  busLinks,
	"observe":                 busLinks,
	"observe/otel":            slices.Concat(otelLinks, busLinks),
	"observe/prometheus":      slices.Concat(promLinks, busLinks),
	"bustest":                 busLinks,
	"store/deadletter":        nil,
	"store/dedup":             nil,
	"store/redis":             redisLinks,
	"store/sqlite":            sqliteLinks,
	"watermill":               append([]string{watermill, pkgErrors, shortuuid, ulid}, busLinks...),
}

var linkRules = []Rule{
	{
		Name: "a package links what the table says and nothing else",
		Why: "a service that imports bus and one driver downloads, audits and ships what they link. A client library that " +
			"creeps into bus is shipped by everybody.",
		Remedy: "keep the dependency in the package that needs it; if it is meant, add it to the table in " +
			"internal/arch/links.go with the reason, and to docs/adr.",
		Check: checkLinks,
	},
}

func checkLinks(r *Repo) []Finding {
	var out []Finding
	for _, p := range r.Packages {
		want, listed := links[p.Dir]
		if !listed {
			out = append(out, Finding{p.Dir, "it is not in the table of what packages link"})
			continue
		}
		for _, m := range p.Modules {
			if !slices.Contains(want, m) {
				out = append(out, Finding{p.Dir, "it links " + m})
			}
		}
		for _, m := range want {
			if !slices.Contains(p.Modules, m) {
				out = append(out, Finding{p.Dir, "the table says that it links " + m + ", and it does not any more"})
			}
		}
	}
	return out
}

// listed is what go list says of a package.
type listed struct {
	ImportPath string
	Name       string
	Standard   bool
	Deps       []string
	Module     *struct{ Path string }
}

// Linked asks the go command what the public packages of the module at root link.
func Linked(root string) ([]Package, error) {
	all, err := goList(root)
	if err != nil {
		return nil, err
	}
	moduleOf := make(map[string]string)
	for _, p := range all {
		if p.Module != nil && !p.Standard {
			moduleOf[p.ImportPath] = p.Module.Path
		}
	}
	var out []Package
	for _, p := range all {
		dir, ours := strings.CutPrefix(p.ImportPath, Module+"/")
		if !ours || p.Name == "main" || underAny(dir, "internal", "examples", "cmd") {
			continue
		}
		out = append(out, Package{Dir: dir, Modules: modules(p.Deps, moduleOf)})
	}
	return out, nil
}

func modules(deps []string, moduleOf map[string]string) []string {
	var out []string
	for _, d := range deps {
		if m := moduleOf[d]; m != "" && m != Module {
			out = append(out, m)
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

func goList(root string) ([]listed, error) {
	cmd := exec.Command("go", "list", "-e", "-deps", "-json=ImportPath,Name,Standard,Deps,Module", "./...")
	cmd.Dir = root
	out, err := cmd.Output()
	if err != nil {
		return nil, fmt.Errorf("go list: %w", err)
	}
	var all []listed
	for d := json.NewDecoder(bytes.NewReader(out)); ; {
		var p listed
		if err := d.Decode(&p); errors.Is(err, io.EOF) {
			return all, nil
		} else if err != nil {
			return nil, fmt.Errorf("go list: %w", err)
		}
		all = append(all, p)
	}
}
