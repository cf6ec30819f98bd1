//! The client's end of a chain: a TCP connection, with or without TLS and websocket frames on it.
//!
//! Blocking, and as cheap as it can be made: what the generator burns is missing to what is measured.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::ops::Range;
use std::sync::Arc;

use anyhow::{Context, bail};
use websocket::frame::{self, Header, Opcode, Role};

/// Bytes that are read at once.
const BUFFER: usize = 256 * 1024;

/// Any fixed mask costs anyone who takes it off as much as a random one.
const MASK: [u8; 4] = [0x9d, 0x3c, 0x71, 0xe6];

/// What carries the bytes.
enum Io {
    Tcp(TcpStream),
    Tls(Box<rustls::StreamOwned<rustls::ClientConnection, TcpStream>>),
}

impl Read for Io {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Io::Tcp(io) => io.read(buffer),
            Io::Tls(io) => io.read(buffer),
        }
    }
}

impl Write for Io {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Io::Tcp(io) => io.write(bytes),
            Io::Tls(io) => io.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        match self {
            Io::Tcp(io) => io.flush(),
            Io::Tls(io) => io.flush(),
        }
    }
}

/// How a chain is entered.
#[derive(Clone)]
pub struct Door {
    /// Where it listens.
    pub address: SocketAddr,
    /// For `wss://`.
    pub tls: Option<Arc<rustls::ClientConfig>>,
    /// The path of a websocket; none for plain TCP.
    pub path: Option<String>,
}

/// A connection through a chain.
pub struct Wire {
    io: Io,
    is_websocket: bool,
    buffer: Vec<u8>,
    /// Received and not taken yet.
    raw: Range<usize>,
    /// Payload of the current frame that is still to come.
    left: u64,
}

impl Wire {
    /// Connects, with the websocket handshake where the door asks for it. The buffer grows when it is used.
    pub fn open(door: &Door) -> anyhow::Result<Wire> {
        let tcp = TcpStream::connect(door.address).with_context(|| format!("connect to {}", door.address))?;
        tcp.set_nodelay(true)?;
        let io = match &door.tls {
            None => Io::Tcp(tcp),
            Some(config) => {
                let name = rustls::pki_types::ServerName::from(door.address.ip());
                let session = rustls::ClientConnection::new(config.clone(), name)?;
                Io::Tls(Box::new(rustls::StreamOwned::new(session, tcp)))
            }
        };
        let mut wire = Wire { io, is_websocket: door.path.is_some(), buffer: vec![], raw: 0..0, left: 0 };
        if let Some(path) = &door.path {
            wire.upgrade(path, door.address)?;
        }
        Ok(wire)
    }

    fn upgrade(&mut self, path: &str, address: SocketAddr) -> anyhow::Result<()> {
        let request = format!(
            "GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\
             Sec-WebSocket-Protocol: binary\r\n\r\n"
        );
        self.io.write_all(request.as_bytes())?;
        self.io.flush()?;
        self.buffer.resize(4096, 0);
        loop {
            let n = self.io.read(&mut self.buffer[self.raw.end..])?;
            if n == 0 {
                bail!("connection ended during the handshake");
            }
            self.raw.end += n;
            let head = &self.buffer[..self.raw.end];
            if let Some(end) = head.windows(4).position(|window| window == b"\r\n\r\n") {
                if !head.starts_with(b"HTTP/1.1 101") {
                    bail!("not a websocket: {}", String::from_utf8_lossy(head));
                }
                self.raw.start = end + 4;
                return Ok(());
            }
        }
    }

    /// What goes on the wire for these bytes in messages of `size`: encoded once, sent many times.
    pub fn encoded(&self, bytes: &[u8], size: usize) -> Vec<u8> {
        if !self.is_websocket {
            return bytes.to_vec();
        }
        let mut wire = Vec::with_capacity(bytes.len() + bytes.len() / size * frame::MAX_HEADER);
        for payload in bytes.chunks(size) {
            push(&mut wire, Opcode::Binary, payload);
        }
        wire
    }

