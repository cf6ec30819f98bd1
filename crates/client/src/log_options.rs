//! The options of `stream-relay open` for logs: which lines, and since when.

use std::time::{Duration, SystemTime};

use clap::Args;
use humantime_serde::re::humantime::parse_duration;
use tokio::sync::mpsc;

use protocol::control::{FromClient, to_text};
use protocol::grant::unix;

/// What a client can request of a log.
#[derive(Debug, Default, Args)]
pub(crate) struct LogOptions {
    /// With --stdio: show only the lines of a log that match this regular expression. The host filters them. Lines
    /// that it sent before it received the filter still appear.
    #[arg(long, value_name = "REGEX", requires = "stdio")]
    filter: Option<String>,
    /// With --filter: show the lines that do not match.
    #[arg(long, requires = "filter")]
    invert: bool,
    /// With --stdio: restart a log from this time: a duration ago, such as 2h, or @SECONDS since 1970.
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

impl LogOptions {
    /// The control messages that request it, followed by `others`.
    pub(crate) fn followed_by(
        &self,
        others: Option<mpsc::Receiver<String>>,
    ) -> Option<mpsc::Receiver<String>> {
        let filter = self.filter.clone().map(|pattern| FromClient::Filter { pattern, invert: self.invert });
        let since = self.since.map(|time| FromClient::Since { time });
        let requests: Vec<_> = filter.into_iter().chain(since).map(|message| to_text(&message)).collect();
        if requests.is_empty() {
            return others;
        }
        let (sender, receiver) = mpsc::channel(1);
        tokio::spawn(async move {
            for message in requests {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
            let Some(mut others) = others else { return };
            while let Some(message) = others.recv().await {
                if sender.send(message).await.is_err() {
                    return;
                }
            }
        });
        Some(receiver)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_filter_comes_before_other_messages() {
        let options = LogOptions { filter: Some("a".into()), invert: true, since: Some(7) };
        let (sender, receiver) = mpsc::channel(1);
        sender.try_send("size".to_owned()).unwrap();
        drop(sender);
        let mut messages = options.followed_by(Some(receiver)).unwrap();
        assert_eq!(messages.recv().await.unwrap(), r#"{"type":"filter","pattern":"a","invert":true}"#);
        assert_eq!(messages.recv().await.unwrap(), r#"{"type":"since","time":7}"#);
        assert_eq!(messages.recv().await.unwrap(), "size");
        assert!(messages.recv().await.is_none());
        assert!(LogOptions::default().followed_by(None).is_none());
    }

    #[test]
    fn a_time_is_relative_or_absolute() {
        assert_eq!(time("@17").unwrap(), 17);
        let now = unix(SystemTime::now());
        assert!((now - 7201..=now - 7199).contains(&time("2h").unwrap()));
        for bad in ["", "yesterday", "@", "@-1", "-2h"] {
            assert!(time(bad).unwrap_err().contains("expected"), "{bad}");
        }
    }
}
