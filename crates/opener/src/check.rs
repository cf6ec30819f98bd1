//! What the network half and the opener check of a grant: the same code, so that they refuse the same.

use std::time::{Duration, SystemTime};

use protocol::command::{Code, Refusal};
use protocol::grant::Grant;
use protocol::host::HostId;
use websocket::address::Address;

/// What a grant is compared with.
#[derive(Clone, Copy, Debug)]
pub struct Rules<'a> {
    pub host: &'a HostId,
    /// How far clocks may be apart.
    pub leeway: Duration,
    /// Relays that may be named.
    pub relays: &'a [String],
    /// Whether the host has a key of its own, which grants may ask for.
    pub has_host_key: bool,
}

/// Checks a grant whose signature is good, but not what it says of the target.
///
/// # Errors
/// The refusal to answer with.
pub fn check_grant(grant: &Grant, now: SystemTime, rules: Rules<'_>) -> Result<(), Refusal> {
    grant.check_host(rules.host)?;
    grant.check_time(now, rules.leeway)?;
    if grant.claims().cnf.is_some() && !rules.has_host_key {
        let why = "the grant asks for the host's key: set auth.host_key_file";
        return Err(Refusal::new(Code::GrantProof, why));
    }
    allowed_relay(&grant.claims().relay, rules.relays).map(drop)
}

/// The address of a relay that a command names. Only relays in `relay.allow` are dialled, whatever a grant says.
///
/// # Errors
/// [`Code::RelayNotAllowed`].
pub fn allowed_relay(url: &str, relays: &[String]) -> Result<Address, Refusal> {
    let address =
        Address::parse(url).map_err(|error| Refusal::new(Code::RelayNotAllowed, error.to_string()))?;
    let allows = |allowed: &String| Address::parse(allowed).is_ok_and(|allowed| allowed.leads_to(&address));
    if !relays.iter().any(allows) {
        return Err(Refusal::new(
            Code::RelayNotAllowed,
            "the relay is not on this host's list (relay.allow)",
        ));
    }
    Ok(address)
}
