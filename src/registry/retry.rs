//! When to ask again, and after how long.

use std::time::{Duration, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{HeaderMap, RETRY_AFTER};

use super::Error;
use super::http::{Failure, Refusal};

/// Exponential and without jitter, so that a run can be predicted: `base · 2ⁿ`, at most `cap`. The default is for what a build cannot do
/// without.
#[derive(Debug, Clone)]
pub struct RetryPolicy {
    /// Attempts in all, the first included. At least one is made.
    pub tries: u32,
    pub base: Duration,
    pub cap: Duration,
    /// The longest wait that a registry may impose by `Retry-After`. One that asks for more is not asked again.
    pub retry_after_cap: Duration,
    /// The longest silence that is borne, whether in waiting for an answer or in the midst of one, where a drip is no better
    /// (`pace`). Ten times that after the last byte of an upload, which a registry may have to hash and move before it answers.
    pub silence: Duration,
}

/// Each attempt that ends in silence has cost all the patience there is: no more than so many are made.
const SILENT_TRIES: u32 = 3;

impl Default for RetryPolicy {
    fn default() -> Self {
        Self {
            tries: 5,
            base: Duration::from_millis(200),
            cap: Duration::from_secs(10),
            retry_after_cap: Duration::from_secs(120),
            silence: Duration::from_secs(60),
        }
    }
}

impl RetryPolicy {
    /// For what only makes a build faster, as a cache does: nothing of it waits longer than some seconds.
    pub fn hasty() -> Self {
        Self { tries: 2, retry_after_cap: Duration::from_secs(2), silence: Duration::from_secs(5), ..Self::default() }
    }

    /// The longest silence after the last byte of an upload.
    pub(super) fn digestion(&self) -> Duration {
        self.silence * 10
    }

    /// The longest time for a small answer, attempts and all, however lively it drips.
    pub(super) fn small_answer(&self) -> Duration {
        self.silence * 2
    }

    /// The wait after failure number `failed` (from 1), or `None` when the attempts are used up or another would not help.
    pub(super) fn delay(&self, failed: u32, failure: &Failure) -> Option<Duration> {
        if failed >= self.tries || failed >= SILENT_TRIES && is_silence(failure) {
            return None;
        }
        let backoff = self.base.saturating_mul(1 << (failed - 1).min(16)).min(self.cap);
        match failure {
            Failure::Broken(error) => is_transient(error).then_some(backoff),
            Failure::Refused(refusal) => {
                let asked = retry_after(refusal, SystemTime::now()).unwrap_or_default();
                // GHCR asks for a millisecond, to each of hundreds of clients: attempts would be used up before anything has changed.
                (is_passing(refusal) && asked <= self.retry_after_cap).then(|| asked.max(backoff))
            }
        }
    }
}

fn is_transient(error: &Error) -> bool {
    match error {
        Error::Dns { .. } | Error::Refused { .. } | Error::Connect { .. } | Error::Interrupted { .. } => true,
        Error::Silent { .. } | Error::Stalled { .. } => true,
        Error::Source { error, .. } => is_transient(error),
        _ => false,
    }
}

fn is_silence(failure: &Failure) -> bool {
    matches!(failure, Failure::Broken(error) if error.silent_at().is_some())
}

fn is_passing(refusal: &Refusal) -> bool {
    matches!(refusal.status.as_u16(), 408 | 429 | 500 | 502 | 503 | 504)
        || refusal.status == StatusCode::FORBIDDEN && refusal.is_rate_limit()
}

/// From the header (RFC 9110 §10.2.3, and GHCR's milliseconds), else from GHCR's message `retry-after: 381.5ms, allowed: …`.
pub(super) fn retry_after(refusal: &Refusal, now: SystemTime) -> Option<Duration> {
    let from_header = |headers: &HeaderMap| parse_wait(headers.get(RETRY_AFTER)?.to_str().ok()?, now);
    let from_message = |message: &str| parse_wait(message.split_once("retry-after: ")?.1.split(',').next()?, now);
    from_header(&refusal.headers).or_else(|| from_message(&refusal.reply.message))
}

fn parse_wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    if digits == 0 {
        let at = SystemTime::from(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?);
        return Some(at.duration_since(now).unwrap_or_default());
    }
    let unit = match &text[digits..] {
        "" | "s" => 1.0,
        "ms" => 1e-3,
        "µs" | "us" => 1e-6,
        _ => return None,
    };
    Duration::try_from_secs_f64(text[..digits].parse::<f64>().ok()? * unit).ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::registry::{At, Reply};

    fn refused(status: StatusCode, message: &str) -> Failure {
        let at = At { registry: String::new(), repository: String::new(), step: String::new() };
        let reply = Reply { code: String::new(), message: message.to_owned() };
        Failure::Refused(Box::new(Refusal { at, led_to: None, status, headers: HeaderMap::new(), reply }))
    }

    #[test]
    fn waits_are_read_in_every_form_that_registries_send() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        for (text, wait) in [
            ("3", Some(3_000_000)),
            ("1.5s", Some(1_500_000)),
            ("250ms", Some(250_000)),
            ("381.5µs", Some(381)),
            ("Sun, 09 Sep 2001 01:46:50 GMT", Some(10_000_000)),
            ("Sun, 09 Sep 2001 01:46:30 GMT", Some(0)),
            ("soon", None),
            ("", None),
            ("-1", None),
            ("1 year", None),
            ("1.2.3", None),
            ("99999999999999999999999999", None),
        ] {
            assert_eq!(parse_wait(text, now).map(|w| w.as_micros()), wait, "{text}");
        }
    }

    #[test]
    fn the_backoff_doubles_up_to_its_cap_and_ends() {
        let policy = RetryPolicy { tries: 9, ..RetryPolicy::default() };
        let gone = refused(StatusCode::BAD_GATEWAY, "");
        let waits: Vec<_> = (1..=9).map(|n| policy.delay(n, &gone).map(|d| d.as_millis())).collect();
        assert_eq!(waits[..4], [Some(200), Some(400), Some(800), Some(1600)]);
        assert_eq!(waits[6..], [Some(10_000), Some(10_000), None]);
    }

    #[test]
    fn a_wait_is_granted_up_to_the_cap_and_one_beyond_is_the_end() {
        let asked = |seconds: u64| refused(StatusCode::TOO_MANY_REQUESTS, &format!("retry-after: {seconds}s, allowed: 2000/minute"));
        assert_eq!(RetryPolicy::default().delay(1, &asked(0)), Some(Duration::from_millis(200)), "not before the backoff");
        for (policy, seconds, wait) in [
            (RetryPolicy::default(), 60, Some(60)),
            (RetryPolicy::default(), 3600, None),
            (RetryPolicy::hasty(), 1, Some(1)),
            (RetryPolicy::hasty(), 60, None),
        ] {
            assert_eq!(policy.delay(1, &asked(seconds)).map(|wait| wait.as_secs()), wait, "{seconds} {policy:?}");
        }
    }

    #[test]
    fn only_passing_refusals_are_worth_another_try() {
        for (status, message, again) in [
            (401, "", false),
            (403, "permission_denied", false),
            (403, "You have exceeded a secondary rate limit", true),
            (404, "", false),
            (408, "", true),
            (429, "", true),
            (500, "", true),
            (501, "", false),
            (503, "", true),
        ] {
            let failure = refused(StatusCode::from_u16(status).unwrap(), message);
            assert_eq!(RetryPolicy::default().delay(1, &failure).is_some(), again, "{status} {message}");
        }
    }
}
