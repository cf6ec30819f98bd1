//! The page for people: which of its files is at which path, and with which headers. What the page does is in `web/`.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use hyper::header::{
    ACCEPT, ACCESS_CONTROL_ALLOW_ORIGIN, CACHE_CONTROL, HOST, HeaderName, HeaderValue, LOCATION,
    REFERRER_POLICY, SEC_WEBSOCKET_KEY, UPGRADE,
};
use hyper::{Method, Request, StatusCode};
use tracing::{info, warn};

use http1::server::admin::TEXT;
use http1::server::assets::{Asset, Assets, Error};
use http1::server::quality::weighted;
use http1::server::response::{self, Response};
use protocol::headers::STREAM_PATH;
use protocol::token::Token;
use websocket::address::Address;

use super::config::Settings;
use site::{Kind, Site};

mod site;
mod template;

/// The element that a company's own page uses: scripts of every origin may load it.
const ELEMENT: &str = "stream-console.js";

const FILES_PATH: &str = "/assets/";

/// How to get the files, for operators.
const REMEDY: &str =
    "install the package stream-relay-web, or run `make web` and set web.dir to its web/dist";

/// The page, as the settings want it.
pub(crate) struct Pages {
    shown: Result<Arc<Assets>, Absent>,
    dir: Option<PathBuf>,
    /// One for each public URL; there is at least one.
    sites: Vec<Site>,
}

/// Why there is no page.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Absent {
    Off,
    Missing,
    Damaged,
}

impl Absent {
    /// For whom looks for the page with a browser. Names no path of this machine.
    fn message(self) -> &'static str {
        match self {
            Absent::Off => "this relay serves no page: web.dir is \"\" in its configuration",
            Absent::Missing => {
                "the page is not installed on this relay: it is in the package stream-relay-web, and `make web` builds it"
            }
            Absent::Damaged => "the page of this relay is damaged: the relay's log says which file",
        }
    }
}

impl Pages {
    /// Reads the page's files. If they are damaged, those that `before` has stay.
    pub(crate) fn read(settings: &Settings, before: Option<&Pages>) -> Pages {
        let dir = settings.web.dir.clone();
        let shown = match dir.as_deref().map(Assets::read) {
            None => Err(Absent::Off),
            Some(Ok(assets)) => {
                info!("page {} of {}", assets.version(), shown_path(&dir));
                Ok(Arc::new(assets))
            }
            Some(Err(error @ Error::Missing(_))) => {
                info!("no page is served: {error}: {REMEDY}");
                Err(Absent::Missing)
            }
            Some(Err(error)) => match before.filter(|before| before.dir == dir).map(|before| &before.shown) {
                Some(Ok(assets)) => {
                    warn!("the page stays as it was: {error}: {REMEDY}");
                    Ok(assets.clone())
                }
                _ => {
                    warn!("no page is served: {error}: {REMEDY}");
                    Err(Absent::Damaged)
                }
            },
        };
        let sites = Site::all(settings, shown.as_deref().ok());
        Pages { shown, dir, sites }
    }

    /// Answers what is none of the relay's other paths.
    pub(crate) fn respond<B>(&self, request: &Request<B>) -> Response {
        let nothing = || response::error(StatusCode::NOT_FOUND, "not_found", "nothing is here");
        let path = request.uri().path();
        let (kind, name) = (Kind::of(path), path.strip_prefix('/').unwrap_or_default());
        let assets = match &self.shown {
            Ok(assets) => assets,
            Err(absent) if kind.is_some() || name == ELEMENT || path.starts_with(FILES_PATH) => {
                return response::error(StatusCode::NOT_FOUND, "not_found", absent.message());
            }
            Err(_) => return nothing(),
        };
        if let Some(kind) = kind {
            let page = self.site(request).and_then(|site| site.page(kind));
            return page.map_or_else(nothing, |page| page.respond(request));
        }
        // A page without its headers could do what it must not, so no other path leads to one.
        match assets.file(name).filter(|file| !file.is_page()) {
            Some(file) if name == ELEMENT => for_every_origin(file, request),
            Some(file) => file.respond(request),
            None if path.starts_with(FILES_PATH) => {
                let why =
                    "the page has no such file: it may be one of another version, so load the page again";
                response::error(StatusCode::NOT_FOUND, "not_found", why)
            }
            None => nothing(),
        }
    }

    /// Leads a browser that was given a session's URL to the page that shows the session. The token is not used, and goes
    /// nowhere but back to the browser.
    pub(crate) fn lead<B>(&self, request: &Request<B>) -> Option<Response> {
        let headers = request.headers();
        let is_visit = matches!(*request.method(), Method::GET | Method::HEAD)
            && !headers.contains_key(UPGRADE)
            && !headers.contains_key(SEC_WEBSOCKET_KEY)
            && weighted(headers, ACCEPT).iter().any(|(kind, weight)| kind == "text/html" && *weight > 0);
        let path = request.uri().path();
        let token = path.strip_prefix(STREAM_PATH).filter(|token| token.parse::<Token>().is_ok());
        if !is_visit || token.is_none() || self.shown.is_err() {
            return None;
        }
        let mut location = HeaderValue::from_str(&self.site(request)?.view_of(path)).ok()?;
        location.set_sensitive(true);
        let mut response = response::body(StatusCode::SEE_OTHER, TEXT, "");
        response.headers_mut().insert(LOCATION, location);
        response.headers_mut().insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
        Some(response)
    }

    /// The public URL that a request was sent to, else the first.
    fn site<B>(&self, request: &Request<B>) -> Option<&Site> {
        let host = request.headers().get(HOST).and_then(|host| host.to_str().ok()).unwrap_or_default();
        self.sites.iter().find(|site| site.is_at(host)).or(self.sites.first())
    }
}

fn for_every_origin<B>(file: &Asset, request: &Request<B>) -> Response {
    let mut response = file.respond(request);
    if response.status() != StatusCode::METHOD_NOT_ALLOWED {
        let headers = response.headers_mut();
        headers.insert(CACHE_CONTROL, HeaderValue::from_static("max-age=300"));
        headers.insert(ACCESS_CONTROL_ALLOW_ORIGIN, HeaderValue::from_static("*"));
        let policy = HeaderName::from_static("cross-origin-resource-policy");
        headers.insert(policy, HeaderValue::from_static("cross-origin"));
    }
    response
}

fn shown_path(dir: &Option<PathBuf>) -> std::path::Display<'_> {
    dir.as_deref().unwrap_or(Path::new("")).display()
}

/// What the owner should know of the page. `allowed` are the origins that may connect to the bundled platform's
/// sessions, if it is there; empty means any.
pub fn remarks(settings: &Settings, allowed: Option<&[String]>) -> Vec<String> {
    let Some(dir) = &settings.web.dir else { return vec![] };
    if let Err(error) = Assets::read(dir) {
        return vec![format!("no page is served: {error}: {REMEDY}; web.dir = \"\" turns the page off")];
    }
    let Some(allowed) = allowed.filter(|allowed| !allowed.is_empty()) else { return vec![] };
    let origins = settings.public_urls.iter().filter_map(|url| Some(Address::parse(url).ok()?.page_origin()));
    let barred = origins.filter(|origin| !allowed.contains(origin));
    let remark = |origin| {
        format!(
            "the relay's own page cannot open sessions: add \"{origin}\" to platform.origins, or remove that list"
        )
    };
    barred.map(remark).collect()
}

#[cfg(test)]
mod tests;
