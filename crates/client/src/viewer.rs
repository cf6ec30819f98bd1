//! `open --viewer`: a viewer of this machine, on a listener that only its user can connect to.

use std::ffi::OsString;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, anyhow};
use nix::unistd::mkdtemp;
use tokio::process::Command;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;

use service::descriptors::raise_limit;
use service::exit::{Exit, ExitError, OrExit};
use service::listen::ListenAddress;

use super::acceptor::Acceptor;
use super::display::Display;
use super::opener::Opener;

/// How long streams may take to close after the viewer.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(3);

/// The viewers that are looked for, the best first, and the packages that have them.
const fn known(display: Display) -> (&'static [&'static str], &'static str) {
    match display {
        Display::Spice => (&["remote-viewer"], "virt-viewer"),
        Display::Vnc => (
            &["vncviewer", "xtigervncviewer", "remote-viewer"],
            "tigervnc-viewer (in Fedora tigervnc), or virt-viewer",
        ),
    }
}

impl Opener {
    /// Starts a viewer, and serves it until it ends. Without `program` it is the first known viewer that is installed.
    ///
    /// # Errors
    /// If there is no viewer or no such target, or the viewer fails.
    pub(crate) async fn show(
        self: Arc<Self>,
        program: Option<&Path>,
        chosen: Option<Display>,
    ) -> Result<(), ExitError> {
        let display = self.display(chosen).await?;
        let program = match program {
            None => find(display, std::env::var_os("PATH").unwrap_or_default())?,
            Some(program) => program.to_owned(),
        };
        raise_limit();
        let (_folder, acceptor, address) =
            listen(&program, display).await.context("listen").or_exit(Exit::Unavailable)?;
        let mut viewer = Command::new(&program)
            .arg(address)
            .stdin(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))
            .or_exit(Exit::Unavailable)?;
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let stop = CancellationToken::new();
        let mut accepting = Box::pin(self.accept(acceptor, stop.clone()));
        let mut served = None;
        let ended = loop {
            tokio::select! {
                status = viewer.wait() => break Some(status),
                // The session of a URL is over, and the viewer says so.
                ended = &mut accepting, if served.is_none() => served = Some(ended),
                _ = interrupted.recv() => break None,
                _ = terminated.recv() => break None,
            }
        };
        stop.cancel();
        let served = match served {
            Some(served) => served,
            None => timeout(CLOSE_TIMEOUT, accepting).await.unwrap_or(Ok(())),
        };
        match ended {
            Some(status) => {
                served.and(result(&program, &status.context("the viewer").or_exit(Exit::Software)?))
            }
            None => Ok(()),
        }
    }
}

/// An error unless the viewer ended well.
fn result(program: &Path, status: &ExitStatus) -> Result<(), ExitError> {
    let name = program.display();
    match (status.success(), status.signal()) {
        (true, _) => Ok(()),
        (_, Some(number)) => Err(anyhow!("{name} was ended by signal {number}")).or_exit(Exit::Unavailable),
        _ => {
            let code = status.code().unwrap_or_default();
            Err(anyhow!("{name} ended with exit status {code}")).or_exit(Exit::Unavailable)
        }
    }
}

/// The first of the known viewers in the folders of `path`.
fn find(display: Display, path: OsString) -> Result<PathBuf, ExitError> {
    let (names, packages) = known(display);
    let folders: Vec<PathBuf> = std::env::split_paths(&path).collect();
    let programs = names.iter().flat_map(|name| folders.iter().map(move |folder| folder.join(name)));
    let mut programs =
        programs.filter(|program| nix::unistd::access(program, nix::unistd::AccessFlags::X_OK).is_ok());
    let why = || {
        anyhow!(
            "no viewer found ({}): install the package {packages}, or choose a program with --viewer=PROGRAM",
            names.join(", ")
        )
    };
    programs.next().ok_or_else(why).or_exit(Exit::Unavailable)
}

/// A folder that is removed with what is in it.
struct Folder(PathBuf);

impl Drop for Folder {
    fn drop(&mut self) {
        // Only the socket was there, and its acceptor has removed it.
        let _ = std::fs::remove_dir(&self.0);
    }
}

