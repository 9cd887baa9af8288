package testbroker

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"strconv"
	"strings"
)

// writeConfig writes rabbitmq.conf, the plugins that it needs, and the users.
func (r *RabbitMQ) writeConfig() error {
	lines := []string{
		"listeners.tcp.1 = " + r.Addr(), "log.console = true", "log.console.level = info", "log.file = false",
		// Connections and channels that are opened and closed by the hundred should not wait for the disk.
		"vm_memory_high_watermark.absolute = 1GB", "disk_free_limit.absolute = 50MB",
	}
	plugins := "[]."
	if r.tls != nil {
		plugins = "[rabbitmq_auth_mechanism_ssl]."
		lines = append(lines, "listeners.ssl.1 = "+r.TLSAddr(),
			"ssl_options.cacertfile = "+r.tls.CA, "ssl_options.certfile = "+r.tls.ServerCert,
			"ssl_options.keyfile = "+r.tls.ServerKey, "ssl_options.verify = verify_peer",
			"ssl_options.fail_if_no_peer_cert = true", "ssl_cert_login_from = common_name",
			"auth_mechanisms.1 = PLAIN", "auth_mechanisms.2 = EXTERNAL")
	}
	if r.opts.Users || r.tls != nil {
		lines = append(lines, "load_definitions = "+r.path("definitions.json"))
		if err := r.writeUsers(); err != nil {
			return err
		}
	}
	if err := os.WriteFile(r.path("enabled_plugins"), []byte(plugins), 0o600); err != nil {
		return err
	}
	lines = append(lines, r.opts.Config...)
	return os.WriteFile(r.path("rabbitmq.conf"), []byte(strings.Join(lines, "\n")+"\n"), 0o600)
}

// writeUsers writes the users and what they may do. The owner of the client's certificate is called by its common name.
func (r *RabbitMQ) writeUsers() error {
	type user struct {
		Name     string   `json:"name"`
		Password string   `json:"password"`
		Tags     []string `json:"tags"`
	}
	type permission struct {
		User      string `json:"user"`
		Vhost     string `json:"vhost"`
		Configure string `json:"configure"`
		Write     string `json:"write"`
		Read      string `json:"read"`
	}
	owner := "client.pem"
	text, err := json.Marshal(struct {
		Users       []user              `json:"users"`
		Vhosts      []map[string]string `json:"vhosts"`
		Permissions []permission        `json:"permissions"`
	}{
		Users: []user{
			{"guest", "guest", []string{"administrator"}}, {RabbitUser, RabbitPassword, []string{}},
			{RabbitReader, RabbitPassword, []string{}}, {owner, RabbitPassword, []string{}},
		},
		Vhosts: []map[string]string{{"name": "/"}},
		Permissions: []permission{
			{"guest", "/", ".*", ".*", ".*"}, {RabbitUser, "/", ".*", ".*", ".*"},
			{RabbitReader, "/", "^$", ".*", ".*"}, {owner, "/", ".*", ".*", ".*"},
		},
	})
	if err != nil {
		return err
	}
	return os.WriteFile(r.path("definitions.json"), text, 0o600)
}

// environment is the whole environment of the server and of its tools: what the machine has configured for a RabbitMQ of
// its own is not read.
func (r *RabbitMQ) environment() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "LANG=C.UTF-8", "HOME=" + r.dir,
		"RABBITMQ_CONF_ENV_FILE=/dev/null", "RABBITMQ_CONFIG_FILE=" + r.path("rabbitmq.conf"),
		"RABBITMQ_NODENAME=eventbus@localhost", "RABBITMQ_DIST_PORT=" + strconv.Itoa(r.dist),
		"ERL_EPMD_PORT=" + strconv.Itoa(r.epmd), "ERL_EPMD_ADDRESS=127.0.0.1",
		"RABBITMQ_MNESIA_BASE=" + r.path("data"), "RABBITMQ_LOG_BASE=" + r.path("log"), "RABBITMQ_PID_FILE=" + r.path("pid"),
		"RABBITMQ_ENABLED_PLUGINS_FILE=" + r.path("enabled_plugins"), "RABBITMQ_FEATURE_FLAGS_FILE=" + r.path("feature_flags"),
		"RABBITMQ_GENERATED_CONFIG_DIR=" + r.path("generated"),
	}
}

// command is the server's. With an input the script becomes the server, so that the process we started is the one to kill
// and to freeze; without it, the script would stay as a parent.
func (r *RabbitMQ) command() *exec.Cmd {
	cmd := exec.Command(r.program)
	cmd.Dir = r.dir
	cmd.Env = append(r.environment(), "RABBITMQ_ALLOW_INPUT=1",
		"RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS=-noinput +S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none "+
			"-kernel inet_dist_use_interface {127,0,0,1}")
	return cmd
}

func (r *RabbitMQ) mapperCommand() *exec.Cmd {
	cmd := exec.Command("epmd", "-port", fmt.Sprint(r.epmd), "-address", "127.0.0.1")
	cmd.Env = r.environment()
	return cmd
}
