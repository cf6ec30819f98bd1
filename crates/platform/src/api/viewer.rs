//! `POST /api/v1/sessions/ID/viewer`: a file that opens a SPICE screen in remote-viewer, which reaches the relay as a
//! proxy.

use std::sync::Arc;

use axum::Extension;
use axum::extract::{Path, State};
use hyper::StatusCode;
use hyper::header::{CONTENT_DISPOSITION, HeaderValue};

use http1::server::response::{self, Response};
use protocol::headers::STREAM_PATH;
use protocol::token::Token;
use protocol::viewer_file::{CONTENT_TYPE, FILE_NAME, ViewerFile};

use super::call::Call;
use super::error::ApiError;
use super::sessions::find;
use crate::Platform;

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
    let url = format!("{}{STREAM_PATH}{}", platform.current().relay, token.reveal());
    let secret = Token::generate()
        .map_err(|error| ApiError::new(StatusCode::INTERNAL_SERVER_ERROR, "internal", error.to_string()))?;
    let title = format!("{} on {}", session.target, session.host);
    let text = ViewerFile { url: &url, secret: &secret, title: &title }.text();
    let text = text.map_err(|error| impossible(&error.to_string()))?;
    let mut file = response::body(StatusCode::OK, CONTENT_TYPE, text);
    let name = HeaderValue::from_str(&format!("attachment; filename=\"{FILE_NAME}\""));
    file.headers_mut().extend(name.ok().map(|name| (CONTENT_DISPOSITION, name)));
    Ok(file)
}
