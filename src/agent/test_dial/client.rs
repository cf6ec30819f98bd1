//! The way that a browser goes to a relay: a real upgrade with a token that nobody has, which the relay must close
//! with 4404. A proxy in front that drops or breaks websockets shows itself here.

use std::future::pending;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;

use crate::daemon::exit::Exit;
use crate::link::dial::{Address, DialError, Dialer, offer};
use crate::link::leg::Held;
use crate::link::reader::Text;
use crate::protocol::control::SUBPROTOCOL;
use crate::protocol::end::{Closing, End};
use crate::protocol::headers::{STREAM_PATH, TEST};
use crate::protocol::token::Token;

use super::report::Report;

const STEP: &str = "relay-client";

/// How long the relay may look for a host before it says that there is none: its `client_wait`, and some more.
const VERDICT: Duration = Duration::from_secs(20);

/// What every proxy needs to be told; nginx forgets it most often.
const PROXY: &str = "a proxy in front of the relay must speak HTTP/1.1 to it and pass Upgrade and Connection on; nginx: \
     proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection \"upgrade\";";

/// Goes the way once.
pub async fn test(report: &mut Report, dialer: &Dialer, url: &str, address: &Address) {
    match knock(dialer, address).await {
        Ok(closing) if closing.end == End::NoHost => {
            let detail = format!("a websocket with an invented token is closed with {}", closing.end.code());
            report.pass(STEP, Some(url), detail);
        }
        Ok(closing) => {
            let detail =
                format!("the websocket opened and then ended: {} ({})", closing.reason, closing.end.code());
            let remedy = match closing.end {
                End::TooMany => {
                    "the relay is full, or this address has too many clients there: try again later"
                }
                End::RelayRestarting => "the relay is restarting: try again later",
                _ => PROXY,
            };
            report.fail(STEP, Some(url), Exit::Unavailable, detail, remedy);
        }
        Err(error) => {
            let remedy = match &error {
                DialError::Refused { status, .. } if matches!(status.as_u16(), 400 | 426 | 505) => PROXY,
                DialError::Refused { status, .. } if status.is_server_error() => {
                    "the relay is restarting, or a proxy in front of it cannot reach it"
                }
                DialError::Refused { .. } => {
                    "a proxy in front must let clients in without a login of its own, and pass /v1/stream/ on to the relay"
                }
                _ => PROXY,
            };
            report.fail(STEP, Some(url), Exit::Unavailable, format!("no websocket: {error}"), remedy);
        }
    }
}

/// How the relay closes a client whose token is unknown.
async fn knock(dialer: &Dialer, address: &Address) -> Result<Closing, DialError> {
    let token = Token::generate().map_err(|error| DialError::Reach(error.to_string()))?;
    let place = address.below(&format!("{STREAM_PATH}{}", token.reveal()));
    let headers = [offer(SUBPROTOCOL), (HeaderName::from_static(TEST), HeaderValue::from_static("?1"))];
    let mut leg = dialer.dial(&place, &headers, Text::Messages).await?.leg;
    let late = |_| DialError::Reach(format!("opened, and then nothing for {} s", VERDICT.as_secs()));
    match timeout(VERDICT, leg.hold(pending::<()>())).await.map_err(late)? {
        Held::Lost(closing, farewell) => {
            leg.finish(farewell).await;
            Ok(closing)
        }
        Held::Done(()) | Held::Text(_) => {
            Err(DialError::Reach("opened, and then said something else".into()))
        }
    }
}
