//! Connections: TLS trust, proxies, and what a connection that fails has died of.

use std::collections::HashMap;
use std::error::Error as StdError;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use reqwest::{Certificate, Url};

use super::client::Proxies;
use super::{At, Error};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

/// Whom to trust. Plain http trusts nobody, and so works on machines that have no certificates at all.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Trust {
    Nobody,
    System,
    SystemAnd(PathBuf),
}

pub(super) struct Connector {
    user_agent: String,
    proxies: Proxies,
    clients: Mutex<HashMap<Trust, reqwest::Client>>,
}

impl Connector {
    pub(super) fn new(user_agent: String, proxies: Proxies) -> Self {
        // Fails only where a provider is installed already, which is as good.
        let _ = rustls::crypto::ring::default_provider().install_default();
        Self { user_agent, proxies, clients: Mutex::default() }
    }

    /// The client for an address; `ca` is trusted besides the system's certificates.
    pub(super) fn client(&self, url: &Url, ca: Option<&Path>, at: &At) -> Result<reqwest::Client, Error> {
        let trust = match (url.scheme(), ca) {
            ("https", Some(ca)) => Trust::SystemAnd(ca.to_owned()),
            ("https", None) => Trust::System,
            _ => Trust::Nobody,
        };
        let mut clients = self.clients.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(client) = clients.get(&trust) {
            return Ok(client.clone());
        }
        let client = self.build(&trust, url, at)?;
        clients.insert(trust, client.clone());
        Ok(client)
    }

    fn build(&self, trust: &Trust, url: &Url, at: &At) -> Result<reqwest::Client, Error> {
        let mut builder = reqwest::Client::builder()
            .user_agent(&self.user_agent)
            .redirect(reqwest::redirect::Policy::none())
            .retry(reqwest::retry::never())
            .connect_timeout(CONNECT_TIMEOUT)
            .pool_idle_timeout(Duration::from_secs(30))
            .tcp_nodelay(true);
        builder = match trust {
            Trust::Nobody => builder.tls_certs_only([]),
            Trust::System => builder,
            Trust::SystemAnd(ca) => builder.tls_certs_merge(certificates(ca)?),
        };
        for proxy in self.proxies.to_reqwest()? {
            builder = builder.proxy(proxy);
        }
        builder.build().map_err(|error| Error::Tls { at: Box::new(at.clone()), host: host(url), reason: innermost(&error).to_string() })
    }
}

fn certificates(ca: &Path) -> Result<Vec<Certificate>, Error> {
    let pem = std::fs::read(ca).map_err(|source| Error::Read { path: ca.to_owned(), source })?;
    let bad = |reason: String| Error::Ca { path: ca.to_owned(), reason };
    let certificates = Certificate::from_pem_bundle(&pem).map_err(|error| bad(innermost(&error).to_string()))?;
    if certificates.is_empty() { Err(bad("it holds no certificate".to_owned())) } else { Ok(certificates) }
}

/// What a request that got no answer, or half of one, has died of.
pub(super) fn diagnose(error: &reqwest::Error, url: &Url, at: &At) -> Error {
    let (at, host) = (Box::new(at.clone()), host(url));
    let chain = || causes(error);
    let io = || chain().filter_map(|e| e.downcast_ref::<io::Error>());
    if let Some(reason) = chain().find_map(tls_error) {
        return Error::Tls { at, host, reason: reason.to_string() };
    }
    let reason = innermost(error).to_string();
    if !error.is_connect() {
        return Error::Interrupted { at, reason };
    }
    if chain().any(|e| e.to_string().starts_with("dns error")) {
        return Error::Dns { at, host };
    }
    if io().any(|e| e.kind() == io::ErrorKind::ConnectionRefused) {
        return Error::Refused { at, host };
    }
    if url.scheme() == "https" && reason.starts_with("tls ") {
        return Error::Tls { at, host, reason };
    }
    let reason = if error.is_timeout() { format!("no answer within {} s", CONNECT_TIMEOUT.as_secs()) } else { reason };
    Error::Connect { at, host, reason }
}

/// The TLS error in an error. An `io::Error` gives as its source not what it wraps, but the source of that.
fn tls_error<'a>(error: &'a (dyn StdError + 'static)) -> Option<&'a rustls::Error> {
    let wrapped = || error.downcast_ref::<io::Error>()?.get_ref().and_then(|inner| tls_error(inner));
    error.downcast_ref::<rustls::Error>().or_else(wrapped)
}

/// reqwest's own messages repeat the URL, whose query may hold a signature.
fn innermost(error: &reqwest::Error) -> &(dyn StdError + 'static) {
    causes(error).last().unwrap_or(error)
}

/// An error and what caused it.
fn causes(error: &reqwest::Error) -> impl Iterator<Item = &(dyn StdError + 'static)> {
    std::iter::successors(Some(error as &(dyn StdError + 'static)), |error| (**error).source())
}

/// `host:port`, the port where it is not the scheme's own.
pub(super) fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}
