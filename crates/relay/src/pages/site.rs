//! One public URL of the relay, and the pages as they are served there.

use http1::server::assets::{Asset, Assets, digest};
use hyper::header::{CONTENT_SECURITY_POLICY, HeaderMap, HeaderName, HeaderValue, REFERRER_POLICY};
use protocol::origin::WebOrigin;
use websocket::address::Address;

use super::template::fill;
use crate::config::{Settings, is_exact};

/// A page by what it may do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// Signs in, and uses the platform's API.
    App,
    /// Shows the session of a URL of any platform.
    View,
    /// The same in a frame of another page.
    Embed,
}

impl Kind {
    const ALL: [Kind; 3] = [Kind::App, Kind::View, Kind::Embed];

    /// By the path of a request.
    pub(super) fn of(path: &str) -> Option<Kind> {
        match path {
            "/" | "/sign-in" | "/sessions" => Some(Kind::App),
            "/view" => Some(Kind::View),
            "/embed" => Some(Kind::Embed),
            path if path.starts_with("/open/") => Some(Kind::App),
            _ => None,
        }
    }

    /// The name of its file in the manifest.
    fn name(self) -> &'static str {
        match self {
            Kind::App => "app",
            Kind::View | Kind::Embed => "view",
        }
    }
}

/// A public URL.
pub(super) struct Site {
    address: Address,
    /// Its path, without a slash at the end: a proxy may serve the relay below a path.
    prefix: String,
    url: String,
    pages: Vec<(Kind, Asset)>,
}

impl Site {
    /// The sites of all public URLs that can be parsed, which is all of those that were checked.
    pub(super) fn all(settings: &Settings, assets: Option<&Assets>) -> Vec<Site> {
        let addresses = || settings.public_urls.iter().filter_map(|url| Address::parse(url).ok());
        let mut relays: Vec<String> = vec![];
        for origin in addresses().map(|address| address.origin()).filter(|origin| is_exact(origin)) {
            if !relays.contains(&origin) {
                relays.push(origin);
            }
        }
        let site = |address: Address| {
            // A path that begins with two slashes would lead to another host.
            let path = address.path().trim_matches('/');
            let prefix = if path.is_empty() { String::new() } else { format!("/{path}") };
            let page = |kind: Kind| Some((kind, page(kind, assets?, &prefix, &relays, settings)?));
            let pages = Kind::ALL.into_iter().filter_map(page).collect();
            Site { url: format!("{}{prefix}", address.origin()), address, prefix, pages }
        };
        addresses().map(site).collect()
    }

    /// Whether a request with this `Host` was sent to this URL.
    pub(super) fn is_at(&self, host: &str) -> bool {
        let default_port = if self.address.tls { ":443" } else { ":80" };
        host.strip_suffix(default_port).unwrap_or(host).eq_ignore_ascii_case(self.address.authority())
    }

    pub(super) fn page(&self, kind: Kind) -> Option<&Asset> {
        self.pages.iter().find(|(of, _)| *of == kind).map(|(_, page)| page)
    }

    /// Where `/view` shows what is at `path` of this relay.
    pub(super) fn view_of(&self, path: &str) -> String {
        format!("{}/view#{}{path}", self.prefix, self.url)
    }
}

fn page(kind: Kind, assets: &Assets, prefix: &str, relays: &[String], settings: &Settings) -> Option<Asset> {
    let web = &settings.web;
    let (allowed, framing): (&[String], Vec<&str>) = match kind {
        Kind::App => (&[], vec![]),
        Kind::View | Kind::Embed => {
            (&web.view_allow, web.embed_origins.iter().map(WebOrigin::as_str).collect())
        }
    };
    let text = fill(
        assets.page(kind.name())?,
        &[
            ("__BASE__", prefix),
            ("__VIEW_ALLOW__", &allowed.join(" ")),
            ("__EMBED_ORIGINS__", &framing.join(" ")),
            ("__RELAYS__", &relays.join(" ")),
        ],
    );
    let policy =
        policy(&[relays, allowed].concat(), if kind == Kind::Embed { framing.as_slice() } else { &[] });
    // A page whose policy has changed is another page, also for a client that has its text.
    let digest = digest([policy.as_bytes(), text.as_bytes()]);
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let mut page = Asset::new(html, &digest, text);
    add_headers(page.headers_mut(), &policy);
    Some(page)
}

/// What the browser lets the page do.
fn policy(connect: &[String], ancestors: &[&str]) -> String {
    let connect: String = connect.iter().map(|origin| format!(" {origin}")).collect();
    let ancestors = if ancestors.is_empty() { "'none'".to_owned() } else { ancestors.join(" ") };
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "font-src 'self'",
        &format!("connect-src 'self'{connect}"),
        "media-src blob:",
        "worker-src 'self'",
        "base-uri 'self'",
        "form-action 'none'",
        &format!("frame-ancestors {ancestors}"),
        "require-trusted-types-for 'script'",
        "trusted-types 'none'",
    ]
    .join("; ")
}

fn add_headers(headers: &mut HeaderMap, policy: &str) {
    // Only origins of the settings are in it, which are plain ASCII. Without a policy a page could do more than it
    // should, so the strictest one stands in.
    let policy = HeaderValue::from_str(policy);
    headers.insert(CONTENT_SECURITY_POLICY, policy.unwrap_or(HeaderValue::from_static("default-src 'none'")));
    headers.insert(REFERRER_POLICY, HeaderValue::from_static("no-referrer"));
    let rights = "clipboard-read=(self), clipboard-write=(self), fullscreen=(self), camera=(), microphone=(), geolocation=()";
    headers.insert(HeaderName::from_static("permissions-policy"), HeaderValue::from_static(rights));
    headers.insert(
        HeaderName::from_static("cross-origin-opener-policy"),
        HeaderValue::from_static("same-origin"),
    );
}
