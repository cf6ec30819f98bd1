//! One URL, one client: later streams of a session, and the places that sessions hold.
