//! The relay's page, which shows a session in a browser.

use std::time::Duration;

use hyper::Request;
use hyper::body::Bytes;
use hyper::header::{ACCEPT, CONTENT_TYPE, HOST};
use tokio::time::timeout;

use http1::client::{Connection, Limits};
use protocol::headers::STREAM_PATH;
use websocket::address::Address;
use websocket::dial::Dialer;

/// The page itself is small; what it loads is not asked for.
const LIMITS: Limits = Limits { head: 64 * 1024, body: 64 * 1024, time: None };

/// How long the relay may take to show that it has the page.
const WAIT: Duration = Duration::from_secs(3);

/// What stands in every relay's page, and in no other.
const MARK: &[u8] = b"stream-relays";

/// The URL that shows a session in a browser, if its relay serves the page. The request for it does not contain the
/// session's URL.
///
/// # Errors
/// Why there is no page, for the user.
pub(crate) async fn of_session(url: &str, dialer: &Dialer) -> Result<String, String> {
    let relay = Address::parse(url).map_err(|error| error.to_string())?;
    let prefix = relay.path().rsplit_once(STREAM_PATH).map(|(prefix, _)| prefix.to_owned());
    let prefix = prefix.ok_or_else(|| format!("its path does not have {STREAM_PATH}"))?;
    let at = format!("{}{prefix}/view", relay.page_origin());
    let view =
        Address::parse(&format!("{}{prefix}/view", relay.origin())).map_err(|error| error.to_string())?;
    match timeout(WAIT, ask(&view, dialer)).await {
        Ok(Ok(())) => Ok(format!("{at}#{url}")),
        Ok(Err(why)) => Err(format!("{at}: {why}")),
        Err(_) => Err(format!("{at}: no answer within {} s", WAIT.as_secs())),
    }
}

/// Whether the page is there.
async fn ask(view: &Address, dialer: &Dialer) -> Result<(), String> {
    let socket = dialer.reach(view).await.map_err(|error| error.to_string())?;
    let connection = Connection::new(socket, LIMITS).await.map_err(|error| error.to_string())?;
    let request = Request::get(view.path()).header(HOST, view.authority()).header(ACCEPT, "text/html");
    let request = request.body(Bytes::new()).map_err(|error| error.to_string())?;
    let answer = connection.send(request).await.map_err(|error| error.to_string())?;
    let status = answer.status();
    if status != 200 {
        return Err(format!("it answers {}", status.as_u16()));
    }
    let is_html = answer.header(CONTENT_TYPE).is_some_and(|kind| kind.starts_with("text/html"));
    let body = answer.bytes().await.unwrap_or_default();
    match is_html && body.windows(MARK.len()).any(|part| part == MARK) {
        true => Ok(()),
        false => Err("it serves something else".into()),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, opener};
    use super::*;

    const HTML: &str = "text/html; charset=utf-8";

    #[tokio::test]
    async fn only_a_relay_with_the_page_gets_its_url() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let opener = opener(&world, dir.path(), &[]);
        let at = world.address;
        let url = format!("ws://{at}/below/v1/stream/token");
        let none = of_session(&url, &opener.dialer).await.unwrap_err();
        assert_eq!(none, format!("http://{at}/below/view: it answers 404"));
        *world.page.lock().unwrap() = Some((HTML, "<meta name=\"stream-relays\" content=\"\">"));
        let page = of_session(&url, &opener.dialer).await.unwrap();
        assert_eq!(page, format!("http://{at}/below/view#{url}"));
        assert_eq!(world.visits.lock().unwrap().pop().unwrap(), "GET /below/view");
        for other in [(HTML, "<title>Another service</title>"), ("text/plain", "stream-relays"), (HTML, "")] {
            *world.page.lock().unwrap() = Some(other);
            let why = of_session(&url, &opener.dialer).await.unwrap_err();
            assert!(why.ends_with("it serves something else"), "{why}");
        }
        let why = of_session("ws://127.0.0.1:1/v1/stream/token", &opener.dialer).await.unwrap_err();
        assert!(why.starts_with("http://127.0.0.1:1/view: ") && !why.contains("token"), "{why}");
        let why = of_session("ws://127.0.0.1:1/elsewhere/secret", &opener.dialer).await.unwrap_err();
        assert_eq!(why, "its path does not have /v1/stream/");
    }

    #[tokio::test(start_paused = true)]
    async fn a_silent_relay_is_not_waited_for() {
        let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = silent.local_addr().unwrap();
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let opener = opener(&world, dir.path(), &[]);
        let why = of_session(&format!("ws://{at}/v1/stream/token"), &opener.dialer).await.unwrap_err();
        assert_eq!(why, format!("http://{at}/view: no answer within 3 s"));
    }
}
