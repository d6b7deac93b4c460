//! Who we are at a registry: the configuration files of docker and podman first, the environment next, nobody last.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};

use super::docker_config::{self, DockerConfig};
use super::helper::{self, Found};
use super::unusable::Unusable;

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

/// Every credential that this run may use. Helpers are only asked when their registry is.
#[derive(Default)]
pub struct Credentials {
    pub(super) configs: Vec<DockerConfig>,
    /// Files that cannot be read.
    unreadable: Vec<Unusable>,
    /// The one registry that credentials of the environment are sent to, and they.
    pub(super) environment: Option<(String, Credential)>,
    /// For helpers, which are the user's programs and find their own credentials there; without brik's.
    env: BTreeMap<String, String>,
    /// What helpers said, by helper and host.
    asked: Mutex<BTreeMap<(String, String), Asked>>,
    met: Mutex<Met>,
}

/// What came of asking a helper, which may know nothing.
type Asked = Result<Option<Credential>, Unusable>;

/// What could not be used so far, in its order; the user should hear of each once.
#[derive(Default)]
struct Met {
    all: Vec<Unusable>,
    /// How many of them were taken.
    taken: usize,
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
        let mut unreadable = Vec::new();
        let mut configs = Vec::new();
        for (path, name) in files(&env) {
            match docker_config::read(&path, &name) {
                Ok(found) => configs.extend(found),
                Err(reason) => unreadable.push(Unusable::File { file: name, reason }),
            }
        }
        let host = registry.and_then(|registry| registry.split('/').next());
        let environment = host.and_then(|registry| Some((registry.to_owned(), from_environment(&env, registry)?)));
        let env = env.into_iter().filter(|(name, _)| !OWN.contains(&name.as_str())).collect();
        let met = Mutex::new(Met { all: unreadable.clone(), taken: 0 });
        Self { configs, unreadable, environment, env, asked: Mutex::default(), met }
    }

    /// One credential, for one registry.
    pub fn only(registry: &str, credential: Credential) -> Self {
        Self { environment: Some((registry.to_owned(), credential)), ..Self::default() }
    }

    /// The credential for a repository. May run a credential helper, for at most 10 s, once a helper and registry.
    pub fn find(&self, registry: &str, repository: &str) -> Option<Credential> {
        let (found, unusable) = self.search(registry, repository);
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        for one in unusable {
            if !met.all.contains(&one) {
                met.all.push(one);
            }
        }
        found
    }

    /// What is configured for a repository and cannot be used, as far as it comes before the credential that [`Self::find`] finds. A file
    /// that cannot be read may be about any.
    pub fn unusable(&self, registry: &str, repository: &str) -> Vec<Unusable> {
        self.unreadable.iter().cloned().chain(self.search(registry, repository).1).collect()
    }

    fn search(&self, registry: &str, repository: &str) -> (Option<Credential>, Vec<Unusable>) {
        let candidates = self.configs.iter().flat_map(|config| {
            let own = config.helper(registry);
            let stored = own.is_none().then(|| config.stored(registry, repository)).into_iter().flatten();
            let helper = own.or(config.store.as_deref());
            let asked = move || helper.and_then(|helper| self.ask(helper, registry, &config.source).transpose());
            stored.chain(std::iter::once_with(asked).flatten())
        });
        let mut unusable = Vec::new();
        for candidate in candidates {
            match candidate {
                Ok(credential) => return (Some(credential), unusable),
                Err(why) => unusable.push(why),
            }
        }
        let environment = self.environment.as_ref().filter(|(host, _)| host == registry);
        (environment.map(|(_, credential)| credential.clone()), unusable)
    }

    /// What a helper says that `file` names for a registry; `None` if it knows nothing.
    pub(super) fn ask(&self, helper: &str, registry: &str, file: &str) -> Asked {
        // Held while the helper runs: it is asked once, however many threads want to know.
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let ask = || {
            let found = helper::get(helper, docker_config::server_key(registry), &self.env, helper::TIMEOUT);
            let (file, helper, registry) = (file.to_owned(), helper::program(helper), registry.to_owned());
            match found {
                Found::Credential(credential) => Ok(Some(credential)),
                Found::Nothing => Ok(None),
                Found::Missing => Err(Unusable::HelperMissing { file, helper, registry }),
                Found::Failed(reason) => Err(Unusable::HelperFailed { file, helper, registry, reason }),
            }
        };
        asked.entry((helper.to_owned(), registry.to_owned())).or_insert_with(ask).clone()
    }

    /// What could not be used, since the last call.
    pub fn take_unusable(&self) -> Vec<Unusable> {
        let mut met = self.met.lock().unwrap_or_else(PoisonError::into_inner);
        let new = met.all[met.taken..].to_vec();
        met.taken = met.all.len();
        new
    }

    /// Every value known so far that must not appear in any output; their encoded forms are the redactor's business.
    pub fn secrets(&self) -> Vec<String> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let stored = self.configs.iter().flat_map(DockerConfig::secrets);
        let environment = self.environment.iter().map(|(_, credential)| credential.secret());
        let helpers = asked.values().flatten().flatten().map(Credential::secret);
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
        assert_eq!(credentials.find("r.io", "a"), None);
        assert!(matches!(credentials.take_unusable()[..], [Unusable::File { .. }]));
        assert!(matches!(credentials.unusable("r.io", "a")[..], [Unusable::File { .. }]));
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
        assert!(matches!(&credentials.take_unusable()[..], [Unusable::HelperMissing { helper, .. }] if helper == "docker-credential-gone"));
        assert_eq!(credentials.secrets(), ["s"]);
    }

    #[test]
    fn what_cannot_be_used_is_told_once_with_its_file_and_how_to_mend_it_and_the_next_is_used() {
        let home = tempfile::tempdir().unwrap();
        let auths = r#""a.io":{"auth":"!!!hunter2"},"a.io/org":{"auth":"aHVudGVyMg=="},"h.io":{"username":"hunter2"}"#;
        let config = format!(r#"{{"auths":{{{auths}}},"credHelpers":{{"gone.io":"gone"}}}}"#);
        std::fs::write(home.path().join("config.json"), config).unwrap();
        std::fs::create_dir(home.path().join("containers")).unwrap();
        std::fs::write(home.path().join("containers/auth.json"), r#"{"auths":{"h.io":{"auth":"dTpw"}}}"#).unwrap();
        let path = home.path().to_str().unwrap();
        let vars = env(&[("DOCKER_CONFIG", path), ("XDG_RUNTIME_DIR", path), ("PATH", path), ("REGISTRY_TOKEN", "t")]);
        let credentials = Credentials::discover(vars, Some("gone.io"));
        for (registry, repository, found, told, fix) in [
            ("a.io", "x", "nobody", vec!["the entry for a.io in "], "brik login a.io"),
            ("a.io", "org/x", "nobody", vec!["the entry for a.io/org in ", "the entry for a.io in "], "repair the entry for a.io/org"),
            ("h.io", "x", "u:p ", vec!["the entry for h.io in "], "brik login h.io"),
            ("gone.io", "x", "x-access-token:t ", vec!["docker-credential-gone for gone.io, which is not on PATH"], "install docker-"),
            ("other.io", "x", "nobody", vec![], ""),
        ] {
            for first in [true, false] {
                assert!(show(credentials.find(registry, repository)).starts_with(found), "{registry}");
                // That of a.io is known when the second row meets it.
                let new = credentials.take_unusable().len();
                assert_eq!(new, if first { told.len().min(1) } else { 0 }, "{registry}/{repository}");
            }
            let unusable = credentials.unusable(registry, repository);
            assert_eq!(unusable.len(), told.len(), "{unusable:?}");
            for (one, told) in unusable.iter().zip(told) {
                let text = one.to_string();
                assert!(
                    text.contains(told) && text.contains("/config.json") && !format!("{text}{}", one.fix()).contains("hunter2"),
                    "{text}"
                );
            }
            assert!(unusable.first().map(Unusable::fix).unwrap_or_default().contains(fix), "{unusable:?}");
        }
        let unusable: Vec<bool> = credentials.places(|_| true, "docker.io").iter().map(|place| place.unusable.is_some()).collect();
        assert_eq!(unusable, [true, true, true, true, false, false]);
    }
}
