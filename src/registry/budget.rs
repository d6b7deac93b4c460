//! How many requests a minute a registry gets from us. GHCR cuts off at 2000 a minute.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

/// So many at once, and then one an interval: at most 1900 in any minute.
const BURST: u32 = 1000;
const INTERVAL: Duration = Duration::from_nanos(60_000_000_000 / 900);

/// A token bucket a host, kept as the moment at which the bucket will be full again.
#[derive(Default)]
pub(super) struct Budgets(Mutex<HashMap<String, Instant>>);

impl Budgets {
    /// Takes one request off the budget of `host`. How long to wait before sending it.
    pub(super) fn take(&self, host: &str, now: Instant) -> Duration {
        let mut buckets = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let full_at = buckets.entry(host.to_owned()).or_insert(now);
        *full_at = (*full_at).max(now) + INTERVAL;
        full_at.duration_since(now).saturating_sub(INTERVAL * BURST)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_minute_sees_more_than_1900_requests() {
        let (budgets, start) = (Budgets::default(), Instant::now());
        let sent: Vec<Duration> = (0..3000).map(|_| budgets.take("ghcr.io", start)).collect();
        assert_eq!(sent.iter().filter(|at| at.is_zero()).count(), BURST as usize);
        assert!(sent.iter().filter(|at| **at < Duration::from_secs(60)).count() <= 1900);
    }

    #[test]
    fn a_rest_fills_the_bucket_again() {
        let (budgets, start) = (Budgets::default(), Instant::now());
        (0..2000).for_each(|_| _ = budgets.take("a", start));
        assert!(budgets.take("b", start).is_zero());
        assert!(budgets.take("a", start + Duration::from_secs(600)).is_zero());
    }
}
