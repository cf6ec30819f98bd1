//! Events of the NATS client, as log lines.

use async_nats::{ClientError, Event, ServerError};

/// The event as text, with a remedy if one is known.
pub fn explain(event: &Event) -> String {
    match event {
        Event::ServerError(ServerError::AuthorizationViolation) => {
            "NATS refuses the login: check the credentials in [nats]".into()
        }
        Event::ServerError(ServerError::Other(text)) => {
            match text.to_lowercase().contains("permissions violation") {
                true => format!("NATS: {text}: grant it in the server's permissions (docs/protocol.md)"),
                false => format!("NATS: {text}"),
            }
        }
        Event::ClientError(ClientError::Other(text)) => format!("NATS: {text}"),
        other => format!("NATS: {other}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_permission_violation_says_what_to_do() {
        let text = "Permissions Violation for Subscription to \"x\"".to_owned();
        assert!(explain(&Event::ServerError(ServerError::Other(text))).contains("grant it"));
    }
}
