//! Tasks that keep the span of the session they work for, so that what they log names it.

use tokio::task::JoinHandle;
use tracing::{Instrument, Span};

/// [`tokio::spawn`] in the current span.
pub(crate) fn spawn<T: Send + 'static>(work: impl Future<Output = T> + Send + 'static) -> JoinHandle<T> {
    tokio::spawn(work.in_current_span())
}

/// [`tokio::task::spawn_blocking`] in the current span.
pub(crate) fn spawn_blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> JoinHandle<T> {
    let span = Span::current();
    tokio::task::spawn_blocking(move || span.in_scope(work))
}

#[cfg(test)]
mod tests {
    use tracing::{dispatcher, info_span, subscriber};

    use super::*;

    #[tokio::test]
    async fn a_task_is_in_the_span_that_it_was_spawned_in() {
        let _default = subscriber::set_default(tracing_subscriber::registry());
        let dispatch = dispatcher::get_default(Clone::clone);
        let session = info_span!("session");
        let current = move || dispatcher::with_default(&dispatch, || Span::current().id());
        let (task, thread) = session.in_scope(|| {
            let current = current.clone();
            (spawn(async { Span::current().id() }), spawn_blocking(current))
        });
        assert!(session.id().is_some());
        assert_eq!((task.await.unwrap(), thread.await.unwrap()), (session.id(), session.id()));
        assert_eq!(current(), None);
    }
}
