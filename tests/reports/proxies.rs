//! What test-dial says of a relay behind nginx, HAProxy, Caddy and Apache: each as it should be, and with the mistakes
//! that are made most often. `cargo test --test reports proxies -- --nocapture` prints every line.

use serde_json::Value;
use tokio::process::Command;
use tokio::time::Instant;

use crate::world::{AGENT, Process, SOON, World, eventually};

const PORT: u16 = 8443;

/// One change to a configuration that works.
struct Case {
    /// What is wrong, for people.
    mistake: &'static str,
    /// What stands there instead.
    changes: &'static [(&'static str, &'static str)],
    /// The relay's URL behind `IP`, where it is another.
    url: &'static str,
    /// The step that finds it.
    step: &'static str,
    verdict: &'static str,
    /// What its lines say: what is wrong, and what to write.
    says: &'static [&'static str],
}

/// The relay believes the proxy.
const TRUSTED: &str = "trusted_proxies = ['127.0.0.1']\n";

const URL: &str = "wss://IP:8443";

/// A mistake that a step must find.
const fn found(
    mistake: &'static str,
    changes: &'static [(&'static str, &'static str)],
    step: &'static str,
    says: &'static [&'static str],
) -> Case {
    Case { mistake, changes, url: URL, step, verdict: "FAIL", says }
}

/// Something that works, of which a line says that it should be otherwise.
const fn remarked(
    mistake: &'static str,
    changes: &'static [(&'static str, &'static str)],
    says: &'static [&'static str],
) -> Case {
    Case { mistake, changes, url: URL, step: "relay-client", verdict: "PASS", says }
}

/// The same, where the relay's URL is another.
const fn at(url: &'static str, case: Case) -> Case {
    Case { url, ..case }
}

/// Two authorities and a certificate: the whole chain, the leaf alone, and both with the key.
const CHAIN: &str = "
set -e; cd DIR
ca() { openssl req -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes \"$@\"; }
ca -x509 -subj /CN=root -days 30 -keyout root.key -out root.pem
ca -subj /CN=between -keyout between.key -out between.csr
ca -subj /CN=relay -keyout leaf.key -out leaf.csr
printf 'basicConstraints=critical,CA:TRUE' > ca.ext
printf 'basicConstraints=critical,CA:FALSE\\nsubjectAltName=IP:IP_HERE' > leaf.ext
openssl x509 -req -in between.csr -CA root.pem -CAkey root.key -CAcreateserial -days 30 -extfile ca.ext -out between.pem
openssl x509 -req -in leaf.csr -CA between.pem -CAkey between.key -CAcreateserial -days 30 -extfile leaf.ext -out leaf.pem
ca -subj /CN=other -keyout other.key -out other.csr
printf 'basicConstraints=critical,CA:FALSE\\nsubjectAltName=DNS:other.example.com' > other.ext
openssl x509 -req -in other.csr -CA between.pem -CAkey between.key -days 30 -extfile other.ext -out other.one
cat leaf.pem between.pem > chain.pem; cat other.one between.pem > other.pem
cat chain.pem leaf.key > chain.both; cat leaf.pem leaf.key > leaf.both
chmod 644 *.key *.both
";

/// How a proxy is started.
struct Proxy {
    program: &'static str,
    words: &'static [&'static str],
    config: &'static str,
}

impl Proxy {
    /// What test-dial says of each case.
    async fn judge(&self, relay: &str, cases: &[Case]) {
        let mut world = World::new();
        world.relay_config = relay.into();
        world.start_nats().await;
        world.start_relay().await;
        let dir = world.dir.path().display().to_string();
        world.run("sh", &["-c", &CHAIN.replace("DIR", &dir).replace("IP_HERE", &world.ip)]);
        let mut wrong = Vec::new();
        for case in cases {
            let steps = self.steps(&mut world, case).await;
            println!("\n## {}: {}", self.program, case.mistake);
            let of_relay = steps.iter().filter(|step| step["step"].as_str().unwrap().starts_with("relay-"));
            let of_relay: Vec<String> = of_relay.map(line).collect();
            of_relay.iter().for_each(|line| println!("{line}"));
            let step = steps.iter().find(|step| step["step"] == case.step && step["verdict"] == case.verdict);
            let said = step.map(line).unwrap_or_default();
            // What works is not spoken against.
            let is_wrong = case.says == RIGHT.says && step.is_some_and(|step| !step["remedy"].is_null());
            if is_wrong || step.is_none() || case.says.iter().any(|words| !said.contains(words)) {
                wrong.push(format!("{}: {:?}\n{}", case.mistake, case.says, of_relay.join("\n")));
            }
            // test-dial leaves nothing in the relay's records.
            assert!(!world.relay().said().contains("stream refused"), "{}", world.relay().said());
        }
        assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
    }

