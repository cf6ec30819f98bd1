use std::os::unix::fs::symlink;
use std::time::Duration;

use http_body_util::BodyExt;
use hyper::{Method, Request};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

use super::*;
use crate::server::connection;
use crate::server::response::Response;

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// A directory whose manifest lists these files, each with its bytes also as `.br` and `.gz`.
fn folder(files: &[(&str, &str)]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let mut listed = serde_json::Map::new();
    for (name, text) in files {
        write(&dir, name, text);
        write(&dir, &format!("{name}.br"), &format!("br of {text}"));
        write(&dir, &format!("{name}.gz"), &format!("gz of {text}"));
        let entry = json!({
            "type": SCRIPT, "etag": digest([text.as_bytes()]), "immutable": name.starts_with("assets/"),
            "encodings": ["br", "gz"], "of the future": 1,
        });
        listed.insert((*name).to_owned(), entry);
    }
    list(&dir, listed.into());
    dir
}

fn write(dir: &TempDir, name: &str, text: &str) {
    let path = dir.path().join(name);
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, text).unwrap();
}

fn list(dir: &TempDir, files: Value) {
    write(dir, MANIFEST, &json!({ "version": "1", "files": files }).to_string());
}

fn request(method: Method, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri("/x");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

fn ask(assets: &Assets, name: &str, headers: &[(&str, &str)]) -> Response {
    assets.file(name).unwrap().respond(&request(Method::GET, headers))
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

#[tokio::test]
async fn each_coding_has_its_own_bytes_and_tag() {
    let dir = folder(&[("assets/a-1.js", "script"), ("b.js", "other")]);
    let assets = Assets::read(dir.path()).unwrap();
    assert_eq!(assets.version(), "1");
    let mut tags = vec![];
    for (accepted, coding, body) in [
        ("", None, "script"),
        ("gzip", Some("gzip"), "gz of script"),
        ("gzip, br", Some("br"), "br of script"),
    ] {
        let response = ask(&assets, "assets/a-1.js", &[("accept-encoding", accepted)]);
        let header =
            |name: &str| response.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        assert_eq!(header("content-encoding").as_deref(), coding);
        assert_eq!(header("content-type").as_deref(), Some(SCRIPT));
        assert_eq!(header("vary").as_deref(), Some("Accept-Encoding"));
        assert_eq!(header("x-content-type-options").as_deref(), Some("nosniff"));
        assert_eq!(header("cache-control").as_deref(), Some("public, max-age=31536000, immutable"));
        let tag = header("etag").unwrap();
        let shown = ask(&assets, "assets/a-1.js", &[("accept-encoding", accepted), ("if-none-match", &tag)]);
        assert_eq!((shown.status().as_u16(), shown.headers()["etag"].to_str().unwrap()), (304, &*tag));
        assert!(shown.headers().contains_key("vary") && !shown.headers().contains_key("content-encoding"));
        assert_eq!(text(shown).await, "");
        assert_eq!(text(response).await, body);
        tags.push(tag);
    }
    assert_eq!(tags[0], format!("\"{}\"", digest([&b"script"[..]])));
    tags.dedup();
    assert_eq!(tags.len(), 3);
    // The tag of another coding is the tag of other bytes.
    let other = ask(&assets, "assets/a-1.js", &[("accept-encoding", "br"), ("if-none-match", &tags[0])]);
    assert_eq!(other.status(), 200);
    assert_eq!(ask(&assets, "b.js", &[]).headers()["cache-control"], "no-cache");
    assert_eq!(ask(&assets, "b.js", &[("if-none-match", "*")]).status(), 304);
    assert_eq!(ask(&assets, "b.js", &[("range", "bytes=0-1")]).status(), 200);
    for method in ["POST", "PUT", "DELETE", "OPTIONS", "X"] {
        let request = request(method.parse().unwrap(), &[]);
        let refused = assets.file("b.js").unwrap().respond(&request);
        assert_eq!(
            (refused.status().as_u16(), &refused.headers()["allow"]),
            (405, &"GET, HEAD".parse().unwrap())
        );
    }
}

/// What goes over the wire for this request.
async fn wire(assets: &Assets, head: &str) -> String {
    let (server, mut client) = duplex(64 * 1024);
    client.write_all(head.as_bytes()).await.unwrap();
    let mut answer = String::new();
    let respond = |request| async move { assets.file("b.js").unwrap().respond(&request) };
    let served = connection::serve(server, Duration::from_secs(5), respond);
    let (served, read) = tokio::join!(served, client.read_to_string(&mut answer));
    served.unwrap();
    read.unwrap();
    answer.to_ascii_lowercase()
}

#[tokio::test]
async fn head_has_the_length_and_no_body_and_304_has_neither() {
    let dir = folder(&[("b.js", "other")]);
    let assets = Assets::read(dir.path()).unwrap();
    let got = wire(&assets, "GET / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(got.starts_with("http/1.1 200 ") && got.ends_with("\r\n\r\nother"), "{got}");
    let head = wire(&assets, "HEAD / HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").await;
    assert!(head.contains("content-length: 5\r\n") && head.ends_with("\r\n\r\n"), "{head}");
    let shown =
        wire(&assets, "GET / HTTP/1.1\r\nhost: x\r\nif-none-match: *\r\nconnection: close\r\n\r\n").await;
    assert!(shown.starts_with("http/1.1 304 ") && shown.ends_with("\r\n\r\n"), "{shown}");
    assert!(!shown.contains("content-length") && !shown.contains("transfer-encoding"), "{shown}");
}

/// The error for a directory, without its own name.
fn refusal(dir: &TempDir) -> String {
    let error = Assets::read(dir.path()).err().unwrap();
    assert!(matches!(error, Error::Damaged { .. }), "{error}");
    let own = dir.path().canonicalize().unwrap();
    error.to_string().replace(&format!("{}/", own.display()), "")
}

#[test]
fn a_file_that_is_not_as_listed_is_named() {
    assert!(matches!(Assets::read(Path::new("/no/such/directory")), Err(Error::Missing(_))));
    type Harm = fn(&TempDir);
    let cases: [(Harm, &str); 11] = [
        (|dir| fs::remove_file(dir.path().join(MANIFEST)).unwrap(), "manifest.json: No such file"),
        (|dir| write(dir, MANIFEST, "{"), "manifest.json: EOF"),
        (|dir| fs::remove_file(dir.path().join("a.js")).unwrap(), "a.js: No such file"),
        (|dir| fs::remove_file(dir.path().join("a.js.gz")).unwrap(), "a.js.gz: No such file"),
        (|dir| write(dir, "a.js", "changed"), "a.js: is not the file that the manifest lists"),
        (|dir| write(dir, "a.js", ""), "a.js: is not the file that the manifest lists"),
        (
            |dir| {
                fs::remove_file(dir.path().join("a.js")).unwrap();
                symlink("/etc/passwd", dir.path().join("a.js")).unwrap();
            },
            "a.js: is a link that leads out of this directory",
        ),
        (
            |dir| {
                fs::remove_file(dir.path().join("a.js.br")).unwrap();
                fs::create_dir(dir.path().join("a.js.br")).unwrap();
            },
            "a.js.br: is not a file",
        ),
        (
            |dir| {
                let entry = json!({ "type": "a\nb", "etag": "" });
                list(dir, json!({ "a.js": entry }));
            },
            "a.js: its type in the manifest is not one",
        ),
        (
            |dir| {
                let entry = json!({ "type": "x", "etag": digest([&b"a"[..]]), "encodings": ["zst"] });
                list(dir, json!({ "a.js": entry }));
            },
            "a.js: has an encoding in the manifest that is neither br nor gz",
        ),
        (
            |dir| list(dir, json!({ "../a.js": { "type": "x", "etag": "" } })),
            "manifest.json: \"../a.js\" is not a name",
        ),
    ];
    for (harm, words) in cases {
        let dir = folder(&[("a.js", "a")]);
        assert!(Assets::read(dir.path()).is_ok());
        harm(&dir);
        let error = refusal(&dir);
        assert!(error.starts_with(words), "{words}: {error}");
    }
}

#[test]
fn a_link_inside_the_directory_and_one_to_it_are_followed() {
    let dir = folder(&[("a.js", "a")]);
    fs::rename(dir.path().join("a.js"), dir.path().join("kept.js")).unwrap();
    symlink("kept.js", dir.path().join("a.js")).unwrap();
    assert!(Assets::read(dir.path()).is_ok());
    let other = tempfile::tempdir().unwrap();
    symlink(dir.path(), other.path().join("web")).unwrap();
    assert!(Assets::read(&other.path().join("web")).is_ok());
}

#[test]
fn a_large_file_is_refused() {
    let dir = folder(&[("a.js", "a")]);
    let large = File::create(dir.path().join("a.js")).unwrap();
    large.set_len(MAX_FILE + 1).unwrap();
    assert!(refusal(&dir).starts_with("a.js: is too large: 16 MiB each"));
}

/// Numbers that are the same in each run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) as usize % limit
    }

    fn pieces(&mut self, of: &[&str]) -> String {
        (0..self.below(12)).map(|_| of[self.below(of.len())]).collect()
    }
}

#[tokio::test]
async fn hostile_names_and_headers_get_what_is_listed_or_nothing() {
    let dir = folder(&[("assets/a-1.js", "script"), ("b.js", "other")]);
    write(&dir, "secret", "secret");
    let assets = Assets::read(dir.path()).unwrap();
    let mut random = Random(15);
    let names = [
        "..",
        "/",
        ".",
        "assets",
        "a-1.js",
        "b.js",
        "%2e%2e",
        "secret",
        "\0",
        "\\",
        "manifest.json",
        ".br",
        "é",
        "",
    ];
    for _ in 0..20_000 {
        let name = random.pieces(&names);
        let is_listed = ["assets/a-1.js", "b.js"].contains(&name.as_str());
        assert_eq!(assets.file(&name).is_some(), is_listed, "{name:?}");
    }
    let parts = [
        "br", "gzip", "identity", "*", ",", ";", "q=", "0", "1", ".5", "\"", "W/", " ", "\t", "x-", "=",
        "\u{e9}",
    ];
    let (tag, mut seen) = (digest([&b"other"[..]]), [0; 4]);
    for _ in 0..20_000 {
        let (accepted, mut shown) = (random.pieces(&parts), random.pieces(&parts));
        if random.below(4) == 0 {
            shown = format!("{shown}\"{tag}\"{}", random.pieces(&parts));
        }
        let mut request = request(Method::GET, &[]);
        for (name, value) in [("accept-encoding", &accepted), ("if-none-match", &shown)] {
            if let Ok(value) = HeaderValue::from_bytes(value.as_bytes()) {
                request.headers_mut().insert(name, value);
            }
        }
        let response = assets.file("b.js").unwrap().respond(&request);
        let coding =
            response.headers().get("content-encoding").map(|value| value.to_str().unwrap().to_owned());
        let status = response.status().as_u16();
        let (number, expected) = match (status, coding.as_deref()) {
            (304, None) => (0, ""),
            (200, None) => (1, "other"),
            (200, Some("gzip")) => (2, "gz of other"),
            (200, Some("br")) => (3, "br of other"),
            other => panic!("{other:?} to {accepted:?} {shown:?}"),
        };
        seen[number] += 1;
        assert_eq!(text(response).await, expected);
    }
    assert!(seen.iter().all(|count| *count > 100), "{seen:?}");
}
