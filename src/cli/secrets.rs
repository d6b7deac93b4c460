//! Values of secrets and sockets of agents, read once. Every value is made known to the redactor before anything is told.

use std::collections::BTreeMap;
use std::path::PathBuf;

use super::failure::Failure;
use crate::config::{Config, SecretSource};
use crate::report::Redactor;

#[derive(Default)]
pub struct Given {
    pub secrets: BTreeMap<String, Vec<u8>>,
    pub agents: BTreeMap<String, PathBuf>,
    /// By service: what was listed and has no value.
    pub missing: Vec<(String, String)>,
}

impl Given {
    /// A variable that is not set gives no secret: whether that is a failure, the RUN that mounts it says (`required`). A file that
    /// was named and cannot be read is a failure.
    pub fn read(config: &Config, env: &BTreeMap<String, String>, redactor: &Redactor) -> Result<Self, Failure> {
        let mut given = Self::default();
        for service in config.services.values() {
            for secret in &service.secrets {
                let value = match &secret.source {
                    SecretSource::Variable(name) => env.get(name).map(|value| value.clone().into_bytes()),
                    SecretSource::File(path) => {
                        let refuse = |error| Failure::usage(format!("secret {:?}: cannot read {}: {error}", secret.id, path.display()));
                        Some(std::fs::read(path).map_err(refuse)?)
                    }
                };
                if let (None, SecretSource::Variable(name)) = (&value, &secret.source) {
                    given.missing.push((service.name.clone(), format!("secret {:?} of {}: ${name} is not set", secret.id, service.name)));
                }
                if let Some(value) = value {
                    redactor.add(&value).map_err(|error| Failure::usage(format!("secret {:?}: {error}", secret.id)))?;
                    given.secrets.insert(secret.id.clone(), value);
                }
            }
            for agent in &service.ssh {
                let socket = agent.socket.clone().or_else(|| env.get("SSH_AUTH_SOCK").map(PathBuf::from));
                given.agents.extend(socket.map(|socket| (agent.id.clone(), socket)));
            }
        }
        Ok(given)
    }
}
