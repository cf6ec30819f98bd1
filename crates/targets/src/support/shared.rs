//! What all open targets of a program share.

use std::any::{Any, TypeId};
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use tokio_util::task::TaskTracker;
use tracing::Instrument;

use service::children::Children;

/// What all open targets share. A program makes one and passes it to each target that it opens; clones are the same.
#[derive(Clone, Debug, Default)]
pub struct Shared(Arc<Inner>);

#[derive(Debug, Default)]
struct Inner {
    children: Children,
    passes_sockets: bool,
    /// Tasks that outlive the stream of their target.
    cleanups: TaskTracker,
    /// What the targets of one kind share, by its type.
    of_kinds: Mutex<HashMap<TypeId, Arc<dyn Any + Send + Sync>>>,
}

impl Shared {
    /// Programs of targets are started among `children`.
    pub fn new(children: Children) -> Shared {
        Shared(Arc::new(Inner { children, ..Inner::default() }))
    }

    /// The same, in a process that passes connected sockets on to another one.
    pub fn passing(children: Children) -> Shared {
        Shared(Arc::new(Inner { children, passes_sockets: true, ..Inner::default() }))
    }

    pub(crate) fn passes_sockets(&self) -> bool {
        self.0.passes_sockets
    }

    /// Waits until nothing of the opened targets is left. To be called after the last stream has ended.
    pub async fn all_gone(&self) {
        self.0.cleanups.close();
        self.0.cleanups.wait().await;
    }

    pub(crate) fn children(&self) -> &Children {
        &self.0.children
    }

    /// Spawns what must see to the end of an opened target, even after its stream.
    pub(crate) fn spawn_cleanup(&self, work: impl Future<Output = ()> + Send + 'static) {
        self.0.cleanups.spawn(work.in_current_span());
    }

    /// What the targets of a kind share, made by the first that asks. The type stands for the kind, so that this file
    /// does not import the kinds.
    pub(crate) fn of_kind<T: Default + Send + Sync + 'static>(&self) -> Arc<T> {
        let mut all = self.0.of_kinds.lock().unwrap_or_else(PoisonError::into_inner);
        let shared = all.entry(TypeId::of::<T>()).or_insert_with(|| Arc::new(T::default())).clone();
        // The entry of a type always holds that type.
        shared.downcast().unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_has_its_own_part() {
        let shared = Shared::default();
        shared.of_kind::<Mutex<u8>>().lock().unwrap().clone_from(&7);
        assert_eq!(*shared.clone().of_kind::<Mutex<u8>>().lock().unwrap(), 7);
        assert_eq!(*shared.of_kind::<Mutex<u16>>().lock().unwrap(), 0);
        assert_eq!(*Shared::default().of_kind::<Mutex<u8>>().lock().unwrap(), 0);
    }
}
