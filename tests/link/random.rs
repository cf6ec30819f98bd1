//! A small generator: the same seed gives the same test again.

/// xorshift64*.
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Random {
        Random(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub(crate) fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    pub(crate) fn below(&mut self, n: usize) -> usize {
        (self.next() % n as u64) as usize
    }

    pub(crate) fn bytes(&mut self, n: usize) -> Vec<u8> {
        (0..n).map(|_| self.next() as u8).collect()
    }

    /// A length that likes the borders of the frame header.
    pub(crate) fn len(&mut self) -> usize {
        const BORDERS: [usize; 9] = [0, 1, 7, 125, 126, 127, 65_535, 65_536, 200_000];
        match self.below(3) {
            0 => BORDERS[self.below(BORDERS.len())],
            1 => self.below(300),
            _ => self.below(5_000),
        }
    }
}
