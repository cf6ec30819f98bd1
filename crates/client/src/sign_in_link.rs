//! `stream-relay sign-in-link`: asks a platform for a link that signs a user in once.

use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Args as ClapArgs;
use hyper::Method;
use serde::{Deserialize, Serialize};

use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;
use service::tls;
use websocket::connection::Limits;
use websocket::dial::Dialer;
use websocket::proxy::Proxy;

use super::api::{Api, Key};

const LINKS: &str = "/api/v1/sign-in-links";

/// Whom to sign in, and where.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// Address of the platform, such as https://relay.example.com.
    #[arg(long, env = "STREAM_PLATFORM", value_name = "URL")]
    platform: Option<String>,
    /// File with the key for the platform's API.
    #[arg(long, env = "STREAM_API_KEY_FILE", value_name = "FILE")]
    api_key_file: Option<String>,
    /// File with certificates to trust in addition to the system's.
    #[arg(long, env = "STREAM_CA_FILE", value_name = "FILE")]
    ca_file: Option<PathBuf>,
    /// The user to sign in. The key must list the name in `users`. Default: the key's own name.
    #[arg(long, value_name = "NAME")]
    user: Option<String>,
}

#[derive(Debug, Serialize)]
struct LinkRequest {
    #[serde(skip_serializing_if = "Option::is_none")]
    user: Option<String>,
}

/// A link, which is a secret until it is used.
#[derive(Debug, Deserialize, Serialize)]
struct Link {
    url: String,
    user: String,
    expires: String,
}

/// Prints a link.
///
/// # Errors
/// What the platform says, or that it cannot be reached.
pub async fn run(args: Args, as_json: bool) -> Result<(), ExitError> {
    let needed = |value: Option<String>, what: &str| {
        // An empty variable counts as not set.
        let value = value.filter(|value| !value.is_empty());
        value.ok_or_else(|| anyhow!("{what} is needed")).or_exit(Exit::Usage)
    };
    let platform = needed(args.platform, "--platform or STREAM_PLATFORM")?;
    let key = needed(args.api_key_file, "--api-key-file or STREAM_API_KEY_FILE")?;
    let key = Key::read(&key).or_exit(Exit::Config)?;
    let ca_file = args.ca_file.as_deref().filter(|file| !file.as_os_str().is_empty());
    let tls = match tls::client_config(ca_file) {
        Err(_) if ca_file.is_none() && platform.trim_start().starts_with("http:") => tls::trusting_none(),
        tls => tls,
    };
    let proxy = Proxy::from_environment().or_exit(Exit::Config)?;
    let dialer = Dialer { tls: tls.or_exit(Exit::Config)?, proxy, limits: Limits::default() };
    let body = serde_json::to_vec(&LinkRequest { user: args.user }).context("the request");
    let api = Api::new(&platform, key, dialer)?;
    let link: Link = api.ask(Method::POST, LINKS, body.or_exit(Exit::Software)?, 201).await?;
    if as_json {
        println!("{:#}", serde_json::json!(link));
        return Ok(());
    }
    println!("{}", printable(&link.url));
    eprintln!("signs {} in once, until {}", printable(&link.user), printable(&link.expires));
    Ok(())
}
