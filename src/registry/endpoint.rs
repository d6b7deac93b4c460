//! From a registry's name to the address that is asked: scheme, Docker Hub's own host, mirrors.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::path::PathBuf;

use reqwest::Url;

use super::Error;
use super::client::RegistryOptions;
use super::connector::host;
use super::redirect::same_origin;

const DOCKER_HUB: &str = "docker.io";
const DOCKER_HUB_HOST: &str = "registry-1.docker.io";

/// A host that serves the distribution API.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    /// `host[:port]` as it is configured: the key of credentials, and what messages say.
    pub(super) registry: String,
    base: Url,
    /// A mirror may keep its copies below a path: `mirror.local/hub` has `/v2/hub/library/busybox`.
    prefix: String,
    pub(super) ca: Option<PathBuf>,
    pub(super) is_mirror: bool,
}

impl Endpoint {
    /// The repository as this endpoint calls it.
    pub(super) fn repository(&self, repository: &str) -> String {
        format!("{}{repository}", self.prefix)
    }

    /// `…/v2/<repository>/<tail>`, where `repository` is this endpoint's name for it.
    pub(super) fn url(&self, repository: &str, tail: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("/v2/{repository}/{tail}"));
        url
    }

    /// `/v2/`, where the distribution API begins.
    pub(super) fn root(&self) -> Url {
        let mut url = self.base.clone();
        url.set_path("/v2/");
        url
    }

    /// Whether an address that the registry handed out is its own, and may hear our credentials.
    pub(super) fn owns(&self, url: &Url) -> bool {
        same_origin(&self.base, url)
    }

    /// Whether a token server may hear our credentials for this endpoint: by TLS anyone that it names; without, its own host where it has
    /// none either, and whoever is spoken to so in any case.
    pub(super) fn may_tell(&self, realm: &Url, options: &BTreeMap<String, RegistryOptions>) -> bool {
        let is_own = || self.is_plain_http() && self.base.host() == realm.host();
        let is_plain = || Self::origin(&host(realm), options).is_ok_and(|server| server.is_plain_http());
        realm.scheme() == "https" || is_own() || is_plain()
    }

    fn is_plain_http(&self) -> bool {
        self.base.scheme() == "http"
    }

    /// The registry itself.
    pub(super) fn origin(registry: &str, options: &BTreeMap<String, RegistryOptions>) -> Result<Self, Error> {
        let own = options.get(registry);
        // Where a mirror without a table of its own is named, `insecure` and `ca` speak of the mirror.
        let own = own.filter(|own| own.mirror.as_deref().is_none_or(|mirror| options.contains_key(split_mirror(mirror).1)));
        let host = if registry == DOCKER_HUB { DOCKER_HUB_HOST } else { registry };
        Self::at(None, registry, host, own)
    }

    /// The mirror that pulls of `registry` try first.
    pub(super) fn mirror(registry: &str, options: &BTreeMap<String, RegistryOptions>) -> Result<Option<Self>, Error> {
        let Some((own, mirror)) = options.get(registry).and_then(|own| Some((own, own.mirror.as_deref()?))) else { return Ok(None) };
        let (scheme, host, path) = split_mirror(mirror);
        let endpoint = Self::at(scheme, host, host, Some(options.get(host).unwrap_or(own)))?;
        let prefix = if path.is_empty() { String::new() } else { format!("{path}/") };
        Ok(Some(Self { prefix, is_mirror: true, ..endpoint }))
    }

    fn at(scheme: Option<&str>, registry: &str, host: &str, options: Option<&RegistryOptions>) -> Result<Self, Error> {
        let ca = options.and_then(|options| options.ca.clone());
        let insecure = options.is_some_and(|options| options.insecure);
        let scheme = scheme.unwrap_or(if ca.is_none() && (insecure || is_loopback(host)) { "http" } else { "https" });
        let bad = |reason: &str| Error::Address { address: registry.to_owned(), reason: reason.to_owned() };
        let base = Url::parse(&format!("{scheme}://{host}/")).map_err(|error| bad(&error.to_string()))?;
        if base.host_str().is_none() || base.path() != "/" || base.query().is_some() || !base.username().is_empty() {
            return Err(bad("expected host or host:port"));
        }
        Ok(Self { registry: registry.to_owned(), base, prefix: String::new(), ca, is_mirror: false })
    }
}

/// `[scheme://]host[/path]`
fn split_mirror(mirror: &str) -> (Option<&str>, &str, &str) {
    let (scheme, rest) = match mirror.split_once("://") {
        Some((scheme @ ("http" | "https"), rest)) => (Some(scheme), rest),
        _ => (None, mirror),
    };
    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
    (scheme, host, path.trim_matches('/'))
}

