//! Who we are at a registry: the configuration files of docker and podman first, the environment next, nobody last.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::docker_config::{self, DockerConfig};
use super::helper::{self, Found};

/// A value that must not be shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    pub fn new(value: impl Into<String>) -> Self {
        Self(value.into())
    }

    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("[redacted]")
    }
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Login {
    Password {
        user: String,
        password: Secret,
    },
    /// OAuth2 refresh token: what `docker login` stores as `identitytoken`.
    IdentityToken(Secret),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Credential {
    pub login: Login,
    /// For messages: `~/.docker/config.json`, `$REGISTRY_TOKEN`, `docker-credential-gcr`.
    pub source: String,
}

impl Credential {
    pub(super) fn secret(&self) -> &Secret {
        match &self.login {
            Login::Password { password, .. } => password,
            Login::IdentityToken(token) => token,
        }
    }
}

/// Something about credentials that the user should hear once. It never fails a build: without them brik goes on as nobody.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Warning {
    #[error("{source_name} is not readable as a docker configuration: {reason}")]
    Unreadable { source_name: String, reason: String },
    #[error("{source_name} names the credential helper {helper} for {registry}, which is not installed; going on without it")]
    HelperMissing { source_name: String, helper: String, registry: String },
    #[error("the credential helper {helper} failed for {registry}: {reason}; going on without it")]
    HelperFailed { helper: String, registry: String, reason: String },
}

/// Every credential that this run may use. Helpers are only asked when their registry is.
#[derive(Default)]
pub struct Credentials {
    configs: Vec<DockerConfig>,
    /// The one registry that credentials of the environment are sent to, and they.
    environment: Option<(String, Credential)>,
    /// For helpers, which are the user's programs and find their own credentials there; without brik's.
    env: BTreeMap<String, String>,
    /// What helpers said, by helper and host.
    asked: Mutex<BTreeMap<(String, String), Option<Credential>>>,
    warnings: Mutex<Vec<Warning>>,
}

impl Credentials {
    /// Nobody, everywhere.
    pub fn anonymous() -> Self {
        Self::default()
    }

    /// Reads `$REGISTRY_AUTH_FILE`, docker's `config.json`, podman's `auth.json` and the environment. `env` is the process
    /// environment; its `REGISTRY_TOKEN`, `REGISTRY_PAT` and (for ghcr.io) `GITHUB_TOKEN` go to `registry` alone, which is the host (with or
    /// without a path)
    /// that the project is configured to push to.
    pub fn discover(env: BTreeMap<String, String>, registry: Option<&str>) -> Self {
        let mut warnings = Vec::new();
        let mut configs = Vec::new();
        for (path, name) in files(&env) {
            match docker_config::read(&path, &name) {
                Ok(found) => configs.extend(found),
                Err(reason) => warnings.push(Warning::Unreadable { source_name: name, reason }),
            }
        }
        let host = registry.and_then(|registry| registry.split('/').next());
        let environment = host.and_then(|registry| Some((registry.to_owned(), from_environment(&env, registry)?)));
        let env = env.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
        Self { configs, environment, env, asked: Mutex::default(), warnings: Mutex::new(warnings) }
    }

    /// One credential, for one registry.
    pub fn only(registry: &str, credential: Credential) -> Self {
        Self { environment: Some((registry.to_owned(), credential)), ..Self::default() }
    }

    /// Where credentials are known to be, in the order in which they are looked for: a registry (with a path, or `*` for a helper of all) and the source.
    /// Whether a helper really has any is not asked.
    pub fn places(&self) -> Vec<(String, String)> {
        let helper_of_all =
            |config: &DockerConfig| Some(("*".to_owned(), format!("{} (by {})", helper::program(config.store.as_deref()?), config.source)));
        let files = self.configs.iter().flat_map(|config| config.places().chain(helper_of_all(config)));
        let environment = self.environment.iter().map(|(host, credential)| (host.clone(), credential.source.clone()));
        files.chain(environment).collect()
    }

    /// The credential for a repository. May run a credential helper, for at most 10 s, once a helper and registry.
    pub fn find(&self, registry: &str, repository: &str) -> Option<Credential> {
        let of_file = |config: &DockerConfig| match config.helper(registry) {
            Some(helper) => self.ask(helper, registry, &config.source),
            None => config.stored(registry, repository).or_else(|| self.ask(config.store.as_deref()?, registry, &config.source)),
        };
        let from_environment = || self.environment.as_ref().filter(|(host, _)| host == registry).map(|(_, credential)| credential.clone());
        self.configs.iter().find_map(of_file).or_else(from_environment)
    }

