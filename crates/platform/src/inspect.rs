//! `grant inspect`: what a grant says, and whether it would be believed, check by check.

use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, bail};
use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::Args as ClapArgs;
use humantime_serde::re::humantime::format_rfc3339_seconds;
use serde::Serialize;
use serde_json::{Value, json};

use protocol::command::Code;
use protocol::grant::{Claims, DEFAULT_LEEWAY, MAX_LIFETIME, TYPE, unix};
use protocol::host::HostId;

/// The largest grant that is read, in bytes.
const MOST: u64 = 64 * 1024;

/// What to look at.
#[derive(Debug, ClapArgs)]
pub struct Args {
    /// File with a grant or a whole command. - reads standard input.
    #[arg(default_value = "-")]
    file: PathBuf,
    /// Directory with the public keys for verification.
    #[arg(long, default_value = "/etc/stream-relay/issuers.d")]
    issuers: PathBuf,
}

/// Prints what the grant says and every verdict. True: it would be believed now.
///
/// # Errors
/// When nothing that looks like a grant can be read.
pub fn run(args: &Args, as_json: bool) -> Result<bool> {
    let report = Report::new(&read(&args.file)?, &args.issuers, SystemTime::now())?;
    if as_json {
        println!("{:#}", report.json());
    } else {
        println!("{}", report.text());
    }
    Ok(report.is_believed())
}

/// Everything that can be said about a grant.
struct Report {
    header: Value,
    claims: Value,
    checks: Vec<Check>,
}

#[derive(Debug, PartialEq, Eq, Serialize)]
struct Check {
    name: &'static str,
    ok: bool,
    detail: String,
}

impl Report {
    /// Looks at a grant, or at a command with one.
    fn new(text: &str, issuers: &Path, now: SystemTime) -> Result<Report> {
        let jws = match serde_json::from_str::<Value>(text) {
            Ok(command) => command["grant"].as_str().context("JSON without a grant")?.to_owned(),
            Err(_) => text.trim().to_owned(),
        };
        let parts: Vec<&str> = jws.split('.').collect();
        let [header, claims, _] = parts[..] else {
            bail!("not a grant: expected three parts with dots between them")
        };
        let (header, claims) = (decode(header)?, decode(claims)?);
        let mut checks = vec![
            check("header", check_header(&header)),
            check("claims", check_claims(&claims)),
            check("lifetime", check_lifetime(&claims)),
            check("time", check_time(&claims, now)),
        ];
        checks.push(check("signature", check_signature(&jws, issuers, checks.iter().all(|check| check.ok))));
        Ok(Report { header, claims, checks })
    }

    fn is_believed(&self) -> bool {
        self.checks.iter().all(|check| check.ok)
    }

    fn json(&self) -> Value {
        json!({
            "header": self.header, "claims": self.claims, "checks": self.checks, "believed": self.is_believed(),
        })
    }

    fn text(&self) -> String {
        let mut text = format!("header {:#}\nclaims {:#}\n", self.header, self.claims);
        for check in &self.checks {
            let word = if check.ok { "PASS" } else { "FAIL" };
            text.push_str(&format!("{word} {:<10}{}\n", check.name, check.detail));
        }
        text + if self.is_believed() { "it would be believed now" } else { "it would NOT be believed" }
    }
}

fn check(name: &'static str, verdict: Result<String, String>) -> Check {
    let ok = verdict.is_ok();
    Check { name, ok, detail: verdict.unwrap_or_else(|why| why) }
}

fn check_header(header: &Value) -> Result<String, String> {
    if header["alg"] != "EdDSA" {
        return Err(format!("alg is {}, only \"EdDSA\" is believed", header["alg"]));
    }
    if header["typ"] != TYPE {
        return Err(format!("typ is {}, expected \"{TYPE}\"", header["typ"]));
    }
    if header.get("crit").is_some() {
        return Err("crit names extensions, and none is known".into());
    }
    let kid = header["kid"].as_str().ok_or("kid is missing: nobody knows which key to verify with")?;
    Ok(format!("EdDSA by key {kid}"))
}

