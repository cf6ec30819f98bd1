//! A session whose target this process opens.

use tokio::sync::mpsc;

use protocol::close::CloseFrame;
use targets::{Ask, OpenError, Opened, Shared, Window};

use super::allowlist::Permit;
use super::request::note;

pub(crate) struct LocalTarget {
    permit: Permit,
    shared: Shared,
}

impl LocalTarget {
    pub(crate) fn new(permit: Permit, shared: Shared) -> LocalTarget {
        LocalTarget { permit, shared }
    }

    pub(crate) async fn open(
        &self,
        window: Option<Window>,
        notes: Option<mpsc::Sender<String>>,
    ) -> Result<Opened, OpenError> {
        let mut opened = self.permit.open(window, &self.shared).await?;
        if let Some(notes) = notes {
            let asked = opened.asked;
            opened.asked = Box::new(move |ask: Ask| {
                let what = ask.name();
                if let Err(error) = asked(ask) {
                    note(&notes, what, error.to_string());
                }
                Ok(())
            });
        }
        Ok(opened)
    }

    pub(crate) async fn revoked(&self) -> CloseFrame {
        self.permit.revoked().wait().await
    }
}
