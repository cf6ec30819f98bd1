//! What a target's screen speaks, so that the right viewer shows it.

use anyhow::anyhow;
use clap::ValueEnum;

use protocol::command::TargetInfo;
use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;

use super::api::Listed;
use super::opener::{Opener, Source, unknown_target};

/// A protocol for screens.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Display {
    Spice,
    Vnc,
}

impl Display {
    /// What a target is: the host's word, else a guess by its name and title. None if neither says it.
    fn of(listed: &Listed) -> Option<Display> {
        let word = match &listed.view {
            Some(view) => view.clone(),
            None => format!("{} {}", listed.target.name, listed.target.title.as_deref().unwrap_or_default()),
        };
        let word = word.to_lowercase();
        match (word.contains("spice"), word.contains("vnc")) {
            (true, false) => Some(Display::Spice),
            (false, true) => Some(Display::Vnc),
            _ => None,
        }
    }
}

impl Opener {
    /// What the target's screen speaks; `chosen` by the user counts. Checks that the platform lists the target.
    ///
    /// # Errors
    /// If there is no such target, or nothing says what it is.
    pub(crate) async fn display(&self, chosen: Option<Display>) -> Result<Display, ExitError> {
        const CHOOSE: &str = "add --as spice or --as vnc";
        let Source::Platform { api, request } = &self.source else {
            return chosen
                .ok_or_else(|| anyhow!("a URL does not say what it opens: {CHOOSE}"))
                .or_exit(Exit::Usage);
        };
        let listed = api.listed(&request.host).await?;
        let found = listed.iter().find(|listed| listed.target.name == request.target);
        let said = found.and_then(Display::of);
        let targets: Vec<TargetInfo> = listed.into_iter().map(|listed| listed.target).collect();
        if let Some(unknown) = unknown_target(request, &targets) {
            return Err(unknown);
        }
        let why = || {
            anyhow!("the host does not say whether {} is SPICE or VNC: {CHOOSE}", printable(&request.target))
        };
        chosen.or(said).ok_or_else(why).or_exit(Exit::Usage)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::super::testing::{World, args, opener};
    use super::*;

    #[test]
    fn the_hosts_word_counts_before_a_name() {
        for (name, title, view, display) in [
            ("vm", None, Some("spice"), Some(Display::Spice)),
            ("vm-spice", None, Some("vnc"), Some(Display::Vnc)),
            ("spice", None, Some("terminal"), None),
            ("vm1.VNC", None, None, Some(Display::Vnc)),
            ("vm", Some("SPICE screen"), None, Some(Display::Spice)),
            ("spice-or-vnc", None, None, None),
            ("shell", None, None, None),
        ] {
            let listed =
                json!({ "name": name, "kind": "unix", "modes": ["rw"], "title": title, "view": view });
            assert_eq!(Display::of(&serde_json::from_value(listed).unwrap()), display, "{name}");
        }
    }

    #[tokio::test]
    async fn what_nobody_says_is_asked_for() {
        let (world, dir) = (World::start().await, tempfile::tempdir().unwrap());
        let opener = opener(&world, dir.path(), &[]);
        assert_eq!(opener.display(Some(Display::Vnc)).await.unwrap(), Display::Vnc);
        let error = opener.display(None).await.unwrap_err();
        assert_eq!(error.exit, Exit::Usage);
        assert!(error.to_string().contains("whether shell is SPICE or VNC: add --as spice"), "{error}");
        let file = dir.path().join("url");
        std::fs::write(&file, format!("{}\n", world.url())).unwrap();
        let by_url = Opener::new(&args(&["--url-file", file.to_str().unwrap()]).unwrap()).unwrap();
        assert!(by_url.display(None).await.unwrap_err().to_string().contains("a URL does not say"));
    }
}
