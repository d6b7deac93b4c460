//! How fast a body has to come: a byte now and then is no silence, and holds a build up for ever all the same.

use std::time::Duration;

use super::{At, Error};

/// Bytes a second, on average over the longest silence that is borne: what git calls too slow, where it is told to (`http.lowSpeedLimit`).
const SLOWEST: u64 = 1000;

/// What came of a body since it was last known to come fast enough. Only the time in which somebody waits for it counts: a reader may be
/// slow.
#[derive(Debug, Clone, Default)]
pub(super) struct Pace {
    waited: Duration,
    came: u64,
}

impl Pace {
    /// How long the next piece may take, where `silence` is the longest silence that is borne.
    pub(super) fn left(&self, silence: Duration) -> Duration {
        silence.saturating_sub(self.waited)
    }

    /// A piece of so many bytes came after `waited`.
    pub(super) fn note(&mut self, waited: Duration, bytes: usize, silence: Duration) {
        self.waited += waited;
        self.came += bytes as u64;
        if u128::from(self.came) * 1000 >= u128::from(SLOWEST) * silence.as_millis() {
            *self = Self::default();
        }
    }

    /// The error of a body for which `silence` was waited in vain.
    pub(super) fn error(&self, at: &At, silence: Duration) -> Error {
        let (at, seconds) = (Box::new(at.clone()), silence.as_secs());
        if self.came == 0 { Error::Silent { at, seconds } } else { Error::Stalled { at, bytes: self.came, seconds } }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SILENCE: Duration = Duration::from_secs(60);

    /// After how many pieces a body is given up, if it ever is.
    fn given_up_after(bytes: usize, every: Duration) -> Option<usize> {
        let mut pace = Pace::default();
        (0..100_000).find(|_| {
            let late = pace.left(SILENCE) < every;
            pace.note(every, bytes, SILENCE);
            late
        })
    }

    #[test]
    fn a_body_that_drips_is_given_up_and_one_that_flows_is_not() {
        let (second, blink) = (Duration::from_secs(1), Duration::from_millis(10));
        for (bytes, every, after) in [
            (0, second, Some(60)),
            (1, second, Some(60)),
            (1, blink, Some(6000)),
            (500, second, Some(60)),
            (1001, second, None),
            (60_000, SILENCE, None),
            (100, SILENCE, Some(1)),
            (20, blink, None),
        ] {
            assert_eq!(given_up_after(bytes, every), after, "{bytes} bytes every {every:?}");
        }
    }

    #[test]
    fn what_came_too_slowly_is_told_from_silence() {
        let at = At { registry: "r".into(), repository: "a".into(), step: "read".into() };
        let mut pace = Pace::default();
        assert_eq!(pace.error(&at, SILENCE).to_string(), "r/a: cannot read: no byte moved for 60 s");
        pace.note(Duration::from_secs(9), 7, SILENCE);
        assert_eq!(pace.error(&at, SILENCE).to_string(), "r/a: cannot read: only 7 bytes came in 60 s");
    }
}
