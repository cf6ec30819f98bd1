use std::time::Duration;

use serde_json::{Value, json};

use protocol::token::{Token, TokenHash};

use super::{KEYS, SESSIONS, accepted, open_request};
use crate::testing::{Answer, OWN_ORIGIN, RELAY, Served};

const SIGN_IN: &str = "/api/v1/sign-in";
const LINKS: &str = "/api/v1/sign-in-links";

async fn served() -> Served {
    let keys = KEYS.replacen("sha256 = 'HASH'\n", "sha256 = 'HASH'\nusers = ['alice']\nmodes = ['ro']\n", 1);
    Served::with(format!("STATE{keys}"), |_, _| accepted()).await
}

fn with_key(key: &str) -> String {
    json!({ "api_key": key }).to_string()
}

fn with_link(secret: &str) -> String {
    json!({ "link": secret }).to_string()
}

/// The line with the cookie of somebody who signs in with `secret`.
async fn signed_in(served: &Served) -> String {
    let answer = served.browse("POST", SIGN_IN, "", &with_key("secret")).await;
    assert_eq!(answer.status, 200, "{}", answer.body);
    format!("Cookie: a=b; {}\r\n", answer.cookie())
}

/// A new link for a user: its secret.
async fn link(served: &Served, user: &str) -> String {
    let (status, answer) = served.ask("POST", LINKS, "secret", &json!({ "user": user }).to_string()).await;
    assert_eq!((status, &answer["user"]), (201, &json!(user)), "{answer}");
    let url = answer["url"].as_str().unwrap();
    url.strip_prefix(&format!("{OWN_ORIGIN}/sign-in#")).unwrap().to_owned()
}

async fn me(served: &Served, cookie: &str) -> Answer {
    served.browse("GET", "/api/v1/me", cookie, "").await
}

#[tokio::test]
async fn a_key_becomes_a_cookie_that_has_its_rights() {
    let served = served().await;
    let answer = served.browse("POST", SIGN_IN, "", &with_key("secret")).await;
    assert_eq!((answer.status, &answer.body["user"], &answer.body["key"]), (200, &json!("me"), &json!("me")));
    for word in
        ["set-cookie: __Host-stream=", "; Secure; SameSite=Strict", "HttpOnly", "cache-control: no-store"]
    {
        assert!(answer.head.contains(word), "{word}: {}", answer.head);
    }
    assert!(!answer.head.contains("secret"));
    let cookie = format!("Cookie: {}\r\n", answer.cookie());
    let who = me(&served, &cookie).await;
    assert_eq!((who.status, &who.body["modes"]), (200, &json!(["ro"])));
    assert_eq!(who.body["expires"], answer.body["expires"]);
    let opened = served.browse("POST", SESSIONS, &cookie, &open_request("h1", "t")).await;
    assert_eq!((opened.status, &opened.body["mode"]), (201, &json!("ro")), "{}", opened.body);
    // The key may act for alice, but she has not signed in.
    let for_alice = r#"{"host":"h1","target":"t","user":"alice"}"#;
    assert_eq!(served.browse("POST", SESSIONS, &cookie, for_alice).await.code(), (403, "forbidden"));
    // A Bearer key gets the same about itself, with its own end.
    let (status, who) = served.ask("GET", "/api/v1/me", "other", "").await;
    assert_eq!((status, &who["key"], &who["expires"]), (200, &json!("logs"), &Value::Null));
}

#[tokio::test]
async fn whoever_cannot_sign_in_is_told_why() {
    let served = served().await;
    for (body, status, code) in [
        (with_key("guessed"), 401, "unauthorized"),
        (with_link("guessed"), 401, "unauthorized"),
        ("{}".into(), 400, "bad_request"),
        (json!({ "api_key": "secret", "link": "x" }).to_string(), 400, "bad_request"),
        (json!({ "api_key": "secret", "user": "x" }).to_string(), 400, "bad_request"),
        (json!({ "api_key": 1 }).to_string(), 400, "bad_request"),
        ("[".into(), 400, "bad_request"),
        (String::new(), 400, "bad_request"),
    ] {
        assert_eq!(served.browse("POST", SIGN_IN, "", &body).await.code(), (status, code), "{body}");
    }
    let form = "Sec-Fetch-Site: same-origin\r\nContent-Type: application/x-www-form-urlencoded\r\n";
    let answer = served.send("POST", SIGN_IN, form, &with_key("secret")).await;
    assert_eq!(answer.code(), (415, "unsupported_type"));
    let off = Served::with(KEYS, |_, _| accepted()).await;
    let answer = off.browse("POST", SIGN_IN, "", &with_key("secret")).await;
    assert_eq!(answer.code(), (503, "sign_in_off"));
    assert!(answer.body["message"].as_str().unwrap().contains("state_dir"), "{}", answer.body);
}