fn check_claims(claims: &Value) -> Result<String, String> {
    let claims: Claims = serde_json::from_value(claims.clone()).map_err(|error| error.to_string())?;
    let host = claims.aud.strip_prefix("host:").and_then(|id| id.parse::<HostId>().ok());
    let host = host.ok_or("aud is not host:<id>")?;
    if claims.sid.parse::<ulid::Ulid>().is_err() {
        return Err("sid is not a ULID".into());
    }
    Ok(format!("host {host}, target {}, relay {}", claims.target, claims.relay))
}

fn times(claims: &Value) -> Result<(u64, u64), String> {
    let seconds = |name: &str| claims[name].as_u64().ok_or(format!("{name} is not a number of seconds"));
    Ok((seconds("iat")?, seconds("exp")?))
}

fn check_lifetime(claims: &Value) -> Result<String, String> {
    let (iat, exp) = times(claims)?;
    let most = MAX_LIFETIME.as_secs();
    match exp.checked_sub(iat) {
        None => Err("exp is before iat".into()),
        Some(life) if life > most => Err(format!("{life} s, at most {most} s are allowed")),
        Some(life) => Ok(format!("{life} s")),
    }
}

fn check_time(claims: &Value, now: SystemTime) -> Result<String, String> {
    let (iat, exp) = times(claims)?;
    let (now, leeway) = (unix(now), DEFAULT_LEEWAY.as_secs());
    let clock = |at: u64| {
        // A number that no calendar holds is shown as it is.
        let time = UNIX_EPOCH.checked_add(Duration::from_secs(at.min(u64::from(u32::MAX))));
        time.map_or_else(|| at.to_string(), |time| format_rfc3339_seconds(time).to_string())
    };
    if now > exp.saturating_add(leeway) {
        return Err(format!("expired {} s ago, at {}", now - exp, clock(exp)));
    }
    if iat > now + leeway {
        return Err(format!("issued {} s in the future, at {}: check both clocks", iat - now, clock(iat)));
    }
    Ok(format!("good for {} s more, until {}", exp.saturating_sub(now), clock(exp)))
}

