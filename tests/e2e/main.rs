//! The real binaries, a real nats-server and real clients, end to end.
//!
//! Every test has a world of its own: a loopback address of its own, so that ports never clash, and a folder
//! that goes with it. Nothing here sleeps to synchronise: it waits for events, with a deadline.

mod world;

mod flow;
mod screens;