    /// Sends what [`Wire::encoded`] made.
    pub fn send_encoded(&mut self, encoded: &[u8]) -> io::Result<()> {
        self.io.write_all(encoded)?;
        self.io.flush()
    }

    /// Sends one message.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        let encoded = self.encoded(bytes, bytes.len().max(1));
        self.send_encoded(&encoded)
    }

    /// The bytes that came in, as far as they are here; empty at the end of the stream.
    pub fn receive(&mut self) -> io::Result<&[u8]> {
        self.at_most(usize::MAX)
    }

    /// Fills `bytes`.
    pub fn receive_exact(&mut self, bytes: &mut [u8]) -> io::Result<()> {
        let mut filled = 0;
        while filled < bytes.len() {
            let piece = self.at_most(bytes.len() - filled)?;
            if piece.is_empty() {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
            let n = piece.len();
            bytes[filled..filled + n].copy_from_slice(piece);
            filled += n;
        }
        Ok(())
    }

    /// Lets the buffer go: for wires that wait.
    pub fn rest(&mut self) {
        if self.raw.is_empty() {
            self.buffer = vec![];
            self.raw = 0..0;
        }
    }

    /// Takes up to `limit` bytes of payload.
    fn at_most(&mut self, limit: usize) -> io::Result<&[u8]> {
        loop {
            if !self.is_websocket {
                self.left = u64::MAX;
            } else if self.left == 0 {
                match self.header()? {
                    Head::Data => {}
                    Head::Close => return Ok(&[]),
                    Head::Incomplete if self.fill()? => {}
                    Head::Incomplete => return Ok(&[]),
                }
                continue;
            }
            if self.raw.is_empty() && !self.fill()? {
                return Ok(&[]);
            }
            let n = self.raw.len().min(limit).min(usize::try_from(self.left).unwrap_or(usize::MAX));
            let piece = self.raw.start..self.raw.start + n;
            self.raw.start += n;
            self.left -= n as u64;
            return Ok(&self.buffer[piece]);
        }
    }

    /// Takes a header, if it is here.
    fn header(&mut self) -> io::Result<Head> {
        let parsed = frame::parse(&self.buffer[self.raw.clone()], Role::Client);
        let Some((header, len)) = parsed.map_err(io::Error::other)? else { return Ok(Head::Incomplete) };
        if !header.opcode.is_control() {
            self.raw.start += len;
            self.left = header.len;
            return Ok(Head::Data);
        }
        let whole = len + header.len as usize;
        if self.raw.len() < whole {
            return Ok(Head::Incomplete);
        }
        let payload = self.raw.start + len..self.raw.start + whole;
        self.raw.start += whole;
        match header.opcode {
            Opcode::Close => return Ok(Head::Close),
            Opcode::Ping => {
                let mut pong = vec![];
                push(&mut pong, Opcode::Pong, &self.buffer[payload]);
                self.send_encoded(&pong)?;
            }
            _ => {}
        }
        Ok(Head::Data)
    }

    fn fill(&mut self) -> io::Result<bool> {
        if self.buffer.len() < BUFFER {
            self.buffer.resize(BUFFER, 0);
        }
        self.buffer.copy_within(self.raw.clone(), 0);
        self.raw = 0..self.raw.len();
        let n = self.io.read(&mut self.buffer[self.raw.end..])?;
        self.raw.end += n;
        Ok(n > 0)
    }
}

/// What stands where a header may.
enum Head {
    /// A data frame begins, or a control frame was answered.
    Data,
    Close,
    Incomplete,
}

fn push(wire: &mut Vec<u8>, opcode: Opcode, payload: &[u8]) {
    let header = Header { fin: true, opcode, len: payload.len() as u64, mask: Some(MASK) };
    let (header, len) = frame::encode(header);
    wire.extend_from_slice(&header[..len]);
    let start = wire.len();
    wire.extend_from_slice(payload);
    frame::apply_mask(&mut wire[start..], MASK, 0);
}
