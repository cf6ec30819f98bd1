use std::fs;

use http_body_util::BodyExt;
use http1::server::assets::digest;
use hyper::HeaderMap;
use serde_json::json;
use service::config::Loaded;
use tempfile::TempDir;

use super::*;
use crate::config::Raw;
use protocol::signing::SigningKey;

const APP: &str = "<base href=\"__BASE__/\"><script type=\"module\" src=\"assets/app-1.js\"></script>";
const VIEW: &str = "<base href=\"__BASE__/\"><meta name=\"stream-view-allow\" content=\"__VIEW_ALLOW__\">\
                    <meta name=\"stream-embed-origins\" content=\"__EMBED_ORIGINS__\">\
                    <meta name=\"stream-relays\" content=\"__RELAYS__\">";

/// A directory with a small page, and the key of an issuer.
fn folder() -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    let web = dir.path().join("web");
    fs::create_dir_all(web.join("assets")).unwrap();
    let mut files = serde_json::Map::new();
    for (name, text, kind) in [
        ("index.html", APP, "text/html; charset=utf-8"),
        ("view.html", VIEW, "text/html; charset=utf-8"),
        ("embed-example.html", "example", "text/html; charset=utf-8"),
        ("assets/app-1.js", "script", "text/javascript; charset=utf-8"),
        ("stream-console.js", "element", "text/javascript; charset=utf-8"),
        ("THIRD_PARTY.txt", "licences", "text/plain; charset=utf-8"),
    ] {
        fs::write(web.join(name), text).unwrap();
        let immutable = name.starts_with("assets/");
        files.insert(
            name.into(),
            json!({ "type": kind, "etag": digest([text.as_bytes()]), "immutable": immutable }),
        );
    }
    let manifest =
        json!({ "version": "1", "pages": { "app": "index.html", "view": "view.html" }, "files": files });
    fs::write(web.join("manifest.json"), manifest.to_string()).unwrap();
    let (key, _) = SigningKey::generate("k1").unwrap();
    fs::write(dir.path().join("k1.pub"), keys::public_pem(&key)).unwrap();
    dir
}

fn settings(dir: &TempDir, lines: &str) -> Settings {
    let at = dir.path().display();
    let text = format!("{lines}\nweb.dir = '{at}/web'\nauth.issuers_dir = '{at}'\n");
    let file = dir.path().join("config.toml");
    fs::write(&file, text).unwrap();
    let loaded = Loaded::read(&file, &[], &[]).unwrap();
    loaded.parse::<Raw<()>>().unwrap().check(&loaded).unwrap()
}

const PUBLIC: &str =
    "public_urls = ['wss://relay.example.com', 'ws://other:8080/below/', 'WSS://relay.example.com:443/x']";

fn ask(pages: &Pages, method: &str, path: &str, headers: &[(&str, &str)]) -> Response {
    pages.respond(&request(method, path, headers))
}

fn request(method: &str, path: &str, headers: &[(&str, &str)]) -> Request<()> {
    let mut request = Request::builder().method(method).uri(path);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(()).unwrap()
}

async fn text(response: Response) -> String {
    String::from_utf8(response.into_body().collect().await.unwrap().to_bytes().to_vec()).unwrap()
}

fn header<'a>(headers: &'a HeaderMap, name: &str) -> &'a str {
    headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
}

