//! The platform's signed statement that makes a host dial: a compact JWS (RFC 7515), EdDSA only.
//!
//! Only [`Issuers`](super::issuers::Issuers) can make a [`Grant`], so its claims are always verified.

use std::collections::BTreeMap;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};

use super::command::{Code, Refusal};
use super::host::HostId;
use super::mode::Mode;
use super::token::TokenHash;

/// The `typ` header of a grant (RFC 8725 section 3.11: explicit typing).
pub const TYPE: &str = "stream-grant+jwt";

/// The longest time between `iat` and `exp`: a grant is for an immediate dial.
pub const MAX_LIFETIME: Duration = Duration::from_secs(60);

/// How far clocks may differ before a grant is refused.
pub const DEFAULT_LEEWAY: Duration = Duration::from_secs(5);

/// The claims of a grant, as in `docs/protocol.md`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Claims {
    /// Name of the platform that signed, for the audit record.
    pub iss: String,
    /// The host, as `host:<id>`.
    pub aud: String,
    /// Id of the session, a ULID.
    pub sid: String,
    /// When it was signed, in seconds since 1970.
    pub iat: u64,
    /// Until when the host may dial, in seconds since 1970.
    pub exp: u64,
    /// Name of the target in the host's allowlist.
    pub target: String,
    /// Parameters of a templated target.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub params: BTreeMap<String, String>,
    /// Read-only or read-write; the target's own default if not given.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub mode: Option<Mode>,
    /// URL of the relay to dial, as in its `public_urls`.
    pub relay: String,
    /// SHA-256 of the client's token.
    pub token_sha256: TokenHash,
    /// Upper bound on streams; without it what the host allows for the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_streams: Option<u32>,
    /// Hard end of the session, in seconds from its first stream.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_seconds: Option<u64>,
    /// Browser origins that may connect; empty means any.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub origin: Vec<String>,
    /// The user who asked, for the audit record.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user: Option<String>,
    /// Public nkey of the host: the dial must then have a [proof](super::proof).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cnf: Option<String>,
    /// Id of the relay's run during which the grant was signed, which proves to that run that no earlier one has used
    /// it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub relay_run: Option<String>,
}

/// A grant whose signature and form were verified.
#[derive(Clone, Debug)]
pub struct Grant {
    claims: Claims,
    host: HostId,
    jws: String,
}

#[derive(Serialize, Deserialize)]
struct Header {
    alg: String,
    typ: String,
    kid: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    crit: Option<serde_json::Value>,
}

impl Grant {
    /// The verified claims.
    pub fn claims(&self) -> &Claims {
        &self.claims
    }

    /// The host that the grant is for.
    pub fn host(&self) -> &HostId {
        &self.host
    }

    /// The grant as it is sent, a compact JWS.
    pub fn jws(&self) -> &str {
        &self.jws
    }

    /// Checks that the grant is valid at `now`.
    ///
    /// # Errors
    /// [`Code::GrantExpired`].
    pub fn check_time(&self, now: SystemTime, leeway: Duration) -> Result<(), Refusal> {
        let now = unix(now);
        let leeway = leeway.as_secs();
        // The sums saturate: claims may be as large as their type allows.
        if now > self.claims.exp.saturating_add(leeway) {
            let late = now - self.claims.exp;
            return Err(Refusal::new(
                Code::GrantExpired,
                format!("grant expired {late} s ago: check both clocks"),
            ));
        }
        if self.claims.iat > now.saturating_add(leeway) {
            let early = self.claims.iat - now;
            return Err(Refusal::new(
                Code::GrantExpired,
                format!("grant was issued {early} s in the future: check both clocks"),
            ));
        }
        Ok(())
    }

    /// Checks that the grant is for this host.
    ///
    /// # Errors
    /// [`Code::GrantAudience`].
    pub fn check_host(&self, host: &HostId) -> Result<(), Refusal> {
        if &self.host != host {
            return Err(Refusal::new(
                Code::GrantAudience,
                format!("grant is for host {}, this is {host}", self.host),
            ));
        }
        Ok(())
    }

    /// How long the grant is still valid from `now` on, at most [`MAX_LIFETIME`].
    pub fn time_left(&self, now: SystemTime) -> Duration {
        Duration::from_secs(self.claims.exp.saturating_sub(unix(now))).min(MAX_LIFETIME)
    }

