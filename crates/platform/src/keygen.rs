//! Makes the secrets that a set-up needs, and says where each of them goes.

use std::fs::OpenOptions;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, anyhow};
use clap::{Args as ClapArgs, Subcommand};
use serde_json::{Value, json};

use protocol::host::HostId;
use protocol::name::{WHAT_A_NAME_IS, is_name};
use protocol::signing::SigningKey;
use protocol::token::{Token, TokenHash};
use service::exit::{Exit, ExitError, OrExit};

use super::policy::PREFIX;

/// What to make.
#[derive(Debug, ClapArgs)]
pub struct Args {
    #[command(subcommand)]
    what: What,
}

#[derive(Debug, Subcommand)]
enum What {
    /// Create the platform's key pair: KID.pem signs grants, KID.pub verifies them on hosts and relays.
    Issuer {
        /// Name of the key, which each grant contains as `kid`.
        #[arg(long, default_value = "platform")]
        kid: String,
        /// Directory for both files. Default: the current one.
        #[arg(long, default_value = ".")]
        out: PathBuf,
    },
    /// Create a key for the platform's API.
    ApiKey {
        /// Name of the owner, for audit records. The key may act for this name only.
        #[arg(long, default_value = "me")]
        name: String,
    },
    /// Create a host's relay key, for simple mode.
    RelayKey {
        /// Id of the host.
        #[arg(long)]
        host: HostId,
    },
}

/// What was made, for people and for programs.
struct Made {
    text: String,
    json: Value,
}

/// Makes it and prints what to do with it.
///
/// # Errors
/// When there is a file already, or it cannot be written; or a name is not one.
pub fn run(args: &Args, as_json: bool) -> Result<(), ExitError> {
    let made = make(args)?;
    if as_json {
        println!("{}", made.json)
    } else {
        println!("{}", made.text)
    }
    Ok(())
}

fn make(args: &Args) -> Result<Made, ExitError> {
    match &args.what {
        What::Issuer { kid, out } => issuer(kid, out),
        What::ApiKey { name } => api_key(name),
        What::RelayKey { host } => relay_key(host),
    }
}

fn issuer(kid: &str, out: &Path) -> Result<Made, ExitError> {
    let is_sound = |b: u8| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'_' | b'.');
    if kid.is_empty() || kid.starts_with('.') || !kid.bytes().all(is_sound) {
        let why = "is not a file name of A-Z a-z 0-9 . _ - that begins with something other than a dot";
        return Err(anyhow!("--kid {kid:?} {why}")).or_exit(Exit::Usage);
    }
    let (key, der) = SigningKey::generate(kid).map_err(|why| anyhow!(why)).or_exit(Exit::Software)?;
    let (private, public) = (out.join(format!("{kid}.pem")), out.join(format!("{kid}.pub")));
    // Asked before anything is written, so that half a pair is not left beside somebody's other half.
    if let Some(taken) = [&private, &public].into_iter().find(|path| path.symlink_metadata().is_ok()) {
        let why = "is there already: choose another --kid or --out, or move it away";
        return Err(anyhow!("{} {why}", taken.display())).or_exit(Exit::Usage);
    }
    write_new(&private, &keys::private_pem(&der), 0o600).or_exit(Exit::IoErr)?;
    write_new(&public, &keys::public_pem(&key), 0o644).or_exit(Exit::IoErr)?;
    let (private, public) = (private.display(), public.display());
    Ok(Made {
        text: format!(
            "{private}: signs grants; set platform.signing_key_file to it, and keep it secret\n\
             {public}: verifies them; copy it to issuers.d/ of the relay and of every host"
        ),
        json: json!({ "kid": kid, "private": private.to_string(), "public": public.to_string() }),
    })
}

/// A key that speaks for this name only, and the lines that say so.
fn api_key(name: &str) -> Result<Made, ExitError> {
    if !is_name(name) {
        return Err(anyhow!("--name {name:?} is not {WHAT_A_NAME_IS}")).or_exit(Exit::Usage);
    }
    let secret = format!("{PREFIX}{}", Token::generate().or_exit(Exit::Software)?.reveal());
    let hash = TokenHash::from_secret(secret.as_bytes());
    let quoted = toml::Value::from(name);
    Ok(Made {
        text: format!(
            "# your API key, shown only once:\n{secret}\n\n# for the relay's configuration:\n\
             [[platform.api_key]]\nname = {quoted}\nsha256 = \"{hash}\"\nusers = [{quoted}]"
        ),
        json: json!({ "secret": secret, "name": name, "sha256": hash, "users": [name] }),
    })
}