#[tokio::test]
async fn each_path_has_its_file_and_its_headers() {
    let dir = folder();
    let lines = format!(
        "{PUBLIC}\nweb.view_allow = ['wss://b.example', 'ws://c:81']\nweb.embed_origins = ['https://panel.example']"
    );
    let pages = Pages::read(&settings(&dir, &lines), None);
    let host = ("host", "relay.example.com");
    let relays = "wss://relay.example.com ws://other:8080";
    for (path, connect, ancestors) in [
        ("/", "", "'none'"),
        ("/sign-in", "", "'none'"),
        ("/sessions", "", "'none'"),
        ("/open/web1/shell?x=1", "", "'none'"),
        ("/open/a/b|c/d", "", "'none'"),
        ("/view", " wss://b.example ws://c:81", "'none'"),
        ("/embed", " wss://b.example ws://c:81", "https://panel.example"),
    ] {
        let path = path.replace('|', "%7C");
        let response = ask(&pages, "GET", &path, &[host]);
        assert_eq!(response.status(), 200, "{path}");
        let headers = response.headers().clone();
        assert_eq!(
            header(&headers, "content-security-policy"),
            format!(
                "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; font-src 'self'; \
                 connect-src 'self' {relays}{connect}; media-src blob:; worker-src 'self'; base-uri 'self'; \
                 form-action 'none'; frame-ancestors {ancestors}; require-trusted-types-for 'script'; \
                 trusted-types 'none'"
            )
        );
        for (name, value) in [
            ("content-type", "text/html; charset=utf-8"),
            ("referrer-policy", "no-referrer"),
            ("x-content-type-options", "nosniff"),
            (
                "permissions-policy",
                "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), camera=(), microphone=(), geolocation=()",
            ),
            ("cross-origin-opener-policy", "same-origin"),
            ("cache-control", "no-cache"),
        ] {
            assert_eq!(header(&headers, name), value, "{path}: {name}");
        }
        let tag = header(&headers, "etag").to_owned();
        let again = ask(&pages, "GET", &path, &[host, ("if-none-match", &tag)]);
        assert_eq!(again.status(), 304);
        assert!(again.headers().contains_key("content-security-policy"));
        let html = text(response).await;
        assert!(html.starts_with("<base href=\"/\">") && !html.contains("__"), "{html}");
        if connect.is_empty() {
            continue;
        }
        for part in [
            "name=\"stream-view-allow\" content=\"wss://b.example ws://c:81\"",
            "name=\"stream-embed-origins\" content=\"https://panel.example\"",
            "name=\"stream-relays\" content=\"wss://relay.example.com ws://other:8080\"",
        ] {
            assert!(html.contains(part), "{html}");
        }
    }
    let script = ask(&pages, "GET", "/assets/app-1.js", &[]);
    assert!(header(script.headers(), "cache-control").ends_with("immutable"));
    assert!(!script.headers().contains_key("access-control-allow-origin"));
    assert_eq!(text(ask(&pages, "GET", "/THIRD_PARTY.txt", &[])).await, "licences");
    let element = ask(&pages, "GET", "/stream-console.js", &[]);
    for (name, value) in [
        ("cache-control", "max-age=300"),
        ("access-control-allow-origin", "*"),
        ("cross-origin-resource-policy", "cross-origin"),
    ] {
        assert_eq!(header(element.headers(), name), value);
    }
    let tag = header(element.headers(), "etag").to_owned();
    let again = ask(&pages, "HEAD", "/stream-console.js", &[("if-none-match", &tag)]);
    assert_eq!((again.status().as_u16(), header(again.headers(), "access-control-allow-origin")), (304, "*"));
}

#[tokio::test]
async fn nothing_else_is_there_and_other_methods_are_refused() {
    let dir = folder();
    let pages = Pages::read(&settings(&dir, PUBLIC), None);
    for path in [
        "/index.html",
        "/view.html",
        "/embed-example.html",
        "/manifest.json",
        "/view/",
        "/Sign-In",
        "/open",
        "//",
        "/assets/",
        "/assets",
        "/assets/app-2.js",
        "/assets/../index.html",
        "/assets/%2e%2e/index.html",
        "//assets/app-1.js",
        "/assets//app-1.js",
        "/./",
        "/..",
        "/config.toml",
        "/favicon.ico",
        "/api",
        "/v1/streams",
    ] {
        let response = ask(&pages, "GET", path, &[]);
        assert_eq!(response.status(), 404, "{path}");
        assert_eq!(header(response.headers(), "content-type"), "application/json");
        assert!(text(response).await.contains("not_found"));
    }
    for path in ["/", "/sign-in", "/open/a/b", "/view", "/embed", "/assets/app-1.js", "/stream-console.js"] {
        let response = ask(&pages, "POST", path, &[]);
        assert_eq!(
            (response.status().as_u16(), header(response.headers(), "allow")),
            (405, "GET, HEAD"),
            "{path}"
        );
    }
}