/// 127.0.0.0/8, ::1 and localhost, with or without a port. Docker speaks plain http to them, and so do we.
pub(super) fn is_loopback(host: &str) -> bool {
    let name = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, _)) => v6,
        None => host.rsplit_once(':').map_or(host, |(name, _)| name),
    };
    name == "localhost" || name.parse::<IpAddr>().is_ok_and(|ip| ip.is_loopback())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn options(entries: &[(&str, Option<&str>, bool, Option<&str>)]) -> BTreeMap<String, RegistryOptions> {
        let one = |&(name, mirror, insecure, ca): &(&str, Option<&str>, bool, Option<&str>)| {
            let options = RegistryOptions { mirror: mirror.map(str::to_owned), insecure, ca: ca.map(PathBuf::from) };
            (name.to_owned(), options)
        };
        entries.iter().map(one).collect()
    }

    #[test]
    fn a_registry_is_asked_over_https_unless_it_is_loopback_or_insecure() {
        let options = options(&[("old.local:5000", None, true, None), ("127.0.0.1:5001", None, false, Some("/ca.pem"))]);
        for (registry, url) in [
            ("ghcr.io", "https://ghcr.io/v2/a/b/tags/list"),
            ("docker.io", "https://registry-1.docker.io/v2/a/b/tags/list"),
            ("127.9.9.9:5000", "http://127.9.9.9:5000/v2/a/b/tags/list"),
            ("[::1]:5000", "http://[::1]:5000/v2/a/b/tags/list"),
            ("localhost", "http://localhost/v2/a/b/tags/list"),
            ("127.0.0.1.evil.io", "https://127.0.0.1.evil.io/v2/a/b/tags/list"),
            ("old.local:5000", "http://old.local:5000/v2/a/b/tags/list"),
            ("127.0.0.1:5001", "https://127.0.0.1:5001/v2/a/b/tags/list"),
        ] {
            assert_eq!(Endpoint::origin(registry, &options).unwrap().url("a/b", "tags/list").as_str(), url);
        }
    }

    #[test]
    fn without_tls_a_token_server_hears_credentials_only_where_that_was_allowed() {
        let options = options(&[("old.local:5000", None, true, None), ("auth.local:5001", None, true, None)]);
        for (registry, realm, may) in [
            ("ghcr.io", "https://elsewhere.io/token", true),
            ("ghcr.io", "http://ghcr.io/token", false),
            ("ghcr.io", "http://localhost:1/token", true),
            ("old.local:5000", "http://old.local:5001/token", true),
            ("old.local:5000", "http://elsewhere.io/token", false),
            ("old.local:5000", "http://auth.local:5001/token", true),
            ("old.local:5000", "http://auth.local/token", false),
            ("127.0.0.1:5000", "http://elsewhere.io/token", false),
            ("127.0.0.1:5000", "http://[::1]:5001/token", true),
        ] {
            let endpoint = Endpoint::origin(registry, &options).unwrap();
            assert_eq!(endpoint.may_tell(&realm.parse().unwrap(), &options), may, "{registry} {realm}");
        }
    }

    #[test]
    fn a_mirror_takes_its_registrys_trust_unless_it_has_a_table_of_its_own() {
        let shared = options(&[("docker.io", Some("mirror.local/hub"), true, None)]);
        let mirror = Endpoint::mirror("docker.io", &shared).unwrap().unwrap();
        assert_eq!(mirror.url(&mirror.repository("library/a"), "x").as_str(), "http://mirror.local/v2/hub/library/a/x");
        assert_eq!(Endpoint::origin("docker.io", &shared).unwrap().url("a/b", "x").scheme(), "https");

        let own = options(&[("r.local", Some("https://m.local"), true, None), ("m.local", None, false, Some("/m.pem"))]);
        let mirror = Endpoint::mirror("r.local", &own).unwrap().unwrap();
        assert_eq!((mirror.url("a", "x").as_str(), mirror.ca), ("https://m.local/v2/a/x", Some(PathBuf::from("/m.pem"))));
        assert!(Endpoint::origin("r.local", &own).unwrap().is_plain_http());
    }

    #[test]
    fn an_address_that_is_no_host_is_refused() {
        for bad in ["", "a b", "user@host", "host/path", "host?x", "[::1", "host:99999"] {
            assert!(Endpoint::origin(bad, &BTreeMap::new()).is_err(), "{bad}");
        }
    }
}
