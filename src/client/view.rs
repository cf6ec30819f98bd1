//! What `stream-relay open` asks of a log: which lines, and from when on.

use std::time::{Duration, SystemTime};

use clap::Args;
use humantime_serde::re::humantime::parse_duration;
use tokio::sync::mpsc;

use crate::protocol::control::{FromClient, to_text};
use crate::protocol::grant::unix;

/// What a client may ask of a log.
#[derive(Debug, Default, Args)]
pub struct View {
    /// With --stdio: only the lines of a log that match this regular expression, chosen on the host. Lines that it
    /// sent before it heard of this come nevertheless.
    #[arg(long, value_name = "REGEX", requires = "stdio")]
    filter: Option<String>,
    /// With --filter: the lines that do not match.
    #[arg(long, requires = "filter")]
    invert: bool,
    /// With --stdio: begin a log anew with what was written since then: a time ago, as 2h, or @SECONDS since 1970.
    #[arg(long, value_name = "TIME", value_parser = time, requires = "stdio")]
    since: Option<u64>,
}

fn time(text: &str) -> Result<u64, String> {
    let expected = |_| "expected a time ago, as 90m or 2h, or @SECONDS since 1970".to_owned();
    match text.strip_prefix('@') {
        Some(seconds) => {
            seconds.parse().map_err(|error: std::num::ParseIntError| expected(error.to_string()))
        }
        None => {
            let ago: Duration = parse_duration(text).map_err(|error| expected(error.to_string()))?;
            Ok(unix(SystemTime::now().checked_sub(ago).unwrap_or(SystemTime::UNIX_EPOCH)))
        }
    }
}

impl View {
    /// The messages that ask for it, before those that come from elsewhere.
    pub fn before(&self, others: Option<mpsc::Receiver<String>>) -> Option<mpsc::Receiver<String>> {
        let filter = self.filter.clone().map(|pattern| FromClient::Filter { pattern, invert: self.invert });
        let since = self.since.map(|time| FromClient::Since { time });
        let asked: Vec<_> = filter.into_iter().chain(since).map(|message| to_text(&message)).collect();
        if asked.is_empty() {
            return others;
        }
        let (tell, told) = mpsc::channel(1);
        tokio::spawn(async move {
            for message in asked {
                if tell.send(message).await.is_err() {
                    return;
                }
            }
            let Some(mut others) = others else { return };
            while let Some(message) = others.recv().await {
                if tell.send(message).await.is_err() {
                    return;
                }
            }
        });
        Some(told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_filter_comes_before_the_lines_that_it_is_for() {
        let view = View { filter: Some("a".into()), invert: true, since: Some(7) };
        let (tell, told) = mpsc::channel(1);
        tell.try_send("size".to_owned()).unwrap();
        drop(tell);
        let mut told = view.before(Some(told)).unwrap();
        assert_eq!(told.recv().await.unwrap(), r#"{"type":"filter","pattern":"a","invert":true}"#);
        assert_eq!(told.recv().await.unwrap(), r#"{"type":"since","time":7}"#);
        assert_eq!(told.recv().await.unwrap(), "size");
        assert!(told.recv().await.is_none());
        assert!(View::default().before(None).is_none());
    }

    #[test]
    fn a_time_is_ago_or_absolute() {
        assert_eq!(time("@17").unwrap(), 17);
        let now = unix(SystemTime::now());
        assert!((now - 7201..=now - 7199).contains(&time("2h").unwrap()));
        for bad in ["", "yesterday", "@", "@-1", "-2h"] {
            assert!(time(bad).unwrap_err().contains("expected"), "{bad}");
        }
    }
}
