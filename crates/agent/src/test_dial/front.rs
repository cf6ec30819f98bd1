//! The reverse proxy in front of a relay: recognises it and the usual mistakes in its configuration, and names the line
//! that fixes them.

use hyper::StatusCode;

/// A reverse proxy, recognised by its answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Front {
    Nginx,
    /// Recognised by its error pages, since it sends no `Server` header.
    Haproxy,
    Caddy,
    Apache,
    Unknown,
}

/// What is wrong with the way to the relay.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// `Upgrade` or `Connection` did not reach the relay.
    UpgradeLost,
    /// The proxy cannot reach the relay.
    Unreachable,
    /// The proxy cannot work with its own configuration.
    Broken,
    /// The relay answers, but not at this path.
    OtherPath,
    /// Another program answers for this path.
    NotPassedOn,
    /// The proxy asks for a login, or refuses all.
    Login,
    /// TLS is spoken at that port.
    PlainToTls,
    /// The relay cannot read what the proxy sends.
    NotHttp,
    /// The relay is somewhere else.
    Redirect,
    /// The relay itself is restarting, or full.
    Busy,
}

const FRONTS: [Front; 4] = [Front::Nginx, Front::Apache, Front::Caddy, Front::Haproxy];

impl Front {
    /// Recognises a proxy by the `Server` header, or by the body of an error.
    pub(super) fn detect(server: Option<&str>, body: &str) -> Front {
        let server = server.unwrap_or_default();
        let of_haproxy = [
            "No server is available",
            "Your browser sent an invalid request",
            "The server returned an invalid",
        ];
        if server.starts_with("nginx") || server.starts_with("openresty") {
            Front::Nginx
        } else if server.starts_with("Apache") {
            Front::Apache
        } else if server.starts_with("Caddy") {
            Front::Caddy
        } else if of_haproxy.iter().any(|words| body.contains(words)) {
            Front::Haproxy
        } else {
            Front::Unknown
        }
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Front::Nginx => "nginx",
            Front::Haproxy => "HAProxy",
            Front::Caddy => "Caddy",
            Front::Apache => "Apache",
            Front::Unknown => "",
        }
    }

    /// The line that makes the relay see its clients instead of the proxy.
    pub(super) fn forwards(self) -> Option<&'static str> {
        match self {
            Front::Nginx => Some("proxy_set_header X-Forwarded-For $proxy_add_x_forwarded_for;"),
            Front::Caddy => Some("remove the header_up line that deletes X-Forwarded-For"),
            Front::Apache => Some("remove ProxyAddHeaders Off"),
            Front::Haproxy => Some("option forwardfor"),
            Front::Unknown => None,
        }
    }
}

impl Fault {
    /// The fault behind a status. `is_relays`: the relay itself answered; `tls`: the URL is `wss://`.
    pub(super) fn from_status(status: StatusCode, is_relays: bool, tls: bool) -> Fault {
        match status.as_u16() {
            426 | 505 => Fault::UpgradeLost,
            400 if !is_relays && !tls => Fault::PlainToTls,
            400 => Fault::NotHttp,
            404 if is_relays => Fault::OtherPath,
            500..600 if is_relays => Fault::Busy,
            500 => Fault::Broken,
            501..600 => Fault::Unreachable,
            401 | 403 | 407 => Fault::Login,
            300..400 => Fault::Redirect,
            _ => Fault::NotPassedOn,
        }
    }

    /// What to do about it, with the line for the proxy that stands there, or for each one.
    pub(super) fn remedy(self, front: Front) -> String {
        let mut text = self.advice().to_owned();
        let fronts = if front == Front::Unknown { &FRONTS[..] } else { &[front][..] };
        for (front, line) in fronts.iter().filter_map(|front| Some((front, self.line(*front)?))) {
            text.push_str(&format!("\n{}: {line}", front.name()));
        }
        text
    }

