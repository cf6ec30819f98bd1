//! Real networks: proxies that write addresses in different forms or break websockets, and names in different spellings.

use serde_json::{Value, json};
use tokio::process::Command;

use crate::world::{AGENT, Client, Process, RELAY, World};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\nuser = 'root'\n";

/// The output of `check-config`, and whether it accepts the files.
async fn check(world: &World, program: &str) -> (bool, String) {
    let part = if program == AGENT { "agent" } else { "relay" };
    let mut command = Command::new(program);
    command.arg("--config").arg(world.path(part).join("config.toml")).arg("check-config");
    let output = command.output().await.unwrap();
    let said = [output.stdout, output.stderr].concat();
    (output.status.success(), String::from_utf8(said).unwrap())
}

#[tokio::test]
async fn a_proxy_may_write_the_clients_address_with_a_port() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.relay_config = "trusted_proxies = ['127.0.0.0/8', '::1']\n".into();
    world.start().await;
    for (header, address) in [
        ("203.0.113.7:51008", "203.0.113.7"),
        ("198.51.100.9:1, 203.0.113.8:51008", "203.0.113.8"),
        ("[2001:db8::7]:443", "2001:db8::7"),
        ("203.0.113.9 ,", "203.0.113.9"),
    ] {
        let url = world.url("cat").await;
        let mut client = Client::connect_with(&url, &[], &[("x-forwarded-for", header)]).await;
        client.send("x").await;
        client.read(1).await;
        world.agent().says(&format!("peer=\"{address}\"")).await;
        client.close().await;
    }
}

#[tokio::test]
async fn an_origin_and_a_relay_count_however_they_are_spelt() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.platform_config = "origins = ['HTTPS://App.Example.com:443/']\n".into();
    world.agent_config = format!("[relay]\nallow = ['WS://{}:8080/']\n", world.ip);
    world.start().await;
    let (status, answer) =
        world.api("POST", "/api/v1/sessions", json!({ "host": "h1", "target": "cat" })).await;
    assert_eq!(status, 201, "{answer}");
    let url = answer["url"].as_str().unwrap();
    let with = async |origin: &str| Client::connect_with(url, &[], &[("origin", origin)]).await;
    with("https://other.example.com").await.closed_with(4403).await;
    let mut client = with("https://app.example.com").await;
    client.send("x").await;
    client.read(1).await;
}

#[tokio::test]
async fn what_could_never_match_is_refused_at_load() {
    let mut world = World::new();
    world.write_agent_config();
    for (platform, relay, words) in [
        ("origins = ['*']", "", "leave origins out"),
        ("origins = ['app.example.com']", "", "such as https://app.example.com"),
        ("", "trusted_proxies = ['proxy.example.com']\n", "neither an address nor a network"),
    ] {
        world.platform_config = platform.into();
        world.relay_config = relay.into();
        world.write_relay_config();
        let (is_fine, said) = check(&world, RELAY).await;
        assert!(!is_fine && said.contains(words), "{platform}{relay}: {said}");
    }
}

/// nginx with the four lines that websockets need, except `without`.
async fn behind_nginx(without: &str) -> (World, Process) {
    let mut world = World::new();
    let lines = [
        "proxy_http_version 1.1",
        "proxy_set_header Upgrade $http_upgrade",
        "proxy_set_header Connection upgrade",
    ];
    let lines: Vec<_> =
        lines.into_iter().filter(|line| !line.contains(without)).map(|line| format!("{line};")).collect();
    let config = format!(
        "daemon off; master_process off; pid {0}/p; error_log stderr; events {{}}\n\
         http {{ access_log off; client_body_temp_path {0}/b; proxy_temp_path {0}/t; fastcgi_temp_path {0}/f; \
         uwsgi_temp_path {0}/u; scgi_temp_path {0}/s;\n\
         server {{ listen {1}:8090; location / {{ proxy_pass http://{1}:8080; {2} }} }} }}",
        world.dir.path().display(),
        world.ip,
        lines.join(" ")
    );
    std::fs::write(world.path("nginx.conf"), config).unwrap();
    let mut command = Command::new("nginx");
    command.arg("-c").arg(world.path("nginx.conf")).arg("-e").arg("stderr");
    let proxy = Process::start(command, world.path("proxy.log"));
    world.connects(8090).await;
    world.public_port = 8090;
    world.targets = CAT.into();
    world.start().await;
    (world, proxy)
}

