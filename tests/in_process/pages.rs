//! The page that the relay serves, over its listener. What a page does needs a browser; here are paths and headers.

use std::path::Path;

use protocol::token::Token;
use relay::config::Web;
use ring::digest::{SHA256, digest};
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::agent::TestAgent;
use crate::client::TestClient;
use crate::relay::TestRelay;
use crate::soon;

const BROWSER: &str = "accept: text/html,application/xhtml+xml;q=0.9,*/*;q=0.8\r\n";

const SECRET: &str = "not for clients";

/// A page of a few small files, with one that the manifest does not list.
fn web() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    std::fs::create_dir(dir.path().join("assets")).unwrap();
    let mut files = serde_json::Map::new();
    for (name, text, kind) in [
        ("index.html", "<base href=\"__BASE__/\">the app", "text/html; charset=utf-8"),
        ("view.html", "<meta name=\"stream-relays\" content=\"__RELAYS__\">", "text/html; charset=utf-8"),
        ("assets/app-1.js", "the script", "text/javascript; charset=utf-8"),
        ("stream-console.js", "the element", "text/javascript; charset=utf-8"),
    ] {
        std::fs::write(dir.path().join(name), text).unwrap();
        std::fs::write(dir.path().join(format!("{name}.br")), format!("br of {text}")).unwrap();
        let hash = digest(&SHA256, text.as_bytes());
        let etag: String = hash.as_ref()[..16].iter().map(|byte| format!("{byte:02x}")).collect();
        let encodings = if kind.starts_with("text/html") { json!([]) } else { json!(["br"]) };
        let immutable = name.starts_with("assets/");
        let file = json!({ "type": kind, "etag": etag, "immutable": immutable, "encodings": encodings });
        files.insert(name.into(), file);
    }
    let pages = json!({ "app": "index.html", "view": "view.html" });
    let manifest = json!({ "version": "1", "pages": pages, "files": files });
    std::fs::write(dir.path().join("manifest.json"), manifest.to_string()).unwrap();
    std::fs::write(dir.path().join("secret"), SECRET).unwrap();
    dir
}

fn of(dir: &Path) -> Web {
    Web { dir: Some(dir.to_owned()), ..Web::default() }
}

async fn with_page(dir: &TempDir) -> TestRelay {
    TestRelay::with(|settings| settings.web = of(dir.path())).await
}

/// All that comes back for these bytes.
async fn raw(relay: &TestRelay, request: &[u8]) -> String {
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    stream.write_all(request).await.unwrap();
    let mut answer = Vec::new();
    // A relay that refuses a request may reset the connection before it has read all of it.
    let _ = soon("an answer", stream.read_to_end(&mut answer)).await;
    String::from_utf8_lossy(&answer).into_owned()
}

/// The answer to the last request of a connection.
async fn ask(relay: &TestRelay, what: &str, headers: &str) -> String {
    let head = format!("{what} HTTP/1.1\r\nhost: {}\r\n{headers}connection: close\r\n\r\n", relay.address());
    raw(relay, head.as_bytes()).await
}

#[tokio::test]
async fn a_browser_gets_page_and_files_on_one_connection() {
    let dir = web();
    let relay = with_page(&dir).await;
    let mut stream = TcpStream::connect(relay.address()).await.unwrap();
    for (what, headers, status, end) in [
        ("GET /", "", "200 OK", "<base href=\"/\">the app"),
        ("GET /assets/app-1.js", "accept-encoding: gzip, br\r\n", "200 OK", "br of the script"),
        ("GET /assets/app-1.js", "if-none-match: *\r\n", "304 Not Modified", ""),
        ("HEAD /view", "", "200 OK", ""),
        ("GET /stream-console.js", "", "200 OK", "the element"),
    ] {
        stream.write_all(format!("{what} HTTP/1.1\r\nhost: x\r\n{headers}\r\n").as_bytes()).await.unwrap();
        let mut answer = String::new();
        let read = async {
            while !(answer.contains("\r\n\r\n") && answer.ends_with(end)) {
                let mut piece = [0; 4096];
                let count = stream.read(&mut piece).await.unwrap();
                assert!(count > 0, "{what}: closed after {answer}");
                answer += std::str::from_utf8(&piece[..count]).unwrap();
            }
        };
        soon(what, read).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}\r\n")), "{what}: {answer}");
        assert!(answer.ends_with(&format!("\r\n\r\n{end}")), "{what}: {answer}");
    }
    // What the relay answered before is answered as before.
    assert!(ask(&relay, "GET /healthz", BROWSER).await.ends_with("ok\n"));
    assert!(ask(&relay, "GET /api/v1/me", BROWSER).await.contains("this relay has no platform"));
    assert!(ask(&relay, "GET /v1/host", BROWSER).await.starts_with("HTTP/1.1 401 "));
    assert!(ask(&relay, "POST /", "").await.contains("allow: GET, HEAD\r\n"));
}

