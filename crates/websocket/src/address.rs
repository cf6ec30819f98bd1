//! Websocket URLs, parsed.

use url::Url;

use super::error::DialError;

/// Where a websocket URL leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Address {
    /// Host name or address, without brackets.
    pub host: String,
    /// Port; 80 or 443 if the URL has none.
    pub port: u16,
    /// Whether it is `wss://`.
    pub tls: bool,
    pub(super) authority: String,
    pub(super) path: String,
}

/// Parses a URL. The programs do not contain the large tables that convert names to punycode.
pub(super) fn parse_url(url: &str) -> Result<Url, String> {
    Url::parse(url).map_err(|error| match error {
        url::ParseError::IdnaError => {
            "invalid host name; write one that has other than ASCII letters in punycode (xn--...)".to_owned()
        }
        error => error.to_string(),
    })
}

impl Address {
    /// Parses a `ws://` or `wss://` URL.
    ///
    /// # Errors
    /// [`DialError::Url`]. It does not quote the URL, which may contain a token.
    pub fn parse(url: &str) -> Result<Address, DialError> {
        let url = parse_url(url).map_err(|why| DialError::Url(format!("not a URL: {why}")))?;
        let tls = match url.scheme() {
            "wss" => true,
            "ws" => false,
            other => {
                return Err(DialError::Url(format!("URL begins with {other}://, expected wss:// or ws://")));
            }
        };
        let host = url.host_str().ok_or_else(|| DialError::Url("URL has no host".into()))?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        let authority = url.authority().rsplit('@').next().unwrap_or_default().to_owned();
        let port = url.port().unwrap_or(if tls { 443 } else { 80 });
        let path = url[url::Position::BeforePath..url::Position::AfterQuery].to_owned();
        Ok(Address { host, port, tls, authority, path })
    }

    /// Parses the URL of a relay, to which the paths of the wire contract are appended.
    ///
    /// # Errors
    /// As [`Address::parse`], and if the URL has a query, a fragment or a user.
    pub fn parse_relay(url: &str) -> Result<Address, DialError> {
        let address = Address::parse(url)?;
        if url.contains(['?', '#', '@']) {
            return Err(DialError::Url("a relay's URL has no user, no ? and no #".into()));
        }
        Ok(address)
    }

    /// Whether both lead to the same place. Case of the host, a default port and a slash at the end do not matter.
    pub fn leads_to(&self, other: &Address) -> bool {
        let place = |address: &Address| {
            let host = address.host.trim_end_matches('.').to_owned();
            (address.tls, host, address.port, address.path.trim_end_matches('/').to_owned())
        };
        place(self) == place(other)
    }

    /// Host and port as they stand in URLs and in `Host`: in lower case, with brackets around an IPv6 address, and without
    /// the default port.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Only scheme, host and port: `wss://host` or `ws://host:port`.
    pub fn origin(&self) -> String {
        format!("{}://{}", if self.tls { "wss" } else { "ws" }, self.authority)
    }

    /// The same of the pages that are served there: `https://host` or `http://host:port`.
    pub fn page_origin(&self) -> String {
        format!("{}://{}", if self.tls { "https" } else { "http" }, self.authority)
    }

    /// The path, with the query if there is one.
    pub fn path(&self) -> &str {
        &self.path
    }

    /// The address with `path` appended to its own, and without its query.
    pub fn below(&self, path: &str) -> Address {
        let own = self.path.split('?').next().unwrap_or_default().trim_end_matches('/');
        Address { path: format!("{own}{path}"), ..self.clone() }
    }
}