/// The results of test-dial for the browsers' way to the relay.
async fn client_step(world: &World) -> Value {
    let mut command = Command::new(AGENT);
    command.args(["--json", "--config"]).arg(world.path("agent/config.toml")).arg("test-dial");
    let output = command.output().await.unwrap();
    let report: Value = serde_json::from_slice(&output.stdout).unwrap();
    let steps = report["steps"].as_array().unwrap();
    steps.iter().find(|step| step["step"] == "relay-client").unwrap_or_else(|| panic!("{report:#}")).clone()
}

#[tokio::test]
async fn test_dial_sees_a_proxy_that_breaks_websockets() {
    for (without, verdict) in
        [("nothing", "PASS"), ("http_version", "FAIL"), ("Upgrade", "FAIL"), ("Connection", "FAIL")]
    {
        let (world, _proxy) = behind_nginx(without).await;
        let step = client_step(&world).await;
        assert_eq!(step["verdict"], verdict, "without {without}: {step}");
        if verdict == "FAIL" {
            assert!(step["remedy"].as_str().unwrap().contains("proxy_http_version 1.1"), "{step}");
        }
        // test-dial leaves nothing in the relay's records.
        assert!(!world.relay().said().contains("stream refused"), "{}", world.relay().said());
    }
}

#[tokio::test]
async fn check_config_finds_what_serve_would_end_with() {
    let mut world = World::new();
    for (name, text) in [("relay/tls.crt", "no certificate\n"), ("relay/tls.key", "no key\n")] {
        world.secret(name, text);
    }
    world.tls = true;
    world.write_relay_config();
    let (is_fine, said) = check(&world, RELAY).await;
    assert!(!is_fine && said.contains("no certificate in "), "{said}");

    let ended = |days: &str| {
        let (key, certificate) = (world.path("relay/tls.key"), world.path("relay/tls.crt"));
        let args = [
            "req",
            "-x509",
            "-nodes",
            "-newkey",
            "ec",
            "-pkeyopt",
            "ec_paramgen_curve:P-256",
            "-subj",
            "/CN=x",
            "-days",
            days,
        ];
        let paths = ["-keyout", key.to_str().unwrap(), "-out", certificate.to_str().unwrap()];
        world.run("openssl", &[&args[..], &paths[..]].concat());
    };
    ended("3");
    let (is_fine, said) = check(&world, RELAY).await;
    assert!(is_fine && said.contains("remark: the certificate in tls.cert_file ends in 2 days"), "{said}");
    ended("300");
    let (is_fine, said) = check(&world, RELAY).await;
    assert!(is_fine && !said.contains("remark: the certificate"), "{said}");

    world.secret("nkey", "garbage");
    world.agent_config = format!("[nats]\nservers = ['{}']\nnkey_seed_file = 'DIR/nkey'\n", world.nats_url());
    world.write_agent_config();
    let (is_fine, said) = check(&world, AGENT).await;
    assert!(!is_fine && said.contains("nkey"), "{said}");
    world.agent_config.clear();
    world.targets = "[target.x]\nkind = 'exec'\nargv = ['/no/such/program']\nuser = 'root'\n".into();
    world.write_agent_config();
    let (is_fine, said) = check(&world, AGENT).await;
    assert!(is_fine && said.contains("remark: target x: ") && said.contains("/no/such/program"), "{said}");
}

#[tokio::test]
async fn a_browser_brings_its_cookies_and_a_program_no_origin() {
    let mut world = World::new();
    world.targets = CAT.into();
    world.platform_config = "origins = ['https://app.example.com']\n".into();
    world.start().await;
    let url = world.url("cat").await;
    let cookies = format!("sso={}", "a".repeat(20_000));
    let mut client = Client::connect_with(&url, &[], &[("cookie", &cookies)]).await;
    client.send("x").await;
    client.read(1).await;
    let mut curl = Command::new("curl");
    curl.args(["-s", "-o", "/dev/null", "-w", "%{http_code}", &format!("{}/healthz", world.platform_url())]);
    assert_eq!(curl.output().await.unwrap().stdout, b"200");
    let mut curl = Command::new("curl");
    curl.args([
        "-s",
        "-o",
        "/dev/null",
        "-w",
        "%{http_code}",
        "-H",
        &format!("Cookie: a={}", "a".repeat(100_000)),
        &world.platform_url(),
    ]);
    assert_eq!(curl.output().await.unwrap().stdout, b"431");
    world.metric_is("stream_relay_heads_too_large_total", 1.0).await;
}
