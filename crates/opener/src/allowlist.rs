//! What the host's owner allows. Only the allowlist makes a [`Permit`], and only a permit opens a target.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::close::CloseFrame;
use protocol::command::{Code, Refusal, TargetInfo};
use protocol::end::End;
use protocol::mode::Mode;
use targets::{Bound, OpenError, Opened, Shared, Target, Window};

use super::stop::Stop;
use super::streams::Source;
use super::wire::Permitted;

/// Why a target is not opened that the owner has not listed.
pub const NO_SUCH_TARGET: &str = "no such target on this host's allowlist";

/// The allowlist. Clones are the same list.
#[derive(Clone, Debug)]
pub(crate) struct Allowlist(Arc<Mutex<BTreeMap<String, Entry>>>);

#[derive(Debug)]
struct Entry {
    target: Arc<Target>,
    revoked: Stop,
}

/// The right to have one target opened.
#[derive(Debug)]
pub(crate) struct Permit {
    target: Arc<Target>,
    bound: Bound,
    mode: Mode,
    revoked: Stop,
}

impl Allowlist {
    pub(crate) fn new(targets: Vec<Target>) -> Allowlist {
        let entries = targets.into_iter().map(|target| (target.name.clone(), Entry::new(target)));
        Allowlist(Arc::new(Mutex::new(entries.collect())))
    }

    /// Replaces the list. Sessions of removed or changed targets end, all others go on.
    pub(crate) fn replace(&self, targets: Vec<Target>) {
        let mut entries = self.lock();
        let mut old = std::mem::take(&mut *entries);
        for target in targets {
            let name = target.name.clone();
            let entry = match old.remove(&name) {
                Some(entry) if *entry.target == target => entry,
                changed => {
                    if let Some(entry) = changed {
                        entry.revoked.now(CloseFrame::new(
                            End::NotAllowed,
                            "the target was changed by the host's owner",
                        ));
                    }
                    Entry::new(target)
                }
            };
            entries.insert(name, entry);
        }
        for entry in old.into_values() {
            entry.revoked.now(CloseFrame::new(End::NotAllowed, "the target was removed by the host's owner"));
        }
    }

    /// Permits a session with a target.
    ///
    /// # Errors
    /// [`Code::TargetNotAllowed`], [`Code::ParamsNotAllowed`] or [`Code::ModeNotAllowed`].
    pub(crate) fn permit(
        &self,
        name: &str,
        params: &BTreeMap<String, String>,
        mode: Option<Mode>,
    ) -> Result<Permit, Refusal> {
        let entries = self.lock();
        let entry = entries.get(name).ok_or_else(|| {
            // Not quoted: the name comes from outside, and the owner's log has it anyway.
            Refusal::new(Code::TargetNotAllowed, NO_SUCH_TARGET)
        })?;
        let (target, revoked) = (entry.target.clone(), entry.revoked.clone());
        drop(entries);
        let bound = target
            .bind(params)
            .map_err(|error| Refusal::new(Code::ParamsNotAllowed, format!("target {name}: {error}")))?;
        let mode = mode.or(target.modes.first().copied()).unwrap_or(Mode::Ro);
        if !target.modes.contains(&mode) {
            return Err(Refusal::new(Code::ModeNotAllowed, format!("target {name} cannot be opened {mode}")));
        }
        Ok(Permit { target, bound, mode, revoked })
    }

    /// Checks that a target could be opened, and describes it.
    pub(crate) async fn probe(&self, name: &str) -> Result<String, OpenError> {
        let target = self.lock().get(name).map(|entry| entry.target.clone());
        match target {
            Some(target) => target.probe().await,
            None => {
                let message = NO_SUCH_TARGET.into();
                Err(OpenError { end: End::NotAllowed, message })
            }
        }
    }

