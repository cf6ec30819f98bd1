//! From a domain's name to a connection with its display, and words for what may be in the way.

use std::io;
use std::path::PathBuf;

use tokio::net::UnixStream;

use super::super::display::Display;
use super::super::opened::{OpenError, blocking};
use super::super::passing;
use super::super::unix;
use super::domain::{Domain, Uuid, displays};
use super::refusal::{because, no_login, no_sasl, not_running, unreachable};
use super::rpc::{CallError, Connection, Procedure, broken};
use super::xdr::{Reader, Writer};

/// Where libvirt listens, the newer way first: a daemon for each driver, then one for all.
pub(super) const SOCKETS: [&str; 2] = ["/run/libvirt/virtqemud-sock", "/run/libvirt/libvirt-sock"];

/// Ways to prove who one is, as libvirt counts them.
const AUTH_NONE: u32 = 0;
const AUTH_POLKIT: u32 = 2;

/// Ways at most that an answer may list.
const MAX_AUTH: u32 = 20;

/// QEMU asks this client for no password.
const SKIP_AUTH: u32 = 1;

/// libvirt, and what may be had from it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Client {
    /// `None`: the first of [`SOCKETS`] that is there.
    pub(super) socket: Option<PathBuf>,
    pub(super) uri: String,
    /// `None`: every domain that has the right name.
    pub(super) uuids: Option<Vec<Uuid>>,
    /// `None`: the first display that there is.
    pub(super) display: Option<Display>,
    pub(super) skip_auth: bool,
}

impl Client {
    /// Connects with the display of the domain that has this name now. libvirt hands over a socket
    /// that QEMU itself has the other end of, so no port and no path can lead to another machine.
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
        // It was opened by the UUID, which is what a domain is; its displays were counted before.
        let still = libvirt.call(Procedure::DomainByUuid, uuid.write()).await;
        let still = still.and_then(|reply| Ok(Domain::read(&reply.body)?));
        if still.map_err(|error| because(name, error))? != domain {
            return Err(OpenError::failed(format!(
                "domain {name} was restarted while it was opened: try again"
            )));
        }
        tracing::info!(domain = name, %uuid, display = opened.name(), "opened the display of a domain");
        Ok(graphics)
    }

    /// Asks for the domain, and opens nothing.
    pub(super) async fn look(&self, name: &str) -> Result<String, OpenError> {
        let mut libvirt = self.connect().await?;
        let domain = self.find(&mut libvirt, name).await?;
        let xml = libvirt.call(Procedure::DomainGetXml, domain.write().word(0)).await;
        let (_, display) = self.choose(&xml.map_err(|error| because(name, error))?.body, name)?;
        Ok(format!("domain {name} with UUID {} runs and has a {display} display", domain.uuid))
    }

    /// A connection that may ask for domains.
    pub(super) async fn connect(&self) -> Result<Connection, OpenError> {
        let socket = match &self.socket {
            Some(socket) => socket.clone(),
            None => blocking(first_socket).await?,
        };
        let stream = match unix::connect(&socket).await {
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
        let reply = libvirt.call(Procedure::AuthList, Writer::default()).await?;
        let mut reader = Reader::new(&reply.body);
        let count = reader.word()?.min(MAX_AUTH);
        let ways = (0..count).map(|_| reader.word()).collect::<Result<Vec<_>, _>>()?;
        match () {
            () if ways.is_empty() || ways.contains(&AUTH_NONE) => {}
            () if ways.contains(&AUTH_POLKIT) => {
                libvirt.call(Procedure::AuthPolkit, Writer::default()).await?;
            }
            () => return Err(no_sasl()),
        }
        libvirt.call(Procedure::Open, Writer::default().word(1).text(&self.uri).word(0)).await?;
        Ok(())
    }

    /// The domain of this name, if it runs and is one of those that are allowed.
    async fn find(&self, libvirt: &mut Connection, name: &str) -> Result<Domain, OpenError> {
        let reply = libvirt.call(Procedure::DomainByName, Writer::default().text(name)).await;
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
                "domain {name} has UUID {uuid}, which is not in `uuids`: it was made anew, or is another one"
            )));
        }
        match domain.run {
            Some(_) => Ok(domain),
            None => Err(not_running(name)),
        }
    }

    /// Which of its displays to open, by its number.
    fn choose(&self, xml: &[u8], name: &str) -> Result<(u32, Display), OpenError> {
        let found = Reader::new(xml).text().map_err(CallError::from).and_then(displays);
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
                 <listen type='none'/> in it by `virsh edit {name}`, and start it anew"
            ))
        })
    }
}

fn first_socket() -> Result<PathBuf, OpenError> {
    // What cannot be looked at may be there: connecting tells who may enter its folder.
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
