//! The blocking door: options, runtime, and the choice between a registry and its mirror.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use tokio::runtime::Runtime;

use super::Error;
use super::auth::Auth;
use super::budget::Budgets;
use super::connector::Connector;
use super::counters::Counts;
use super::credentials::Credentials;
use super::endpoint::Endpoint;
use super::http::Http;
use super::long_wait::{LongWait, LongWaits};
use super::retry::RetryPolicy;
use super::session::Session;
use crate::oci::Reference;

/// `[registries."HOST"]`
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct RegistryOptions {
    /// `[http[s]://]host[:port][/path]`: pulls go there first. `insecure` and `ca` then speak of the mirror, unless it has a table of its own.
    pub mirror: Option<String>,
    /// Plain http. Loopback addresses are spoken to so in any case, but for those with a `ca`.
    pub insecure: bool,
    /// PEM certificates to trust besides the system's.
    pub ca: Option<PathBuf>,
}

/// What `HTTP_PROXY`, `HTTPS_PROXY` and `NO_PROXY` say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Proxies {
    pub http: Option<String>,
    pub https: Option<String>,
    pub no_proxy: Option<String>,
}

impl Proxies {
    pub(super) fn to_reqwest(&self) -> Result<Vec<reqwest::Proxy>, Error> {
        let exempt = || self.no_proxy.as_deref().and_then(reqwest::NoProxy::from_string);
        let made = |address: &String, proxy: reqwest::Result<reqwest::Proxy>| {
            let bad = |_| Error::Address { address: address.clone(), reason: "not the URL of a proxy".to_owned() };
            proxy.map(|proxy| proxy.no_proxy(exempt())).map_err(bad)
        };
        let http = self.http.iter().map(|address| made(address, reqwest::Proxy::http(address)));
        http.chain(self.https.iter().map(|address| made(address, reqwest::Proxy::https(address)))).collect()
    }
}

#[derive(Debug)]
pub struct ClientOptions {
    /// By host, as references name it.
    pub registries: BTreeMap<String, RegistryOptions>,
    /// Shared, so that the owner can still ask for secrets and warnings.
    pub credentials: Arc<Credentials>,
    pub user_agent: String,
    pub retries: RetryPolicy,
    pub proxies: Proxies,
    /// What another client has done for the same run.
    pub before: Counts,
}

impl Default for ClientOptions {
    fn default() -> Self {
        Self {
            registries: BTreeMap::new(),
            credentials: Arc::new(Credentials::anonymous()),
            user_agent: concat!("brik/", env!("CARGO_PKG_VERSION")).to_owned(),
            retries: RetryPolicy::default(),
            proxies: Proxies::default(),
            before: Counts::default(),
        }
    }
}

/// A client of any number of registries. Its methods block: call them from plain threads only, as many as you like.
#[derive(Clone)]
pub struct Client {
    http: Http,
    shared: Arc<Shared>,
}

struct Shared {
    runtime: Runtime,
    auth: Auth,
    /// Mirrors that were out of reach once, and how: the rest of the run goes past them.
    dead_mirrors: Mutex<BTreeMap<String, Arc<Error>>>,
}

impl Client {
    /// Starts the client; nothing is connected yet.
    pub fn new(options: ClientOptions) -> Result<Self, Error> {
        let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).thread_name("registry").enable_all().build();
        let http = Http {
            connector: Arc::new(Connector::new(options.user_agent, options.proxies)),
            counters: Arc::new(options.before.into()),
            budgets: Arc::new(Budgets::default()),
            long_waits: Arc::new(LongWaits::default()),
            policy: options.retries,
        };
        let shared = Shared {
            runtime: runtime.map_err(Error::Runtime)?,
            auth: Auth::new(options.credentials, options.registries),
            dead_mirrors: Mutex::default(),
        };
        Ok(Self { http, shared: Arc::new(shared) })
    }

    /// The same client with other patience: connections, tokens, budget, counters and all that is known are shared.
    pub fn with_retries(&self, retries: RetryPolicy) -> Self {
        Self { http: Http { policy: retries, ..self.http.clone() }, shared: self.shared.clone() }
    }

    /// The same client for what is not worth a wait ([`RetryPolicy::hasty`]).
    pub fn hasty(&self) -> Self {
        let hasty = RetryPolicy::hasty();
        let silence = hasty.silence.min(self.http.policy.silence);
        self.with_retries(RetryPolicy { silence, ..hasty })
    }

    /// Has `listener` hear of every long wait that a registry imposes from now on, and of those so far that were not taken.
    pub fn on_long_wait(&self, listener: impl Fn(&LongWait) + Send + Sync + 'static) {
        self.http.long_waits.listen(Arc::new(listener));
    }

    /// The long waits so far that no listener has heard of.
    pub fn take_long_waits(&self) -> Vec<LongWait> {
        self.http.long_waits.take()
    }

    /// What has gone over the wire so far.
    pub fn counters(&self) -> Counts {
        self.http.counters.counts()
    }

    /// The credentials that this client uses, for their warnings and secrets.
    pub fn credentials(&self) -> &Credentials {
        &self.shared.auth.credentials
    }

    pub(super) fn http(&self) -> &Http {
        &self.http
    }

    pub(super) fn block<T>(&self, future: impl Future<Output = T>) -> T {
        self.shared.runtime.block_on(future)
    }

    /// A session with the registry itself.
    pub(super) fn origin(&self, reference: &Reference) -> Result<Session<'_>, Error> {
        let endpoint = Endpoint::origin(&reference.registry, &self.shared.auth.registries)?;
        Ok(Session::new(&self.http, &self.shared.auth, endpoint, &reference.repository))
    }

    /// A session with the registry's mirror, where there is one.
    pub(super) fn mirror(&self, reference: &Reference) -> Result<Option<Session<'_>>, Error> {
        let endpoint = Endpoint::mirror(&reference.registry, &self.shared.auth.registries)?;
        Ok(endpoint.map(|endpoint| Session::new(&self.http, &self.shared.auth, endpoint, &reference.repository)))
    }

    /// Runs `read` with the registry's mirror, where there is one, and then with the registry itself if need be.
    pub(super) async fn mirrored<T>(
        &self,
        reference: &Reference,
        mut read: impl AsyncFnMut(&Session<'_>) -> Result<T, Error>,
    ) -> Result<T, Error> {
        let dead = || self.shared.dead_mirrors.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(mirror) = Endpoint::mirror(&reference.registry, &self.shared.auth.registries)? else {
            return read(&self.origin(reference)?).await;
        };
        let name = mirror.registry.clone();
        let known = dead().get(&name).cloned();
        let failed = match known {
            Some(failed) => failed,
            None => match read(&Session::new(&self.http, &self.shared.auth, mirror, &reference.repository)).await {
                Err(error) if !is_final(&error) => Arc::new(error),
                done => return done,
            },
        };
        if failed.is_unreachable() {
            dead().entry(name).or_insert_with(|| failed.clone());
        }
        read(&self.origin(reference)?).await.map_err(|origin| match is_final(&origin) {
            true => origin,
            false => Error::Mirror { mirror: failed, origin: Box::new(origin) },
        })
    }
}

/// Content that is wrong, or that cannot be put away: no reason to ask another, and nobody else's fault.
fn is_final(error: &Error) -> bool {
    matches!(error, Error::Write { .. } | Error::WrongDigest { .. } | Error::WrongSize { .. })
}
