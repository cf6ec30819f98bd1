//! The section `[web]`: as written ([`RawWeb`]), and checked ([`Web`]).

use std::path::PathBuf;

use serde::Deserialize;

use protocol::origin::WebOrigin;
use service::config::{ConfigError, Loaded};
use websocket::address::Address;

const AT: &str = "web";

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RawWeb {
    dir: String,
    view_allow: Vec<String>,
    embed_origins: Vec<String>,
}

impl Default for RawWeb {
    fn default() -> RawWeb {
        RawWeb { dir: "/usr/share/stream-relay/web".into(), view_allow: vec![], embed_origins: vec![] }
    }
}

/// The page for people, and where it may be used.
#[derive(Clone, Debug, Default)]
pub struct Web {
    /// The directory of its files; `None` if the relay is to serve no page.
    pub dir: Option<PathBuf>,
    /// Origins of relays, besides this one, that `/view` and `/embed` may connect to: `wss://host`, `ws://host:port`.
    pub view_allow: Vec<String>,
    /// Origins of pages that may show `/embed` in a frame.
    pub embed_origins: Vec<WebOrigin>,
}

impl RawWeb {
    /// # Errors
    /// The first mistake, with its file and line.
    pub(super) fn check(&self, loaded: &Loaded) -> Result<Web, ConfigError> {
        let dir = (!self.dir.is_empty()).then(|| PathBuf::from(&self.dir));
        if dir.as_ref().is_some_and(|dir| !dir.is_absolute()) {
            let why =
                format!("\"{}\" does not begin with /: write the whole path, or \"\" for no page", self.dir);
            return Err(loaded.error_at(&[AT, "dir"], why));
        }
        Ok(Web {
            dir,
            view_allow: each(loaded, "view_allow", &self.view_allow, relay_origin)?,
            embed_origins: each(loaded, "embed_origins", &self.embed_origins, page_origin)?,
        })
    }
}

/// Parses each element of a list. The error names the element.
fn each<T>(
    loaded: &Loaded,
    key: &str,
    texts: &[String],
    parse: fn(&str) -> Result<T, String>,
) -> Result<Vec<T>, ConfigError> {
    let parsed = texts.iter().enumerate().map(|(number, text)| {
        parse(text).map_err(|why| loaded.error_at(&[AT, key, &format!("[{number}]")], why))
    });
    parsed.collect()
}

/// Whether it stands for itself in a list of origins in a header: no wildcard, and nothing that ends the list.
pub(crate) fn is_exact(origin: &str) -> bool {
    origin.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"+-._:/[]".contains(&byte))
}

fn relay_origin(text: &str) -> Result<String, String> {
    let wrong = |why: &str| Err(format!("\"{text}\" is not the origin of a relay: {why}"));
    if text.contains('*') {
        return wrong("there is no wildcard here: write each relay, such as wss://relay.example.com");
    }
    let address = match Address::parse(text) {
        Ok(address) => address,
        Err(error) => {
            return wrong(&format!("{error}: write scheme and host, such as wss://relay.example.com"));
        }
    };
    if text.contains(['?', '#', '@']) || !matches!(address.path(), "" | "/") {
        return wrong("an origin has no path and no user: write only scheme, host and port");
    }
    let origin = address.origin();
    if is_exact(&origin) { Ok(origin) } else { wrong("its host has characters that no host has") }
}

fn page_origin(text: &str) -> Result<WebOrigin, String> {
    let wrong = |why: &str| Err(format!("\"{text}\" is not the origin of a page: {why}"));
    if text.contains('*') {
        return wrong("there is no wildcard here: write each origin, such as https://panel.example.com");
    }
    let origin = WebOrigin::parse(text).map_err(|error| error.to_string())?;
    if !["https://", "http://"].iter().any(|scheme| origin.as_str().starts_with(scheme)) {
        return wrong("write one that begins with https:// or http://");
    }
    if is_exact(origin.as_str()) { Ok(origin) } else { wrong("its host has characters that no host has") }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn checked(text: &str) -> Result<Web, String> {
        #[derive(Deserialize)]
        struct File {
            #[serde(default)]
            web: RawWeb,
        }
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("config.toml");
        std::fs::write(&file, text).unwrap();
        let loaded = Loaded::read(&file, &[], &[]).unwrap();
        let parsed: File = loaded.parse().unwrap();
        let short = |error: ConfigError| error.to_string().replace(&format!("{}/", dir.path().display()), "");
        parsed.web.check(&loaded).map_err(short)
    }

    #[test]
    fn origins_get_the_spelling_of_browsers() {
        let web = checked("").unwrap();
        assert_eq!(web.dir.unwrap(), PathBuf::from("/usr/share/stream-relay/web"));
        assert!(web.view_allow.is_empty() && web.embed_origins.is_empty());
        let web = checked(
            "[web]\ndir = ''\nview_allow = ['WSS://Relay.Example.com:443/', 'ws://[::1]:8080', 'ws://a:80']\n\
             embed_origins = ['HTTPS://Panel.Example.com:443', 'http://localhost:3000/']\n",
        );
        let web = web.unwrap();
        assert_eq!(web.dir, None);
        assert_eq!(web.view_allow, ["wss://relay.example.com", "ws://[::1]:8080", "ws://a"]);
        let embed: Vec<_> = web.embed_origins.iter().map(WebOrigin::as_str).collect();
        assert_eq!(embed, ["https://panel.example.com", "http://localhost:3000"]);
    }

    #[test]
    fn what_is_no_exact_origin_is_refused_with_its_line_and_what_to_write() {
        for (line, words) in [
            ("dir = 'web'", "`web.dir`: \"web\" does not begin with /"),
            (
                "view_allow = ['wss://a', 'https://a']",
                "`web.view_allow[1]`: \"https://a\" is not the origin of a relay: ",
            ),
            ("view_allow = ['https://a']", "expected wss:// or ws://"),
            ("view_allow = ['relay.example.com']", "such as wss://relay.example.com"),
            ("view_allow = ['*']", "no wildcard"),
            ("view_allow = ['wss://*.example.com']", "no wildcard"),
            ("view_allow = ['wss://a/v1']", "no path"),
            ("view_allow = ['wss://a?x']", "no path"),
            ("view_allow = ['wss://me@a']", "no user"),
            ("view_allow = ['wss://a;b']", "characters that no host has"),
            ("view_allow = ['wss://a,b']", "characters that no host has"),
            ("view_allow = ['wss://bücher.example']", "punycode"),
            ("view_allow = ['']", "such as wss://"),
            (
                "embed_origins = ['*']",
                "`web.embed_origins[0]`: \"*\" is not the origin of a page: there is no wildcard",
            ),
            ("embed_origins = ['https://*.example.com']", "no wildcard"),
            ("embed_origins = ['https://a/x']", "no path"),
            ("embed_origins = ['wss://a']", "begins with https://"),
            ("embed_origins = ['null']", "such as https://"),
            ("embed_origins = [\"https://a'b\"]", "characters that no host has"),
            ("embed_origins = ['moz-extension://a']", "begins with https:// or http://"),
        ] {
            let error = checked(&format!("# first\n[web]\n{line}\n")).unwrap_err();
            assert!(error.starts_with("config.toml:3: ") && error.contains(words), "{line}: {error}");
        }
    }
}