    async fn steps(&self, world: &mut World, case: &Case) -> Vec<Value> {
        let dir = world.dir.path().display().to_string();
        let mut config = self.config.to_owned();
        for (right, instead) in case.changes {
            assert!(config.contains(right), "{}: no {right:?}", case.mistake);
            config = config.replace(right, instead);
        }
        let filled = |text: &str| text.replace("DIR", &dir).replace("IP", &world.ip);
        std::fs::write(world.path("proxy.conf"), filled(&config)).unwrap();
        let mut command = Command::new(self.program);
        command
            .args(self.words.iter().map(|word| filled(word)))
            .envs([("HOME", &dir), ("XDG_DATA_HOME", &dir)]);
        let proxy = Process::start(command, world.path("proxy.log"));
        let url = filled(case.url);
        world.agent_config = format!("[relay]\nallow = ['{url}']\nca_file = 'DIR/root.pem'\n");
        if url.starts_with("ws:") {
            world.agent_config.push_str("allow_plaintext = true\n");
        }
        world.write_agent_config();
        let listens = || std::net::TcpStream::connect((world.ip.as_str(), PORT)).is_ok();
        eventually(listens, || format!("{}: {}", case.mistake, proxy.said())).await;
        let mut command = Command::new(AGENT);
        command.args(["--json", "--config"]).arg(world.path("agent/config.toml")).arg("test-dial");
        let deadline = Instant::now() + SOON;
        let steps = loop {
            let output = command.output().await.unwrap();
            let report: Value = serde_json::from_slice(&output.stdout).unwrap();
            let steps = report["steps"].as_array().unwrap_or_else(|| panic!("{report}")).clone();
            // Caddy listens before it has made its own certificate.
            let is_early = steps.iter().any(|step| line(step).contains("InternalError"));
            if !is_early || case.says.contains(&"no certificate for this name") || Instant::now() > deadline {
                break steps;
            }
        };
        proxy.kill().await;
        steps
    }
}

fn line(step: &Value) -> String {
    let text = |key: &str| step[key].as_str().unwrap_or_default();
    let remedy = step["remedy"]
        .as_str()
        .map(|remedy| format!("\n      {}", remedy.replace('\n', "\n      ")))
        .unwrap_or_default();
    format!("{}  {}: {}{remedy}", text("verdict"), text("step"), text("detail"))
}

const RIGHT: Case = Case {
    mistake: "as it should be",
    changes: &[],
    url: URL,
    step: "relay-client",
    verdict: "PASS",
    says: &["is closed with 4404"],
};

const NGINX: Proxy = Proxy {
    program: "nginx",
    words: &["-p", "DIR", "-e", "stderr", "-c", "DIR/proxy.conf"],
    config: "
daemon off; master_process off; pid DIR/proxy.pid; error_log stderr; events {}
http {
    access_log off; client_body_temp_path DIR/b; proxy_temp_path DIR/t; fastcgi_temp_path DIR/f; uwsgi_temp_path DIR/u;
    scgi_temp_path DIR/s;
    server {
        listen IP:8443 ssl;
        ssl_certificate DIR/chain.pem;
        ssl_certificate_key DIR/leaf.key;
        location / {
            proxy_pass http://IP:8080;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
            proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;
        }
    }
}
",
};