fn relay_key(host: &HostId) -> Result<Made, ExitError> {
    let secret = Token::generate().or_exit(Exit::Software)?;
    let (hash, secret) = (secret.hash(), secret.reveal());
    Ok(Made {
        text: format!(
            "# for the file that the host's relay.key_file names, shown only once:\n{secret}\n\n\
             # for the relay's configuration:\n[[auth.host_key]]\nhost = \"{host}\"\nsha256 = \"{hash}\""
        ),
        json: json!({ "secret": secret, "host": host, "sha256": hash }),
    })
}

fn write_new(path: &Path, text: &str, mode: u32) -> Result<()> {
    // Never over a key that may be in use.
    let file = OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    let mut file = file.with_context(|| format!("cannot create {}", path.display()))?;
    file.write_all(text.as_bytes()).with_context(|| format!("cannot write {}", path.display()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use clap::Parser;

    use super::*;

    #[derive(Parser)]
    struct Line {
        #[command(flatten)]
        args: Args,
    }

    fn keygen(line: &[&str]) -> Result<Made, ExitError> {
        make(&Line::try_parse_from([&["keygen"], line].concat()).or_exit(Exit::Usage)?.args)
    }

    #[test]
    fn a_pair_is_written_once_and_only_its_owner_reads_the_private_half() {
        let dir = tempfile::tempdir().unwrap();
        let out = dir.path().to_str().unwrap();
        let made = keygen(&["issuer", "--kid", "k.1", "--out", out]).unwrap();
        assert_eq!(made.json["kid"], "k.1");
        assert!(made.text.contains("issuers.d/"), "{}", made.text);
        let mode = |name: &str| dir.path().join(name).metadata().unwrap().permissions().mode() & 0o777;
        assert_eq!(mode("k.1.pem"), 0o600);
        assert_eq!(mode("k.1.pub") & 0o600, 0o600);
        assert_eq!(keys::read_issuers(dir.path()).unwrap().kids(), ["k.1"]);
        assert_eq!(keys::read_signing_key(&dir.path().join("k.1.pem")).unwrap().kid(), "k.1");

        let before = std::fs::read(dir.path().join("k.1.pem")).unwrap();
        let error = keygen(&["issuer", "--kid", "k.1", "--out", out]).err().unwrap().to_string();
        assert!(error.contains("k.1.pem is there already"), "{error}");
        assert_eq!(std::fs::read(dir.path().join("k.1.pem")).unwrap(), before);
        // Half a pair is not left behind.
        std::fs::write(dir.path().join("k2.pub"), "").unwrap();
        assert!(keygen(&["issuer", "--kid", "k2", "--out", out]).is_err());
        assert!(!dir.path().join("k2.pem").exists());
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let exit = |line: &[&str]| keygen(line).err().map(|error| error.exit);
        for kid in ["", "../k", "a/b", ".hidden", "a b"] {
            assert_eq!(exit(&["issuer", "--kid", kid, "--out", "/nowhere"]), Some(Exit::Usage), "{kid}");
        }
        assert_eq!(exit(&["issuer", "--kid", "k", "--out", "/nowhere"]), Some(Exit::IoErr));
        assert!(keygen(&["relay-key", "--host", "a.b"]).is_err());
        assert!(keygen(&["api-key", "--name", "a\u{202e}b"]).is_err());
    }

    #[test]
    fn a_secret_comes_with_the_lines_that_hold_its_hash() {
        for (line, table, key, value) in [
            (["api-key", "--name", "al \"x\""], "platform", "name", "al \"x\""),
            (["relay-key", "--host", "h1"], "auth", "host", "h1"),
        ] {
            let made = keygen(&line).unwrap();
            let (head, toml) = made.text.split_once("configuration:\n").unwrap();
            let secret = head.lines().find(|line| line.len() >= 43 && !line.starts_with('#')).unwrap();
            let toml: toml::Table = toml::from_str(toml).unwrap();
            let (_, entries) = toml[table].as_table().unwrap().iter().next().unwrap();
            assert_eq!(entries[0][key].as_str().unwrap(), value);
            let hash = entries[0]["sha256"].as_str().unwrap();
            assert_eq!(hash.parse(), Ok(TokenHash::from_secret(secret.as_bytes())));
            assert_eq!((&made.json["secret"], &made.json["sha256"]), (&json!(secret), &json!(hash)));
            let is_api_key = table == "platform";
            assert_eq!(secret.starts_with(PREFIX), is_api_key);
            assert_eq!(entries[0].get("users").is_some(), is_api_key);
            assert_eq!(made.json.get("users"), is_api_key.then(|| json!([value])).as_ref());
        }
    }
}