    pub(super) fn from_parts(parts: Parts<'_>, jws: &str) -> Result<Grant, Refusal> {
        let malformed = |why: &str| Refusal::new(Code::GrantMalformed, format!("grant is malformed: {why}"));
        let claims: Claims = decode_json(parts.payload)
            .map_err(|error| malformed(&format!("claims do not parse ({error})")))?;
        let host = claims
            .aud
            .strip_prefix("host:")
            .and_then(|id| id.parse().ok())
            .ok_or_else(|| malformed("aud is not host:<id>"))?;
        if claims.sid.parse::<ulid::Ulid>().is_err() {
            return Err(malformed("sid is not a ULID"));
        }
        if claims.exp < claims.iat || claims.exp - claims.iat > MAX_LIFETIME.as_secs() {
            return Err(Refusal::new(
                Code::GrantExpired,
                format!("grant lives longer than {} s", MAX_LIFETIME.as_secs()),
            ));
        }
        Ok(Grant { claims, host, jws: jws.to_owned() })
    }
}

/// Header and claims as the first two parts of a JWS, which are signed.
pub(super) fn to_be_signed(claims: &Claims, kid: &str) -> String {
    let header = Header { alg: "EdDSA".into(), typ: TYPE.into(), kid: kid.into(), crit: None };
    format!("{}.{}", encode_json(&header), encode_json(claims))
}

/// The three parts of a JWS after its header was checked.
pub(super) struct Parts<'a> {
    pub(super) kid: String,
    pub(super) signed: &'a str,
    payload: &'a str,
    pub(super) signature: Vec<u8>,
}

impl<'a> Parts<'a> {
    /// Splits a JWS and checks its header. Nothing is verified yet.
    pub(super) fn parse(jws: &'a str) -> Result<Parts<'a>, Refusal> {
        let malformed = |why: &str| Refusal::new(Code::GrantMalformed, format!("grant is malformed: {why}"));
        let (signed, signature) = jws.rsplit_once('.').ok_or_else(|| malformed("not a compact JWS"))?;
        let (header, payload) = signed.split_once('.').ok_or_else(|| malformed("not a compact JWS"))?;
        let alg: Algorithm =
            decode_json(header).map_err(|error| malformed(&format!("header does not parse ({error})")))?;
        if alg.alg != "EdDSA" {
            return Err(Refusal::new(Code::GrantAlgorithm, "grant is not signed with EdDSA"));
        }
        let header: Header =
            decode_json(header).map_err(|error| malformed(&format!("header does not parse ({error})")))?;
        if header.typ != TYPE {
            return Err(malformed(&format!("typ is not {TYPE}")));
        }
        if header.crit.is_some() {
            return Err(malformed("crit names extensions, and none is known here"));
        }
        let signature =
            URL_SAFE_NO_PAD.decode(signature).map_err(|_| malformed("signature is not base64url"))?;
        Ok(Parts { kid: header.kid, signed, payload, signature })
    }
}

/// Parsed before the rest of the header, so that another algorithm gets its own error.
#[derive(Deserialize)]
struct Algorithm {
    alg: String,
}

#[derive(Debug, thiserror::Error)]
enum DecodeError {
    #[error("not base64url")]
    Base64,
    // serde's text may quote values, which are not secret in a grant.
    #[error("{0}")]
    Json(serde_json::Error),
}

fn decode_json<T: for<'de> Deserialize<'de>>(part: &str) -> Result<T, DecodeError> {
    let bytes = URL_SAFE_NO_PAD.decode(part).map_err(|_| DecodeError::Base64)?;
    serde_json::from_slice(&bytes).map_err(DecodeError::Json)
}

fn encode_json(value: &impl Serialize) -> String {
    // Claims and headers are strings, numbers and lists of them, which always serialise.
    URL_SAFE_NO_PAD.encode(serde_json::to_vec(value).unwrap_or_default())
}

/// Seconds since 1970; a clock before that counts as 1970.
pub fn unix(time: SystemTime) -> u64 {
    time.duration_since(UNIX_EPOCH).map_or(0, |since| since.as_secs())
}
