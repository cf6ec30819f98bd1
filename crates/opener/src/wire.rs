//! What the network half, the opener and cells say to each other: one JSON message in each packet of a unix socket,
//! with at most one descriptor.

use std::collections::BTreeMap;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::OwnedFd;
use std::path::Path;

use nix::unistd::geteuid;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use socket2::SockRef;
use tokio_seqpacket::UnixSeqpacket;
use tokio_seqpacket::ancillary::{AncillaryMessageWriter, OwnedAncillaryMessage};

use protocol::command::{Refusal, TargetInfo};
use protocol::end::{Closing, End};
use protocol::failure::Failure;
use protocol::mode::Mode;
use protocol::profile::Profile;
use targets::{Ask, OpenError, Window};

use super::request::Start;

/// The longest message, in bytes. A grant has at most 8 KiB; the rest is for the settings of a target.
const MAX_MESSAGE: usize = 64 * 1024;

/// Space for one descriptor with its header (cmsg(3)).
const CONTROL: usize = 64;

/// What is asked for: by the network half of the opener, and by the opener of a cell.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Request {
    /// Begins a session. The first message, to an opener.
    Begin(Start),
    /// Lists the targets. The first and only message, to an opener.
    List,
    /// Checks that a target could be opened. The first and only message, to an opener.
    Probe(String),
    /// The target of the session. The first message, to a cell.
    Target(CellTarget),
    /// Checks that the target could be opened. To a cell.
    ProbeTarget,
    /// Opens the target for a stream, which has this number.
    Open { stream: u32, window: Option<Window> },
    /// Passes a client's request on.
    Ask { stream: u32, ask: Ask },
    /// The stream has ended.
    Close { stream: u32 },
}

/// What is answered.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    /// The session has begun.
    Permitted(Permitted),
    /// The session may not begin.
    Refused(Refusal),
    /// The opener cannot read its configuration.
    Misconfigured(String),
    Targets(Vec<TargetInfo>),
    Probed(Result<String, String>),
    /// A descriptor comes with this message.
    Opened {
        stream: u32,
        opened: Ends,
    },
    NotOpened {
        stream: u32,
        error: NotOpened,
    },
    /// What a client requested cannot be done. The text is for the client.
    Unable {
        stream: u32,
        what: String,
        message: String,
    },
    /// The exit status of the target's program.
    Exit {
        stream: u32,
        status: i32,
    },
    /// The target's output has ended, perhaps by a failure with details for the record.
    Ended {
        stream: u32,
        failure: Option<(Failure, String)>,
    },
    /// The session must end.
    Stop(Reason),
}

/// A target as its owner has written it, and what the grant says of it.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct CellTarget {
    pub name: String,
    pub table: toml::Table,
    pub params: BTreeMap<String, String>,
    pub mode: Mode,
}

/// What a session may do, and what its relay and its streams have to know of the target.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Permitted {
    /// The target's name.
    pub target: String,
    pub mode: Mode,
    /// How many streams the session may have in all.
    pub streams: u32,
    /// How many streams of all sessions the target may have at once.
    pub max_streams: u32,
    pub profile: Profile,
    /// Whether later clients of the session may be recognised by their address.
    pub same_address: bool,
    /// Whether clients should treat the target as a terminal.
    pub is_terminal: bool,
}

/// What the passed descriptor is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Ends {
    /// The target's own socket. Otherwise one end of a pair, whose other end is with the target.
    pub is_target: bool,
    pub has_input: bool,
    pub has_program: bool,
    pub half_close: bool,
}

#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct NotOpened {
    /// The code of its [`End`].
    code: u16,
    message: String,
}

/// Why a session must end.
#[derive(Debug, Serialize, Deserialize)]
pub(crate) struct Reason {
    /// The code of its [`End`].
    code: u16,
    words: String,
}

impl From<OpenError> for NotOpened {
    fn from(error: OpenError) -> NotOpened {
        NotOpened { code: error.end.code(), message: error.message }
    }
}

impl From<NotOpened> for OpenError {
    fn from(error: NotOpened) -> OpenError {
        OpenError { end: End::from_code(error.code).unwrap_or(End::TargetFailed), message: error.message }
    }
}

impl From<Closing> for Reason {
    fn from(closing: Closing) -> Reason {
        Reason { code: closing.end.code(), words: closing.reason.into() }
    }
}

impl From<Reason> for Closing {
    fn from(reason: Reason) -> Closing {
        Closing::new(End::from_code(reason.code).unwrap_or(End::SessionEnded), reason.words)
    }
}

/// A connection between two of the processes.
#[derive(Debug)]
pub(crate) struct Connection(UnixSeqpacket);

impl Connection {
    pub(crate) async fn to(path: &Path) -> io::Result<Connection> {
        UnixSeqpacket::connect(path).await.map(Connection)
    }

    pub(crate) fn from_socket(socket: UnixSeqpacket) -> Connection {
        Connection(socket)
    }

    /// A connection that the service manager has accepted. It passes sockets that block.
    pub(crate) fn from_passed(socket: OwnedFd) -> io::Result<Connection> {
        SockRef::from(&socket).set_nonblocking(true)?;
        UnixSeqpacket::try_from(socket).map(Connection)
    }

    /// Sends a message, and a descriptor with it.
    /// Whether root, or our own user, has connected.
    pub(crate) fn is_administrator(&self) -> bool {
        let own = geteuid().as_raw();
        self.0.peer_cred().is_ok_and(|peer| peer.uid() == 0 || peer.uid() == own)
    }

    pub(crate) async fn send(
        &self,
        message: &impl Serialize,
        descriptor: Option<&OwnedFd>,
    ) -> io::Result<()> {
        let bytes = serde_json::to_vec(message)?;
        if bytes.len() > MAX_MESSAGE {
            return Err(io::Error::other(format!("a message of {} bytes is too long", bytes.len())));
        }
        let mut space = [0; CONTROL];
        let mut control = AncillaryMessageWriter::new(&mut space);
        if descriptor.is_some() {
            control.add_fds(descriptor).map_err(io::Error::other)?;
        }
        self.0.send_vectored_with_ancillary(&[IoSlice::new(&bytes)], &mut control).await.map(drop)
    }

    /// The next message, with its descriptor; `None` when the other process has closed the connection.
    pub(crate) async fn receive<T: DeserializeOwned>(&self) -> io::Result<Option<(T, Option<OwnedFd>)>> {
        // Waits without a buffer: thousands of sessions do nothing else.
        self.0.peek(&mut [0]).await?;
        let mut bytes = vec![0; MAX_MESSAGE];
        let mut space = [0; CONTROL];
        let buffers = &mut [IoSliceMut::new(&mut bytes)];
        let (info, control) = self.0.recv_vectored_with_ancillary(buffers, &mut space).await?;
        if info.truncated() || control.is_truncated() {
            return Err(io::Error::other("a message is too long"));
        }
        let descriptor = control.into_messages().find_map(|message| match message {
            OwnedAncillaryMessage::FileDescriptors(mut descriptors) => descriptors.next(),
            _ => None,
        });
        match info.bytes_read() {
            0 => Ok(None),
            read => Ok(Some((serde_json::from_slice(&bytes[..read])?, descriptor))),
        }
    }
}