#[tokio::test]
async fn the_base_is_that_of_the_url_that_was_asked() {
    let dir = folder();
    let pages = Pages::read(&settings(&dir, PUBLIC), None);
    for (host, base) in [
        ("relay.example.com", "/"),
        ("RELAY.example.com:443", "/"),
        ("other:8080", "/below/"),
        ("other", "/"),
        ("other:80", "/"),
        ("127.0.0.1:8080", "/"),
        ("", "/"),
    ] {
        let html = text(ask(&pages, "GET", "/view", &[("host", host)])).await;
        assert!(html.contains(&format!("<base href=\"{base}\">")), "{host}: {html}");
    }
    let only = Pages::read(&settings(&dir, "public_urls = ['wss://a/x/y']"), None);
    let html = text(ask(&only, "GET", "/", &[("host", "b")])).await;
    assert!(html.contains("<base href=\"/x/y/\">"), "{html}");
    // Not `//`, which would be another host.
    let doubled = Pages::read(&settings(&dir, "public_urls = ['wss://a//evil.example']"), None);
    assert!(text(ask(&doubled, "GET", "/", &[])).await.contains("<base href=\"/evil.example/\">"));
}

#[test]
fn the_tag_of_a_page_changes_with_what_is_filled_in_or_allowed() {
    let dir = folder();
    let tag = |lines: &str, path: &str| {
        let pages = Pages::read(&settings(&dir, lines), None);
        header(ask(&pages, "GET", path, &[]).headers(), "etag").to_owned()
    };
    let a = "public_urls = ['wss://a']";
    let allow = format!("{a}\nweb.view_allow = ['wss://b']");
    let embed = format!("{a}\nweb.embed_origins = ['https://b']");
    for path in ["/", "/view", "/embed"] {
        assert_eq!(tag(a, path), tag(a, path));
        // The app has none of the relays in its text, but in its policy.
        assert_ne!(tag(a, path), tag("public_urls = ['wss://b']", path), "{path}");
        assert_ne!(tag(a, path), tag("public_urls = ['wss://a/x']", path), "{path}");
        assert_eq!(tag(a, path) == tag(&allow, path), path == "/", "{path}");
        assert_eq!(tag(a, path) == tag(&embed, path), path == "/", "{path}");
    }
    assert_ne!(tag(a, "/view"), tag(a, "/"));
}

#[test]
fn a_url_with_other_characters_does_not_change_the_policy() {
    let dir = folder();
    let pages =
        Pages::read(&settings(&dir, "public_urls = [\"wss://a;script-src\", 'wss://b', 'wss://*.c']"), None);
    let response = ask(&pages, "GET", "/", &[]);
    let policy = header(response.headers(), "content-security-policy");
    assert!(policy.contains("connect-src 'self' wss://b; media-src"), "{policy}");
}

#[test]
fn a_browser_is_led_to_the_view_and_nobody_else() {
    let dir = folder();
    let pages = Pages::read(&settings(&dir, PUBLIC), None);
    let token = Token::generate().unwrap();
    let path = format!("/v1/stream/{}", token.reveal());
    let browser = ("accept", "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8");
    for (host, to) in [
        ("relay.example.com", format!("/view#wss://relay.example.com{path}")),
        ("other:8080", format!("/below/view#ws://other:8080/below{path}")),
        ("10.0.0.1", format!("/view#wss://relay.example.com{path}")),
    ] {
        let response = pages.lead(&request("GET", &path, &[browser, ("host", host)])).unwrap();
        assert_eq!((response.status().as_u16(), header(response.headers(), "location")), (303, &*to));
        assert_eq!(header(response.headers(), "cache-control"), "no-store");
        assert_eq!(header(response.headers(), "referrer-policy"), "no-referrer");
        assert!(!format!("{response:?}").contains(&token.reveal()), "a token in what may be logged");
    }
    for accept in ["*/*", "text/*", "application/json", "text/html;q=0", "text/htmlx", ""] {
        assert!(pages.lead(&request("GET", &path, &[("accept", accept)])).is_none(), "{accept}");
    }
    assert!(pages.lead(&request("GET", &path, &[("accept", "TEXT/HTML;q=0.1")])).is_some());
    assert!(pages.lead(&request("GET", &path, &[])).is_none());
    assert!(pages.lead(&request("POST", &path, &[browser])).is_none());
    for handshake in [("upgrade", "websocket"), ("sec-websocket-key", "x")] {
        assert!(pages.lead(&request("GET", &path, &[browser, handshake])).is_none());
    }
    for other in ["/v1/stream/", "/v1/stream", "/v1/stream/short", &format!("{path}/x"), &format!("/{path}")]
    {
        assert!(pages.lead(&request("GET", other, &[browser])).is_none(), "{other}");
    }
}

