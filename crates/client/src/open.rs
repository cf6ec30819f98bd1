//! `stream-relay open`: prints a URL, or connects local programs to a target.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::json;

use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;

pub use super::arguments::Args;
use super::opener::{Opener, Source};

/// Returns the exit status of the target's process, or 0 if it has none.
///
/// # Errors
/// What failed, with the exit code for its kind.
pub async fn run(args: Args, as_json: bool) -> Result<i32, ExitError> {
    let opener = Arc::new(Opener::new(&args)?);
    if args.stdio {
        return opener.stdio(&args).await;
    }
    if let Some(address) = &args.listen {
        return opener.listen(address, as_json).await.map(|()| 0);
    }
    if let Some(program) = &args.viewer {
        return opener.show(program.as_deref(), args.display).await.map(|()| 0);
    }
    if let Some(file) = &args.vv {
        let has_own_ca = args.ca_file.is_some();
        return opener.write_viewer_file(file, args.display, has_own_ca, as_json).await.map(|()| 0);
    }
    opener.print(as_json).await.map(|()| 0)
}

impl Opener {
    /// Prints the URL for another program.
    pub(crate) async fn print(&self, as_json: bool) -> Result<(), ExitError> {
        let Source::Platform { api, request } = &self.source else {
            return Err(anyhow!("--url-file needs --stdio, --listen, --viewer or --vv")).or_exit(Exit::Usage);
        };
        let session = self.open_session(api, request).await?;
        match as_json {
            true => println!("{}", json!(session)),
            false => println!("{}", printable(&session.url)),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::*;

    #[test]
    fn a_session_is_printed_as_the_platform_sent_it() {
        let session = super::super::api::Session {
            session: "s".into(),
            url: "wss://relay/v1/stream/t".into(),
            expires: "later".into(),
        };
        let expected: Value = json!({ "session": "s", "url": "wss://relay/v1/stream/t", "expires": "later" });
        assert_eq!(json!(session), expected);
    }
}
