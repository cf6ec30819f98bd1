//! `grant inspect`: what a grant says, and whether it would be believed.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args as ClapArgs;
use serde_json::{Value, json};

use crate::protocol::grant::DEFAULT_LEEWAY;
use crate::protocol::issuers::Issuers;

/// The largest grant that is read, in bytes.
const MOST: u64 = 64 * 1024;

/// What to look at.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// File with the grant, or with a whole command; - reads standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Folder with the public keys to verify with.
    #[arg(long, default_value = "/etc/stream-relay/issuers.d")]
    issuers: PathBuf,
}

/// Prints what the grant says and every verdict. True: it would be believed now.
///
/// # Errors
/// When nothing that looks like a grant can be read.
pub fn run(args: &Args, as_json: bool) -> Result<bool> {
    let text = read(&args.file)?;
    let jws = match serde_json::from_str::<Value>(&text) {
        Ok(command) => command["grant"].as_str().context("a JSON object without a grant")?.to_owned(),
        Err(_) => text.trim().to_owned(),
    };
    let parts: Vec<&str> = jws.split('.').collect();
    let [header, claims, _] = parts[..] else {
        bail!("not a grant: expected three parts with dots between them")
    };
    let (header, claims) = (decode(header)?, decode(claims)?);
    let verdict = verdict(&jws, &args.issuers);
    if as_json {
        let verdict = verdict
            .as_ref()
            .map_or_else(|why| json!({ "ok": false, "why": why }), |()| json!({ "ok": true }));
        println!("{:#}", json!({ "header": header, "claims": claims, "verdict": verdict }));
    } else {
        println!("header {header:#}\nclaims {claims:#}");
        match &verdict {
            Ok(()) => println!("valid now, by the keys in {}", args.issuers.display()),
            Err(why) => println!("NOT valid: {why}"),
        }
    }
    Ok(verdict.is_ok())
}

fn verdict(jws: &str, issuers: &Path) -> Result<(), String> {
    let issuers = Issuers::read_dir(issuers).map_err(|error| format!("cannot be verified: {error}"))?;
    let grant = issuers.verify(jws).map_err(|refusal| refusal.to_string())?;
    grant.check_time(SystemTime::now(), DEFAULT_LEEWAY).map_err(|refusal| refusal.to_string())
}

fn read(file: &Path) -> Result<String> {
    let mut text = String::new();
    if file == Path::new("-") {
        std::io::stdin().take(MOST).read_to_string(&mut text).context("standard input")?;
    } else {
        let opened = std::fs::File::open(file).with_context(|| format!("cannot open {}", file.display()))?;
        opened
            .take(MOST)
            .read_to_string(&mut text)
            .with_context(|| format!("cannot read {}", file.display()))?;
    }
    Ok(text)
}

fn decode(part: &str) -> Result<Value> {
    let bytes = URL_SAFE_NO_PAD.decode(part).context("not a grant: a part is not base64url")?;
    serde_json::from_slice(&bytes).context("not a grant: a part is not JSON")
}
