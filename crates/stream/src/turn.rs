//! How many bytes a busy stream may move before it lets other tasks run.

/// Bytes of one turn; a larger piece is moved whole.
const TURN: usize = 128 * 1024;

/// The bytes that a pump moved since it last yielded.
#[derive(Default)]
pub(super) struct Turn(usize);

impl Turn {
    /// Counts bytes that were moved. True: the turn is over, so the pump must yield now.
    pub(super) fn is_over_after(&mut self, bytes: usize) -> bool {
        self.0 += bytes;
        let is_over = self.0 >= TURN;
        if is_over {
            self.0 = 0;
        }
        is_over
    }
}
