//! The openers and cells of a split agent, each as a task instead of a process.

use std::path::Path;

use agent::config::load_opener;
use opener::{Authority, Environment, Opener, serve, serve_cell};
use targets::Shared;
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio_seqpacket::UnixSeqpacketListener;
use tokio_util::sync::CancellationToken;

/// Dropping it ends all of them.
#[derive(Default)]
pub(crate) struct Openers {
    reloads: watch::Sender<u64>,
    _tasks: JoinSet<()>,
}

impl Openers {
    /// Openers with the configuration in this folder, and the cell of programs.
    pub(crate) fn start(dir: &Path, is_trusting: bool) -> (Opener, Openers) {
        let (socket, runtime) = (dir.join("open"), dir.join("run"));
        std::fs::create_dir(&runtime).unwrap();
        let mut listener = UnixSeqpacketListener::bind(&socket).unwrap();
        let programs = UnixSeqpacketListener::bind(runtime.join("program")).unwrap();
        let (reloads, mut tasks) = (watch::Sender::new(0), JoinSet::new());
        let (reload, seen, config) = (reloads.clone(), dir.join("seen"), dir.join("config.toml"));
        tasks.spawn(async move {
            let mut openers = JoinSet::new();
            while let Ok(connection) = listener.accept().await {
                let environment = Environment {
                    runtime: runtime.clone(),
                    seen: seen.clone(),
                    shared: Shared::passing(Default::default()),
                    reloads: reload.subscribe(),
                    stopping: CancellationToken::new(),
                };
                let config = config.clone();
                let load = move || settings(&config, is_trusting);
                openers.spawn(async move { serve(connection.into(), load, environment).await.unwrap() });
            }
        });
        tasks.spawn(async move {
            serve_cell(programs.into(), Shared::passing(Default::default())).await.unwrap()
        });
        (Opener::elsewhere(socket), Openers { reloads, _tasks: tasks })
    }

    /// What the service manager does at a reload of the agent.
    pub(crate) fn reload(&self) {
        self.reloads.send_modify(|reloads| *reloads += 1);
    }
}

fn settings(config: &Path, is_trusting: bool) -> Result<opener::Settings, service::config::ConfigError> {
    let mut settings = load_opener(config)?;
    if is_trusting {
        settings.authority = Authority::NetworkHalf;
    }
    Ok(settings)
}
