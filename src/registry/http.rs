//! One HTTP exchange: budget, redirects, silence, byte counts; and how one that failed is repeated.

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::header::{ACCEPT, AUTHORIZATION, CONTENT_LENGTH, CONTENT_TYPE, HeaderMap, HeaderValue, IF_RANGE, RANGE};
use reqwest::{Method, RequestBuilder, Response, StatusCode, Url};
use tokio::time::timeout;
use tokio_util::bytes::Bytes;

use super::budget::Budgets;
use super::connector::{Connector, diagnose, host};
use super::counters::Counters;
use super::endpoint::is_loopback;
use super::long_wait::LongWaits;
use super::pace::Pace;
use super::redirect::{self, MAX_REDIRECTS};
use super::repeated::{secrets_of_header, secrets_of_url};
use super::retry::RetryPolicy;
use super::{At, Error, Reply, Shown};

pub(super) use super::refusal::Refusal;

/// An answer that explains a refusal is read up to here.
const MAX_REFUSAL: usize = 64 * 1024;

/// Clones share everything but the policy.
#[derive(Clone)]
pub(super) struct Http {
    pub(super) connector: Arc<Connector>,
    pub(super) counters: Arc<Counters>,
    pub(super) budgets: Arc<Budgets>,
    pub(super) long_waits: Arc<LongWaits>,
    pub(super) policy: RetryPolicy,
}

/// One request, as often as it is sent.
pub(super) struct Call<'a> {
    pub(super) method: Method,
    pub(super) url: Url,
    /// For the origin of `url` only; not sent on to where a redirect leads.
    pub(super) headers: HeaderMap,
    /// Trusted besides the system's certificates.
    pub(super) ca: Option<&'a Path>,
    pub(super) payload: Payload<'a>,
    pub(super) at: At,
}

#[derive(Clone, Copy)]
pub(super) enum Payload<'a> {
    Nothing,
    Bytes(&'a [u8]),
    File(&'a super::push::FileBody<'a>),
    Relay(&'a super::copy::Relay<'a>),
}

/// Why there is no good answer.
#[derive(Debug)]
pub(super) enum Failure {
    Refused(Box<Refusal>),
    Broken(Error),
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self::Broken(error)
    }
}

impl Failure {
    /// `credentials` looks up what was shown.
    pub(super) fn into_error(self, credentials: impl FnOnce() -> Shown) -> Error {
        match self {
            Self::Refused(refusal) => refusal.into_error(credentials()),
            Self::Broken(error) => error,
        }
    }
}

impl Http {
    /// Sends `call` once, follows its redirects and returns a response with a success status, or 304 to a conditional request.
    pub(super) async fn once(&self, call: &Call<'_>, authorization: Option<&HeaderValue>) -> Result<Response, Failure> {
        // Who leads away from home is not believed to lead back, either.
        let (mut url, mut home, mut led) = (call.url.clone(), true, Vec::new());
        for _ in 0..=MAX_REDIRECTS {
            home &= redirect::same_origin(&url, &call.url);
            let response = self.exchange(call, &url, authorization.filter(|_| home), home).await?;
            match redirect::next(&call.method, response.status(), response.headers(), &url) {
                Some(next) => {
                    led.extend(secrets_of_url(&next));
                    url = next;
                }
                None if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED => return Ok(response),
                None => {
                    led.extend(authorization.into_iter().flat_map(secrets_of_header));
                    return Err(self.refusal(response, call, &led, home).await);
                }
            }
        }
        Err(Error::Redirects { at: Box::new(call.at.clone()), limit: MAX_REDIRECTS }.into())
    }

    /// Repeats `attempt` as the policy has it, at most `tries` times.
    pub(super) async fn retrying<T>(&self, tries: u32, mut attempt: impl AsyncFnMut() -> Result<T, Failure>) -> Result<T, Failure> {
        let mut failed = 0;
        loop {
            let failure = match attempt().await {
                Ok(done) => return Ok(done),
                Err(failure) => failure,
            };
            failed += 1;
            self.pause(failed, tries, failure).await?;
        }
    }

    /// Waits before the attempt that follows failure number `failed` (from 1), or returns the failure where none is to follow.
    pub(super) async fn pause(&self, failed: u32, tries: u32, failure: Failure) -> Result<(), Failure> {
        let wait = self.policy.delay(failed, &failure).filter(|_| failed < tries);
        let Some(wait) = wait else { return Err(failure) };
        self.long_waits.note(wait, self.policy.silence, &failure);
        tokio::time::sleep(wait).await;
        self.counters.retry();
        Ok(())
    }

