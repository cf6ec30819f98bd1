//! What several tests need.

use std::time::SystemTime;

use crate::grant::{Claims, unix};
use crate::token::Token;

/// A good grant's claims, for the host h1.
pub(crate) fn claims() -> Claims {
    let now = unix(SystemTime::now());
    Claims {
        iss: "test".into(),
        aud: "host:h1".into(),
        sid: ulid::Ulid::generate().to_string(),
        iat: now,
        exp: now + 30,
        target: "t".into(),
        params: Default::default(),
        mode: None,
        relay: "wss://relay".into(),
        token_sha256: Token::generate().unwrap().hash(),
        max_streams: None,
        max_seconds: None,
        origin: vec![],
        user: None,
        cnf: None,
        relay_run: None,
    }
}