/// Listens for the viewer: on a unix socket if the viewer knows those, else on a port of loopback that takes only
/// programs of this user. Returns the address as the viewer wants it, and first what must be dropped last.
async fn listen(program: &Path, display: Display) -> anyhow::Result<(Option<Folder>, Acceptor, OsString)> {
    let name = program.file_name().unwrap_or_default().to_string_lossy();
    if display == Display::Spice && name == "remote-viewer" {
        let within = std::env::var_os("XDG_RUNTIME_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let folder = Folder(mkdtemp(&within.join("stream-relay-XXXXXX"))?);
        let path = folder.0.join("spice");
        let mut address = OsString::from("spice+unix://");
        address.push(&path);
        let acceptor = Acceptor::bind(&ListenAddress::Unix(path)).await?;
        return Ok((Some(folder), acceptor, address));
    }
    let acceptor = Acceptor::bind_own().await?;
    let at = acceptor.address()?;
    let address = match display {
        // One colon is for the number of a display.
        Display::Vnc if name.ends_with("vncviewer") => at.replace(':', "::"),
        Display::Vnc => format!("vnc://{at}"),
        Display::Spice => format!("spice://{at}"),
    };
    Ok((None, acceptor, address.into()))
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::testing::{World, opener};
    use super::*;

    #[tokio::test]
    async fn each_viewer_gets_an_address_that_it_understands() {
        let spoken = async |program: &str, display| {
            let (_folder, acceptor, address) = listen(Path::new(program), display).await.unwrap();
            let address = address.into_string().unwrap();
            (matches!(acceptor, Acceptor::Unix(..)), address)
        };
        let (is_unix, address) = spoken("/usr/bin/remote-viewer", Display::Spice).await;
        let path = address.strip_prefix("spice+unix://").unwrap().to_owned();
        assert!(is_unix && path.ends_with("/spice"), "{address}");
        assert!(!Path::new(&path).parent().unwrap().exists(), "{path} is left behind");
        for (program, display, start) in [
            ("remote-viewer", Display::Vnc, "vnc://127.0.0.1:"),
            ("xtigervncviewer", Display::Vnc, "127.0.0.1::"),
            ("spicy", Display::Spice, "spice://127.0.0.1:"),
        ] {
            let (is_unix, address) = spoken(program, display).await;
            assert!(!is_unix && address.starts_with(start), "{address}");
        }
    }

    #[test]
    fn a_missing_viewer_is_named_with_its_package() {
        let dir = tempfile::tempdir().unwrap();
        let missing = find(Display::Spice, dir.path().into()).unwrap_err();
        assert!(missing.exit == Exit::Unavailable, "{missing}");
        let words = "no viewer found (remote-viewer): install the package virt-viewer, or choose";
        assert!(missing.to_string().starts_with(words), "{missing}");
        let program = dir.path().join("remote-viewer");
        std::fs::write(&program, "").unwrap();
        assert!(find(Display::Vnc, dir.path().into()).is_err(), "it cannot be run");
        std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
        assert_eq!(find(Display::Vnc, dir.path().into()).unwrap(), program);
    }

    #[tokio::test]
    async fn a_viewer_is_served_until_it_ends_and_its_failure_is_ours() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let program = dir.path().join("myvncviewer");
        // Writes a line to the target, and reads it back.
        let script = "#!/bin/bash\nport=${1##*:}\nexec 3<>/dev/tcp/127.0.0.1/$port\necho hello >&3\nread -r line <&3\n\
                      [ \"$line\" = hello ] || exit 9\nexit ";
        for (status, words) in [(0, ""), (7, "myvncviewer ended with exit status 7")] {
            std::fs::write(&program, format!("{script}{status}\n")).unwrap();
            std::fs::set_permissions(&program, std::fs::Permissions::from_mode(0o755)).unwrap();
            let opener = opener(&world, dir.path(), &[]);
            let shown = timeout(Duration::from_secs(20), opener.show(Some(&program), Some(Display::Vnc)))
                .await
                .unwrap();
            let error = shown.err().map(|error| error.to_string()).unwrap_or_default();
            assert!(error.ends_with(words) && error.is_empty() == words.is_empty(), "{error}");
        }
        let opener = opener(&world, dir.path(), &[]);
        let missing = opener.show(Some(&dir.path().join("none")), Some(Display::Vnc)).await.unwrap_err();
        assert!(missing.to_string().starts_with("cannot start "), "{missing}");
    }
}