const HAPROXY: Proxy = Proxy {
    program: "haproxy",
    words: &["-db", "-f", "DIR/proxy.conf"],
    config: "
global
    log stderr format raw local0
defaults
    log global
    mode http
    timeout connect 5000
    timeout client 50000
    timeout server 50000
frontend public
    bind IP:8443 ssl crt DIR/chain.both
    option forwardfor
    default_backend relay
backend relay
    server relay IP:8080
",
};

const CADDY: Proxy = Proxy {
    program: "caddy",
    words: &["run", "--adapter", "caddyfile", "--config", "DIR/proxy.conf"],
    config: "
{
    admin off
    auto_https disable_redirects
    skip_install_trust
}
https://IP:8443 {
    bind IP
    tls DIR/chain.pem DIR/leaf.key
    reverse_proxy IP:8080
}
",
};

const APACHE: Proxy = Proxy {
    program: "apache2",
    words: &["-X", "-f", "DIR/proxy.conf"],
    config: "
ServerRoot DIR
ServerName stream.test
Listen IP:8443
PidFile DIR/proxy.pid
DefaultRuntimeDir DIR
Mutex file:DIR default
User www-data
Group www-data
ErrorLog /dev/stderr
LoadModule mpm_event_module /usr/lib/apache2/modules/mod_mpm_event.so
LoadModule authz_core_module /usr/lib/apache2/modules/mod_authz_core.so
LoadModule proxy_module /usr/lib/apache2/modules/mod_proxy.so
LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so
LoadModule ssl_module /usr/lib/apache2/modules/mod_ssl.so
SSLEngine on
SSLCertificateFile DIR/chain.pem
SSLCertificateKeyFile DIR/leaf.key
ProxyPass / http://IP:8080/ upgrade=websocket
",
};

/// What the advice for each kind of fault begins with.
const UPGRADE: &str = "speak HTTP/1.1 to it and pass on Upgrade and Connection";
const UNREACHABLE: &str = "the proxy cannot reach the relay";
const PREFIX: &str = "let the proxy remove what stands before /v1/";
const NOT_PASSED_ON: &str = "let the proxy pass all of /v1/ on to the relay";
const CHAIN_MISSING: &str = "send its whole chain";
const NO_TLS: &str = "does not speak TLS";
const SPEAKS_TLS: &str = "that port speaks TLS: write in [relay]";

#[tokio::test]
async fn nginx() {
    let cases = [
        RIGHT,
        found(
            "no proxy_http_version 1.1",
            &[("proxy_http_version 1.1;", "")],
            "relay-websocket",
            &["HTTP/1.0", UPGRADE],
        ),
        found(
            "no Upgrade header",
            &[("proxy_set_header Upgrade $http_upgrade;", "")],
            "relay-client",
            &[
                "came without Upgrade and Connection",
                "nginx: proxy_http_version 1.1; proxy_set_header Upgrade",
            ],
        ),
        found(
            "proxy_pass to a port where nothing listens",
            &[("IP:8080", "IP:8079")],
            "relay-websocket",
            &["502 Bad Gateway by nginx", UNREACHABLE, "nginx: proxy_pass http://127.0.0.1:8080;"],
        ),
        found(
            "https:// to a relay without TLS",
            &[("http://IP", "https://IP")],
            "relay-websocket",
            &["502", UNREACHABLE],
        ),
        at(
            "wss://IP:8443/relay",
            found(
                "a prefix that is passed on",
                &[("location /", "location /relay/")],
                "relay-websocket",
                &["404", PREFIX],
            ),
        ),
        found(
            "a location for clients only",
            &[("location /", "location /v1/stream/")],
            "relay-websocket",
            &["404 Not Found by nginx", NOT_PASSED_ON, "nginx: location /v1/"],
        ),
        found(
            "the certificate without its chain",
            &[("chain.pem", "leaf.pem")],
            "relay-tls",
            &["UnknownIssuer", CHAIN_MISSING],
        ),
        found(
            "a certificate for another name",
            &[("chain.pem", "other.pem"), ("leaf.key", "other.key")],
            "relay-tls",
            &["not valid for", "the certificate is for another name"],
        ),
        at("ws://IP:8443", found("ws:// to the port of TLS", &[], "relay-websocket", &[SPEAKS_TLS])),
        at(
            "ws://IP:8443",
            found(
                "a redirect to https://",
                &[(" ssl;", "; return 301 https://$host$request_uri;")],
                "relay-websocket",
                &["it leads to https://", "write where it leads to"],
            ),
        ),
        found(
            "a login of its own",
            &[("location /", "auth_basic x; auth_basic_user_file DIR/none; location /")],
            "relay-websocket",
            &["401 Unauthorized by nginx", "without a login of its own", "auth_basic off"],
        ),
        remarked(
            "no X-Forwarded-For",
            &[("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;", "")],
            &["does not name this host's address", "nginx: proxy_set_header X-Forwarded-For"],
        ),
    ];
    NGINX.judge(TRUSTED, &cases).await;
}

