//! What a registry says to `GET /v2/` (distribution spec, "Determining Support"): whether it is there, what time it has, and whether it
//! knows us.

use std::time::{Duration, Instant, SystemTime};

use reqwest::StatusCode;
use reqwest::header::{CONTENT_TYPE, DATE, HeaderMap};
use tokio::time::timeout;

use super::auth::Scopes;
use super::http::Failure;
use super::session::Session;
use super::{At, Client, Error, Shown};
use crate::oci::Reference;

/// How a registry has answered to who did not say who he is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Greeting {
    /// `host[:port]`: the registry, or its mirror.
    pub registry: String,
    /// It wants to know who asks.
    pub guarded: bool,
    /// Its clock, to the second.
    pub date: Option<SystemTime>,
    /// From the question to the answer, with what it took to connect.
    pub took: Duration,
}

impl Client {
    /// Asks a registry whether it is there, once and without credentials. Takes no longer than a small answer may.
    pub fn greet(&self, registry: &str) -> Result<Greeting, Error> {
        greet(self, &self.origin(&named(registry))?)
    }

    /// The same of the mirror that pulls from this registry try first, where there is one.
    pub fn greet_mirror(&self, registry: &str) -> Result<Option<Greeting>, Error> {
        self.mirror(&named(registry))?.map(|session| greet(self, &session)).transpose()
    }

    /// Whether the registry accepts our credentials for it; `false` if it has not asked for any.
    ///
    /// # Errors
    /// [`Error::Unauthorized`] and [`Error::Denied`] where it does not, with their source.
    pub fn log_in(&self, registry: &str) -> Result<bool, Error> {
        let session = self.origin(&named(registry))?;
        let call = session.call_root(session.at("log in"));
        within(self, &call.at, async { session.send(&call, &Scopes(Vec::new())).await })?;
        Ok(session.was_asked())
    }
}

fn named(registry: &str) -> Reference {
    Reference { registry: registry.to_owned(), repository: String::new(), tag: None, digest: None }
}

fn greet(client: &Client, session: &Session<'_>) -> Result<Greeting, Error> {
    let call = session.call_root(session.at("reach it"));
    let started = Instant::now();
    let (headers, guarded) = within(client, &call.at, async {
        match session.http.once(&call, None).await {
            Ok(response) if is_page(response.headers()) => {
                let got = "an HTML page".to_owned();
                Err(Error::Garbage { at: Box::new(call.at.clone()), expected: "the answer of a registry", got })
            }
            Ok(response) => Ok((response.headers().clone(), false)),
            Err(Failure::Refused(refusal)) if refusal.led_to.is_none() && refusal.status == StatusCode::UNAUTHORIZED => {
                Ok((refusal.headers, true))
            }
            Err(failure) => Err(failure.into_error(Shown::default)),
        }
    })?;
    Ok(Greeting { registry: call.at.registry.clone(), guarded, date: date(&headers), took: started.elapsed() })
}

/// Lets an exchange take as long as a small answer may, however it drips.
fn within<T>(client: &Client, at: &At, exchange: impl Future<Output = Result<T, Error>>) -> Result<T, Error> {
    let limit = client.http().policy.small_answer();
    let slow = || Error::Slow { at: Box::new(at.clone()), seconds: limit.as_secs() };
    client.block(async { timeout(limit, exchange).await }).unwrap_or_else(|_| Err(slow()))
}

fn is_page(headers: &HeaderMap) -> bool {
    headers.get(CONTENT_TYPE).is_some_and(|value| value.as_bytes().starts_with(b"text/html"))
}

fn date(headers: &HeaderMap) -> Option<SystemTime> {
    let text = headers.get(DATE)?.to_str().ok()?;
    Some(jiff::fmt::rfc2822::DateTimeParser::new().parse_timestamp(text).ok()?.into())
}
