//! Values of secrets and sockets of agents. Every value is made known to the redactor before anything is told.

use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};

use super::failure::{Code, Failure};
use crate::build::Access;
use crate::config::{Finding, Secret, SecretSource, Service, SshAgent};
use crate::report::{Redactor, redact_panics};
use crate::source::split_credentials;

/// Of a process: it knows the passwords of proxies, and panics heed it.
pub fn redactor(env: &BTreeMap<String, String>) -> Result<Redactor, Failure> {
    let redactor = Redactor::new();
    for name in ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "all_proxy"] {
        if let Some((_, password)) = env.get(name).and_then(|url| split_credentials(url).1) {
            redactor.add(password.as_bytes()).map_err(|error| Failure::usage(format!("${name}: {error}")))?;
        }
    }
    redact_panics(&redactor);
    Ok(redactor)
}

#[derive(Default)]
pub struct Given {
    /// By service and id.
    pub secrets: BTreeMap<(String, String), Vec<u8>>,
    /// By service and id.
    pub agents: BTreeMap<(String, String), PathBuf>,
    /// What was listed and has no value: by service and id, the variable.
    pub missing: BTreeMap<(String, String), String>,
}

impl Given {
    /// A variable that is not set gives no secret: whether that is a failure, the RUN that mounts it says (`required`). A file that
    /// was named and cannot be read is a failure.
    pub fn read<'s>(
        services: impl Iterator<Item = &'s Service>,
        env: &BTreeMap<String, String>,
        redactor: &Redactor,
    ) -> Result<Self, Failure> {
        let mut given = Self::default();
        for service in services {
            for secret in &service.secrets {
                let value = value_of(secret, env).map_err(|error| unreadable(service, secret, &error))?;
                if let (None, SecretSource::Variable(name)) = (&value, &secret.source) {
                    given.missing.insert((service.name.clone(), secret.id.clone()), name.clone());
                }
                if let Some(value) = value {
                    redactor.add(&value).map_err(|error| Failure::usage(format!("secret {:?}: {error}", secret.id)))?;
                    given.secrets.insert((service.name.clone(), secret.id.clone()), value);
                }
            }
            for agent in &service.ssh {
                let socket = agent.socket.clone().or_else(|| env.get("SSH_AUTH_SOCK").map(PathBuf::from));
                given.agents.extend(socket.map(|socket| ((service.name.clone(), agent.id.clone()), socket)));
            }
        }
        Ok(given)
    }
}

fn unreadable(service: &Service, secret: &Secret, error: &str) -> Failure {
    let finding = Finding::error("brik::secret::unreadable", format!("service {}: {error}", service.name));
    let help = format!("`--secret id={},src=FILE` stands in for it; a variable that is not set is no failure", secret.id);
    Failure::findings(Code::Usage, &[finding.help(help).at(secret.location.clone())], None)
}

/// What a service may show to servers.
#[derive(Clone, Copy)]
pub struct Shown<'s> {
    pub secrets: &'s [Secret],
    pub agents: &'s [SshAgent],
}

impl<'s> From<&'s Service> for Shown<'s> {
    fn from(service: &'s Service) -> Self {
        Self { secrets: &service.secrets, agents: &service.ssh }
    }
}

/// What may be shown to the servers that sources come from, by service. Secrets are read when a server asks, agents are only named.
pub fn access<'s>(services: BTreeMap<&'s str, Shown<'s>>, env: &'s BTreeMap<String, String>, redactor: &'s Redactor) -> Access<'s> {
    let agent = |(service, shown): (&&str, &Shown)| {
        let agent = shown.agents.iter().find(|agent| agent.id == "default")?;
        let socket = agent.socket.clone().or_else(|| env.get("SSH_AUTH_SOCK").map(PathBuf::from))?;
        Some(((*service).to_owned(), socket))
    };
    let agents = services.iter().filter_map(agent).collect();
    let secret = move |service: &str, id: &str| {
        let secret = services.get(service).and_then(|shown| shown.secrets.iter().find(|secret| secret.id == id));
        let Some(value) = secret.map_or(Ok(None), |secret| value_of(secret, env))? else { return Ok(None) };
        redactor.add(&value).map_err(|error| format!("secret {id:?}: {error}"))?;
        Ok(Some(value))
    };
    Access { secret: Box::new(secret), agents, env }
}

/// `None` where it comes from a variable that is not set.
fn value_of(secret: &Secret, env: &BTreeMap<String, String>) -> Result<Option<Vec<u8>>, String> {
    match &secret.source {
        SecretSource::Variable(name) => Ok(env.get(name).map(|value| value.clone().into_bytes())),
        SecretSource::File(path) => {
            let refuse = |error| format!("secret {:?}: cannot read {}: {error}", secret.id, path.display());
            read_bounded(path).map(Some).map_err(refuse)
        }
    }
}

/// Reads a file of at most a little more than the redactor takes. FIFOs are read, as a shell's `<(command)` is one; devices are not.
fn read_bounded(path: &Path) -> std::io::Result<Vec<u8>> {
    const LIMIT: u64 = 512 << 10;
    use std::os::unix::fs::FileTypeExt;
    let kind = std::fs::metadata(path)?.file_type();
    if kind.is_char_device() || kind.is_block_device() {
        return Err(std::io::Error::other("it is a device"));
    }
    let mut bytes = Vec::new();
    std::fs::File::open(path)?.take(LIMIT).read_to_end(&mut bytes)?;
    Ok(bytes)
}
