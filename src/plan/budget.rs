//! How much memory what a Dockerfile says may take.

use super::error::ErrorKind;

/// The most that the names, states and Steps of one target may take. Every Step has a copy of all variables, and every stage one of all
/// that its base says, so that a short Dockerfile could ask for more memory than there is.
const MOST_BYTES: usize = 64 << 20;

/// Bytes that are taken so far, roughly.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Budget(usize);

impl Budget {
    pub fn spend(&mut self, bytes: usize) -> Result<(), ErrorKind> {
        self.0 = self.0.saturating_add(bytes);
        if self.0 > MOST_BYTES { Err(ErrorKind::TooMuch { limit: MOST_BYTES }) } else { Ok(()) }
    }
}
