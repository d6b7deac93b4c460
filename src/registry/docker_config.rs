//! docker's `config.json` and podman's `containers-auth.json`, which share one format.

use std::collections::BTreeMap;
use std::fmt;
use std::io::{ErrorKind, Read};
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD};
use serde::Deserialize;

use super::credentials::{Credential, Login, Secret};
use super::unusable::{Flaw, Unusable};

const MAX_SIZE: u64 = 1 << 20;
const DOCKER_HUB_KEY: &str = "https://index.docker.io/v1/";

/// One configuration file.
pub(super) struct DockerConfig {
    /// For messages.
    pub(super) source: String,
    /// By `host[/path]`, normalised.
    logins: BTreeMap<String, Result<Login, Flaw>>,
    /// By host (`credHelpers`).
    pub(super) helpers: BTreeMap<String, String>,
    /// The helper for every host (`credsStore`).
    pub(super) store: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Document {
    auths: Option<BTreeMap<String, Entry>>,
    cred_helpers: Option<BTreeMap<String, String>>,
    creds_store: Option<String>,
}

#[derive(Deserialize)]
struct Entry {
    auth: Option<String>,
    username: Option<String>,
    password: Option<String>,
    identitytoken: Option<String>,
}

/// Reads a configuration; `None` where there is no such file. The error is the reason, without any content of the file.
pub(super) fn read(path: &Path, source: &str) -> Result<Option<DockerConfig>, String> {
    read_text(path)?.map(|text| parse(&text, source)).transpose()
}

/// The bytes of a configuration; `None` where there is no such file.
pub(super) fn read_text(path: &Path) -> Result<Option<Vec<u8>>, String> {
    let mut text = Vec::new();
    let file = match std::fs::File::open(path) {
        Ok(file) => file,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    file.take(MAX_SIZE + 1).read_to_end(&mut text).map_err(|error| error.to_string())?;
    if text.len() as u64 > MAX_SIZE {
        return Err(format!("larger than {MAX_SIZE} bytes"));
    }
    Ok(Some(text))
}

/// What is wrong with a document: serde_json's own words may quote a value, its position may not.
pub(super) fn place_of(error: &serde_json::Error) -> String {
    format!("{:?} error at line {}, column {}", error.classify(), error.line(), error.column())
}

pub(super) fn parse(text: &[u8], source: &str) -> Result<DockerConfig, String> {
    let document: Document = serde_json::from_slice(text).map_err(|error| place_of(&error))?;
    let mut logins: BTreeMap<String, Result<Login, Flaw>> = BTreeMap::new();
    for (key, entry) in document.auths.unwrap_or_default() {
        let (key, login) = (normal_key(&key), entry.login());
        // Of several names for one registry, those count that have a login.
        if login.is_ok() || !logins.contains_key(&key) {
            logins.extend(login.transpose().map(|login| (key, login)));
        }
    }
    let helpers = document.cred_helpers.unwrap_or_default().into_iter().map(|(key, helper)| (normal_key(&key), helper));
    Ok(DockerConfig {
        source: source.to_owned(),
        logins,
        helpers: helpers.filter(|(_, helper)| !helper.is_empty()).collect(),
        store: document.creds_store.filter(|store| !store.is_empty()),
    })
}

impl Entry {
    /// `None` where it has none: beside a helper, an entry only says that there was a login.
    fn login(self) -> Result<Option<Login>, Flaw> {
        let full = |value: Option<String>| value.filter(|value| !value.is_empty());
        if let Some(token) = full(self.identitytoken) {
            return Ok(Some(Login::IdentityToken(Secret::new(token))));
        }
        let (user, password) = match (full(self.auth), full(self.username), full(self.password)) {
            (Some(auth), ..) => decoded(auth.trim()).ok_or(Flaw::Auth)?,
            (None, Some(user), Some(password)) => (user, password),
            (None, None, None) => return Ok(None),
            _ => return Err(Flaw::Half),
        };
        if password.is_empty() {
            return Err(Flaw::Half);
        }
        Ok(Some(Login::Password { user, password: Secret::new(password) }))
    }
}

/// User and password of an `auth`.
fn decoded(auth: &str) -> Option<(String, String)> {
    let bytes = STANDARD.decode(auth).or_else(|_| STANDARD_NO_PAD.decode(auth)).ok()?;
    let text = String::from_utf8(bytes).ok()?;
    let (user, password) = text.split_once(':')?;
    Some((user.to_owned(), password.trim_end_matches('\0').to_owned()))
}

impl DockerConfig {
    /// The helper that this file names for a host (`credHelpers`).
    pub(super) fn helper(&self, registry: &str) -> Option<&str> {
        self.helpers.get(registry).map(String::as_str)
    }

    /// The entries for a repository, the most specific first: `host/org/repo`, `host/org`, `host` (containers-auth.json(5)).
    pub(super) fn stored(&self, registry: &str, repository: &str) -> impl Iterator<Item = Result<Credential, Unusable>> {
        let shorter = |key: &String| key.rsplit_once('/').map(|(shorter, _)| shorter.to_owned());
        let keys = std::iter::successors(Some(format!("{registry}/{repository}")), shorter);
        keys.filter_map(|key| match self.logins.get(&key)? {
            Ok(login) => Some(Ok(Credential { login: login.clone(), source: self.source.clone() })),
            Err(flaw) => Some(Err(self.flawed(&key, *flaw))),
        })
    }

    /// By `host[/path]`, with what is wrong with them.
    pub(super) fn entries(&self) -> impl Iterator<Item = (&str, Option<Unusable>)> {
        self.logins.iter().map(|(key, login)| (key.as_str(), login.as_ref().err().map(|flaw| self.flawed(key, *flaw))))
    }

    fn flawed(&self, registry: &str, flaw: Flaw) -> Unusable {
        Unusable::Entry { file: self.source.clone(), registry: registry.to_owned(), flaw }
    }

    pub(super) fn secrets(&self) -> impl Iterator<Item = &Secret> {
        self.logins.values().flatten().map(|login| match login {
            Login::Password { password, .. } => password,
            Login::IdentityToken(token) => token,
        })
    }
}

impl fmt::Debug for DockerConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DockerConfig").field("source", &self.source).field("for", &self.logins.keys()).finish_non_exhaustive()
    }
}

