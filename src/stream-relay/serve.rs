//! Composes the relay and the bundled platform, and runs them until a signal.

use std::net::IpAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::Arc;
use std::time::SystemTime;

use anyhow::Context;
use http1::server::response::Response;
use hyper::Request;
use hyper::body::Incoming;
use platform::api::Peer;
use platform::{self, Platform};
use relay::api::Api;
use relay::config::{Auth, Raw, Settings};
use relay::{Bound, Relay};
use serde_json::json;
use service::certificate::Chain;
use service::config::{ConfigError, Loaded, is_missing};
use service::exit::{Exit, ExitError, OrExit};
use service::lifecycle::Lifecycle;
use service::metrics::Metrics;
use service::passed::Passed;
use service::tls::ReloadingServer;
use service::{logging, memory, notify, passed, unit};
use tracing::{error, info, warn};

use crate::status::Status;

struct Checked {
    loaded: Loaded,
    relay: Settings,
    platform: Option<platform::config::Settings>,
}

impl Checked {
    /// Looks into the files that the relay would end with when it starts.
    fn check_files(&self) -> Result<Option<Chain>, ConfigError> {
        if let Some(platform) = &self.platform {
            let files = platform.nats.check_files();
            files.map_err(|error| self.loaded.error_of_file(&["platform", "nats"], format!("{error:#}")))?;
        }
        let Some((certificate, key)) = &self.relay.tls else { return Ok(None) };
        let server = ReloadingServer::new(certificate, key);
        let server = server.map_err(|error| self.loaded.error_of_file(&["tls"], format!("{error:#}")))?;
        Ok(Some(server.chain(SystemTime::now())))
    }

    /// What the owner should know of a configuration that is accepted all the same.
    fn remarks(&self, chain: Option<&Chain>) -> Vec<String> {
        let mut remarks: Vec<String> =
            self.platform.as_ref().map(platform::config::Settings::remarks).unwrap_or_default();
        remarks.extend(
            chain
                .and_then(|chain| chain.remark(SystemTime::now()))
                .map(|why| format!("the certificate in tls.cert_file {why}")),
        );
        if let (Auth::Signed { issuers, .. }, Some(platform)) = (&self.relay.auth, &self.platform)
            && !issuers.has(&platform.signing_key)
        {
            let kid = platform.signing_key.kid();
            remarks.push(format!(
                "the platform signs with the key {kid}, and this relay does not know it: every host is refused until {kid}.pub is in auth.issuers_dir"
            ));
        }
        let allowed = self.platform.as_ref().map(|platform| platform.origins.as_slice());
        remarks.extend(relay::pages::remarks(&self.relay, allowed));
        remarks
    }
}

fn read(file: &Path) -> Result<Loaded, ConfigError> {
    Loaded::read(file, &[file.with_file_name("config.d")], &[])
}

fn load(file: &Path) -> Result<Checked, ExitError> {
    let loaded = read(file).or_exit(Exit::Config)?;
    let raw: Raw<platform::config::Raw> = loaded.parse().or_exit(Exit::Config)?;
    let relay = raw.check(&loaded).or_exit(Exit::Config)?;
    let platform = raw.platform.as_ref().map(|raw| raw.check(&loaded)).transpose().or_exit(Exit::Config)?;
    Ok(Checked { loaded, relay, platform })
}

/// `stream-relay check-config --configured`: what to do first when nothing is configured at all, or there is no file;
/// `None` when something is. Files that cannot be read are something: what is wrong with them is said when they are used.
pub(crate) fn first_steps(file: &Path) -> Option<String> {
    let name = file.display();
    let made = if is_missing(file) {
        format!("`stream-relay --print-default-config > {name}`, then ")
    } else if read(file).is_ok_and(|loaded| loaded.is_blank()) {
        String::new()
    } else {
        return None;
    };
    Some(format!(
        "not configured yet: {made}set public_urls in {name} (`man stream-relay.toml`), \
         then run: `stream-relay check-config && systemctl enable --now stream-relay`"
    ))
}

/// `stream-relay check-config`.
pub(crate) fn check_config(file: &Path, as_json: bool) -> Result<(), ExitError> {
    let checked = load(file).and_then(|checked| {
        let chain = checked.check_files().or_exit(Exit::Config)?;
        unit::check(file, &checked.loaded)?;
        let remarks = checked.remarks(chain.as_ref());
        Ok((checked, remarks))
    });
    if as_json {
        let result = match &checked {
            Ok((Checked { loaded, .. }, remarks)) => {
                json!({ "ok": true, "files": loaded.files(), "origins": loaded.origins(), "remarks": remarks })
            }
            Err(error) => json!({ "ok": false, "error": error.to_string() }),
        };
        println!("{result:#}");
    }
    let (checked, remarks) = checked?;
    if !as_json {
        for remark in remarks {
            eprintln!("remark: {remark}");
        }
        let Checked { loaded, relay, platform } = checked;
        for file in loaded.files() {
            println!("read {}", file.display());
        }
        let platform = if platform.is_some() { "with" } else { "without" };
        println!("configuration is fine: {}, {platform} the bundled platform", relay.public_urls.join(" "));
    }
    Ok(())
}

/// What the bundled platform needs of the unit, which has no network of its own.
const DROP_IN: &str = "\
# What the bundled platform needs beyond the shipped unit: a way to NATS.
# Made by `stream-relay check-config --systemd-dropin`.

[Service]
PrivateNetwork=no
RestrictAddressFamilies=AF_INET AF_INET6
";

/// `stream-relay check-config --systemd-dropin`.
pub(crate) fn drop_in(file: &Path) -> Result<(), ExitError> {
    match load(file)?.platform {
        Some(_) => print!("{DROP_IN}"),
        None => println!("# This configuration needs nothing beyond the shipped unit."),
    }
    Ok(())
}