    fn ask(&self, helper: &str, registry: &str, source: &str) -> Option<Credential> {
        // Held while the helper runs: it is asked once, however many threads want to know.
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let key = (helper.to_owned(), registry.to_owned());
        if let Some(known) = asked.get(&key) {
            return known.clone();
        }
        let (helper, registry) = key.clone();
        let found = match helper::get(&helper, docker_config::server_key(&registry), &self.env, helper::TIMEOUT) {
            Found::Credential(credential) => Some(credential),
            Found::Nothing => None,
            Found::Missing => {
                self.warn(Warning::HelperMissing { source_name: source.to_owned(), helper: helper::program(&helper), registry });
                None
            }
            Found::Failed(reason) => {
                self.warn(Warning::HelperFailed { helper: helper::program(&helper), registry, reason });
                None
            }
        };
        asked.insert(key, found.clone());
        found
    }

    fn warn(&self, warning: Warning) {
        self.warnings.lock().unwrap_or_else(PoisonError::into_inner).push(warning);
    }

    /// The warnings since the last call.
    pub fn take_warnings(&self) -> Vec<Warning> {
        std::mem::take(&mut *self.warnings.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Every value known so far that must not appear in any output; their encoded forms are the redactor's business.
    pub fn secrets(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.configs.iter().flat_map(DockerConfig::secrets);
        let environment = self.environment.iter().map(|(_, credential)| credential.secret());
        let helpers = asked.values().flatten().map(Credential::secret);
        let mut all: Vec<String> = stored.chain(environment).chain(helpers).map(|secret| secret.expose().to_owned()).collect();
        all.sort();
        all.dedup();
        all
    }
}

impl fmt::Debug for Credentials {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let environment = self.environment.as_ref().map(|(host, credential)| (host, &credential.source));
        f.debug_struct("Credentials").field("configs", &self.configs).field("environment", &environment).finish_non_exhaustive()
    }
}

/// Where configurations lie, with the names that messages give them.
fn files(env: &BTreeMap<String, String>) -> Vec<(PathBuf, String)> {
    let var = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(Path::new);
    let named = |path: PathBuf| (path.clone(), path.display().to_string());
    let docker = docker_file(env);
    let explicit = var("REGISTRY_AUTH_FILE").map(|path| named(path.to_owned()));
    let podman = var("XDG_RUNTIME_DIR").map(|directory| named(directory.join("containers/auth.json")));
    [explicit, docker, podman].into_iter().flatten().collect()
}

/// Where docker's configuration is or would be, and its name for messages; `None` without `$DOCKER_CONFIG` and `$HOME`.
pub(super) fn docker_file(env: &BTreeMap<String, String>) -> Option<(PathBuf, String)> {
    let var = |name: &str| env.get(name).filter(|value| !value.is_empty()).map(Path::new);
    match (var("DOCKER_CONFIG"), var("HOME")) {
        (Some(directory), _) => {
            let path = directory.join("config.json");
            Some((path.clone(), path.display().to_string()))
        }
        (None, Some(home)) => Some((home.join(".docker/config.json"), "~/.docker/config.json".to_owned())),
        (None, None) => None,
    }
}

/// Variables with credentials that are meant for brik alone.
const OWN: [&str; 2] = ["REGISTRY_TOKEN", "REGISTRY_PAT"];

fn from_environment(env: &BTreeMap<String, String>, registry: &str) -> Option<Credential> {
    let value = |name: &str| env.get(name).map(|value| value.trim()).filter(|value| !value.is_empty());
    let names = ["REGISTRY_TOKEN", "REGISTRY_PAT", "GITHUB_TOKEN"];
    let usable = |name: &&&str| **name != "GITHUB_TOKEN" || registry == "ghcr.io";
    let (name, token) = names.iter().filter(usable).find_map(|name| Some((name, value(name)?)))?;
    let user = value("REGISTRY_USERNAME").or_else(|| value("GITHUB_ACTOR")).unwrap_or("x-access-token").to_owned();
    Some(Credential { login: Login::Password { user, password: Secret::new(token) }, source: format!("${name}") })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn env(vars: &[(&str, &str)]) -> BTreeMap<String, String> {
        vars.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn show(credential: Option<Credential>) -> String {
        match credential {
            None => "nobody".into(),
            Some(Credential { login: Login::Password { user, password }, source }) => format!("{user}:{} {source}", password.expose()),
            Some(Credential { login: Login::IdentityToken(token), source }) => format!("<{}> {source}", token.expose()),
        }
    }

    #[test]
    fn tokens_of_the_environment_go_to_the_configured_registry_only() {
        for (vars, configured, asked, expected) in [
            (&[("REGISTRY_TOKEN", "t"), ("REGISTRY_PAT", "p")][..], "r.io", "r.io", "x-access-token:t $REGISTRY_TOKEN"),
            (&[("REGISTRY_PAT", "p"), ("REGISTRY_USERNAME", "u"), ("GITHUB_ACTOR", "a")], "r.io", "r.io", "u:p $REGISTRY_PAT"),
            (&[("GITHUB_TOKEN", "g"), ("GITHUB_ACTOR", "a")], "ghcr.io", "ghcr.io", "a:g $GITHUB_TOKEN"),
            (&[("GITHUB_TOKEN", "g")], "r.io", "r.io", "nobody"),
            (&[("GITHUB_TOKEN", "g")], "r.io", "ghcr.io", "nobody"),
            (&[("REGISTRY_TOKEN", "t")], "r.io", "docker.io", "nobody"),
            (&[("REGISTRY_TOKEN", " ")], "r.io", "r.io", "nobody"),
        ] {
            let credentials = Credentials::discover(env(vars), Some(configured));
            assert_eq!(show(credentials.find(asked, "a/b")), expected, "{vars:?}");
        }
    }

    #[test]
    fn a_docker_login_wins_over_the_environment() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.json"), r#"{"auths":{"r.io":{"username":"u","password":"p"}}}"#).unwrap();
        let vars = env(&[("DOCKER_CONFIG", home.path().to_str().unwrap()), ("REGISTRY_TOKEN", "t")]);
        let credentials = Credentials::discover(vars, Some("r.io"));
        assert!(show(credentials.find("r.io", "a")).starts_with("u:p /"));
        assert_eq!(credentials.secrets(), ["p", "t"]);
    }

    #[test]
    fn a_broken_configuration_is_a_warning() {
        let home = tempfile::tempdir().unwrap();
        std::fs::write(home.path().join("config.json"), "{").unwrap();
        let credentials = Credentials::discover(env(&[("DOCKER_CONFIG", home.path().to_str().unwrap())]), None);
        assert!(matches!(credentials.take_warnings()[..], [Warning::Unreadable { .. }]));
        assert_eq!(credentials.find("r.io", "a"), None);
    }

    #[test]
    fn debug_output_shows_no_secret() {
        let vars = env(&[("REGISTRY_TOKEN", "hunter2")]);
        let credentials = Credentials::discover(vars, Some("r.io"));
        let text = format!("{credentials:?} {:?}", credentials.find("r.io", "a"));
        assert!(!text.contains("hunter2") && text.contains("$REGISTRY_TOKEN"), "{text}");
    }

    #[test]
    fn only_the_matching_helper_is_asked_and_only_once() {
        let home = tempfile::tempdir().unwrap();
        let script = "read host; echo $1 $host >>$HOME/asked; echo '{\"Username\":\"u\",\"Secret\":\"s\"}'";
        helper::tests::install(home.path(), "other", script);
        let mut vars = helper::tests::install(home.path(), "good", script);
        let config = r#"{"credHelpers":{"r.io":"good","x.io":"other","gone.io":"gone"}}"#;
        std::fs::write(home.path().join("config.json"), config).unwrap();
        vars.insert("DOCKER_CONFIG".to_owned(), home.path().display().to_string());
        let credentials = Credentials::discover(vars, None);
        for _ in 0..2 {
            assert_eq!(show(credentials.find("r.io", "a")), "u:s docker-credential-good");
        }
        assert_eq!(std::fs::read_to_string(home.path().join("asked")).unwrap(), "get r.io\n");
        assert_eq!(credentials.find("gone.io", "a"), None);
        assert!(matches!(&credentials.take_warnings()[..], [Warning::HelperMissing { helper, .. }] if helper == "docker-credential-gone"));
        assert_eq!(credentials.secrets(), ["s"]);
    }
}