    /// The list as the platform may see it.
    pub(crate) fn infos(&self) -> Vec<TargetInfo> {
        self.lock().values().map(|entry| entry.target.info()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Entry>> {
        // Nothing panics while holding it.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Entry {
    fn new(target: Target) -> Entry {
        Entry { target: Arc::new(target), revoked: Stop::default() }
    }
}

impl Permit {
    /// Opens the target, with the size of the client's terminal where that is known.
    ///
    /// # Errors
    /// Those of the target.
    pub(crate) async fn open(&self, window: Option<Window>, shared: &Shared) -> Result<Opened, OpenError> {
        self.bound.open(self.mode, window, shared).await
    }

    /// What a session with this permit may do, if its grant allows at most `streams`.
    pub(crate) fn permitted(&self, streams: Option<u32>) -> Permitted {
        let target = &self.target;
        let most = target.session_streams;
        Permitted {
            target: target.name.clone(),
            mode: self.mode,
            streams: streams.map_or(most, |wanted| wanted.clamp(1, most)),
            max_streams: target.max_streams,
            profile: target.profile,
            same_address: target.same_address,
            is_terminal: target.is_terminal(),
        }
    }

    /// What streams of the session are opened from.
    pub(crate) fn source(&self) -> Source {
        Source { bound: self.bound.clone(), mode: self.mode, profile: self.target.profile }
    }

    pub(crate) fn target(&self) -> &Target {
        &self.target
    }

    /// Set when the owner removes or changes the target.
    pub(crate) fn revoked(&self) -> &Stop {
        &self.revoked
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt;

    use super::*;

    fn target_named(name: &str, text: &str) -> Target {
        Target::from_table(name, text.parse().unwrap()).unwrap()
    }

    fn list() -> Allowlist {
        let a = target_named("a", "kind = 'tcp'\naddress = '127.0.0.1:1'\nmax_streams = 2");
        let b = target_named("b", "kind = 'file'\npath = '/b'");
        Allowlist::new(vec![a, b])
    }

    fn code(list: &Allowlist, name: &str, mode: Option<Mode>) -> Code {
        list.permit(name, &BTreeMap::new(), mode).unwrap_err().code
    }

    fn permit(list: &Allowlist, name: &str) -> Permit {
        list.permit(name, &BTreeMap::new(), None).unwrap()
    }

    #[test]
    fn only_what_is_listed_in_its_modes_and_without_parameters() {
        let list = list();
        assert_eq!(code(&list, "c", None), Code::TargetNotAllowed);
        assert_eq!(code(&list, "b", Some(Mode::Rw)), Code::ModeNotAllowed);
        assert_eq!(permit(&list, "b").permitted(None).mode, Mode::Ro);
        let params = BTreeMap::from([("x".to_owned(), "y".to_owned())]);
        assert_eq!(list.permit("a", &params, None).unwrap_err().code, Code::ParamsNotAllowed);
    }

    #[test]
    fn a_session_has_the_streams_that_both_the_grant_and_the_owner_allow() {
        let permit = permit(&list(), "a");
        let streams = [None, Some(0), Some(1), Some(9)].map(|wanted| permit.permitted(wanted).streams);
        assert_eq!(streams, [2, 1, 1, 2]);
    }

    #[test]
    fn a_new_list_ends_what_is_gone_or_changed_and_nothing_else() {
        let list = list();
        let (a, b) = (permit(&list, "a"), permit(&list, "b"));
        let a_same = target_named("a", "kind = 'tcp'\naddress = '127.0.0.1:1'\nmax_streams = 2");
        list.replace(vec![a_same]);
        assert!(a.revoked().wait().now_or_never().is_none());
        assert!(b.revoked().wait().now_or_never().unwrap().words().contains("removed"));
        let a_other = target_named("a", "kind = 'tcp'\naddress = '127.0.0.1:2'");
        list.replace(vec![a_other]);
        assert!(a.revoked().wait().now_or_never().unwrap().words().contains("changed"));
    }
}