#[tokio::test]
async fn only_our_own_page_may_use_the_cookie_for_a_change() {
    let served = served().await;
    let cookie = signed_in(&served).await;
    let json = "Content-Type: application/json\r\n";
    let body = open_request("h1", "t");
    for (lines, good) in [
        ("Sec-Fetch-Site: same-origin\r\n".to_owned(), true),
        (format!("Origin: {OWN_ORIGIN}\r\n"), true),
        (String::new(), false),
        ("Sec-Fetch-Site: same-site\r\n".into(), false),
        ("Sec-Fetch-Site: cross-site\r\n".into(), false),
        (format!("Sec-Fetch-Site: none\r\nOrigin: {OWN_ORIGIN}\r\n"), false),
        ("Origin: https://evil.relay.example\r\n".into(), false),
        ("Origin: null\r\n".into(), false),
        (format!("Origin: {OWN_ORIGIN}\r\nOrigin: {OWN_ORIGIN}\r\n"), false),
    ] {
        let head = format!("{cookie}{json}{lines}");
        let expected = if good { (201, "") } else { (403, "cross_site") };
        let answer = served.send("POST", SESSIONS, &head, &body).await;
        assert_eq!(answer.code(), expected, "{lines}");
        let head = format!("{json}{lines}");
        let expected = if good { (200, "") } else { (403, "cross_site") };
        assert_eq!(
            served.send("POST", SIGN_IN, &head, &with_key("secret")).await.code(),
            expected,
            "{lines}"
        );
    }
    // A proxy's own password counts for nothing, also not as a reason to take a form.
    let basic = format!("{cookie}Authorization: Basic YTpi\r\nSec-Fetch-Site: same-origin\r\n");
    assert_eq!(served.send("POST", SESSIONS, &format!("{basic}{json}"), &body).await.status, 201);
    assert_eq!(served.send("POST", SESSIONS, &basic, &body).await.code(), (415, "unsupported_type"));
    // A look needs no proof: no page of another origin can read the answer.
    assert_eq!(served.send("GET", SESSIONS, &cookie, "").await.status, 200);
    // Nor does a key, which no browser sends by itself.
    let head = format!("{cookie}{json}Authorization: Bearer secret\r\nOrigin: https://evil.net\r\n");
    assert_eq!(served.send("POST", SESSIONS, &head, &body).await.status, 201);
}

#[tokio::test]
async fn signing_in_is_for_the_relays_own_addresses() {
    let served = served().await;
    let ask = async |host: &str, lines: &str| {
        let request = format!(
            "POST {SIGN_IN} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\nContent-Type: application/json\r\n\
             {lines}Content-Length: 20\r\n\r\n{}",
            with_key("secret")
        );
        served.raw(&request).await
    };
    let other = ask("127.0.0.1", "Sec-Fetch-Site: same-origin\r\n").await;
    assert!(other.contains(" 403 ") && other.contains("other_host") && other.contains(OWN_ORIGIN), "{other}");
    let plain = ask("relay.example", "Origin: http://relay.example\r\n").await;
    assert!(plain.contains(" 403 ") && plain.contains("plain_http"), "{plain}");
    // Without TLS it works on this machine only.
    let urls = ["ws://lan.example".to_owned(), "ws://127.0.0.1:8080".to_owned()];
    let settings = served.folder.settings(&format!("STATE{KEYS}")).unwrap();
    served.platform.reload(settings, &urls, Duration::ZERO);
    let lan = ask("lan.example", "Origin: http://lan.example\r\n").await;
    assert!(lan.contains(" 403 ") && lan.contains("plain_http") && lan.contains("public_urls"), "{lan}");
    let local = ask("127.0.0.1:8080", "Origin: http://127.0.0.1:8080\r\n").await;
    assert!(
        local.contains(" 200 ") && local.contains("stream-loopback=") && !local.contains("Secure"),
        "{local}"
    );
}

