//! `open --vv`: a file with which a SPICE viewer opens the session by itself.

use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, anyhow};
use serde_json::json;

use protocol::token::Token;
use protocol::viewer_file::ViewerFile;
use service::exit::{Exit, ExitError, OrExit};
use service::loopback::is_loopback;
use service::printable::printable;
use websocket::address::Address;

use super::api::Session;
use super::display::Display;
use super::opener::{Opener, Source};
use super::terminal::notify;

impl Opener {
    /// Opens a session, and writes the file for it. `-` is standard output.
    ///
    /// # Errors
    /// If the target is no SPICE screen, the platform refuses, or the file exists or cannot be written.
    pub(crate) async fn write_viewer_file(
        &self,
        file: &Path,
        chosen: Option<Display>,
        has_own_ca: bool,
        as_json: bool,
    ) -> Result<(), ExitError> {
        let is_output = file == Path::new("-");
        if !is_output && file.symlink_metadata().is_ok() {
            return Err(anyhow!("{} exists: remove it, or choose another name", file.display()))
                .or_exit(Exit::Usage);
        }
        let (session, title) = match &self.source {
            // Nothing says what a URL opens, and who has one knows.
            Source::Url(url) => (None, (url.clone(), String::from("stream-relay"))),
            Source::Platform { api, request } => {
                if self.display(chosen).await? == Display::Vnc {
                    let why = "no VNC viewer reads such a file: use --viewer, or --as spice if it is SPICE";
                    return Err(anyhow!(why)).or_exit(Exit::Usage);
                }
                let session = self.open_session(api, request).await?;
                let title = format!("{} on {}", request.target, request.host);
                let url = session.url.clone();
                (Some(session), (url, title))
            }
        };
        let (url, title) = title;
        let secret = Token::generate().context("a secret").or_exit(Exit::Software)?;
        let text = ViewerFile { url: &url, secret: &secret, title: &title }.text();
        let text = text.context("no file for the URL of the session").or_exit(Exit::Unavailable)?;
        warn(&url, has_own_ca);
        let until = session.as_ref().map(|session| printable(&session.expires).into_owned());
        let good = match &until {
            Some(until) => format!("good until {until}, for one viewer"),
            None => "good as long as its URL, for one viewer".to_owned(),
        };
        if is_output {
            print!("{text}");
            notify(&good);
            return Ok(());
        }
        write(file, &text).or_exit(Exit::IoErr)?;
        match as_json {
            true => {
                let id = session.map(|Session { session, .. }| session);
                println!("{}", json!({ "file": file, "session": id, "expires": until }));
            }
            false => println!("wrote {}: {good}; open it with remote-viewer", file.display()),
        }
        Ok(())
    }
}

/// Says what a viewer stumbles over.
fn warn(url: &str, has_own_ca: bool) {
    let Ok(address) = Address::parse(url) else { return };
    if !address.tls && !is_loopback(&address.host) {
        notify(
            "the relay has no TLS: it serves viewers of other machines only with connect.allow_plaintext = true",
        );
    }
    if address.tls && has_own_ca {
        notify(
            "viewers trust the system's certificates only: unless your authority is among them, the viewer cannot \
             connect, and --viewer can",
        );
    }
}

/// Creates the file, for its owner only. It is removed again if it cannot be written whole.
fn write(file: &Path, text: &str) -> anyhow::Result<()> {
    let name = || file.display().to_string();
    let mut created = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(file) {
        Err(error) if error.kind() == ErrorKind::AlreadyExists => {
            return Err(anyhow!("{} exists: remove it, or choose another name", file.display()));
        }
        created => created.with_context(name)?,
    };
    let written = created.write_all(text.as_bytes()).and_then(|()| created.sync_data());
    if written.is_err() {
        // What is there of it is of no use.
        let _ = std::fs::remove_file(file);
    }
    written.with_context(name)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::super::testing::{World, opener};
    use super::*;

    #[tokio::test]
    async fn the_file_is_new_and_its_owners() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let file = dir.path().join("screen.vv");
        let opener = opener(&world, dir.path(), &[]);
        let write = async |chosen| opener.write_viewer_file(&file, chosen, false, false).await;
        let refused = write(Some(Display::Vnc)).await.unwrap_err();
        assert!(refused.exit == Exit::Usage && refused.to_string().contains("use --viewer"), "{refused}");
        assert!(!file.exists());
        write(Some(Display::Spice)).await.unwrap();
        let text = std::fs::read_to_string(&file).unwrap();
        assert!(text.contains("\ntitle=shell on h1\n") && text.contains("\ndelete-this-file=1\n"), "{text}");
        assert_eq!(std::fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o600);
        let sessions =
            || world.requests.lock().unwrap().iter().filter(|request| request.0.starts_with("POST")).count();
        assert_eq!(sessions(), 1);
        // Nothing is overwritten, and no session is opened for nothing.
        let refused = write(Some(Display::Spice)).await.unwrap_err();
        assert!(
            refused.to_string().ends_with("screen.vv exists: remove it, or choose another name"),
            "{refused}"
        );
        assert_eq!((sessions(), std::fs::read_to_string(&file).unwrap()), (1, text));
    }
}
