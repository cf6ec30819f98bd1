//! Where the streams of `open` come from: a session that a platform opens, or a URL.

use anyhow::{Context, anyhow};

use net::socket::Socket;
use protocol::command::TargetInfo;
use service::config::nearest;
use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;
use service::tls;
use websocket::address::Address;
use websocket::connection::{Limits, WebSocket};
use websocket::dial::Dialer;
use websocket::proxy::Proxy;
use websocket::reader::Text;

use super::api::{Api, Key, OpenRequest, Session};
use super::arguments::Args;
use super::display::Display;
use super::remedy::explain_relay_error;
use super::session_key::SessionKey;
use super::url_file::read_url;

/// What a new stream is opened with.
pub(crate) enum Source {
    /// The platform opens a session for each stream.
    Platform { api: Box<Api>, request: OpenRequest },
    /// All streams belong to the session of this URL.
    Url(String),
}

/// Opens streams to one target.
pub(crate) struct Opener {
    pub(crate) source: Source,
    pub(crate) dialer: Dialer,
    /// The key of a URL's session. A session that a platform opens has one stream, and needs no key.
    pub(crate) key: SessionKey,
}

/// A stream that is open.
pub(crate) struct Dialled {
    pub(crate) websocket: WebSocket<Socket>,
    /// The session's id, if a platform opened it.
    pub(crate) session: Option<String>,
}

impl Opener {
    /// # Errors
    /// If an argument is missing, a file cannot be read, or the proxy in the environment is not valid.
    pub(crate) fn new(args: &Args) -> Result<Opener, ExitError> {
        let ca_file = args.ca_file.as_deref().filter(|file| !file.as_os_str().is_empty());
        let tls = match tls::client_config(ca_file) {
            // A platform without TLS rarely has relays with TLS. If one has, its certificate is not trusted.
            Err(_) if ca_file.is_none() && args.url_file.is_none() && is_without_tls(&args.platform) => {
                tls::trusting_none()
            }
            tls => tls,
        };
        let tls = tls.or_exit(Exit::Config)?;
        let proxy = Proxy::from_environment().or_exit(Exit::Config)?;
        let dialer = Dialer { tls, proxy, limits: Limits::default() };
        if let Some(file) = &args.url_file {
            return Ok(Opener { source: Source::Url(read_url(file)?), dialer, key: SessionKey::default() });
        }
        let needed = |value: &Option<String>, what: &str| {
            // An empty variable counts as not set.
            let value = value.clone().filter(|value| !value.is_empty());
            value.ok_or_else(|| anyhow!("{what} is needed")).or_exit(Exit::Usage)
        };
        let request = OpenRequest {
            host: needed(&args.host, "HOST")?,
            target: needed(&args.target, "TARGET")?,
            params: args.params.iter().cloned().collect(),
            mode: args.mode,
            max_streams: None,
            max_seconds: args.max_seconds,
        };
        let platform = needed(&args.platform, "--platform or STREAM_PLATFORM")?;
        let key = needed(&args.api_key_file, "--api-key-file or STREAM_API_KEY_FILE")?;
        let key = Key::read(&key).or_exit(Exit::Config)?;
        let api = Box::new(Api::new(&platform, key, dialer.clone())?);
        Ok(Opener { source: Source::Platform { api, request }, dialer, key: SessionKey::default() })
    }

    /// Checks that the platform lists the target, without opening it.
    pub(crate) async fn check_target(&self) -> Result<(), ExitError> {
        let Source::Platform { api, request } = &self.source else { return Ok(()) };
        let targets = api.targets(&request.host).await?;
        unknown_target(request, &targets).map_or(Ok(()), Err)
    }