#[tokio::test]
async fn a_relay_without_the_page_says_where_it_is() {
    let dir = folder();
    let token = Token::generate().unwrap();
    let visit = request("GET", &format!("/v1/stream/{}", token.reveal()), &[("accept", "text/html")]);
    let mut settings = settings(&dir, PUBLIC);
    let paths =
        ["/", "/sign-in", "/open/a/b", "/sessions", "/view", "/embed", "/stream-console.js", "/assets/a.js"];
    let web = dir.path().join("web");
    fs::write(web.join("assets/app-1.js"), "changed").unwrap();
    for (at, words, remark) in [
        (None, "web.dir is", None),
        (
            Some(dir.path().join("none")),
            "the package stream-relay-web",
            Some("does not exist: install the package"),
        ),
        (
            Some(web.clone()),
            "the relay's log says which file",
            Some("app-1.js: is not the file that the manifest lists"),
        ),
    ] {
        settings.web.dir = at;
        let pages = Pages::read(&settings, None);
        for path in paths {
            let response = ask(&pages, "GET", path, &[]);
            assert_eq!(response.status(), 404);
            let said = text(response).await;
            assert!(said.contains(words) && !said.contains(&*dir.path().to_string_lossy()), "{said}");
        }
        assert!(text(ask(&pages, "GET", "/other", &[])).await.contains("nothing is here"));
        assert!(pages.lead(&visit).is_none());
        let said = remarks(&settings, None);
        assert_eq!(said.len(), remark.iter().len());
        assert!(said.iter().zip(remark).all(|(said, words)| said.contains(words)), "{said:?}");
    }
}

#[test]
fn a_reload_takes_new_settings_and_keeps_a_page_whose_files_were_damaged() {
    let dir = folder();
    let pages = Pages::read(&settings(&dir, PUBLIC), None);
    fs::write(dir.path().join("web/view.html"), "changed").unwrap();
    let kept = Pages::read(&settings(&dir, &format!("{PUBLIC}\nweb.view_allow = ['wss://b']")), Some(&pages));
    let response = ask(&kept, "GET", "/view", &[]);
    assert!(header(response.headers(), "content-security-policy").contains(" wss://b;"));
    // Another directory is another page.
    let mut other = settings(&dir, PUBLIC);
    other.web.dir = Some(dir.path().join("web/../web"));
    assert_eq!(ask(&Pages::read(&other, Some(&kept)), "GET", "/view", &[]).status(), 404);
    fs::remove_dir_all(dir.path().join("web")).unwrap();
    let gone = Pages::read(&settings(&dir, PUBLIC), Some(&kept));
    assert_eq!(ask(&gone, "GET", "/view", &[]).status(), 404);
}

#[test]
fn a_platform_that_bars_the_page_is_remarked() {
    let dir = folder();
    let settings = settings(&dir, "public_urls = ['wss://Relay.example.com/x', 'ws://other:8080']");
    let origins = |list: &[&str]| list.iter().map(|origin| (*origin).to_owned()).collect::<Vec<_>>();
    assert_eq!(remarks(&settings, None), Vec::<String>::new());
    assert_eq!(remarks(&settings, Some(&[])), Vec::<String>::new());
    let all = origins(&["https://relay.example.com", "http://other:8080"]);
    assert_eq!(remarks(&settings, Some(&all)), Vec::<String>::new());
    let said = remarks(&settings, Some(&origins(&["https://panel.example", "http://other:8080"])));
    assert!(
        said.len() == 1 && said[0].contains("add \"https://relay.example.com\" to platform.origins"),
        "{said:?}"
    );
}
