//! From a 401 to an `Authorization` header, and who remembers it.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, PoisonError};

use reqwest::Url;
use reqwest::header::{HeaderValue, WWW_AUTHENTICATE};
use tokio::time::timeout;

use super::challenge;
use super::client::RegistryOptions;
use super::credentials::{Credential, Credentials};
use super::endpoint::Endpoint;
use super::http::{Failure, Http, Refusal, silent};
use super::token::{self, Token};
use super::{At, Error, Shown};

/// What a token has to allow, in the order in which it is asked for.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Scopes(pub(super) Vec<String>);

impl Scopes {
    pub(super) fn pull(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull")])
    }

    pub(super) fn push(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push")])
    }

    pub(super) fn delete(repository: &str) -> Self {
        Self(vec![format!("repository:{repository}:pull,push,delete")])
    }

    pub(super) fn and_pull(mut self, repository: &str) -> Self {
        self.0.push(format!("repository:{repository}:pull"));
        self
    }
}

/// Where a header is needed, and what for.
pub(super) struct Purpose<'a> {
    pub(super) endpoint: &'a Endpoint,
    /// The endpoint's name for it; decides which path-scoped credential applies.
    pub(super) repository: &'a str,
    pub(super) scopes: &'a Scopes,
    pub(super) at: &'a At,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Bearer {
    pub(super) realm: Url,
    pub(super) service: Option<String>,
}

/// How a registry wants to be told who we are; learnt from its first 401.
#[derive(Debug, Clone)]
enum Scheme {
    Basic,
    Bearer(Bearer),
}

/// A token, or the place where one will be. Locked while it is fetched: threads that want the same wait for it.
type Slot = Arc<tokio::sync::Mutex<Option<Token>>>;

pub(super) struct Auth {
    pub(super) credentials: Arc<Credentials>,
    /// By host, as references name it.
    pub(super) registries: BTreeMap<String, RegistryOptions>,
    schemes: Mutex<HashMap<String, Scheme>>,
    tokens: Mutex<HashMap<(String, Scopes), Slot>>,
}

impl Auth {
    pub(super) fn new(credentials: Arc<Credentials>, registries: BTreeMap<String, RegistryOptions>) -> Self {
        Self { credentials, registries, schemes: Mutex::default(), tokens: Mutex::default() }
    }

    /// The header to begin with: none as long as the registry has not asked for one.
    pub(super) async fn authorization(&self, http: &Http, purpose: &Purpose<'_>) -> Result<Option<HeaderValue>, Failure> {
        let scheme = self.schemes.lock().unwrap_or_else(PoisonError::into_inner).get(&purpose.endpoint.registry).cloned();
        match scheme {
            None => Ok(None),
            Some(Scheme::Basic) => Ok(self.basic(purpose)),
            Some(Scheme::Bearer(bearer)) => self.token(http, &bearer, purpose, None).await.map(Some),
        }
    }

    /// The header that answers a 401 to a request that was sent with `used`.
    pub(super) async fn answer(
        &self,
        http: &Http,
        purpose: &Purpose<'_>,
        refusal: Refusal,
        used: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Failure> {
        let headers = refusal.headers.get_all(WWW_AUTHENTICATE).into_iter().filter_map(|value| value.to_str().ok());
        let challenges: Vec<_> = headers.flat_map(challenge::parse).collect();
        let bearer = challenges.iter().filter(|c| c.scheme == "bearer").find_map(|c| {
            let realm = c.params.get("realm")?.parse::<Url>().ok().filter(|url| matches!(url.scheme(), "http" | "https"))?;
            Some(Bearer { realm, service: c.params.get("service").cloned() })
        });
        if let Some(bearer) = bearer {
            self.learn(purpose, Scheme::Bearer(bearer.clone()));
            return self.token(http, &bearer, purpose, used).await;
        }
        if !challenges.iter().any(|c| c.scheme == "basic") {
            let status = refusal.status.as_u16();
            return Err(Error::Header { at: Box::new(purpose.at.clone()), status, header: "WWW-Authenticate" }.into());
        }
        self.learn(purpose, Scheme::Basic);
        let header = self.basic(purpose).filter(|header| used != Some(header));
        header.ok_or_else(|| Failure::Refused(Box::new(refusal)))
    }

    /// Whether an endpoint has asked who we are so far.
    pub(super) fn was_asked(&self, endpoint: &Endpoint) -> bool {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).contains_key(&endpoint.registry)
    }

    /// What a repository is shown.
    pub(super) fn shown(&self, endpoint: &Endpoint, repository: &str) -> Shown {
        let source = self.credentials.find(&endpoint.registry, repository).map(|credential| credential.source);
        Shown { source, unusable: self.credentials.unusable(&endpoint.registry, repository) }
    }

    fn credential(&self, purpose: &Purpose<'_>) -> Option<Credential> {
        self.credentials.find(&purpose.endpoint.registry, purpose.repository)
    }

    fn learn(&self, purpose: &Purpose<'_>, scheme: Scheme) {
        self.schemes.lock().unwrap_or_else(PoisonError::into_inner).insert(purpose.endpoint.registry.clone(), scheme);
    }

    fn basic(&self, purpose: &Purpose<'_>) -> Option<HeaderValue> {
        token::basic(&self.credential(purpose)?.login)
    }

    /// A fresh token that is not `rejected`.
    async fn token(
        &self,
        http: &Http,
        bearer: &Bearer,
        purpose: &Purpose<'_>,
        rejected: Option<&HeaderValue>,
    ) -> Result<HeaderValue, Failure> {
        let usable = |token: &&Token| token.is_fresh() && Some(&token.header) != rejected;
        let slot = |scopes: &Scopes| {
            let key = (purpose.endpoint.registry.clone(), scopes.clone());
            self.tokens.lock().unwrap_or_else(PoisonError::into_inner).entry(key).or_default().clone()
        };
        // Who may push may pull, and is not asked who he is again.
        if *purpose.scopes == Scopes::pull(purpose.repository)
            && let Ok(wider) = slot(&Scopes::push(purpose.repository)).try_lock()
            && let Some(token) = wider.as_ref().filter(usable)
        {
            return Ok(token.header.clone());
        }
        let slot = slot(purpose.scopes);
        // Who has less patience than the one who fetches it does not wait as long.
        let at = purpose.at;
        let mut slot = timeout(http.policy.silence, slot.lock()).await.map_err(|_| silent(at, http.policy.silence))?;
        if let Some(token) = slot.as_ref().filter(usable) {
            return Ok(token.header.clone());
        }
        let token = token::fetch(http, &self.registries, bearer, purpose, self.credential(purpose).as_ref()).await?;
        Ok(slot.insert(token).header.clone())
    }
}
