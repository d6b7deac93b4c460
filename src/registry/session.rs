//! A conversation with one repository at one endpoint: authorised, retried, with errors that say what was going on.

use reqwest::header::HeaderMap;
use reqwest::{Method, Response, StatusCode, Url};
use tokio_util::bytes::Bytes;

use super::auth::{Auth, Purpose, Scopes};
use super::connector::host;
use super::endpoint::Endpoint;
use super::http::{Call, Failure, Http, Payload};
use super::{At, Error};

/// A mirror is a shortcut: it is not worth a long wait.
const MIRROR_TRIES: u32 = 2;

pub(super) struct Session<'a> {
    pub(super) http: &'a Http,
    auth: &'a Auth,
    endpoint: Endpoint,
    /// The endpoint's name for the repository.
    pub(super) repository: String,
}

impl<'a> Session<'a> {
    pub(super) fn new(http: &'a Http, auth: &'a Auth, endpoint: Endpoint, repository: &str) -> Self {
        let repository = endpoint.repository(repository);
        Self { http, auth, endpoint, repository }
    }

    pub(super) fn at(&self, step: impl Into<String>) -> At {
        At { registry: self.endpoint.registry.clone(), repository: self.repository.clone(), step: step.into() }
    }

    /// A request without a body for `/v2/<repository>/<tail>`.
    pub(super) fn call(&self, method: Method, tail: &str, at: At) -> Call<'_> {
        self.call_url(method, self.endpoint.url(&self.repository, tail), at)
    }

    /// A request for `/v2/` itself.
    pub(super) fn call_root(&self, at: At) -> Call<'_> {
        self.call_url(Method::GET, self.endpoint.root(), at)
    }

    /// The name of the mirror that this is a conversation with, if it is one.
    pub(super) fn mirror(&self) -> Option<String> {
        self.endpoint.is_mirror.then(|| self.endpoint.registry.clone())
    }

    /// Whether the registry has asked for credentials so far.
    pub(super) fn was_asked(&self) -> bool {
        self.auth.was_asked(&self.endpoint)
    }

    /// A request for an address that the registry has handed out.
    pub(super) fn call_url(&self, method: Method, url: Url, at: At) -> Call<'_> {
        Call { method, url, headers: HeaderMap::new(), ca: self.endpoint.ca.as_deref(), payload: Payload::Nothing, at }
    }

    /// Whether an address is the endpoint's own, and hears who we are.
    pub(super) fn owns(&self, url: &Url) -> bool {
        self.endpoint.owns(url)
    }

    pub(super) fn tries(&self) -> u32 {
        if self.endpoint.is_mirror { MIRROR_TRIES } else { u32::MAX }
    }

    /// Sends `call` until it succeeds, is refused for good, or the attempts are used up.
    pub(super) async fn send(&self, call: &Call<'_>, scopes: &Scopes) -> Result<Response, Error> {
        let sent = self.http.retrying(self.tries(), async || self.attempt(call, scopes).await).await;
        sent.map_err(|failure| self.error(failure))
    }

    /// The same with the whole body, of at most `limit` bytes: one that breaks off is asked for again.
    pub(super) async fn read(&self, call: &Call<'_>, scopes: &Scopes, limit: usize) -> Result<(Response, Vec<u8>), Error> {
        let read = async || {
            let mut response = self.attempt(call, scopes).await?;
            let body = self.http.body(&mut response, limit, &call.at).await?;
            Ok((response, body))
        };
        self.http.retrying(self.tries(), read).await.map_err(|failure| self.error(failure))
    }

    /// Sends `call` once; a 401 is answered with a new token, once.
    pub(super) async fn attempt(&self, call: &Call<'_>, scopes: &Scopes) -> Result<Response, Failure> {
        if !self.owns(&call.url) {
            return self.http.once(call, None).await.map_err(|failure| match failure {
                Failure::Refused(mut refusal) => {
                    refusal.led_to.get_or_insert_with(|| host(&call.url));
                    Failure::Refused(refusal)
                }
                broken => broken,
            });
        }
        let purpose = Purpose { endpoint: &self.endpoint, repository: &self.repository, scopes, at: &call.at };
        let authorization = self.auth.authorization(self.http, &purpose).await?;
        match self.http.once(call, authorization.as_ref()).await {
            Err(Failure::Refused(refusal)) if refusal.led_to.is_none() && refusal.status == StatusCode::UNAUTHORIZED => {
                let authorization = self.auth.answer(self.http, &purpose, *refusal, authorization.as_ref()).await?;
                self.http.once(call, Some(&authorization)).await
            }
            sent => sent,
        }
    }

    /// The error of a failure, with the source of the credentials that were shown.
    pub(super) fn error(&self, failure: Failure) -> Error {
        failure.into_error(|| self.auth.shown(&self.endpoint, &self.repository))
    }

    pub(super) async fn chunk(&self, response: &mut Response, at: &At) -> Result<Option<Bytes>, Error> {
        self.http.chunk(response, at).await
    }
}
