//! What a client's request shows: its token, and the key or cookie of its session.

use hyper::HeaderMap;
use hyper::header::{COOKIE, HeaderValue, SET_COOKIE};

use http1::server::response::Response;
use protocol::control::SUBPROTOCOL;
use protocol::end::End;
use protocol::headers::{SESSION_SUBPROTOCOL, STREAM_PATH, TOKEN_SUBPROTOCOL};
use protocol::token::{Token, TokenError, TokenHash};
use service::network::{self, SUBSCRIBER};

use crate::page_origin;
use crate::peer::Peer;
use crate::rendezvous::ClientIdentity;
use crate::state::State;

/// The subprotocol to echo: `stream.v1` if it is offered, else the first that does not hold a secret.
pub(super) fn choose(offered: &[String]) -> Option<&str> {
    let ours = offered.iter().find(|protocol| *protocol == SUBPROTOCOL);
    let is_key = |protocol: &String| protocol.starts_with(SESSION_SUBPROTOCOL);
    let other = offered.iter().find(|protocol| !is_key(protocol) && !protocol.starts_with(TOKEN_SUBPROTOCOL));
    // A browser that offers something fails unless one of its offers is echoed. A token is spent now, so echoing it
    // reveals nothing; a key stays valid.
    ours.or(other).or(offered.iter().find(|protocol| !is_key(protocol))).map(String::as_str)
}

/// The token of a request: in its path, else among the offered subprotocols.
///
/// # Errors
/// [`End::TokenMalformed`].
pub(super) fn token(path: &str, offered: &[String]) -> Result<Token, End> {
    let in_path = path.strip_prefix(STREAM_PATH).filter(|token| !token.is_empty());
    let in_protocol = || offered.iter().find_map(|protocol| protocol.strip_prefix(TOKEN_SUBPROTOCOL));
    let text = in_path.or_else(in_protocol).ok_or(End::TokenMalformed)?;
    text.parse().map_err(|_| End::TokenMalformed)
}

fn cookie_name(token: &Token) -> String {
    format!("stream_{}", token.hash().fingerprint())
}

/// Who the client of a request is: its address, and the keys and cookies of the session that it shows.
///
/// # Errors
/// When the system gives no random bytes for a new key.
pub(super) fn identity(
    headers: &HeaderMap,
    offered: &[String],
    token: &Token,
    peer: Peer,
) -> Result<ClientIdentity, TokenError> {
    let name = cookie_name(token);
    let lines = headers.get_all(COOKIE).into_iter().filter_map(|line| line.to_str().ok());
    let pairs = lines.flat_map(|line| line.split(';')).filter_map(|pair| pair.trim().split_once('='));
    let cookies = pairs.filter(|(key, _)| *key == name).map(|(_, value)| value);
    let keys = offered.iter().filter_map(|protocol| protocol.strip_prefix(SESSION_SUBPROTOCOL));
    Ok(ClientIdentity {
        network: network::containing(peer.address, SUBSCRIBER),
        address: peer.own,
        shown: cookies.chain(keys).map(|secret| TokenHash::from_secret(secret.as_bytes())).collect(),
        new_key: Token::generate()?,
        origin: page_origin::of(headers),
    })
}

/// Sets the cookie that shows on later connections that the client is the one of this session.
pub(super) fn set_cookie(response: &mut Response, relay: &State, token: &Token, key: &Token) {
    // A page of another site may open the websocket, so with TLS the cookie is sent cross-site. Browsers that keep
    // such cookies at all partition them by site.
    let site = if relay.is_https() { "; SameSite=None; Secure; Partitioned" } else { "; SameSite=Lax" };
    for prefix in relay.settings().prefixes() {
        let cookie =
            format!("{}={}; Path={prefix}{STREAM_PATH}; HttpOnly{site}", cookie_name(token), key.reveal());
        if let Ok(cookie) = HeaderValue::from_str(&cookie) {
            response.headers_mut().append(SET_COOKIE, cookie);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn offers(offered: &[&str]) -> Vec<String> {
        offered.iter().map(|protocol| (*protocol).to_owned()).collect()
    }

    #[test]
    fn exactly_one_offer_is_echoed() {
        let cases: [(&[&str], Option<&str>); 8] = [
            (&[], None),
            (&["binary"], Some("binary")),
            (&["binary", "stream.v1"], Some("stream.v1")),
            (&["stream.token.abc", "base64"], Some("base64")),
            (&["stream.token.abc"], Some("stream.token.abc")),
            (&["stream.session.abc", "stream.v1"], Some("stream.v1")),
            (&["stream.session.abc", "binary"], Some("binary")),
            (&["stream.session.abc"], None),
        ];
        for (offered, echoed) in cases {
            assert_eq!(choose(&offers(offered)), echoed);
        }
    }

    #[test]
    fn a_token_comes_in_the_path_or_as_a_subprotocol() {
        let secret = Token::generate().unwrap();
        let text = secret.reveal();
        assert_eq!(token(&format!("/v1/stream/{text}"), &[]).unwrap(), secret);
        assert_eq!(token("/v1/stream/", &offers(&["x", &format!("stream.token.{text}")])).unwrap(), secret);
        assert_eq!(token("/v1/stream", &offers(&[&format!("stream.token.{text}")])).unwrap(), secret);
        for wrong in ["/v1/stream/", "/v1/stream/short", &format!("/v1/stream/{text}/x")] {
            assert_eq!(token(wrong, &[]).unwrap_err(), End::TokenMalformed);
        }
    }
}
