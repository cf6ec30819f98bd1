//! What hosts and clients bring: the verified part of a dial, and how a client is recognised.

use std::net::IpAddr;
use std::time::Duration;

use ipnet::IpNet;

use protocol::audit::Context;
use protocol::host::HostId;
use protocol::origin::WebOrigin;
use protocol::profile::Profile;
use protocol::token::{Token, TokenHash};

/// What a host may do here: the verified part of its dial.
#[derive(Clone, Debug)]
pub struct Admission {
    pub session: String,
    /// What the client's token hashes to.
    pub token: TokenHash,
    /// The host, for the record.
    pub host: HostId,
    /// The target, for the record; unknown to the relay in simple mode.
    pub target: Option<String>,
    /// User that the session is for, for the record.
    pub user: Option<String>,
    /// Streams that the session may have in all.
    pub max_streams: u32,
    /// Whether a client without key or cookie may be recognised by its address.
    pub same_address: bool,
    /// What the session's streams are tuned for.
    pub profile: Profile,
    /// Hard end of the session, from its first stream.
    pub max_time: Duration,
    /// Browser origins that may connect; empty means any.
    pub origins: Vec<WebOrigin>,
    /// How long this session's id is remembered after its end, so that it is used once.
    pub remember: Duration,
}

impl Admission {
    /// What records of its session say.
    pub fn context(&self) -> Context {
        Context {
            session: Some(self.session.clone()),
            host: Some(self.host.clone()),
            target: self.target.clone(),
            user: self.user.clone(),
            token: Some(self.token),
            ..Context::default()
        }
    }
}

/// The secret in a dial, which proves that a spare comes from the host of its session.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Secret {
    /// None: a host before 0.2.0, whose spares show none.
    Unknown,
    /// The host understands secrets: this is the session's, if the session begins with this dial.
    Offered(TokenHash),
    /// The host shows this one.
    Shown(TokenHash),
}

/// What a relay can know about who a client is.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The network that limits count by.
    pub network: IpNet,
    /// Its address, unless that may be a proxy's with others behind it.
    pub address: Option<IpAddr>,
    /// Hashes of the session keys and cookies that it shows.
    pub shown: Vec<TokenHash>,
    /// Becomes the session's key if this is the session's first client.
    pub new_key: Token,
    /// Origin of the page; only browsers send one.
    pub origin: Option<WebOrigin>,
}
