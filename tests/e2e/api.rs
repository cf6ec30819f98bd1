//! The API and docs/openapi.json against each other: schemathesis sends what the document allows and what it does not,
//! and holds every answer against it. `make api-fuzz` runs this for longer, with other values each time.

use std::path::Path;
use std::process::Output;
use std::time::Duration;

use serde_json::json;
use tokio::process::Command;
use tokio::time::timeout;

use crate::world::{World, part, parts_cache};

/// Targets of several kinds, of which `screen` cannot be reached.
const TARGETS: &str = "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n\
    [target.log]\nkind = 'file'\npath = 'DIR/nats.log'\n\
    [target.screen]\nkind = 'unix'\npath = 'DIR/nothing'\nview = 'spice'\n";

/// Who asks.
#[derive(Clone, Copy, Debug)]
enum Caller {
    Key,
    Page,
}

/// The seed and the number of examples of each operation: the same in every run, unless somebody asks for others.
fn amount() -> (String, String) {
    let or = |name: &str, default: &str| std::env::var(name).unwrap_or_else(|_| default.into());
    (or("STREAM_API_SEED", "1"), or("STREAM_API_EXAMPLES", "5"))
}

/// A request of a page; returns the answer's body and headers.
async fn post(world: &World, path: &str, headers: &[&str], body: &serde_json::Value) -> String {
    let mut command = Command::new("curl");
    command.args(["-s", "-i", "-m", "20", "--json", &body.to_string()]);
    for header in headers {
        command.args(["-H", header]);
    }
    let output = command.arg(format!("{}{path}", world.platform_url())).output().await.unwrap();
    String::from_utf8(output.stdout).unwrap()
}

async fn schemathesis(world: &World, caller: Caller) -> Output {
    let key = std::fs::read_to_string(world.path("api.key")).unwrap();
    let (status, link) = world.api("POST", "/api/v1/sign-in-links", json!({})).await;
    assert_eq!(status, 201, "{link}");
    let (seed, examples) = amount();
    let mut command = Command::new(parts_cache().join("schemathesis/bin/schemathesis"));
    command.arg("--config-file").arg(part("schemathesis/schemathesis.toml")).arg("run");
    command.arg(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/openapi.json"));
    command.args(["--url", &world.platform_url(), "--checks", "all", "--no-color"]);
    // DELETE ends a session. Its record stays, with the state `ended`.
    command.args(["--exclude-checks", "use_after_free"]);
    command.args(["--seed", &seed, "--max-examples", &examples]);
    match caller {
        Caller::Key => {
            command.args(["-H", &format!("Authorization: Bearer {key}")]);
        }
        Caller::Page => {
            let of_page = "Sec-Fetch-Site: same-origin";
            let answer = post(world, "/api/v1/sign-in", &[of_page], &json!({ "api_key": key })).await;
            let cookie = answer.lines().find_map(|line| line.split_once("et-cookie: ")?.1.split(';').next());
            let cookie = cookie.unwrap_or_else(|| panic!("{answer}"));
            command.args(["-H", of_page, "-H", &format!("Cookie: {cookie}")]);
            // It would end the cookie, and all that follows would be 401.
            command.args(["--exclude-operation-id", "signOut"]);
        }
    }
    let link = link["url"].as_str().unwrap().split_once('#').unwrap().1;
    command.env("SCHEMATHESIS_HOOKS", part("schemathesis/hooks.py")).env("PYTHONDONTWRITEBYTECODE", "1");
    command.env("STREAM_HOST", "h1").env("STREAM_TARGETS", "cat log screen nothing");
    command.env("STREAM_API_KEY", &key).env("STREAM_LINK", link);
    // It leaves its findings in the folder where it runs.
    let folder = world.path(&format!("{caller:?}"));
    std::fs::create_dir(&folder).unwrap();
    let output = command.current_dir(folder).kill_on_drop(true).output();
    timeout(Duration::from_secs(3600), output).await.unwrap().unwrap()
}

async fn finds_nothing(caller: Caller) {
    let mut world = World::new();
    std::fs::create_dir(world.path("state")).unwrap();
    world.platform_config = "state_dir = 'DIR/state'\n".into();
    world.targets = TARGETS.into();
    world.start().await;
    let output = schemathesis(&world, caller).await;
    let said = String::from_utf8_lossy(&output.stdout);
    let error = String::from_utf8_lossy(&output.stderr);
    let summary = said.split_once("= SUMMARY =").map_or("", |(_, summary)| summary);
    println!("{caller:?}: {summary}");
    assert!(output.status.success(), "{said}{error}");
    // A run that asked nothing also finds nothing.
    assert!(summary.contains("generated") && !summary.contains("Tested: 0"), "{said}{error}");
    assert!(said.contains("Coverage (in ") && said.contains("Fuzzing (in "), "{said}");
}

#[tokio::test]
async fn schemathesis_finds_nothing_with_an_api_key() {
    finds_nothing(Caller::Key).await;
}

#[tokio::test]
async fn schemathesis_finds_nothing_as_a_page_that_has_signed_in() {
    finds_nothing(Caller::Page).await;
}
