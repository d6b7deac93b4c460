//! What SERVICE means on the command line: a name, a group of brik.toml, a glob over names (`'svc-*'`), or a folder (`.`, `services/api`).

use std::collections::BTreeSet;
use std::path::Path;

use super::failure::Failure;
use crate::config::{Config, NameError, did_you_mean};

/// Names of the services that were asked for; none where nothing was, which means all.
pub fn select(config: &Config, cwd: &Path, asked: &[String]) -> Result<Vec<String>, Failure> {
    let mut names = BTreeSet::new();
    for text in asked {
        names.extend(if is_path(text) { lying_in(config, cwd, text)? } else { named(config, cwd, text)? });
    }
    Ok(names.into_iter().collect())
}

/// Names have no slash, and do not end with a dot.
fn is_path(text: &str) -> bool {
    text.contains('/') || matches!(text, "." | "..")
}

fn named(config: &Config, cwd: &Path, text: &str) -> Result<BTreeSet<String>, Failure> {
    config.services_named(text).map_err(|error| {
        let known = || config.services.keys().chain(config.groups.keys()).map(String::as_str);
        let help = match &error {
            NameError::Unknown { name } if cwd.join(name).is_dir() => format!("the folder is ./{name}"),
            NameError::Unknown { name } => did_you_mean(name, known()).unwrap_or_else(|| listed(config)),
            NameError::NoMatch { .. } | NameError::Glob { .. } => listed(config),
        };
        Failure::usage(format!("{error}; {help}"))
    })
}

/// The services whose context or Dockerfile is a path or lies below it.
fn lying_in(config: &Config, cwd: &Path, text: &str) -> Result<BTreeSet<String>, Failure> {
    let place = cwd.join(text).canonicalize().map_err(|error| Failure::usage(format!("there is no {text:?}: {error}")))?;
    let inside = config.services.values().filter(|service| service.context.starts_with(&place) || service.dockerfile.starts_with(&place));
    let found: BTreeSet<String> = inside.map(|service| service.name.clone()).collect();
    if !found.is_empty() {
        return Ok(found);
    }
    let around = config.services.values().filter(|service| place.starts_with(&service.context) && service.context != config.root);
    let help = match around.max_by_key(|service| service.context.as_os_str().len()) {
        Some(service) => format!("it lies in the context of {0}: name {0}", service.name),
        None => listed(config),
    };
    Err(Failure::usage(format!("no service has its context or Dockerfile in {text:?}; {help}")))
}

fn listed(config: &Config) -> String {
    let names = |names: Vec<&String>| names.into_iter().map(String::as_str).collect::<Vec<_>>().join(", ");
    let services = match config.services.is_empty() {
        true => "brik.toml has no service".to_owned(),
        false => format!("the services are: {}", names(config.services.keys().collect())),
    };
    match config.groups.is_empty() {
        true => services,
        false => format!("{services}; the groups: {}", names(config.groups.keys().collect())),
    }
}
