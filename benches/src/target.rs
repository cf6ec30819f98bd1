//! The local target behind every chain: does what the first 32 bytes of a connection ask for.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread;
use std::time::{Duration, Instant};

use ring::digest;

/// Bytes that sinks of this process have taken.
pub static SUNK: AtomicU64 = AtomicU64::new(0);

/// What a connection is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Job {
    /// Says bytes, each block beginning with the time of its writing.
    Source,
    /// Takes bytes.
    Sink,
    /// Sends what it is given.
    Echo,
    /// Takes `limit` bytes and says their SHA-256, then says `limit` bytes and their SHA-256.
    Check,
}

/// The first words of a client.
#[derive(Clone, Copy, Debug)]
pub struct Order {
    pub job: Job,
    /// Bytes of one write.
    pub block: u32,
    /// Bytes a second; 0: as fast as it goes.
    pub rate: u64,
    /// Bytes in all; 0: until the client leaves.
    pub limit: u64,
}

impl Order {
    pub const LEN: usize = 32;

    pub fn of(job: Job) -> Order {
        Order { job, block: 256 * 1024, rate: 0, limit: 0 }
    }

    pub fn encode(self) -> [u8; Order::LEN] {
        let mut bytes = [0; Order::LEN];
        bytes[0] = self.job as u8;
        bytes[4..8].copy_from_slice(&self.block.to_be_bytes());
        bytes[8..16].copy_from_slice(&self.rate.to_be_bytes());
        bytes[16..24].copy_from_slice(&self.limit.to_be_bytes());
        bytes
    }

    fn decode(bytes: [u8; Order::LEN]) -> Option<Order> {
        let job = [Job::Source, Job::Sink, Job::Echo, Job::Check].into_iter().nth(bytes[0].into())?;
        Some(Order {
            job,
            block: u32::from_be_bytes(bytes[4..8].try_into().ok()?),
            rate: u64::from_be_bytes(bytes[8..16].try_into().ok()?),
            limit: u64::from_be_bytes(bytes[16..24].try_into().ok()?),
        })
    }
}

/// Serves on loopback until the process ends; one thread a connection.
pub fn serve() -> io::Result<SocketAddr> {
    serve_at(std::net::Ipv4Addr::LOCALHOST.into())
}

/// The same on another address.
pub fn serve_at(ip: IpAddr) -> io::Result<SocketAddr> {
    let listener = TcpListener::bind((ip, 0))?;
    let address = listener.local_addr()?;
    thread::spawn(move || {
        for connection in listener.incoming().flatten() {
            // A client that leaves is the end of every job.
            let run = move || drop(serve_one(connection));
            if let Err(error) = thread::Builder::new().stack_size(256 * 1024).spawn(run) {
                eprintln!("target: no thread: {error}");
            }
        }
    });
    Ok(address)
}

fn serve_one(mut connection: TcpStream) -> io::Result<()> {
    connection.set_nodelay(true)?;
    let mut order = [0; Order::LEN];
    connection.read_exact(&mut order)?;
    let order = Order::decode(order).ok_or(io::ErrorKind::InvalidData)?;
    match order.job {
        Job::Source => source(&mut connection, order),
        Job::Sink => sink(&mut connection),
        Job::Echo => echo(&mut connection),
        Job::Check => check(&mut connection, order.limit),
    }
}

fn source(connection: &mut TcpStream, order: Order) -> io::Result<()> {
    let mut block = vec![0x5a; order.block as usize];
    let begun = Instant::now();
    let mut said = 0;
    while order.limit == 0 || said < order.limit {
        if order.rate > 0 {
            let due = Duration::from_secs_f64(said as f64 / order.rate as f64);
            thread::sleep(due.saturating_sub(begun.elapsed()));
        }
        block[..8].copy_from_slice(&now().to_be_bytes());
        connection.write_all(&block)?;
        said += block.len() as u64;
    }
    io::copy(connection, &mut io::sink()).map(drop)
}

fn sink(connection: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            n => SUNK.fetch_add(n as u64, Ordering::Relaxed),
        };
    }
}

fn echo(connection: &mut TcpStream) -> io::Result<()> {
    let mut buffer = vec![0; 256 * 1024];
    loop {
        match connection.read(&mut buffer)? {
            0 => return Ok(()),
            n => connection.write_all(&buffer[..n])?,
        }
    }
}

fn check(connection: &mut TcpStream, len: u64) -> io::Result<()> {
    let mut buffer = vec![0; 64 * 1024];
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut left = len;
    while left > 0 {
        let most = buffer.len().min(left as usize);
        let n = connection.read(&mut buffer[..most])?;
        if n == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        hash.update(&buffer[..n]);
        left -= n as u64;
    }
    connection.write_all(hash.finish().as_ref())?;
    let mut noise = Noise(3);
    let mut hash = digest::Context::new(&digest::SHA256);
    let mut left = len as usize;
    while left > 0 {
        let piece = &mut buffer[..left.min(40_961)];
        noise.fill(piece);
        hash.update(piece);
        connection.write_all(piece)?;
        left -= piece.len();
    }
    connection.write_all(hash.finish().as_ref())
}

/// Bytes that do not repeat (xorshift64).
pub struct Noise(pub u64);

impl Noise {
    pub fn fill(&mut self, bytes: &mut [u8]) {
        for piece in bytes.chunks_mut(8) {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            piece.copy_from_slice(&self.0.to_ne_bytes()[..piece.len()]);
        }
    }
}

/// Nanoseconds on the clock that all processes of the machine share.
pub fn now() -> u64 {
    let time = nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC).expect("a clock");
    time.tv_sec() as u64 * 1_000_000_000 + time.tv_nsec() as u64
}
