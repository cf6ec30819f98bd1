//! API keys: what each may open, and in whose name.