    /// Opens a session. The error for an unknown target lists the targets that there are.
    pub(crate) async fn open_session(&self, api: &Api, request: &OpenRequest) -> Result<Session, ExitError> {
        let refused = match api.open(request).await {
            Err(error) if matches!(error.kind(), "target_not_allowed" | "forbidden") => error,
            answer => return answer,
        };
        // If they cannot be listed, the refusal is the best error.
        let targets = api.targets(&request.host).await.unwrap_or_default();
        let unknown = if targets.is_empty() { None } else { unknown_target(request, &targets) };
        Err(match unknown {
            Some(unknown) => unknown.of_kind(refused.kind()),
            None => refused,
        })
    }

    /// Opens a stream.
    pub(crate) async fn dial(&self) -> Result<Dialled, ExitError> {
        let (url, session) = match &self.source {
            Source::Url(url) => (url.clone(), None),
            // Only one stream is used, so the host need not park a spare.
            Source::Platform { api, request } => {
                let request = OpenRequest { max_streams: Some(1), ..request.clone() };
                let Session { url, session, .. } = self.open_session(api, &request).await?;
                (url, Some(printable(&session).into_owned()))
            }
        };
        let expected = "the URL of the session";
        let address = Address::parse(&url).context(expected).or_exit(Exit::DataErr)?;
        match self.dialer.dial(&address, &[self.key.offer()], Text::Messages).await {
            Ok(dialled) => Ok(Dialled { websocket: dialled.websocket, session }),
            Err(error) => {
                let error = explain_relay_error(error, &address, &self.dialer).await;
                Err(ExitError::new(Exit::Unavailable, error).in_session(session.as_deref()))
            }
        }
    }
}

impl Opener {
    /// What the target's screen speaks; `chosen` by the user counts. Checks that the platform lists the target.
    ///
    /// # Errors
    /// If there is no such target, or nothing says what it is.
    pub(crate) async fn display(&self, chosen: Option<Display>) -> Result<Display, ExitError> {
        const CHOOSE: &str = "add --as spice or --as vnc";
        let Source::Platform { api, request } = &self.source else {
            return chosen
                .ok_or_else(|| anyhow!("a URL does not say what it opens: {CHOOSE}"))
                .or_exit(Exit::Usage);
        };
        let targets = api.targets(&request.host).await?;
        let found = targets.iter().find(|target| target.name == request.target);
        let said = found.and_then(Display::of);
        if let Some(unknown) = unknown_target(request, &targets) {
            return Err(unknown);
        }
        let why = || {
            anyhow!("the host does not say whether {} is SPICE or VNC: {CHOOSE}", printable(&request.target))
        };
        chosen.or(said).ok_or_else(why).or_exit(Exit::Usage)
    }
}

/// The error if the key may not open the requested target, or there is none of that name.
pub(crate) fn unknown_target(request: &OpenRequest, targets: &[TargetInfo]) -> Option<ExitError> {
    if targets.iter().any(|target| target.name == request.target) {
        return None;
    }
    let names: Vec<&str> = targets.iter().map(|target| target.name.as_str()).collect();
    let nearest = nearest(&request.target, &names).map(|name| format!("did you mean {}? ", printable(name)));
    let there_are = match &names[..] {
        [] => "there are none that this key may open".to_owned(),
        names => format!(
            "{}this key may open {}",
            nearest.unwrap_or_default(),
            names.iter().map(|name| printable(name)).collect::<Vec<_>>().join(", ")
        ),
    };
    let (host, target) = (&request.host, &request.target);
    let error = anyhow!("no such target on {host}: {target}; {there_are}");
    Some(ExitError::new(Exit::NoPerm, error).of_kind("target_not_allowed"))
}

