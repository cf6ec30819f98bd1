//! Commands over NATS: floods, deadlines, clocks, and an agent that must notice when it has become deaf.
