//! `open --stdio`: standard input and output as the local side of one stream, often a terminal.

use std::io::IsTerminal;

use anyhow::Context;
use tokio::signal::unix::{SignalKind, signal};

use protocol::command::TargetInfo;
use protocol::mode::Mode;
use service::exit::{Exit, ExitError, OrExit};

use super::arguments::{Args, RawChoice};
use super::bridge::{self, LocalSide, resizes};
use super::escape::{self, Escape};
use super::opener::{Dialled, Opener, Source};
use super::outcome::EndReason;
use super::screen::TrackedOutput;
use super::session_key::SessionKey;
use super::stdio::{self, Stdio};
use super::terminal::RawGuard;

impl Opener {
    /// Bridges standard input and output.
    pub(crate) async fn stdio(&self, args: &Args) -> Result<i32, ExitError> {
        let is_terminal = std::io::stdin().is_terminal();
        let is_raw = is_terminal && self.wants_raw(args.raw).await;
        let escape = args.escape.unwrap_or(if is_terminal { Escape::default() } else { Escape::None });
        let Dialled { websocket, session } = self.dial().await?;
        if is_terminal {
            escape.announce();
        }
        let raw = if is_raw { RawGuard::enter() } else { None };
        let input = Stdio::input().context("standard input").or_exit(Exit::Software)?;
        let output = Stdio::output().context("standard output").or_exit(Exit::Software)?;
        let (input, escaped) = escape::watch(input, escape);
        // While the terminal is raw, Ctrl-C goes to the target. Otherwise it ends the stream.
        let mut interrupted = signal(SignalKind::interrupt()).context("signals")?;
        let mut terminated = signal(SignalKind::terminate()).context("signals")?;
        let mut hung_up = signal(SignalKind::hangup()).context("signals")?;
        let stop = async {
            tokio::select! {
                _ = interrupted.recv() => EndReason::User,
                _ = terminated.recv() => EndReason::User,
                _ = hung_up.recv() => EndReason::User,
                () = escaped => EndReason::User,
                () = stdio::output_closed() => EndReason::OutputClosed,
            }
        };
        let control = args.log.followed_by(if raw.is_some() { resizes() } else { None });
        let (output, reset) = TrackedOutput::new(output);
        let side = LocalSide {
            input: (input, "standard input"),
            output: (output, "standard output"),
            control,
            ends_with_host: is_terminal,
            key: SessionKey::default(),
        };
        let outcome = bridge::run(websocket, side, stop).await;
        if !outcome.is_complete() && std::io::stdout().is_terminal() {
            stdio::write_briefly(reset.sequences().as_bytes()).await;
        }
        drop(raw);
        outcome.result(session.as_deref())
    }

    async fn wants_raw(&self, raw: RawChoice) -> bool {
        let Source::Platform { api, request } = &self.source else { return raw != RawChoice::No };
        match raw {
            RawChoice::Yes => true,
            RawChoice::No => false,
            RawChoice::Auto => {
                // If the targets cannot be listed, opening the session gives the error.
                let targets = api.targets(&request.host).await.unwrap_or_default();
                let target = targets.iter().find(|target| target.name == request.target);
                target.is_none_or(|target| may_be_terminal(target, request.mode))
            }
        }
    }
}

/// With a log, or a service that is not a terminal, the user's terminal keeps its own echo and Ctrl-C.
fn may_be_terminal(target: &TargetInfo, mode: Option<Mode>) -> bool {
    let mode = mode.or(target.modes.first().copied());
    mode != Some(Mode::Ro) && target.terminal
}

#[cfg(test)]
mod tests {
    use super::super::testing::{World, opener};
    use super::*;

    #[tokio::test]
    async fn only_what_may_be_a_terminal_gets_every_key() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let shell = opener(&world, dir.path(), &[]);
        assert!(shell.wants_raw(RawChoice::Auto).await && shell.wants_raw(RawChoice::Yes).await);
        assert!(!shell.wants_raw(RawChoice::No).await);
        let watched = opener(&world, dir.path(), &["--mode", "ro"]);
        assert!(!watched.wants_raw(RawChoice::Auto).await);
        let target = |terminal, mode| TargetInfo {
            name: "t".into(),
            kind: "of the future".into(),
            title: None,
            modes: vec![mode],
            params: vec![],
            terminal,
            view: None,
            choices: Default::default(),
        };
        assert!(!may_be_terminal(&target(false, Mode::Rw), None));
        assert!(!may_be_terminal(&target(true, Mode::Ro), None));
        assert!(may_be_terminal(&target(true, Mode::Rw), None));
        // A platform that does not list its targets changes nothing.
        *world.refusal.lock().unwrap() = Some((403, String::new()));
        assert!(shell.wants_raw(RawChoice::Auto).await);
    }
}
