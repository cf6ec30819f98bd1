//! Connects to the relay as a browser does, with a token that does not exist, which the relay must close with 4404. Finds
//! proxies that drop or break websockets.

use std::future::pending;
use std::time::Duration;

use hyper::header::{HeaderName, HeaderValue};
use tokio::time::timeout;

use protocol::control::SUBPROTOCOL;
use protocol::end::{Closing, End};
use protocol::headers::{FORWARDED_ABSENT, FORWARDED_IGNORED, STREAM_PATH, TEST};
use protocol::token::Token;
use service::exit::Exit;
use websocket::address::Address;
use websocket::connection::IdleEnd;
use websocket::dial::{Dialer, offer};
use websocket::error::DialError;
use websocket::reader::Text;

use super::front::{Fault, Front};
use super::report::Report;

const STEP: &str = "relay-client";

/// How long the relay may wait for a host until it closes: its `client_wait`, and some more.
const VERDICT: Duration = Duration::from_secs(20);

/// Connects once. `front` is the proxy that answered the dial of a host.
pub(super) async fn test(report: &mut Report, dialer: &Dialer, url: &str, address: &Address, front: Front) {
    match try_upgrade(dialer, address).await {
        Ok((closing, forwarded)) if closing.end == End::NoHost => {
            let detail = format!("a websocket with an invented token is closed with {}", closing.end.code());
            match remark(forwarded.as_deref(), front) {
                Some(remark) => report.pass_but(STEP, Some(url), detail, &remark),
                None => report.pass(STEP, Some(url), detail),
            }
        }
        Ok((closing, _)) => {
            let detail =
                format!("the websocket opened and then ended: {} ({})", closing.reason, closing.end.code());
            let remedy = match closing.end {
                End::TooMany => {
                    "the relay is full, or this address has too many clients there: try again later".into()
                }
                End::RelayRestarting => "the relay is restarting: try again later".into(),
                _ => Fault::UpgradeLost.remedy(front),
            };
            report.fail(STEP, Some(url), Exit::Unavailable, detail, &remedy);
        }
        Err(error) => {
            let fault = match &error {
                DialError::Refused { status, message } => {
                    Fault::from_status(*status, !message.is_empty(), address.tls)
                }
                _ => Fault::UpgradeLost,
            };
            let detail = format!("no websocket: {error}");
            report.fail(STEP, Some(url), Exit::Unavailable, detail, &fault.remedy(front));
        }
    }
}

/// What is wrong with `X-Forwarded-For`, by the relay's answer.
fn remark(forwarded: Option<&str>, front: Front) -> Option<String> {
    match forwarded? {
        FORWARDED_IGNORED => Some(
            "a proxy in front names this host's address in X-Forwarded-For, and the relay does not believe it: limits and \
             records take the proxy for all hosts and clients; in the relay's configuration: trusted_proxies = [\"127.0.0.1\"] \
             with the address that the proxy comes from"
                .into(),
        ),
        FORWARDED_ABSENT => front.forwards().map(|line| {
            format!(
                "the proxy in front does not name this host's address in X-Forwarded-For: limits and records take the proxy for \
                 all hosts and clients\n{}: {line}",
                front.name()
            )
        }),
        _ => None,
    }
}

/// Returns how the relay closes an unknown token, and what it reports about `X-Forwarded-For`.
async fn try_upgrade(dialer: &Dialer, address: &Address) -> Result<(Closing, Option<String>), DialError> {
    let token = Token::generate().map_err(|error| DialError::Reach(error.to_string()))?;
    let place = address.below(&format!("{STREAM_PATH}{}", token.reveal()));
    let headers = [offer(SUBPROTOCOL), (HeaderName::from_static(TEST), HeaderValue::from_static("?1"))];
    let dialled = dialer.dial(&place, &headers, Text::Messages).await?;
    let forwarded = dialled.headers.get(TEST).and_then(|value| value.to_str().ok()).map(str::to_owned);
    let mut websocket = dialled.websocket;
    let late = |_| DialError::Reach(format!("opened, and then nothing for {} s", VERDICT.as_secs()));
    match timeout(VERDICT, websocket.wait_idle(pending::<()>())).await.map_err(late)? {
        IdleEnd::Lost(closing, close_action) => {
            websocket.finish(close_action).await;
            Ok((closing, forwarded))
        }
        IdleEnd::Done(()) | IdleEnd::Text(_) => {
            Err(DialError::Reach("opened, and then said something else".into()))
        }
    }
}
