//! `POST /api/v1/sessions/ID/viewer`: a file that opens a SPICE screen in remote-viewer, which reaches the relay as a
//! proxy.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};
use url::Url;

use http1::server::response::{self, Response};
use protocol::token::Token;

use super::call::Call;
use super::error::ApiError;
use super::sessions::find;
use crate::Platform;

/// The type that desktops open with remote-viewer.
const TYPE: &str = "application/x-virt-viewer";

/// The usual port of SPICE. The relay does not look at it.
const PORT: u16 = 5900;

pub(super) async fn file(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    session: Option<Path<String>>,
) -> Result<Response, ApiError> {
    let (_, session) = find(&platform, &call, session)?;
    call.record(|record| record.target = Some(session.target.clone()));
    let identity = &call.identity;
    let is_mine = session.own.as_ref().is_some_and(|own| own.key == identity.key.name)
        && session.user.as_deref().is_some_and(|user| identity.may_act_for(user));
    if !is_mine {
        let why =
            "only who opened a session gets its viewer's file, which has the token: open one of your own";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", why));
    }
    let impossible = |why: &str| ApiError::new(StatusCode::CONFLICT, "no_viewer", why);
    let token = session.unused_token().ok_or_else(|| {
        impossible("a client has come already, or none came in time: open a new session for the viewer")
    })?;
    platform.usage.request(&identity.key)?;
    if !platform.is_spice(&session.host, &session.target).await? {
        let why =
            "only SPICE screens have a viewer's file: `stream-relay open HOST TARGET --viewer` opens others";
        return Err(impossible(why));
    }
    let proxy = proxy(&platform.current().relay).ok_or_else(|| impossible("the relay's URL is no proxy"))?;
    let title = format!("{}: {}", session.host, session.target);
    let mut file = response::body(StatusCode::OK, TYPE, contents(token, &proxy, &title));
    let name = HeaderValue::from_static("attachment; filename=\"console.vv\"");
    file.headers_mut().insert(CONTENT_DISPOSITION, name);
    Ok(file)
}

/// The relay as a proxy, always with its port: the viewer's own default is another one.
fn proxy(relay: &str) -> Option<String> {
    let (scheme, rest) = relay.split_once("://")?;
    let scheme = if scheme.eq_ignore_ascii_case("wss") { "https" } else { "http" };
    let url = Url::parse(&format!("{scheme}://{rest}")).ok()?;
    Some(format!("{scheme}://{}:{}", url.host_str()?, url.port_or_known_default()?))
}

/// The viewer removes the file when it has read it.
fn contents(token: &Token, proxy: &str, title: &str) -> String {
    let (token, title) = (token.reveal(), title.replace('\\', "\\\\"));
    format!(
        "[virt-viewer]\ntype=spice\nhost={token}\nport={PORT}\nproxy={proxy}\ntitle={title}\ndelete-this-file=1\n"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_proxy_has_its_port() {
        for (relay, expected) in [
            ("wss://relay.example.com", "https://relay.example.com:443"),
            ("wss://relay.example.com:8443/sub", "https://relay.example.com:8443"),
            ("ws://127.0.0.1:8080", "http://127.0.0.1:8080"),
            ("ws://[::1]", "http://[::1]:80"),
        ] {
            assert_eq!(proxy(relay).as_deref(), Some(expected));
        }
    }

    #[test]
    fn a_title_is_one_value_of_the_file() {
        let token = Token::generate().unwrap();
        let file = contents(&token, "https://a:443", "h1: C:\\n");
        assert!(file.contains("\ntitle=h1: C:\\\\n\n") && file.ends_with("delete-this-file=1\n"), "{file}");
    }
}