/// The judgement of the code that hosts and relays run. It looks at everything but the time, so a refusal
/// for another reason than the signature is reported only if no other check has failed.
fn check_signature(jws: &str, issuers: &Path, others_are_ok: bool) -> Result<String, String> {
    let issuers = keys::read_issuers(issuers).map_err(|error| format!("not verified: {error}"))?;
    let known = || format!("keys known: {}", issuers.kids().join(", "));
    match issuers.verify(jws) {
        Ok(_) => Ok("verified".into()),
        // The lifetime is looked at last, and has a check of its own.
        Err(refusal) if refusal.code == Code::GrantExpired => Ok("verified".into()),
        Err(refusal) if refusal.code == Code::GrantUnknownIssuer => Err(format!("{refusal}; {}", known())),
        Err(refusal) if refusal.code == Code::GrantSignature || others_are_ok => Err(refusal.to_string()),
        Err(refusal) => Err(format!("not verified: {}", refusal.message)),
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::signing::SigningKey;
    use protocol::token::Token;

    struct Keys(tempfile::TempDir, SigningKey);

    impl Keys {
        fn new() -> Keys {
            let dir = tempfile::tempdir().unwrap();
            let (key, _) = SigningKey::generate("k1").unwrap();
            std::fs::write(dir.path().join("k1.pub"), keys::public_pem(&key)).unwrap();
            Keys(dir, key)
        }

        fn grant(&self, change: impl FnOnce(&mut Claims)) -> String {
            let now = unix(SystemTime::now());
            let mut claims = Claims {
                iss: "test".into(),
                aud: "host:h1".into(),
                sid: ulid::Ulid::generate().to_string(),
                iat: now,
                exp: now + 30,
                target: "vm".into(),
                params: Default::default(),
                mode: None,
                relay: "wss://relay".into(),
                token_sha256: Token::generate().unwrap().hash(),
                max_streams: None,
                max_seconds: None,
                origin: vec![],
                user: None,
                cnf: None,
                relay_run: None,
            };
            change(&mut claims);
            self.1.sign(&claims)
        }

        fn report(&self, text: &str) -> Report {
            Report::new(text, self.0.path(), SystemTime::now()).unwrap()
        }

        /// The checks that fail, with their details.
        fn fails(&self, text: &str) -> Vec<(&'static str, String)> {
            let checks = self.report(text).checks.into_iter();
            checks.filter(|check| !check.ok).map(|check| (check.name, check.detail)).collect()
        }
    }

    #[test]
    fn a_good_grant_passes_every_check_alone_and_in_a_command() {
        let keys = Keys::new();
        let grant = keys.grant(|_| {});
        for text in [format!("{grant}\n"), json!({ "v": 1, "grant": grant }).to_string()] {
            let report = keys.report(&text);
            assert!(report.is_believed(), "{}", report.text());
            assert_eq!(report.json()["claims"]["target"], "vm");
            assert!(report.text().contains("PASS claims    host h1, target vm, relay wss://relay"));
            assert!(report.text().ends_with("it would be believed now"));
        }
    }

    #[test]
    fn what_is_wrong_is_told_by_the_check_that_found_it() {
        let keys = Keys::new();
        let old = keys.grant(|claims| (claims.iat, claims.exp) = (1_700_000_000, 1_700_000_030));
        let fails = keys.fails(&old);
        assert_eq!(fails.len(), 1, "{fails:?}");
        assert!(fails[0].0 == "time" && fails[0].1.ends_with("at 2023-11-14T22:13:50Z"), "{fails:?}");

        let early = keys.fails(&keys.grant(|claims| (claims.iat, claims.exp) = (u64::MAX - 9, u64::MAX)));
        assert!(early[0].1.contains("in the future"), "{early:?}");

        let long = keys.fails(&keys.grant(|claims| claims.exp += 60));
        assert_eq!(long, [("lifetime", "90 s, at most 60 s are allowed".into())]);
        let named = keys.fails(&keys.grant(|claims| claims.sid = "1".into()));
        assert_eq!(named[0], ("claims", "sid is not a ULID".into()));

        let other = Keys::new();
        let fails = keys.fails(&other.grant(|_| {}));
        assert_eq!(fails, [("signature", "the grant's signature does not verify (grant_signature)".into())]);
        std::fs::rename(keys.0.path().join("k1.pub"), keys.0.path().join("k2.pub")).unwrap();
        let fails = keys.fails(&keys.grant(|_| {}));
        assert!(fails[0].0 == "signature" && fails[0].1.ends_with("keys known: k2"), "{fails:?}");
    }

    #[test]
    fn another_algorithm_is_called_by_its_name() {
        let keys = Keys::new();
        let grant = keys.grant(|_| {});
        let rest = grant.split_once('.').unwrap().1;
        let header = URL_SAFE_NO_PAD.encode(r#"{"alg":"none","typ":"stream-grant+jwt","kid":"k1"}"#);
        let fails = keys.fails(&format!("{header}.{rest}"));
        assert_eq!(fails[0], ("header", "alg is \"none\", only \"EdDSA\" is believed".into()));
        assert_eq!(fails[1].0, "signature");
    }

    #[test]
    fn what_is_no_grant_is_an_error() {
        let keys = Keys::new();
        for text in ["", "a.b", "a.b.c", "{}", "{\"grant\":1}", "e30.e30"] {
            assert!(Report::new(text, keys.0.path(), SystemTime::now()).is_err(), "{text}");
        }
    }
}
