//! `[proxy]`: the proxy on the way to relays.

use serde::Deserialize;

use service::config::{ConfigError, Loaded};
use service::secret::Secret;
use websocket::proxy::Proxy;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct RawProxy {
    url: String,
    user: Option<String>,
    password_file: Option<String>,
    #[serde(default)]
    no_proxy: Vec<String>,
}

/// The configured proxy; without the section, that of the environment.
pub(super) fn check(proxy: Option<&RawProxy>, loaded: &Loaded) -> Result<Option<Proxy>, ConfigError> {
    let Some(proxy) = proxy else { return proxy_of_environment(loaded) };
    let at = |key: &str, error: String| loaded.error_at(&["proxy", key], error);
    let password = match &proxy.password_file {
        None => None,
        Some(file) => Some(Secret::read(file).map_err(|error| at("password_file", error.to_string()))?),
    };
    let credentials = match (&proxy.user, &password) {
        (Some(user), Some(password)) => Some((user.as_str(), password.expose())),
        (None, None) => None,
        _ => return Err(at("user", "user and password_file go together".into())),
    };
    let checked = Proxy::new(&proxy.url, credentials, &proxy.no_proxy);
    checked.map(Some).map_err(|error| at("url", format!("{error:#}")))
}

fn proxy_of_environment(loaded: &Loaded) -> Result<Option<Proxy>, ConfigError> {
    Proxy::from_environment().map_err(|error| loaded.error_at(&["proxy"], format!("{error:#}")))
}