/// `stream-relay serve`.
pub(crate) fn serve(file: &Path, log_level: Option<&str>) -> Result<(), ExitError> {
    let passed = passed::sockets().context("sockets passed by systemd").or_exit(Exit::Config)?;
    logging::init(log_level).or_exit(Exit::Usage)?;
    memory::map_large_blocks();
    let checked = load(file)?;
    let runtime =
        tokio::runtime::Builder::new_multi_thread().enable_all().build().context("start the runtime")?;
    runtime.block_on(run(file, checked, passed))
}

async fn run(file: &Path, checked: Checked, passed: Vec<Passed>) -> Result<(), ExitError> {
    let Checked { relay: settings, platform, .. } = checked;
    let lifecycle = Lifecycle::start().context("take over signals")?;
    let bound = Bound::passed(passed).or_exit(Exit::Config)?;
    let bound = bound.and_bind(&settings).await.or_exit(Exit::Unavailable)?;
    if let Auth::Opaque(_) = settings.auth {
        warn!("simple mode: hosts are known by a relay key, and sessions are not signed");
    }
    let run = ulid::Ulid::generate().to_string();
    let platform = match platform {
        None => None,
        Some(platform) => {
            remark(&platform);
            let started =
                Platform::start(platform, &settings.public_urls, settings.host_wait, run.clone()).await;
            Some(Arc::new(started.or_exit(Exit::Config)?))
        }
    };
    let api = platform.clone().map(|platform| {
        let api = platform::api::Api::new(platform.clone());
        Arc::new(Mounted { api, platform }) as Arc<dyn Api>
    });
    let mut metrics = Metrics::new("stream_relay");
    if let Some(platform) = &platform {
        platform.register(metrics.registry("stream_platform"));
    }
    let relay = Relay::new(settings, metrics, api, run, lifecycle.stopping()).or_exit(Exit::Config)?;
    if let Some(platform) = &platform {
        // The relay holds the platform already: not the other way round as well.
        let relay = Arc::downgrade(&relay);
        platform.looks_at(move |token| relay.upgrade().is_some_and(|relay| relay.has(token)));
    }
    let status = Status::new(relay.clone());
    let _watchdog = watchdog(relay.clone(), platform.clone(), status.clone());
    notify::ready(&status.line());
    let running = Running { relay: relay.clone(), platform, status: status.clone() };
    let reporting = tokio::spawn(status.report());
    let reloads = tokio::spawn(running.reload_on_hangup(lifecycle.reloads(), file.to_owned()));
    let aborting = lifecycle.aborting();
    let stopping = lifecycle.stopping();
    tokio::select! {
        () = relay.serve(bound) => info!("stopped"),
        () = aborting.cancelled() => info!("stopped without waiting"),
        () = async {
            stopping.cancelled().await;
            notify::stopping("draining");
            let _stopping = notify::StopExtension::start();
            std::future::pending().await
        } => {}
    }
    reporting.abort();
    reloads.abort();
    Ok(())
}

/// Signs of life, as long as the listeners answer and the platform's connection does its part.
fn watchdog(
    relay: Arc<Relay>,
    platform: Option<Arc<Platform>>,
    status: Arc<Status>,
) -> Option<notify::Watchdog> {
    let health = move |limit| {
        let (relay, platform) = (relay.clone(), platform.clone());
        async move {
            relay.health(limit).await?;
            platform.map_or(Ok(()), |platform| platform.health())
        }
    };
    notify::Watchdog::start(health, move |why| status.unhealthy(why))
}

/// Says what the owner should know of the platform's settings.
fn remark(platform: &platform::config::Settings) {
    for remark in platform.remarks() {
        warn!("{remark}");
    }
}

/// The platform, as the relay's listener wants it.
struct Mounted {
    api: platform::api::Api,
    platform: Arc<Platform>,
}

impl Api for Mounted {
    fn respond(
        self: Arc<Self>,
        request: Request<Incoming>,
        address: IpAddr,
        may_be_proxy: bool,
    ) -> Pin<Box<dyn Future<Output = Response> + Send>> {
        Box::pin(async move { self.api.respond(request, Peer { address, may_be_proxy }).await })
    }

    fn ready(&self) -> Result<(), String> {
        self.platform.ready()
    }
}

struct Running {
    relay: Arc<Relay>,
    platform: Option<Arc<Platform>>,
    status: Arc<Status>,
}

impl Running {
    async fn reload_on_hangup(
        self,
        mut reloads: tokio::sync::watch::Receiver<u64>,
        file: std::path::PathBuf,
    ) {
        while reloads.changed().await.is_ok() {
            notify::reloading();
            match load(&file).and_then(|checked| self.reload(checked)) {
                Ok(needs_restart) => {
                    info!("configuration reloaded");
                    if needs_restart {
                        warn!(
                            "changes to addresses, caps, [platform.nats], or whether there is a platform need a restart"
                        );
                    }
                    notify::ready(&self.status.line());
                }
                Err(error) => {
                    error!("configuration not reloaded, the old one stays: {error}");
                    notify::ready(&format!("reload failed, the old configuration stays: {error}"));
                }
            }
        }
    }

    /// True: something has changed that needs a restart.
    fn reload(&self, checked: Checked) -> Result<bool, ExitError> {
        let (urls, host_wait) = (checked.relay.public_urls.clone(), checked.relay.host_wait);
        let relay = self.relay.reload(checked.relay)?;
        let platform = match (&self.platform, checked.platform) {
            (Some(running), Some(settings)) => {
                remark(&settings);
                running.reload(settings, &urls, host_wait)
            }
            (None, None) => false,
            _ => true,
        };
        Ok(relay || platform)
    }
}