fn is_without_tls(platform: &Option<String>) -> bool {
    platform.as_ref().is_some_and(|url| url.starts_with("http://"))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{World, args, opener};
    use super::*;

    #[tokio::test]
    async fn the_request_reaches_the_platform_with_every_argument() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let line = ["--mode", "ro", "--param", "a=b=c", "--param", "d=", "--max-seconds", "60"];
        let opener = opener(&world, dir.path(), &line);
        opener.dial().await.unwrap();
        let request = world.requests.lock().unwrap().pop().unwrap();
        assert_eq!((request.0.as_str(), request.1.as_str()), ("POST /api/v1/sessions", "Bearer secret"));
        assert_eq!(
            request.2,
            json!({
                "host": "h1", "target": "shell", "mode": "ro", "params": { "a": "b=c", "d": "" },
                "max_streams": 1, "max_seconds": 60,
            })
        );
    }

    #[tokio::test]
    async fn a_platform_may_have_an_ipv6_address() {
        let (world, dir) = (World::at("[::1]:0").await, tempfile::tempdir().unwrap());
        opener(&world, dir.path(), &[]).dial().await.unwrap();
    }

    #[tokio::test]
    async fn a_refusal_has_the_platforms_text_and_an_exit_code() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let opener = opener(&world, dir.path(), &[]);
        let key = dir.path().join("key");
        let coded = |code: &str| json!({ "code": code, "message": "because" }).to_string();
        for (status, body, exit, words) in [
            (404, coded("host_offline"), Exit::Unavailable, "because (host_offline)"),
            (
                401,
                coded("unauthorized"),
                Exit::NoPerm,
                "PLATFORM does not know the key in KEY (unauthorized): is it the key of another platform?",
            ),
            (400, coded("bad_request"), Exit::DataErr, "because (bad_request)"),
            (409, coded("target_not_allowed"), Exit::NoPerm, "because (target_not_allowed)"),
            (409, coded("busy"), Exit::TempFail, "because (busy)"),
            (409, coded("relay_unreachable"), Exit::Unavailable, "because (relay_unreachable)"),
            (
                502,
                "<html>".into(),
                Exit::Unavailable,
                "no platform answers at PLATFORM, but another service (502)",
            ),
            (201, "{}".into(), Exit::Unavailable, "the platform's answer: missing field `session`"),
        ] {
            *world.refusal.lock().unwrap() = Some((status, body));
            let error = opener.dial().await.err().unwrap();
            let platform = format!("http://{}", world.address);
            let text = error.to_string().replace(&platform, "PLATFORM").replace(key.to_str().unwrap(), "KEY");
            assert_eq!((error.exit, text.split(" at line").next().unwrap()), (exit, words));
        }
    }

    #[test]
    fn the_command_line_is_checked() {
        for bad in [
            &["h1"][..],
            &[],
            &["h1", "t", "--mode", "wo"],
            &["h1", "t", "--param", "a"],
            &["h1", "t", "--stdio", "--listen", "127.0.0.1:0"],
            &["h1", "t", "--raw", "yes"],
            &["h1", "t", "--escape", "~"],
            &["h1", "t", "--stdio", "--escape", "ab"],
            &["h1", "t", "--listen", "5901"],
            &["h1", "t", "--max-seconds", "0"],
            &["h1", "t", "--url-file", "f"],
        ] {
            assert!(args(bad).is_err(), "{bad:?}");
        }
        for (line, what) in [
            (&["h1", "t", "--platform", "ftp://x", "--api-key-file", "/etc/hostname"][..], Exit::Config),
            (&["--url-file", "/nowhere/url"], Exit::DataErr),
        ] {
            assert_eq!(Opener::new(&args(line).unwrap()).err().unwrap().exit, what);
        }
    }

    #[tokio::test]
    async fn what_nobody_says_is_asked_for() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let opener = opener(&world, dir.path(), &[]);
        assert_eq!(opener.display(Some(Display::Vnc)).await.unwrap(), Display::Vnc);
        let error = opener.display(None).await.unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.to_string().contains("whether shell is SPICE or VNC: add --as spice"), "{error}");
        let file = dir.path().join("url");
        std::fs::write(&file, format!("{}\n", world.url())).unwrap();
        let by_url = Opener::new(&args(&["--url-file", file.to_str().unwrap()]).unwrap()).unwrap();
        assert!(by_url.display(None).await.unwrap_err().to_string().contains("a URL does not say"));
    }
}
