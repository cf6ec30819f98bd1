//! The settings of a relay, checked.

use std::collections::{BTreeSet, HashMap};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;

use protocol::host::HostId;
use protocol::issuers::Issuers;
use protocol::token::TokenHash;
use service::listen::ListenAddress;
use websocket::address::Address;
use websocket::connection::Limits;

use super::web::Web;
use crate::rendezvous::Caps;
use crate::slots::SlotLimits;

/// What a relay runs on.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Addresses that hosts and clients connect to.
    pub listen: Vec<ListenAddress>,
    /// The relay's own URLs, without a slash at the end. Never empty.
    pub public_urls: Vec<String>,
    /// Address of the admin listener.
    pub admin: Option<ListenAddress>,
    /// Proxies whose `X-Forwarded-For` is believed.
    pub trusted_proxies: Vec<IpNet>,
    /// Files of certificate and key; `None` without TLS.
    pub tls: Option<(PathBuf, PathBuf)>,
    /// Whether `CONNECT` is answered without TLS to clients that are not on this machine.
    pub plaintext_connect: bool,
    /// How hosts prove that they may park.
    pub auth: Auth,
    /// The page for people.
    pub web: Web,
    pub websocket: Limits,
    /// How many hosts and clients may wait.
    pub caps: Caps,
    /// How many connections may be neither linked nor parked.
    pub slots: SlotLimits,
    /// Most streams of one session, whatever host and grant allow.
    pub max_streams: u32,
    /// Longest time of a session, from its first stream.
    pub session: Duration,
    /// How long a client waits for its host.
    pub client_wait: Duration,
    /// How long a parked host waits for its client.
    pub host_wait: Duration,
    /// Time limit of a TLS handshake.
    pub tls_handshake: Duration,
    /// Time limit for the head of an HTTP request.
    pub request_head: Duration,
    /// How long linked streams may go on after the relay was asked to stop.
    pub drain_timeout: Duration,
}

impl Settings {
    /// The paths of the public URLs, without a slash at the end: a proxy may serve the relay below a path.
    pub fn prefixes(&self) -> BTreeSet<String> {
        let path = |url: &String| Address::parse(url).map(|own| own.path().trim_end_matches('/').to_owned());
        self.public_urls.iter().filter_map(|url| path(url).ok()).collect()
    }

    /// Whether `url` leads to this relay, in any spelling.
    pub fn is_named(&self, url: &str) -> bool {
        let leads_here =
            |named: &Address, own: &str| Address::parse(own).is_ok_and(|own| own.leads_to(named));
        Address::parse(url).is_ok_and(|named| self.public_urls.iter().any(|own| leads_here(&named, own)))
    }

    /// Whether a running relay needs a restart to take over the difference to `old`.
    pub fn needs_restart_after(&self, old: &Settings) -> bool {
        let caps = |caps: Caps| (caps.waiting, caps.waiting_per_address);
        self.listen != old.listen
            || self.admin != old.admin
            || self.tls != old.tls
            || self.slots != old.slots
            || caps(self.caps) != caps(old.caps)
    }
}

/// How hosts prove that they may park.
#[derive(Clone, Debug)]
pub enum Auth {
    Signed {
        /// The public keys of platforms.
        issuers: Issuers,
        /// How far clocks may differ.
        leeway: Duration,
    },
    /// Simple mode: by the relay key of the host, which is kept as a hash.
    Opaque(HashMap<HostId, TokenHash>),
}
