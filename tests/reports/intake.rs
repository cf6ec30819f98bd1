//! What the relay does with those who have not shown a token or a grant yet.
