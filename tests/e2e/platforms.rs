//! Third-party platforms: the example of docs/platform.md, and grants compared with another implementation.

use std::time::SystemTime;

use protocol::grant::{Claims, unix};
use protocol::token::Token;
use serde_json::Value;
use tokio::process::Command;

use crate::world::{Client, RELAY, World, parts_cache};

const CAT: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n";

fn python() -> Command {
    let mut command = Command::new(parts_cache().join("venv/bin/python"));
    command.kill_on_drop(true);
    command
}

fn example(world: &World, host: &str, target: &str) -> Command {
    let mut command = python();
    command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples/tiny_platform.py"));
    command.args(["--nats", &world.nats_url(), "--relay", &world.relay_url(), "--user", "alice"]);
    command.arg("--key").arg(world.path("relay/k1.pem")).args([host, target]);
    command
}

#[tokio::test]
async fn the_example_platform_opens_targets_of_a_relay_that_has_none_of_its_own() {
    let mut world = World::new();
    world.relay_config = "# no platform\n".into();
    world.targets = CAT.into();
    world.start().await;
    world.takes_foreign_grants().await;
    let output = example(&world, "h1", "cat").output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let mut client = Client::connect(String::from_utf8(output.stdout).unwrap().trim(), &[]).await;
    client.send(b"from Python".to_vec()).await;
    assert_eq!(client.read(11).await, b"from Python");
    world.agent().says("user=\"alice\"").await;
    for (host, target, why) in [("h1", "dog", "target_not_allowed"), ("h2", "cat", "no agent answers")] {
        let refused = example(&world, host, target).output().await.unwrap();
        let said = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && said.contains(why), "{said}");
    }
    // Without a section there is no API.
    assert_eq!(world.api("POST", "/api/v1/sessions", Value::Null).await.0, 404);
}

#[tokio::test]
async fn grants_of_ours_verify_elsewhere_and_grants_from_elsewhere_verify_here() {
    let world = World::new();
    let now = unix(SystemTime::now());
    let claims = Claims {
        iss: "ours".into(),
        aud: "host:h1".into(),
        sid: ulid::Ulid::generate().to_string(),
        iat: now,
        exp: now + 30,
        target: "t".into(),
        params: [("a".to_owned(), "ü\"".to_owned())].into(),
        mode: None,
        relay: "wss://relay.example.com".into(),
        token_sha256: Token::generate().unwrap().hash(),
        max_streams: Some(8),
        max_seconds: None,
        origin: vec!["https://a.example".into()],
        user: None,
        cnf: None,
        relay_run: None,
    };
    let ours = keys::read_signing_key(&world.path("relay/k1.pem")).unwrap().sign(&claims);
    // PyJWT reads our grant, refuses it with any byte changed, and signs the same claims again.
    let script = "import jwt, json, sys\n\
        public = open(sys.argv[1]).read(); private = open(sys.argv[2]).read(); grant = sys.argv[3]\n\
        header = jwt.get_unverified_header(grant)\n\
        assert header == {'alg': 'EdDSA', 'typ': 'stream-grant+jwt', 'kid': 'k1'}, header\n\
        claims = jwt.decode(grant, public, algorithms=['EdDSA'], audience='host:h1')\n\
        try:\n    jwt.decode(grant[:-4] + 'AAAA', public, algorithms=['EdDSA'], audience='host:h1'); sys.exit('forged')\n\
        except jwt.InvalidSignatureError: pass\n\
        claims['iss'] = 'theirs'\n\
        headers = {'typ': 'stream-grant+jwt', 'kid': 'k1'}\n\
        print(json.dumps({'claims': claims, 'grant': jwt.encode(claims, private, algorithm='EdDSA', headers=headers)}))";
    let mut command = python();
    command.args(["-c", script]).arg(world.path("relay/k1.pub")).arg(world.path("relay/k1.pem")).arg(&ours);
    let output = command.output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let theirs: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(theirs["claims"]["token_sha256"], claims.token_sha256.to_string());
    let file = world.secret("grant", &theirs.to_string());
    let issuers = world.path("relay/issuers.d");
    let inspect = |issuers: &std::path::Path| {
        let mut command = std::process::Command::new(RELAY);
        command.args(["--json", "grant", "inspect", "--issuers"]).arg(issuers).arg(&file);
        command.output().unwrap()
    };
    let believed = inspect(&issuers);
    let said: Value = serde_json::from_slice(&believed.stdout).unwrap();
    assert!(believed.status.success(), "{said}");
    assert_eq!((&said["believed"], &said["claims"]["iss"]), (&true.into(), &"theirs".into()));
    assert_eq!(said["claims"]["params"]["a"], "ü\"");
    let nobody = inspect(&world.path("agent/targets.d"));
    assert_eq!(nobody.status.code(), Some(65));
    assert!(String::from_utf8_lossy(&nobody.stdout).contains("grant_unknown_issuer"));
}
