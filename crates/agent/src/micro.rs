//! The agent as a NATS micro service: answers `nats micro ls`, `info` and `stats`.

use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::time::{Duration, SystemTime};

use humantime_serde::re::humantime::format_rfc3339_nanos;
use serde_json::{Value, json};

/// Name of the service, as `nats micro ls` shows it.
pub(crate) const SERVICE: &str = "stream-agent";

/// The questions that every micro service answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verb {
    Ping,
    Info,
    Stats,
}

impl Verb {
    /// The subjects for all services, for those of our name, and for the instance `id`.
    pub(crate) fn subjects(id: &str) -> impl Iterator<Item = (Verb, String)> {
        let verbs = [(Verb::Ping, "$SRV.PING"), (Verb::Info, "$SRV.INFO"), (Verb::Stats, "$SRV.STATS")];
        verbs.into_iter().flat_map(move |(verb, all)| {
            let subjects = [all.to_owned(), format!("{all}.{SERVICE}"), format!("{all}.{SERVICE}.{id}")];
            subjects.map(|subject| (verb, subject))
        })
    }
}

/// This instance of the service.
pub(crate) struct Micro {
    id: String,
    host: String,
    queue_group: String,
    started: SystemTime,
    endpoints: Vec<Endpoint>,
}

struct Endpoint {
    name: &'static str,
    subject: String,
    requests: AtomicU64,
    nanoseconds: AtomicU64,
}

impl Micro {
    /// A new instance, with the names and subjects of its endpoints.
    pub(crate) fn new(
        id: &str,
        host: &str,
        queue_group: &str,
        endpoints: &[(&'static str, String)],
    ) -> Micro {
        let endpoints = endpoints.iter().map(|(name, subject)| Endpoint {
            name,
            subject: subject.clone(),
            requests: AtomicU64::new(0),
            nanoseconds: AtomicU64::new(0),
        });
        Micro {
            id: id.to_owned(),
            host: host.to_owned(),
            queue_group: queue_group.to_owned(),
            started: SystemTime::now(),
            endpoints: endpoints.collect(),
        }
    }

    /// Counts an answered request of the endpoint `name`.
    pub(crate) fn answered(&self, name: &str, took: Duration) {
        if let Some(endpoint) = self.endpoints.iter().find(|endpoint| endpoint.name == name) {
            endpoint.requests.fetch_add(1, Relaxed);
            endpoint.nanoseconds.fetch_add(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX), Relaxed);
        }
    }

    pub(crate) fn answer(&self, verb: Verb) -> Value {
        let kind = match verb {
            Verb::Ping => "io.nats.micro.v1.ping_response",
            Verb::Info => "io.nats.micro.v1.info_response",
            Verb::Stats => "io.nats.micro.v1.stats_response",
        };
        let mut answer = json!({
            "type": kind,
            "name": SERVICE,
            "id": self.id,
            "version": env!("CARGO_PKG_VERSION"),
            "metadata": { "host": self.host },
        });
        match verb {
            Verb::Ping => {}
            Verb::Info => {
                answer["description"] = "Opens allowed targets of this host".into();
                answer["endpoints"] = self.endpoints.iter().map(|endpoint| self.describe(endpoint)).collect();
            }
            Verb::Stats => {
                answer["started"] = format_rfc3339_nanos(self.started).to_string().into();
                answer["endpoints"] = self.endpoints.iter().map(|endpoint| self.count(endpoint)).collect();
            }
        }
        answer
    }

    fn describe(&self, endpoint: &Endpoint) -> Value {
        json!({ "name": endpoint.name, "subject": endpoint.subject, "queue_group": self.queue_group, "metadata": {} })
    }

    /// Times are in nanoseconds. A refusal is an answer, not an error of the service.
    fn count(&self, endpoint: &Endpoint) -> Value {
        let mut count = self.describe(endpoint);
        let (requests, time) = (endpoint.requests.load(Relaxed), endpoint.nanoseconds.load(Relaxed));
        count["num_requests"] = requests.into();
        count["num_errors"] = 0.into();
        count["last_error"] = "".into();
        count["processing_time"] = time.into();
        count["average_processing_time"] = time.checked_div(requests).unwrap_or_default().into();
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_services_those_of_the_name_and_one_are_asked() {
        let subjects: Vec<String> = Verb::subjects("X1").map(|(_, subject)| subject).collect();
        assert_eq!(subjects.len(), 9);
        assert_eq!(subjects[..3], ["$SRV.PING", "$SRV.PING.stream-agent", "$SRV.PING.stream-agent.X1"]);
        assert!(subjects.contains(&"$SRV.STATS.stream-agent".to_owned()));
    }

    #[test]
    fn answers_have_what_the_tools_read() {
        let endpoints = [("start", "s.start".to_owned()), ("stop", "s.stop".to_owned())];
        let micro = Micro::new("X1", "h1", "g", &endpoints);
        micro.answered("stop", Duration::from_nanos(10));
        micro.answered("stop", Duration::from_nanos(20));
        micro.answered("unknown", Duration::from_nanos(20));
        let version = env!("CARGO_PKG_VERSION");
        assert_eq!(
            micro.answer(Verb::Ping),
            json!({
                "type": "io.nats.micro.v1.ping_response", "name": "stream-agent", "id": "X1", "version": version,
                "metadata": { "host": "h1" },
            })
        );
        let info = micro.answer(Verb::Info);
        assert_eq!(info["type"], "io.nats.micro.v1.info_response");
        assert_eq!(info["description"], "Opens allowed targets of this host");
        assert_eq!(
            info["endpoints"][0],
            json!({ "name": "start", "subject": "s.start", "queue_group": "g", "metadata": {} })
        );
        let stats = micro.answer(Verb::Stats);
        assert_eq!(stats["type"], "io.nats.micro.v1.stats_response");
        assert!(stats["started"].as_str().unwrap().ends_with('Z'), "{stats}");
        assert_eq!(stats["endpoints"][0]["num_requests"], 0);
        assert_eq!(stats["endpoints"][0]["average_processing_time"], 0);
        let stop = &stats["endpoints"][1];
        assert_eq!(
            (&stop["num_requests"], &stop["num_errors"], &stop["last_error"]),
            (&2.into(), &0.into(), &"".into())
        );
        assert_eq!((&stop["processing_time"], &stop["average_processing_time"]), (&30.into(), &15.into()));
    }
}
