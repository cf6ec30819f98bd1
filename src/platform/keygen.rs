//! Makes the secrets that a set-up needs, and says where each of them goes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::json;

use crate::protocol::issuers::SigningKey;
use crate::protocol::token::Token;

/// What to make.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// The platform's key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays.
    Issuer {
        /// Name of the key, which grants carry as `kid`.
        #[arg(long, default_value = "platform")]
        kid: String,
        /// Folder for both files.
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// A key for the platform's API.
    ApiKey {
        /// Name of its owner, for the audit.
        #[arg(long, default_value = "me")]
        name: String,
    },
    /// A host's relay key, for simple mode.
    RelayKey {
        /// The host.
        #[arg(long)]
        host: String,
    },
}

/// Makes it and prints what to do with it.
///
/// # Errors
/// When there is a file already, or it cannot be written.
pub fn run(args: &Args, as_json: bool) -> Result<()> {
    match &args.what {
        What::Issuer { kid, out } => issuer(kid, out, as_json),
        What::ApiKey { name } => {
            secret("platform.api_key", "name", name, "the relay's configuration", "your API key", as_json)
        }
        What::RelayKey { host } => {
            let key = "the host's relay.key_file";
            secret("auth.host_key", "host", host, "the relay's configuration", key, as_json)
        }
    }
}

fn issuer(kid: &str, out: &Path, as_json: bool) -> Result<()> {
    let is_sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if kid.is_empty() || kid.starts_with('.') || !kid.bytes().all(is_sound) {
        return Err(anyhow!("--kid is a file name of A-Z a-z 0-9 . _ - and does not begin with a dot"));
    }
    let (key, pem) = SigningKey::generate(kid).map_err(|why| anyhow!(why))?;
    let (private, public) = (out.join(format!("{kid}.pem")), out.join(format!("{kid}.pub")));
    write_new(&private, &pem, 0o600)?;
    write_new(&public, &key.public_pem(), 0o644)?;
    if as_json {
        println!("{}", json!({ "kid": kid, "private": private, "public": public }));
    } else {
        println!(
            "{}: signs grants; set platform.signing_key_file to it, and keep it secret",
            private.display()
        );
        println!("{}: verifies them; copy it to issuers.d/ of the relay and of every host", public.display());
    }
    Ok(())
}

/// A random secret, and the lines that hold its hash.
fn secret(table: &str, key: &str, value: &str, place: &str, holder: &str, as_json: bool) -> Result<()> {
    let secret = Token::generate()?;
    let (hash, secret) = (secret.hash(), secret.reveal());
    if as_json {
        println!("{}", json!({ "secret": secret, key: value, "sha256": hash }));
        return Ok(());
    }
    println!("# {holder}, shown only once:\n{secret}\n");
    println!("# for {place}:\n[[{table}]]\n{key} = {}\nsha256 = \"{hash}\"", toml::Value::from(value));
    Ok(())
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    // Never over a key that may be in use.
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}
