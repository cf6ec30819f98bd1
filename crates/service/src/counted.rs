//! Counts with the singular or plural: `1 stream`, `2 streams`.

use std::fmt;

/// A count, and the singular of what is counted.
#[derive(Clone, Copy, Debug)]
pub struct Counted<N>(pub N, pub &'static str);

impl<N: fmt::Display + Copy + PartialEq + From<u8>> fmt::Display for Counted<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let plural = if self.0 == N::from(1) { "" } else { "s" };
        write!(f, "{} {}{plural}", self.0, self.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_one_is_singular() {
        let texts =
            [Counted(0, "step"), Counted(1, "step"), Counted(2, "step")].map(|count| count.to_string());
        assert_eq!(texts, ["0 steps", "1 step", "2 steps"]);
    }
}
