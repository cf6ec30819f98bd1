//! Which reply subjects are answered. The requester chooses the reply subject, and NATS lets the agent publish there.
//! Without this rule, a request could make the agent publish on the event subject of another host.

use protocol::command::Subjects;

/// Where NATS clients have their inboxes by default.
const DEFAULT: &str = "_INBOX";

/// Reply subjects that a server makes when it passes a request to another account.
const OF_THE_SERVER: &str = "_R_";

/// What a server puts before a reply subject when it passes a request to another cluster; two tokens follow.
const OF_A_GATEWAY: &str = "_GR_";

/// The beginnings of reply subjects that are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Inboxes(Vec<String>);

impl Inboxes {
    /// Checks the configured inboxes; without any, the default. `prefix` begins the subjects of all hosts.
    ///
    /// # Errors
    /// What is wrong with one of them.
    pub fn parse(written: Option<&[String]>, prefix: &str) -> Result<Inboxes, String> {
        let inboxes = written.map_or_else(|| vec![DEFAULT.to_owned()], <[String]>::to_vec);
        let hosts = format!("{prefix}.host");
        for inbox in &inboxes {
            let is_token = |token: &str| {
                !token.is_empty() && token.bytes().all(|b| b.is_ascii_graphic() && !b"*>.".contains(&b))
            };
            if !inbox.split('.').all(is_token) {
                return Err(format!(
                    "\"{}\" is not the beginning of a subject, such as \"_INBOX\": no wildcards, and no dot at the end",
                    inbox.escape_debug()
                ));
            }
            if is_below(&hosts, inbox) || is_below(inbox, &hosts) {
                return Err(format!(
                    "\"{inbox}\" would let questions be answered on hosts' own subjects ({hosts}.>)"
                ));
            }
        }
        Ok(Inboxes(inboxes))
    }

    /// Whether `reply` is an inbox: one of these, the host's own, or one that a server made.
    pub fn hold(&self, reply: &str, subjects: &Subjects) -> bool {
        let mut reply = reply;
        while let Some(rest) = reply.strip_prefix(OF_A_GATEWAY).and_then(|rest| rest.strip_prefix('.')) {
            let Some(inner) = rest.splitn(3, '.').nth(2) else { return false };
            reply = inner;
        }
        let mut own = self.0.iter().map(String::as_str).chain([OF_THE_SERVER]);
        own.any(|inbox| reply != inbox && is_below(reply, inbox)) || is_below(reply, &subjects.inbox())
    }
}

/// Whether `subject` is `root` or something below it.
fn is_below(subject: &str, root: &str) -> bool {
    subject.strip_prefix(root).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn subjects() -> Subjects {
        Subjects::new("stream.v1", &"h1".parse().unwrap())
    }

    #[test]
    fn answers_go_to_inboxes_and_nowhere_else() {
        let inboxes = Inboxes::parse(None, "stream.v1").unwrap();
        for good in [
            "_INBOX.a",
            "_INBOX.a.b",
            "stream.v1.host.h1.inbox.x.1",
            "_R_.abc",
            "_GR_.cluster.server._INBOX.a",
            "_GR_.a.b._GR_.c.d._INBOX.a",
        ] {
            assert!(inboxes.hold(good, &subjects()), "{good}");
        }
        for bad in [
            "_INBOX",
            "_INBOXES.a",
            "stream.v1.host.h2.event.ended",
            "stream.v1.host.h1.event.ended",
            "stream.v1.host.h2.inbox.x",
            "_GR_.a.b.stream.v1.host.h2.event.ended",
            "_GR_.a",
            "_GR_._INBOX.a",
            "",
        ] {
            assert!(!inboxes.hold(bad, &subjects()), "{bad}");
        }
        let own = ["_INBOX_platform".to_owned(), "stream.v1.platform".to_owned()];
        let own = Inboxes::parse(Some(&own), "stream.v1").unwrap();
        assert!(own.hold("_INBOX_platform.x", &subjects()) && own.hold("stream.v1.platform.1", &subjects()));
        assert!(!own.hold("_INBOX.x", &subjects()), "what is written counts alone");
    }

    #[test]
    fn a_rule_that_would_let_events_through_is_refused() {
        for (bad, why) in [
            ("_INBOX.>", "no wildcards"),
            ("", "is not the beginning of a subject"),
            ("a b", "is not the beginning of a subject"),
            ("stream", "hosts' own subjects"),
            ("stream.v1.host", "hosts' own subjects"),
            ("stream.v1.host.h2.event", "hosts' own subjects"),
        ] {
            let error = Inboxes::parse(Some(&[bad.to_owned()]), "stream.v1").unwrap_err();
            assert!(error.contains(why), "{bad}: {error}");
        }
    }
}