#[tokio::test]
async fn haproxy() {
    let cases = [
        RIGHT,
        Case {
            mistake: "none: httpclose",
            changes: &[("option forwardfor", "option forwardfor\n    option httpclose")],
            ..RIGHT
        },
        Case {
            mistake: "none: h2 is offered, too",
            changes: &[("chain.both", "chain.both alpn h2,http/1.1")],
            ..RIGHT
        },
        at(
            "ws://IP:8443",
            found(
                "ws:// to the port of TLS",
                &[],
                "relay-websocket",
                &["if that port speaks TLS, write wss://"],
            ),
        ),
        found(
            "a server line for a port where nothing listens",
            &[("IP:8080", "IP:8079")],
            "relay-websocket",
            &["503", UNREACHABLE, "HAProxy: server relay 127.0.0.1:8080"],
        ),
        found(
            "a server line with ssl",
            &[("IP:8080", "IP:8080 ssl verify none")],
            "relay-websocket",
            &["503", UNREACHABLE],
        ),
        found(
            "a server line with send-proxy",
            &[("IP:8080", "IP:8080 send-proxy")],
            "relay-websocket",
            &["400", "does not read the PROXY protocol", "HAProxy: remove send-proxy"],
        ),
        found(
            "a bind line with accept-proxy",
            &[("ssl crt", "accept-proxy ssl crt")],
            "relay-tls",
            &["no accept-proxy in the bind line"],
        ),
        found(
            "a bind line without ssl",
            &[("ssl crt DIR/chain.both", "")],
            "relay-tls",
            &[NO_TLS, "HAProxy: bind :443 ssl"],
        ),
        found(
            "a rule for clients only",
            &[("default_backend relay", "use_backend relay if { path_beg /v1/stream/ }")],
            "relay-websocket",
            &["has no rule for this path", "use_backend relay if { path_beg /v1/ }"],
        ),
        found(
            "a rule that deletes Upgrade",
            &[("option forwardfor", "option forwardfor\n    http-request del-header Upgrade")],
            "relay-websocket",
            &["426", UPGRADE, "HAProxy: remove the rules that delete Upgrade"],
        ),
        found(
            "the certificate without its chain",
            &[("chain.both", "leaf.both")],
            "relay-tls",
            &["UnknownIssuer", CHAIN_MISSING],
        ),
    ];
    HAPROXY.judge(TRUSTED, &cases).await;
    // The proxy is not in trusted_proxies.
    let case = remarked("no trusted_proxies", &[], &["the relay does not believe it", "trusted_proxies = ["]);
    HAPROXY.judge("", &[case]).await;
}