    fn advice(self) -> &'static str {
        match self {
            Fault::UpgradeLost => {
                "let the proxy in front of the relay speak HTTP/1.1 to it and pass on Upgrade and Connection"
            }
            Fault::Unreachable => {
                "the proxy cannot reach the relay, or has no rule for this path: see that stream-relay runs, and name the \
                 address of its `listen`, with http:// unless it has a [tls] section of its own"
            }
            Fault::Broken => "the proxy cannot work with its configuration: its error log says why",
            Fault::OtherPath => {
                "a relay is there, but this is not its path: let the proxy remove what stands before /v1/, or correct the path \
                 in [relay] of CONFIG: allow"
            }
            Fault::NotPassedOn => {
                "let the proxy pass all of /v1/ on to the relay (hosts come to /v1/host, clients to /v1/stream/), or \
                 correct host, port and path in [relay] of CONFIG: allow"
            }
            Fault::Login => {
                "let the proxy pass /v1/ on without a login of its own: the relay checks grants and tokens itself"
            }
            Fault::PlainToTls => {
                "that port speaks TLS: write in [relay] of CONFIG: allow = [\"wss://relay.example.com\"]"
            }
            Fault::NotHttp => {
                "what comes to the relay is not an HTTP request: the relay does not read the PROXY protocol"
            }
            Fault::Redirect => {
                "redirects are not followed: write where it leads to in [relay] of CONFIG: allow = \
                 [\"wss://relay.example.com\"], with wss:// for https://"
            }
            Fault::Busy => "the relay is restarting, or full: try again later",
        }
    }

    fn line(self, front: Front) -> Option<&'static str> {
        Some(match (self, front) {
            (Fault::UpgradeLost, Front::Nginx) => {
                "proxy_http_version 1.1; proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection upgrade;"
            }
            (Fault::UpgradeLost | Fault::Unreachable, Front::Apache) => {
                "ProxyPass / http://127.0.0.1:8080/ upgrade=websocket"
            }
            (Fault::UpgradeLost, Front::Caddy) => {
                "remove the header_up lines that change Upgrade or Connection"
            }
            (Fault::UpgradeLost, Front::Haproxy) => "remove the rules that delete Upgrade or Connection",
            (Fault::Unreachable, Front::Nginx) => "proxy_pass http://127.0.0.1:8080;",
            (Fault::Unreachable, Front::Caddy) => "reverse_proxy 127.0.0.1:8080",
            (Fault::Unreachable, Front::Haproxy) => {
                "server relay 127.0.0.1:8080 in the backend, and use_backend relay if { path_beg /v1/ } in the frontend"
            }
            (Fault::Broken, Front::Apache) => {
                "a2enmod proxy_http; ProxyPass / http://127.0.0.1:8080/ upgrade=websocket (http://, and a slash at the end \
                 of both)"
            }
            (Fault::OtherPath, Front::Nginx) => {
                "location /relay/ { proxy_pass http://127.0.0.1:8080/; } (with the slash at the end)"
            }
            (Fault::OtherPath, Front::Apache) => "ProxyPass /relay/ http://127.0.0.1:8080/ upgrade=websocket",
            (Fault::OtherPath, Front::Caddy) => "handle_path /relay/* { reverse_proxy 127.0.0.1:8080 }",
            (Fault::OtherPath, Front::Haproxy) => "http-request replace-path /relay(/.*) \\1",
            (Fault::NotPassedOn, Front::Nginx) => "location /v1/ { proxy_pass http://127.0.0.1:8080; }",
            (Fault::NotPassedOn, Front::Apache) => {
                "ProxyPass /v1/ http://127.0.0.1:8080/v1/ upgrade=websocket"
            }
            (Fault::NotPassedOn, Front::Caddy) => "reverse_proxy /v1/* 127.0.0.1:8080",
            (Fault::NotPassedOn, Front::Haproxy) => "use_backend relay if { path_beg /v1/ }",
            (Fault::Login, Front::Nginx) => "auth_basic off; in location /v1/",
            (Fault::Login, Front::Apache) => "<Location /v1/> Require all granted </Location>",
            (Fault::Login, Front::Caddy) => "@others not path /v1/*, and basicauth @others { … }",
            (Fault::Login, Front::Haproxy) => "http-request auth unless { path_beg /v1/ }",
            (Fault::NotHttp, Front::Haproxy) => "remove send-proxy from the server line",
            _ => return None,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_proxy_is_known_by_its_name_or_its_words() {
        assert_eq!(Front::detect(Some("nginx/1.22.1"), ""), Front::Nginx);
        assert_eq!(Front::detect(Some("Apache/2.4.71 (Debian)"), ""), Front::Apache);
        assert_eq!(Front::detect(Some("Caddy"), ""), Front::Caddy);
        assert_eq!(Front::detect(None, "No server is available to handle this request."), Front::Haproxy);
        assert_eq!(Front::detect(None, "{}"), Front::Unknown);
    }

    #[test]
    fn a_known_proxy_has_its_own_line_and_an_unknown_one_all_of_them() {
        let fault = Fault::from_status(StatusCode::BAD_GATEWAY, false, true);
        assert!(fault.remedy(Front::Nginx).ends_with("\nnginx: proxy_pass http://127.0.0.1:8080;"));
        for name in ["nginx: ", "Apache: ", "Caddy: ", "HAProxy: "] {
            assert!(fault.remedy(Front::Unknown).contains(name));
        }
        assert_eq!(Fault::from_status(StatusCode::SERVICE_UNAVAILABLE, true, true), Fault::Busy);
        assert_eq!(Fault::from_status(StatusCode::NOT_FOUND, true, true), Fault::OtherPath);
        assert_eq!(Fault::from_status(StatusCode::NOT_FOUND, false, true), Fault::NotPassedOn);
    }
}