/// What docker calls a registry when it talks to a helper.
pub(super) fn server_key(registry: &str) -> &str {
    if registry == "docker.io" { DOCKER_HUB_KEY } else { registry }
}

/// `https://ghcr.io/v2/` and `ghcr.io` are one key; Docker Hub has three names.
pub(super) fn normal_key(key: &str) -> String {
    let key = key.strip_prefix("https://").or_else(|| key.strip_prefix("http://")).unwrap_or(key).trim_end_matches('/');
    let key = key.strip_suffix("/v1").or_else(|| key.strip_suffix("/v2")).unwrap_or(key);
    let (host, path) = key.split_once('/').map_or((key, None), |(host, path)| (host, Some(path)));
    let host = if matches!(host, "index.docker.io" | "registry-1.docker.io") { "docker.io" } else { host };
    path.map_or_else(|| host.to_owned(), |path| format!("{host}/{path}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn user(config: &DockerConfig, registry: &str, repository: &str) -> String {
        match config.stored(registry, repository).find_map(Result::ok).map(|c| c.login) {
            Some(Login::Password { user, .. }) => user,
            Some(Login::IdentityToken(_)) => "<token>".into(),
            None => "-".into(),
        }
    }

    #[test]
    fn the_most_specific_entry_wins() {
        let auth = |user: &str| format!(r#"{{"auth":"{}"}}"#, STANDARD.encode(format!("{user}:pass:word")));
        let text = format!(
            r#"{{"auths":{{"https://index.docker.io/v1/":{},"ghcr.io":{},"ghcr.io/org":{},"ghcr.io/org/app":{},"https://q.io/v2/":{},"t.io":{{"identitytoken":"x"}},"e.io":{{}}}}}}"#,
            auth("hub"),
            auth("host"),
            auth("org"),
            auth("app"),
            auth("quay")
        );
        let config = parse(text.as_bytes(), "f").unwrap();
        for (registry, repository, expected) in [
            ("docker.io", "library/busybox", "hub"),
            ("ghcr.io", "org/app", "app"),
            ("ghcr.io", "org/app/sub", "app"),
            ("ghcr.io", "org/application", "org"),
            ("ghcr.io", "organisation/app", "host"),
            ("q.io", "a", "quay"),
            ("t.io", "a", "<token>"),
            ("e.io", "a", "-"),
            ("io", "a", "-"),
        ] {
            assert_eq!(user(&config, registry, repository), expected, "{registry}/{repository}");
        }
        assert!(config.secrets().any(|secret| secret.expose() == "pass:word"));
    }

    #[test]
    fn damaged_entries_are_told_apart_from_empty_ones_and_damaged_files_quote_nothing() {
        for (entry, flaw) in [
            (r#"{"auth":"%%%"}"#, Some(Flaw::Auth)),
            (r#"{"auth":"bm9jb2xvbg=="}"#, Some(Flaw::Auth)),
            (r#"{"auth":"/w=="}"#, Some(Flaw::Auth)),
            (r#"{"auth":"dTo="}"#, Some(Flaw::Half)),
            (r#"{"username":"u"}"#, Some(Flaw::Half)),
            (r#"{"auth":"","email":"u@a.io"}"#, None),
        ] {
            let config = parse(format!(r#"{{"auths":{{"a.io":{entry}}}}}"#).as_bytes(), "f").unwrap();
            let expected = flaw.map(|flaw| Unusable::Entry { file: "f".into(), registry: "a.io".into(), flaw });
            assert_eq!(config.stored("a.io", "x").find_map(Result::err), expected, "{entry}");
            assert_eq!(user(&config, "a.io", "x"), "-");
        }
        for order in [
            [r#""a.io":{"auth":"%"}"#, r#""https://a.io":{"auth":"dTpw"}"#],
            [r#""a.io":{"auth":"dTpw"}"#, r#""https://a.io":{"auth":"%"}"#],
        ] {
            let config = parse(format!(r#"{{"auths":{{{}}}}}"#, order.join(",")).as_bytes(), "f").unwrap();
            assert_eq!(user(&config, "a.io", "x"), "u");
        }
        let error = parse(br#"{"auths":{"a.io":{"auth":{"hunter2":1}}}}"#, "f").map(|_| ()).unwrap_err();
        assert!(!error.contains("hunter2"), "{error}");
        assert!(parse(b"[]", "f").is_err() && parse(br#"{"auths":null}"#, "f").is_ok());
    }
}