#[tokio::test]
async fn a_link_signs_its_user_in_once() {
    let served = served().await;
    let secret = link(&served, "alice").await;
    // What a scanner does: it gets the page, and knows no secret behind the #.
    assert_eq!(served.send("GET", SIGN_IN, "", "").await.status, 405);
    for _ in 0..2 {
        let preview = served.browse("POST", "/api/v1/sign-in/preview", "", &with_link(&secret)).await;
        assert_eq!((preview.status, &preview.body["user"]), (200, &json!("alice")), "{}", preview.body);
        assert!(!preview.head.contains("set-cookie"));
    }
    let answer = served.browse("POST", SIGN_IN, "", &with_link(&secret)).await;
    assert_eq!(
        (answer.status, &answer.body["user"], &answer.body["key"]),
        (200, &json!("alice"), &json!("me"))
    );
    let cookie = format!("Cookie: {}\r\n", answer.cookie());
    for path in [SIGN_IN, "/api/v1/sign-in/preview"] {
        assert_eq!(served.browse("POST", path, "", &with_link(&secret)).await.code(), (401, "link_used"));
    }
    let opened = served.browse("POST", SESSIONS, &cookie, r#"{"host":"h1","target":"t"}"#).await;
    let session = format!("{SESSIONS}/{}", opened.body["session"].as_str().unwrap());
    assert_eq!(served.browse("GET", &session, &cookie, "").await.body["user"], "alice");
    // Nobody makes links for others, and no cookie makes any.
    let (status, answer) = served.ask("POST", LINKS, "secret", r#"{"user":"bob"}"#).await;
    assert_eq!((status, &answer["code"]), (403, &json!("forbidden")));
    assert_eq!(served.ask("POST", LINKS, "secret", r#"{"user":"a\nb"}"#).await.0, 400);
    assert_eq!(served.browse("POST", LINKS, &cookie, "{}").await.code(), (403, "forbidden"));
}

#[tokio::test]
async fn a_cookie_ends_with_its_key_and_with_its_user() {
    let served = served().await;
    let reload = |text: &str| {
        let settings = served.folder.settings(&format!("STATE{text}")).unwrap();
        served.platform.reload(settings, &[RELAY.into()], Duration::ZERO);
    };
    let cookie = signed_in(&served).await;
    let key = "[[platform.api_key]]\nname = 'me'\nsha256 = 'HASH'\n";
    reload(key);
    assert_eq!(me(&served, &cookie).await.status, 200);
    reload(&format!("{key}expires = 2020-01-01\n"));
    assert_eq!(me(&served, &cookie).await.code(), (401, "key_expired"));
    for other in [key.replace("HASH", "OTHER"), key.replace("'me'", "'you'")] {
        reload(&other);
        assert_eq!(me(&served, &cookie).await.code(), (401, "unauthorized"));
    }
    reload(KEYS);
    assert_eq!(me(&served, &cookie).await.status, 200);
}

#[tokio::test]
async fn signing_out_ends_one_cookie_or_all_and_stays_so_after_a_restart() {
    let served = served().await;
    let (one, other) = (signed_in(&served).await, signed_in(&served).await);
    let out = |cookie: &str, everywhere: bool| {
        let (cookie, body) = (cookie.to_owned(), json!({ "everywhere": everywhere }).to_string());
        let served = &served;
        async move { served.browse("POST", "/api/v1/sign-out", &cookie, &body).await }
    };
    let answer = out(&one, false).await;
    assert_eq!(answer.status, 204);
    assert!(answer.head.contains("set-cookie: __Host-stream=; Path=/; Max-Age=0"), "{}", answer.head);
    assert_eq!((me(&served, &one).await.status, me(&served, &other).await.status), (401, 200));
    assert_eq!(out(&other, true).await.status, 204);
    assert_eq!(me(&served, &other).await.status, 401);
    let again = signed_in(&served).await;
    // Another start with the same directory.
    served.platform.sign_in.reload(None);
    assert_eq!(me(&served, &again).await.status, 401);
    served.platform.sign_in.reload(Some(&served.folder.path("state")));
    for (cookie, status) in [(&one, 401), (&other, 401), (&again, 200)] {
        assert_eq!(me(&served, cookie).await.status, status);
    }
}

#[tokio::test]
async fn guesses_are_limited_and_good_attempts_are_not() {
    let served = served().await;
    for _ in 0..8 {
        signed_in(&served).await;
    }
    for _ in 0..5 {
        assert_eq!(served.browse("POST", SIGN_IN, "", &with_key("guessed")).await.status, 401);
    }
    let answer = served.browse("POST", SIGN_IN, "", &with_key("guessed")).await;
    assert_eq!(answer.code(), (429, "too_many_requests"));
    let wait = answer.head.lines().find_map(|line| line.strip_prefix("retry-after: ")).unwrap();
    assert!((1..=13).contains(&wait.parse::<u32>().unwrap()), "{wait}");
    let preview = served.browse("POST", "/api/v1/sign-in/preview", "", &with_link("x")).await;
    assert_eq!(preview.status, 429);
    assert!(answer.body["message"].as_str().unwrap().contains("trusted_proxies"), "{}", answer.body);
    assert_eq!(served.ask("GET", "/api/v1/me", "secret", "").await.0, 200, "API keys go on");
}

#[tokio::test]
async fn guesses_of_others_at_the_same_address_keep_nobody_out_who_has_a_generated_key_or_a_link() {
    let generated = || format!("stream_{}", Token::generate().unwrap().reveal());
    let good = generated();
    let key = format!(
        "[[platform.api_key]]\nname = 'new'\nsha256 = '{}'\n",
        TokenHash::from_secret(good.as_bytes())
    );
    let served = Served::with(format!("STATE{KEYS}{key}"), |_, _| accepted()).await;
    let secret = link(&served, "alice").await;
    let sign_in = async |body: String| served.browse("POST", SIGN_IN, "", &body).await.status;
    while sign_in(with_key(&generated())).await == 401 {}
    assert_eq!(sign_in(with_key(&good)).await, 200);
    assert_eq!(served.browse("POST", "/api/v1/sign-in/preview", "", &with_link(&secret)).await.status, 200);
    assert_eq!(sign_in(with_link(&secret)).await, 200);
    // Wrong ones, and what a person made up: the answer says nothing about it.
    for body in [with_key(&generated()), with_link(&secret), with_key("guessed"), with_key("secret")] {
        assert_eq!(sign_in(body).await, 429);
    }
}

#[tokio::test]
async fn no_answer_to_a_sign_out_leaves_the_cookie() {
    let served = served().await;
    let out = async |lines: &str, body: &str| {
        let answer = served.browse("POST", "/api/v1/sign-out", lines, body).await;
        (answer.status, answer.head.contains("set-cookie: __Host-stream=; Path=/; Max-Age=0"))
    };
    let cookie = signed_in(&served).await;
    assert_eq!(out(&cookie, "[").await, (400, true));
    assert_eq!(out("Cookie: __Host-stream=x.y\r\n", "{}").await, (401, true));
    // A page of another site removes nothing, and a key has no cookie.
    let foreign = format!("{cookie}Content-Type: application/json\r\nSec-Fetch-Site: cross-site\r\n");
    let answer = served.send("POST", "/api/v1/sign-out", &foreign, "{}").await;
    assert!(answer.status == 403 && !answer.head.contains("set-cookie"), "{}", answer.head);
    assert_eq!(out(&format!("{cookie}Authorization: Bearer secret\r\n"), "{}").await, (204, false));
    // It cannot be stored, as on a full disk.
    std::fs::remove_dir_all(served.folder.path("state")).unwrap();
    assert_eq!(out(&cookie, "{}").await, (500, true));
    assert_eq!(out(&cookie, "{}").await, (401, true));
}
