//! `stream-relay open`: prints a URL, or connects local programs to a target.

use std::sync::Arc;

use anyhow::anyhow;
use serde_json::{Value, json};

use service::exit::{Exit, ExitError, OrExit};
use service::printable::printable;

use super::api::Session;
pub use super::arguments::Args;
use super::opener::{Opener, Source};
use super::page;
use super::terminal::notify;

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
    opener.print(args.ws, as_json).await.map(|()| 0)
}

impl Opener {
    /// Prints the URL of the page that shows the target, or the websocket URL for another program.
    pub(crate) async fn print(&self, ws: bool, as_json: bool) -> Result<(), ExitError> {
        let Source::Platform { api, request } = &self.source else {
            return Err(anyhow!("--url-file needs --stdio, --listen, --viewer or --vv")).or_exit(Exit::Usage);
        };
        let session = self.open_session(api, request).await?;
        let page = if ws { None } else { Some(page::of_session(&session.url, &self.dialer).await) };
        if as_json {
            println!("{}", as_json_with(&session, page.and_then(Result::ok)));
            return Ok(());
        }
        match page {
            Some(Ok(page)) => println!("{}", printable(&page)),
            Some(Err(why)) => {
                println!("{}", printable(&session.url));
                notify(&printable(&format!(
                    "this URL is for programs, since its relay serves no page ({why})"
                )));
            }
            None => println!("{}", printable(&session.url)),
        }
        Ok(())
    }
}

/// The session as the platform sent it, and the page if there is one.
fn as_json_with(session: &Session, page: Option<String>) -> Value {
    let mut value = json!(session);
    if let Some(page) = page {
        value["page"] = page.into();
    }
    value
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_is_printed_as_the_platform_sent_it_and_with_its_page() {
        let url = "wss://relay/v1/stream/t";
        let session = Session { session: "s".into(), url: url.into(), expires: "later".into() };
        let expected = json!({ "session": "s", "url": url, "expires": "later" });
        assert_eq!(as_json_with(&session, None), expected);
        let page = format!("https://relay/view#{url}");
        let expected = json!({ "session": "s", "url": url, "expires": "later", "page": page });
        assert_eq!(as_json_with(&session, Some(page)), expected);
    }
}
