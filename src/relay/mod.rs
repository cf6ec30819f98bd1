//! The relay: where hosts and clients meet. Knows neither NATS nor targets.

pub mod rendezvous;