#[tokio::test]
async fn caddy() {
    let cases = [
        RIGHT,
        found(
            "reverse_proxy to a port where nothing listens",
            &[("IP:8080", "IP:8079")],
            "relay-websocket",
            &["502 Bad Gateway by Caddy", UNREACHABLE, "Caddy: reverse_proxy 127.0.0.1:8080"],
        ),
        found(
            "https:// to a relay without TLS",
            &[("reverse_proxy IP", "reverse_proxy https://IP")],
            "relay-websocket",
            &["502", UNREACHABLE],
        ),
        found(
            "tls internal",
            &[("tls DIR/chain.pem DIR/leaf.key", "tls internal")],
            "relay-tls",
            &["UnknownIssuer", "Caddy's `tls internal`", "ca_file ="],
        ),
        found(
            "a matcher for clients only",
            &[("reverse_proxy IP", "reverse_proxy /v1/stream/* IP")],
            "relay-websocket",
            &["200 OK by Caddy", NOT_PASSED_ON, "Caddy: reverse_proxy /v1/* 127.0.0.1:8080"],
        ),
        at(
            "wss://IP:8443/relay",
            found(
                "handle instead of handle_path",
                &[("reverse_proxy IP:8080", "handle /relay/* {\nreverse_proxy IP:8080\n}")],
                "relay-websocket",
                &["404", PREFIX, "Caddy: handle_path /relay/*"],
            ),
        ),
        found(
            "a site of another name",
            &[
                ("https://IP:8443", "https://relay.example.com:8443"),
                ("tls DIR/chain.pem DIR/leaf.key", "tls internal"),
            ],
            "relay-tls",
            &["no certificate for this name", "Caddy: the site's address"],
        ),
        found(
            "a site without TLS",
            &[("https://IP:8443", "http://IP:8443"), ("tls DIR/chain.pem DIR/leaf.key", "")],
            "relay-tls",
            &[NO_TLS],
        ),
        found(
            "basicauth for all",
            &[(
                "reverse_proxy IP",
                "basicauth {\nx $2a$14$Zkx19XLiW6VYouLHR5NmfOFU0z2GTNmpkT/5qqR7hx4IjWJPDhjvG\n}\nreverse_proxy IP",
            )],
            "relay-websocket",
            &["401 Unauthorized by Caddy", "without a login of its own"],
        ),
        at("ws://IP:8443", found("ws:// to the port of TLS", &[], "relay-websocket", &[SPEAKS_TLS])),
    ];
    CADDY.judge(TRUSTED, &cases).await;
}

#[tokio::test]
async fn apache() {
    let cases = [
        RIGHT,
        found(
            "no upgrade=websocket",
            &[(" upgrade=websocket", "")],
            "relay-websocket",
            &["426", UPGRADE, "Apache: ProxyPass / http://127.0.0.1:8080/ upgrade=websocket"],
        ),
        found(
            "ProxyPass to a port where nothing listens",
            &[("IP:8080", "IP:8079")],
            "relay-websocket",
            &["503 Service Unavailable by Apache", UNREACHABLE, "Apache: ProxyPass / http://127.0.0.1:8080/"],
        ),
        found(
            "no mod_proxy_http",
            &[("LoadModule proxy_http_module /usr/lib/apache2/modules/mod_proxy_http.so", "")],
            "relay-websocket",
            &["500", "its error log says why", "Apache: a2enmod proxy_http"],
        ),
        found(
            "https:// to a relay without TLS",
            &[("http://IP", "https://IP")],
            "relay-websocket",
            &["500", "http://, and a slash"],
        ),
        at(
            "wss://IP:8443/relay",
            found(
                "no slash at the end",
                &[("ProxyPass / http://IP:8080/", "ProxyPass /relay/ http://IP:8080")],
                "relay-websocket",
                &["500", "a slash at the end"],
            ),
        ),
        found(
            "ProxyPass for clients only",
            &[("ProxyPass / http://IP:8080/", "ProxyPass /v1/stream/ http://IP:8080/v1/stream/")],
            "relay-websocket",
            &["404 Not Found by Apache", NOT_PASSED_ON, "Apache: ProxyPass /v1/ http://127.0.0.1:8080/v1/"],
        ),
        found(
            "the certificate without its chain",
            &[("chain.pem", "leaf.pem")],
            "relay-tls",
            &["UnknownIssuer", CHAIN_MISSING],
        ),
        found(
            "nobody is let in",
            &[("ProxyPass", "<Location />\nRequire all denied\n</Location>\nProxyPass")],
            "relay-websocket",
            &["403 Forbidden by Apache", "Apache: <Location /v1/> Require all granted"],
        ),
        found("no SSLEngine", &[("SSLEngine on", "")], "relay-tls", &[NO_TLS, "Apache: SSLEngine on"]),
        at("ws://IP:8443", found("ws:// to the port of TLS", &[], "relay-websocket", &[SPEAKS_TLS])),
    ];
    APACHE.judge(TRUSTED, &cases).await;
}