#[tokio::test]
async fn a_url_that_is_opened_in_a_browser_leads_to_the_page_and_stays_unused() {
    let dir = web();
    let relay = with_page(&dir).await;
    let agent = TestAgent::start(&relay, "[target.cat]\nkind = 'exec'\nargv = ['/bin/cat']\n");
    let (token, claims) = relay.claims("cat");
    agent.accept(&relay, &claims).await;
    let what = format!("GET /v1/stream/{}", token.reveal());
    for _ in 0..3 {
        let led = ask(&relay, &what, BROWSER).await;
        assert!(led.starts_with("HTTP/1.1 303 "), "{led}");
        assert!(led.contains(&format!("location: /view#{}\r\n", relay.client_url(&token))), "{led}");
        assert!(led.contains("cache-control: no-store\r\n") && !led.contains("set-cookie"), "{led}");
    }
    // Programs are answered as before.
    for headers in ["", "accept: */*\r\n", "accept: application/json\r\n"] {
        let answer = ask(&relay, &what, headers).await;
        assert!(answer.starts_with("HTTP/1.1 426 ") && !answer.contains("location"), "{answer}");
    }
    let mut client = TestClient::connect(&relay.client_url(&token)).await;
    client.send(b"unused").await;
    client.expect_bytes(b"unused").await;
}

#[tokio::test]
async fn a_reload_applies_the_settings_of_the_page() {
    let dir = web();
    let relay = TestRelay::start().await;
    let what = format!("GET /v1/stream/{}", Token::generate().unwrap().reveal());
    assert!(ask(&relay, &what, BROWSER).await.starts_with("HTTP/1.1 426 "));
    assert!(ask(&relay, "GET /", BROWSER).await.contains("the package stream-relay-web"));
    relay.reload(|settings| settings.web = of(dir.path()));
    assert!(ask(&relay, &what, BROWSER).await.starts_with("HTTP/1.1 303 "));
    let view = ask(&relay, "GET /view", BROWSER).await;
    assert!(view.contains(&format!("connect-src 'self' {};", relay.url())), "{view}");
    relay.reload(|settings| {
        settings.web = Web { view_allow: vec!["wss://other.example".into()], ..of(dir.path()) };
    });
    let view = ask(&relay, "GET /view", BROWSER).await;
    assert!(view.contains(&format!("connect-src 'self' {} wss://other.example;", relay.url())), "{view}");
    relay.reload(|settings| settings.web = Web::default());
    assert!(ask(&relay, "GET /view", BROWSER).await.contains("serves no page"));
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn pieces(&mut self, of: &[&str]) -> String {
        (0..1 + self.below(8)).map(|_| of[self.below(of.len())]).collect()
    }
}

#[tokio::test]
async fn hostile_requests_get_an_answer_and_no_other_file() {
    let dir = web();
    let relay = with_page(&dir).await;
    let mut random = Random(15);
    let paths = [
        "/",
        "..",
        ".",
        "assets",
        "/app-1.js",
        "%2e%2e%2f",
        "%00",
        "secret",
        "/secret",
        "\\",
        "//",
        "view",
        "/open/",
        "?x",
        "#x",
        "manifest.json",
        "/etc/passwd",
        "index.html",
        "\u{e9}",
        ";",
        "*",
        "http://x/",
        "/v1/stream/",
        ".br",
    ];
    let values =
        ["br", ",", ";q=", "0", "1", "*", "gzip", "\"", "W/", " ", "identity", "text/html", "\u{e9}", "="];
    let mut statuses = std::collections::BTreeMap::<String, u32>::new();
    for _ in 0..1500 {
        let method = ["GET", "HEAD", "GET", "PUT"][random.below(4)];
        let path = random.pieces(&paths);
        let path = if random.below(8) == 0 { path } else { format!("/{path}") };
        let mut headers = String::new();
        for name in ["accept-encoding", "if-none-match", "accept", "range"] {
            headers += &format!("{name}: {}\r\n", random.pieces(&values));
        }
        let answer = ask(&relay, &format!("{method} {path}"), &headers).await;
        assert!(answer.starts_with("HTTP/1.1 "), "{method} {path} {headers}: {answer:?}");
        assert!(!answer.contains(SECRET) && !answer.contains("root:"), "{path}: {answer}");
        // No page without its policy, and no template as it is.
        let is_html = answer.contains("content-type: text/html");
        assert!(
            !is_html || answer.contains("content-security-policy: default-src 'none'"),
            "{path}: {answer}"
        );
        assert!(!answer.contains("__BASE__"), "{path}: {answer}");
        *statuses.entry(answer[9..12].to_owned()).or_default() += 1;
    }
    let seen: Vec<&str> = statuses.keys().map(String::as_str).collect();
    for status in ["200", "304", "400", "404", "405"] {
        assert!(seen.contains(&status), "{statuses:?}");
    }
    assert!(!seen.iter().any(|status| status.starts_with('5')), "{statuses:?}");
    // The relay is as it was.
    assert!(ask(&relay, "GET /healthz", "").await.ends_with("ok\n"));
}
