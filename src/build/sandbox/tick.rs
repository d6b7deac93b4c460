//! The ticks of the clock that the kernel takes a file's times from: two changes within one look like one.

use std::time::Duration;

use rustix::thread::ClockId;

/// In nanoseconds: what a change would be dated now.
fn now() -> i64 {
    let now = rustix::time::clock_gettime(ClockId::RealtimeCoarse);
    #[allow(clippy::unnecessary_cast, reason = "the fields' types differ between architectures")]
    let nanoseconds = (now.tv_sec as i64).wrapping_mul(1_000_000_000).wrapping_add(now.tv_nsec as i64);
    nanoseconds
}

/// A change within the tick of the clock in which a file was made would not show. The bound is for clocks that were set back.
pub fn wait_for_the_tick_after(newest: i64) {
    for _ in 0..100 {
        if now() > newest {
            return;
        }
        std::thread::sleep(Duration::from_millis(1));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tick_is_waited_for_and_what_is_past_is_not() {
        let newest = now();
        wait_for_the_tick_after(newest);
        assert!(now() > newest);
    }
}
