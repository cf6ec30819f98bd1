//! Connects to the display of a domain with a given name, and explains what prevents it.

use std::io;
use std::path::PathBuf;

use tokio::net::UnixStream;
use uuid::Uuid;

use super::domain::{Domain, displays};
use super::refusal::{because, no_login, no_sasl, not_running, unreachable};
use super::rpc::{CallError, Connection, Procedure, broken};
use super::xdr::{Decoder, Encoder};
use crate::support::display::Display;
use crate::support::opened::{OpenError, blocking};
use crate::support::passing;
use crate::support::socket;

/// libvirt's sockets, the newer one first: a daemon for each driver, then one for all.
pub(super) const SOCKETS: [&str; 2] = ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"];

/// Methods of authentication, by libvirt's numbers.
const AUTH_NONE: u32 = 0;
const AUTH_POLKIT: u32 = 2;

/// How many methods an answer may list.
const MAX_AUTH: u32 = 20;

/// A flag: QEMU does not ask this client for a password.
const SKIP_AUTH: u32 = 1;

/// A libvirt, and the allowed domains and displays.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Client {
    /// `None`: the first of [`SOCKETS`] that is there.
    pub(super) socket: Option<PathBuf>,
    pub(super) uri: String,
    /// `None`: every domain with an allowed name.
    pub(super) uuids: Option<Vec<Uuid>>,
    /// `None`: its first display.
    pub(super) display: Option<Display>,
    pub(super) skip_auth: bool,
}

impl Client {
    /// Connects to the display of the domain that has this name now. libvirt passes a socket that is connected to QEMU
    /// itself, so that no port or path can lead to another machine.
    pub(super) async fn open_graphics(&self, name: &str) -> Result<UnixStream, OpenError> {
        let mut libvirt = self.connect().await?;
        let domain = self.find(&mut libvirt, name).await?;
        let uuid = domain.uuid;
        let xml = libvirt.call(Procedure::DomainGetXml, domain.write().word(0)).await;
        let xml = xml.map_err(|error| because(name, error))?.body;
        let (at, opened) = self.choose(&xml, name)?;
        let flags = if self.skip_auth { SKIP_AUTH } else { 0 };
        let graphics = libvirt
            .call(Procedure::DomainOpenGraphicsFd, domain.write().word(at).word(flags))
            .await
            .and_then(|reply| {
                let descriptor =
                    reply.descriptors.into_iter().next().ok_or_else(|| broken("it passes no socket"))?;
                Ok(passing::into_stream(descriptor)?)
            })
            .map_err(|error| because(name, error))?;
        // It is opened by UUID, which identifies a domain; its displays were listed before.
        let still = libvirt.call(Procedure::DomainByUuid, Encoder::default().fixed(uuid.as_bytes())).await;
        let still = still.and_then(|reply| Ok(Domain::read(&reply.body)?));
        if still.map_err(|error| because(name, error))? != domain {
            return Err(OpenError::failed(format!(
                "domain {name} was restarted while it was opened: try again"
            )));
        }
        tracing::info!(domain = name, %uuid, display = opened.name(), "opened the display of a domain");
        Ok(graphics)
    }

    /// Checks that the domain exists, and opens nothing.
    pub(super) async fn look(&self, name: &str) -> Result<String, OpenError> {
        let mut libvirt = self.connect().await?;
        let domain = self.find(&mut libvirt, name).await?;
        let xml = libvirt.call(Procedure::DomainGetXml, domain.write().word(0)).await;
        let (_, display) = self.choose(&xml.map_err(|error| because(name, error))?.body, name)?;
        Ok(format!("domain {name} with UUID {} runs and has a {display} display", domain.uuid))
    }

    /// A connection that may ask about domains.
    pub(super) async fn connect(&self) -> Result<Connection, OpenError> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => blocking(first_socket).await?,
        };
        let stream = match socket::connect(&socket).await {
            Ok(stream) => stream,
            Err(error) => return Err(unreachable(socket, error).await),
        };
        let mut libvirt = Connection::new(stream);
        match self.log_in(&mut libvirt).await {
            Ok(()) => Ok(libvirt),
            Err(error) => Err(no_login(&socket, &self.uri, error)),
        }
    }

    async fn log_in(&self, libvirt: &mut Connection) -> Result<(), CallError> {
        let reply = libvirt.call(Procedure::AuthList, Encoder::default()).await?;
        let mut reader = Decoder::new(&reply.body);
        let count = reader.word()?.min(MAX_AUTH);
        let ways = (0..count).map(|_| reader.word()).collect::<Result<Vec<_>, _>>()?;
        match () {
            () if ways.is_empty() || ways.contains(&AUTH_NONE) => {}
            () if ways.contains(&AUTH_POLKIT) => {
                libvirt.call(Procedure::AuthPolkit, Encoder::default()).await?;
            }
            () => return Err(no_sasl()),
        }
        libvirt.call(Procedure::Open, Encoder::default().word(1).text(&self.uri).word(0)).await?;
        Ok(())
    }

    /// The domain with this name, if it runs and is allowed.
    async fn find(&self, libvirt: &mut Connection, name: &str) -> Result<Domain, OpenError> {
        let reply = libvirt.call(Procedure::DomainByName, Encoder::default().text(name)).await;
        let domain = reply
            .and_then(|reply| Ok(Domain::read(&reply.body)?))
            .and_then(|domain| match domain.name == name {
                true => Ok(domain),
                false => Err(broken(format!("it gives {} instead", domain.name))),
            })
            .map_err(|error| because(name, error))?;
        let uuid = domain.uuid;
        if self.uuids.as_ref().is_some_and(|uuids| !uuids.contains(&uuid)) {
            return Err(OpenError::failed(format!(
                "domain {name} has UUID {uuid}, which is not in `uuids`: it was made again, or is another one"
            )));
        }
        match domain.run {
            Some(_) => Ok(domain),
            None => Err(not_running(name)),
        }
    }

    /// The index of the display to open.
    fn choose(&self, xml: &[u8], name: &str) -> Result<(u32, Display), OpenError> {
        let found = Decoder::new(xml).text().map_err(CallError::from).and_then(displays);
        let found = found.map_err(|error| because(name, error))?;
        let wanted = (0..).zip(&found).find_map(|(at, display)| {
            display.filter(|display| self.display.is_none_or(|wanted| wanted == *display)).map(|it| (at, it))
        });
        wanted.ok_or_else(|| {
            let what = self.display.map_or("SPICE or VNC".to_owned(), |wanted| wanted.to_string());
            let kind = self.display.unwrap_or(Display::Vnc);
            let has: Vec<_> = found.iter().flatten().map(|display| display.name()).collect();
            let has = if has.is_empty() { "none".to_owned() } else { has.join(" and ") };
            OpenError::failed(format!(
                "domain {name} has no {what} display (it has {has}): add <graphics type='{kind}'> with \
                 <listen type='none'/> in it by `virsh edit {name}`, and start it again"
            ))
        })
    }
}

fn first_socket() -> Result<PathBuf, OpenError> {
    // A path that cannot be checked may still exist: connecting shows who may enter its folder.
    let is_missing =
        |path: &str| std::fs::metadata(path).is_err_and(|error| error.kind() == io::ErrorKind::NotFound);
    SOCKETS.into_iter().find(|path| !is_missing(path)).map(PathBuf::from).ok_or_else(|| {
        OpenError::failed(format!(
            "libvirt is not running: neither {} nor {} is there; start virtqemud.socket or libvirtd.socket, \
             or name its socket as `socket`",
            SOCKETS[0], SOCKETS[1]
        ))
    })
}
