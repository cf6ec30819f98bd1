//! `POST /api/v1/sign-in`, `POST /api/v1/sign-in/preview`, `GET /api/v1/me`, `POST /api/v1/sign-out` and
//! `POST /api/v1/sign-in-links`.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use axum::Extension;
use axum::extract::{Request, State};
use humantime_serde::re::humantime::format_rfc3339_seconds;
use hyper::StatusCode;
use hyper::header::{CONTENT_TYPE, HeaderMap, HeaderValue, SET_COOKIE};
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::warn;

use http1::server::response::{self, Response};
use protocol::mode::Mode;
use protocol::name::{WHAT_A_NAME_IS, is_name};
use protocol::token::Token;

use super::body;
use super::call::{Call, Note, Peer};
use super::error::ApiError;
use crate::Platform;
use crate::identity::{Account, Identity, NoIdentity, OwnOrigin};
use crate::policy;

/// Either of the two.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignInRequest {
    api_key: Option<String>,
    link: Option<String>,
}

pub(super) async fn sign_in(
    State(platform): State<Arc<Platform>>,
    Extension(note): Extension<Note>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    attempt(&platform, peer, async |is_limited| {
        let own = own_page(&platform, request.headers())?;
        platform.sign_in.ready().map_err(ApiError::sign_in_off)?;
        let policy = &platform.current().settings.policy;
        let identity = match body::read(request).await? {
            SignInRequest { api_key: Some(key), .. } if is_limited && !policy::is_generated(&key) => {
                return Err(NoIdentity::UnknownKey.into());
            }
            SignInRequest { api_key: Some(key), link: None } => platform.sign_in.by_key(policy, &key)?,
            SignInRequest { api_key: None, link: Some(link) } => {
                let account = platform.sign_in.links.redeem(&link)?;
                platform.sign_in.by_account(policy, &account)?
            }
            _ => return Err(ApiError::bad_request("expected either api_key or link")),
        };
        note.add(|record| {
            (record.key, record.user) = (Some(identity.key.name.clone()), Some(identity.user.clone()));
        });
        let signed_in = platform.sign_in.cookie(identity, &own).map_err(ApiError::sign_in_off)?;
        let (identity, cookie) = signed_in;
        let response = response::json(StatusCode::OK, &account(&identity, identity.expires()));
        with_cookie(response, &cookie)
    })
    .await
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct PreviewRequest {
    link: String,
}

/// Names the account of a link, so that nobody signs in to one without seeing which.
pub(super) async fn preview(
    State(platform): State<Arc<Platform>>,
    Extension(peer): Extension<Peer>,
    request: Request,
) -> Result<Response, ApiError> {
    attempt(&platform, peer, async |_| {
        own_page(&platform, request.headers())?;
        let PreviewRequest { link } = body::read(request).await?;
        let (of_link, expires) = platform.sign_in.links.look(&link)?;
        let identity = platform.sign_in.by_account(&platform.current().settings.policy, &of_link)?;
        Ok(response::json(StatusCode::OK, &account(&identity, Some(expires))))
    })
    .await
}

pub(super) async fn me(Extension(call): Extension<Call>) -> Response {
    let identity = &call.identity;
    let modes: Vec<Mode> = match identity.key.only {
        Some(only) => vec![only],
        None => vec![Mode::Ro, Mode::Rw],
    };
    let mut body = account(identity, identity.expires());
    body["modes"] = json!(modes);
    response::json(StatusCode::OK, &body)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct SignOutRequest {
    #[serde(default)]
    everywhere: bool,
}

pub(super) async fn sign_out(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Result<Response, ApiError> {
    let SignOutRequest { everywhere } = body::read(request).await?;
    platform.sign_in.ready().map_err(ApiError::sign_in_off)?;
    let stored = platform.sign_in.sign_out(&call.identity, everywhere).await;
    stored.map_err(|why| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", why))?;
    let mut response = response::body(StatusCode::NO_CONTENT, "application/json", "");
    response.headers_mut().remove(CONTENT_TYPE);
    Ok(response)
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct LinkRequest {
    user: Option<String>,
}

pub(super) async fn create_link(
    State(platform): State<Arc<Platform>>,
    Extension(call): Extension<Call>,
    request: Request,
) -> Result<Response, ApiError> {
    let LinkRequest { user } = body::read(request).await?;
    let user = user.unwrap_or_else(|| call.identity.user.clone());
    if !is_name(&user) {
        return Err(ApiError::bad_request(format!("user is not {WHAT_A_NAME_IS}")));
    }
    call.record(|record| record.user = Some(user.clone()));
    if !call.identity.may_act_for(&user) {
        let why =
            "this key may not sign in that user: `users` in its [[platform.api_key]] names those that it may";
        return Err(ApiError::new(StatusCode::FORBIDDEN, "forbidden", why));
    }
    platform.sign_in.ready().map_err(ApiError::sign_in_off)?;
    let secret = Token::generate()
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    let expires = platform.sign_in.links.create(&secret, Account::new(&call.identity.key, &user))?;
    // Behind the #, so that it is in no log and in no Referer.
    let url = format!("{}/sign-in#{}", platform.current().origins.first_url(), secret.reveal());
    let body = json!({ "url": url, "user": user, "expires": format_rfc3339_seconds(expires).to_string() });
    Ok(response::json(StatusCode::CREATED, &body))
}

/// Counts an attempt to sign in. Only what was a guess counts in the end. `work` learns whether there were too many
/// guesses: what a person made up is refused then, or it could be guessed in the end. Generated keys and links have 256
/// bits, so a right one is no guess, and somebody else's guesses at the same address do not keep its user out.
async fn attempt(
    platform: &Platform,
    peer: Peer,
    work: impl AsyncFnOnce(bool) -> Result<Response, ApiError>,
) -> Result<Response, ApiError> {
    let attempts = &platform.sign_in.attempts;
    let counted = attempts.count(peer.address);
    let done = work(counted.is_err()).await;
    let is_guess = done.as_ref().is_err_and(ApiError::is_guess);
    match counted {
        Err(wait) if is_guess => Err(too_many_guesses(platform, peer, wait)),
        Ok(()) if !is_guess => {
            attempts.forgive(peer.address);
            done
        }
        _ => done,
    }
}

fn too_many_guesses(platform: &Platform, peer: Peer, wait: Duration) -> ApiError {
    let seconds = wait.as_secs() + 1;
    let mut message =
        format!("too many failed attempts to sign in from this address: try again in {seconds} s");
    if peer.may_be_proxy {
        message.push_str(
            ". If the relay is behind a proxy, all its users count as one until trusted_proxies lists it",
        );
        if platform.sign_in.attempts.is_first_of_proxy() {
            warn!(
                "platform: too many failed attempts to sign in from {}: if that is a proxy, list it in trusted_proxies, \
                 or all its users count as one",
                peer.address
            );
        }
    }
    ApiError::too_many(message, wait)
}

/// The origin of the page that asks, if it is one of ours.
fn own_page(platform: &Platform, headers: &HeaderMap) -> Result<OwnOrigin, ApiError> {
    let current = platform.current();
    let own = current.origins.of(headers)?;
    own.check_page(headers)?;
    Ok(own.clone())
}

fn account(identity: &Identity, expires: Option<SystemTime>) -> Value {
    let mut account = json!({ "user": identity.user, "key": identity.key.name });
    if let Some(expires) = expires {
        account["expires"] = format_rfc3339_seconds(expires).to_string().into();
    }
    account
}

fn with_cookie(mut response: Response, cookie: &str) -> Result<Response, ApiError> {
    let value = HeaderValue::from_str(cookie)
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    response.headers_mut().insert(SET_COOKIE, value);
    Ok(response)
}
