//! Composes the relay and the bundled platform, and runs them until a signal.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context;
use serde_json::json;
use stream::daemon::config::Loaded;
use stream::daemon::exit::{Exit, ExitError, OrExit};
use stream::daemon::lifecycle::Lifecycle;
use stream::daemon::metrics::Metrics;
use stream::daemon::{logging, notify};
use stream::relay::config::{Raw, Settings};
use stream::relay::{Bound, Relay};
use tracing::{error, info};

/// How often the status line that `systemctl status` shows is renewed.
const STATUS_EVERY: Duration = Duration::from_secs(10);

type RawConfig = Raw<toml::Table>;

fn load(file: &Path) -> Result<(Loaded, Settings), ExitError> {
    let fragments = [file.with_file_name("config.d")];
    let loaded = Loaded::read(file, &fragments, &[]).or_exit(Exit::Config)?;
    let raw: RawConfig = loaded.parse().or_exit(Exit::Config)?;
    let settings = raw.check(&loaded).or_exit(Exit::Config)?;
    Ok((loaded, settings))
}

/// `stream-relay check-config`.
pub fn check_config(file: &Path, as_json: bool) -> Result<(), ExitError> {
    let checked = load(file);
    if as_json {
        let result = match &checked {
            Ok((loaded, _)) => json!({ "ok": true, "files": loaded.files(), "origins": loaded.origins() }),
            Err(error) => json!({ "ok": false, "error": error.to_string() }),
        };
        println!("{result:#}");
    }
    let (loaded, settings) = checked?;
    if !as_json {
        for file in loaded.files() {
            println!("read {}", file.display());
        }
        println!(
            "configuration is fine: {} listener(s), relay {}",
            settings.listen.len(),
            settings.public_urls[0]
        );
    }
    Ok(())
}

/// `stream-relay serve`.
pub fn serve(file: &Path, log_level: Option<&str>) -> Result<(), ExitError> {
    logging::init(log_level).or_exit(Exit::Usage)?;
    let (_, settings) = load(file)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(run(file, settings))
}

async fn run(file: &Path, settings: Settings) -> Result<(), ExitError> {
    let lifecycle = Lifecycle::start().context("take over signals")?;
    let bound = Bound::bind(&settings).await.or_exit(Exit::Unavailable)?;
    let metrics = Metrics::new("stream_relay");
    let relay = Relay::new(settings, metrics, None, lifecycle.stopping()).or_exit(Exit::Config)?;
    let _watchdog = notify::Watchdog::start(|| Ok(()));
    notify::ready(&relay.status());
    let status = tokio::spawn(tell_status(relay.clone()));
    let reloads = tokio::spawn(reload_on_hangup(relay.clone(), lifecycle.reloads(), file.to_owned()));
    let aborting = lifecycle.aborting();
    let stopping = lifecycle.stopping();
    tokio::select! {
        () = relay.serve(bound) => info!("stopped"),
        () = aborting.cancelled() => info!("stopped without waiting"),
        () = async { stopping.cancelled().await; notify::stopping("draining"); std::future::pending().await } => {}
    }
    status.abort();
    reloads.abort();
    Ok(())
}

async fn tell_status(relay: Arc<Relay>) {
    loop {
        notify::status(&relay.status());
        tokio::time::sleep(STATUS_EVERY).await;
    }
}

async fn reload_on_hangup(
    relay: Arc<Relay>,
    mut reloads: tokio::sync::watch::Receiver<u64>,
    file: std::path::PathBuf,
) {
    while reloads.changed().await.is_ok() {
        notify::reloading();
        let reloaded = load(&file).and_then(|(_, settings)| Ok(relay.reload(settings)?));
        match reloaded {
            Ok(()) => {
                info!("configuration reloaded");
                notify::ready(&relay.status());
            }
            Err(error) => {
                error!("configuration not reloaded, the old one stays: {error}");
                notify::ready(&format!("reload failed, the old configuration stays: {error}"));
            }
        }
    }
}