    /// `home`: nobody has led away from where the call goes to.
    async fn exchange(&self, call: &Call<'_>, url: &Url, authorization: Option<&HeaderValue>, home: bool) -> Result<Response, Error> {
        let host = host(url);
        if !is_loopback(&host) {
            tokio::time::sleep(self.budgets.take(&host, Instant::now())).await;
        }
        let mut request = self.connector.client(url, call.ca, &call.at)?.request(call.method.clone(), url.clone());
        if home {
            request = request.headers(call.headers.clone());
            request = authorization.into_iter().fold(request, |request, value| request.header(AUTHORIZATION, value));
        } else {
            let harmless = [ACCEPT, RANGE, IF_RANGE];
            let kept = harmless.into_iter().filter_map(|name| Some((name.clone(), call.headers.get(&name)?.clone())));
            request = request.headers(kept.collect());
        }
        self.counters.request();
        let sent = match call.payload {
            Payload::Nothing if call.method == Method::POST || call.method == Method::PUT => {
                self.answered(request.header(CONTENT_LENGTH, 0), &call.at).await?
            }
            Payload::Nothing => self.answered(request, &call.at).await?,
            Payload::Bytes(bytes) => {
                self.counters.up(bytes.len());
                self.answered(request.body(bytes.to_vec()), &call.at).await?
            }
            Payload::File(file) => {
                let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, file.size);
                file.send(request, self, &call.at).await?
            }
            Payload::Relay(relay) => {
                let request = request.header(CONTENT_TYPE, "application/octet-stream").header(CONTENT_LENGTH, relay.blob.size);
                relay.send(request, self, &call.at).await?
            }
        };
        sent.map_err(|error| diagnose(&error, url, &call.at))
    }

    async fn answered(&self, request: RequestBuilder, at: &At) -> Result<reqwest::Result<Response>, Error> {
        timeout(self.policy.silence, request.send()).await.map_err(|_| silent(at, self.policy.silence))
    }

    /// `secrets`: what was sent besides the headers of `call` and is not told, in case that the server repeats it.
    async fn refusal(&self, mut response: Response, call: &Call<'_>, secrets: &[String], home: bool) -> Failure {
        let at = &call.at;
        let mut body = Vec::new();
        // Whatever can be read of the explanation will do.
        while let Ok(Some(chunk)) = self.chunk(&mut response, at).await {
            body.extend_from_slice(&chunk);
            if body.len() >= MAX_REFUSAL {
                break;
            }
        }
        let (status, headers) = (response.status(), response.headers().clone());
        let led_to = (!home).then(|| host(response.url()));
        let own_header = call.headers.get(AUTHORIZATION).map(secrets_of_header).unwrap_or_default();
        let reply = own_header.iter().chain(secrets).fold(Reply::parse(&body), |reply, secret| reply.without(secret));
        Failure::Refused(Box::new(Refusal { at: at.clone(), led_to, status, headers, reply }))
    }

    /// The next piece of a body, or `None` at its end.
    pub(super) async fn chunk(&self, response: &mut Response, at: &At) -> Result<Option<Bytes>, Error> {
        let (silence, began) = (self.policy.silence, Instant::now());
        let mut pace: Pace = response.extensions_mut().remove().unwrap_or_default();
        let next = timeout(pace.left(silence), response.chunk()).await.map_err(|_| pace.error(at, silence))?;
        let chunk = next.map_err(|error| diagnose(&error, response.url(), at))?;
        let bytes = chunk.as_ref().map_or(0, Bytes::len);
        pace.note(began.elapsed(), bytes, silence);
        response.extensions_mut().insert(pace);
        self.counters.down(bytes);
        Ok(chunk)
    }

    /// A whole body of at most `limit` bytes.
    pub(super) async fn body(&self, response: &mut Response, limit: usize, at: &At) -> Result<Vec<u8>, Error> {
        let mut body = Vec::new();
        while let Some(chunk) = self.chunk(response, at).await? {
            if body.len() + chunk.len() > limit {
                return Err(Error::TooLarge { at: Box::new(at.clone()), limit: limit as u64 });
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body)
    }
}

pub(super) fn silent(at: &At, after: Duration) -> Error {
    Error::Silent { at: Box::new(at.clone()), seconds: after.as_secs() }
}
