//! Opens targets for the agent. In the unsplit agent this happens in the same process. In the split one, the network half
//! asks an opener, which is a process of its own for each session, verifies the grant again, and lets a cell run what it
//! does not run itself. `docs/decisions/0011-split-agent.md` has the reasons.

mod admission;
mod allowlist;
mod cell;
mod cells;
mod check;
mod here;
mod lifeline;
mod openers;
mod remote;
mod request;
mod seen;
mod serve;
mod session;
mod settings;
mod stop;
mod streams;
mod wire;

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::sync::mpsc;

use protocol::close::CloseFrame;
use protocol::command::{Refusal, TargetInfo};
use targets::{OpenError, Opened, Shared, Target, Window};

use allowlist::Allowlist;
use here::LocalTarget;
use openers::Openers;
use remote::RemoteTarget;

pub use allowlist::NO_SUCH_TARGET;
pub use cell::serve as serve_cell;
pub use check::{Rules, allowed_relay, check_grant};
pub use remote::ListError;
pub use request::{Request, Start};
pub use serve::{Environment, serve};
pub use settings::{Authority, Settings};
pub use stop::Stop;
pub use wire::Permitted;

/// What opens targets. Clones are the same.
#[derive(Clone)]
pub struct Opener(Inner);

#[derive(Clone)]
enum Inner {
    /// This process.
    Here { allowlist: Allowlist, shared: Shared },
    /// One process for each session, behind this socket.
    Elsewhere { openers: Arc<Openers>, targets: Arc<Mutex<Vec<TargetInfo>>> },
}

/// A session whose target may be opened. Dropping it ends the session at the opener.
pub struct TargetSession {
    permitted: Permitted,
    opens: Opens,
}

enum Opens {
    Here(Box<LocalTarget>),
    Elsewhere(RemoteTarget),
}

impl Opener {
    /// Opens these targets in this process.
    pub fn here(targets: Vec<Target>, shared: Shared) -> Opener {
        Opener(Inner::Here { allowlist: Allowlist::new(targets), shared })
    }

    /// Asks the openers behind this socket.
    pub fn elsewhere(socket: PathBuf) -> Opener {
        Opener(Inner::Elsewhere { openers: Arc::new(Openers::behind(socket)), targets: Arc::default() })
    }

    /// Keeps an opener ready for the next session.
    pub fn keep_spare(&self) {
        if let Inner::Elsewhere { openers, .. } = &self.0 {
            openers.keep_spare();
        }
    }

    /// Whether other processes open the targets.
    pub fn is_elsewhere(&self) -> bool {
        matches!(self.0, Inner::Elsewhere { .. })
    }

    /// Begins a session: checks that its target may be opened. An opener also verifies the grant, and accepts it once.
    /// Simple mode has no grant.
    ///
    /// # Errors
    /// The refusal to answer with.
    pub async fn begin(&self, request: &Request, grant: Option<&str>) -> Result<TargetSession, Refusal> {
        match &self.0 {
            Inner::Here { allowlist, shared } => {
                let permit = allowlist.permit(&request.target, &request.params, request.mode)?;
                let permitted = permit.permitted(request.max_streams);
                let opens = Opens::Here(Box::new(LocalTarget::new(permit, shared.clone())));
                Ok(TargetSession { permitted, opens })
            }
            Inner::Elsewhere { openers, .. } => {
                let start = match grant {
                    Some(grant) => Start::Grant(grant.to_owned()),
                    None => Start::Unproven(request.clone()),
                };
                let (permitted, target) = RemoteTarget::begin(openers, start).await?;
                Ok(TargetSession { permitted, opens: Opens::Elsewhere(target) })
            }
        }
    }

    /// Applies a new list of targets. Sessions whose target was removed or changed end. Openers are told by the service
    /// manager, so that a network half that is not to be trusted cannot prevent it.
    pub fn replace(&self, new: Vec<Target>) {
        if let Inner::Here { allowlist, .. } = &self.0 {
            allowlist.replace(new);
        }
    }

    /// Asks an opener for the list that [`Opener::targets`] returns.
    ///
    /// # Errors
    /// Why it cannot say.
    pub async fn refresh(&self) -> Result<(), ListError> {
        if let Inner::Elsewhere { openers, targets } = &self.0 {
            let list = remote::list(openers).await?;
            *targets.lock().unwrap_or_else(PoisonError::into_inner) = list;
        }
        Ok(())
    }

    /// Checks that a target could be opened, and describes it.
    ///
    /// # Errors
    /// What is in the way.
    pub async fn probe(&self, target: &str) -> Result<String, String> {
        match &self.0 {
            Inner::Here { allowlist, .. } => allowlist.probe(target).await.map_err(|error| error.message),
            Inner::Elsewhere { openers, .. } => remote::probe(openers, target).await,
        }
    }

    /// The targets as the platform may see them.
    pub fn targets(&self) -> Vec<TargetInfo> {
        match &self.0 {
            Inner::Here { allowlist, .. } => allowlist.infos(),
            Inner::Elsewhere { targets, .. } => {
                targets.lock().unwrap_or_else(PoisonError::into_inner).clone()
            }
        }
    }
}

impl TargetSession {
    /// What the session may do.
    pub fn permitted(&self) -> &Permitted {
        &self.permitted
    }

    /// Opens the target for a stream. Requests of its client that cannot be carried out become control messages in
    /// `notes`.
    ///
    /// # Errors
    /// Those of the target.
    pub async fn open(
        &self,
        stream: u32,
        window: Option<Window>,
        notes: Option<mpsc::Sender<String>>,
    ) -> Result<Opened, OpenError> {
        match &self.opens {
            Opens::Here(target) => target.open(window, notes).await,
            Opens::Elsewhere(target) => target.open(stream, window, notes).await,
        }
    }

    /// Resolves when the target was removed or changed, or when the opener ends the session.
    pub async fn ended(&self) -> CloseFrame {
        match &self.opens {
            Opens::Here(target) => target.revoked().await,
            Opens::Elsewhere(target) => target.ended().await,
        }
    }
}
