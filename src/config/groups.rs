//! What may stand for several services: a group of brik.toml, a glob over names.

use std::collections::{BTreeMap, BTreeSet};

use super::finding::Finding;
use super::glob::{Glob, GlobError};
use super::resolve::Scope;
use super::suggest::did_you_mean;
use super::types::Config;

/// Why a text stands for no service.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    #[error("there is no service {name:?}")]
    Unknown { name: String },
    #[error("no service matches {glob:?}")]
    NoMatch { glob: String },
    #[error("invalid glob {glob:?}: {error}")]
    Glob { glob: String, error: GlobError },
}

impl Config {
    /// The services that a text stands for: the name of one, a group, or a glob over names. Never none.
    ///
    /// # Errors
    /// Where it is none of them, or matches nothing.
    pub fn services_named(&self, text: &str) -> Result<BTreeSet<String>, NameError> {
        if self.services.contains_key(text) {
            return Ok(BTreeSet::from([text.to_owned()]));
        }
        if let Some(group) = self.groups.get(text) {
            return Ok(group.clone());
        }
        if !is_glob(text) {
            return Err(NameError::Unknown { name: text.to_owned() });
        }
        let glob = Glob::of_names(text).map_err(|error| NameError::Glob { glob: text.to_owned(), error })?;
        let found: BTreeSet<String> = self.services.keys().filter(|name| glob.is_match(name)).cloned().collect();
        if found.is_empty() { Err(NameError::NoMatch { glob: text.to_owned() }) } else { Ok(found) }
    }
}

/// Whether a text can be no name, but a glob over names.
pub(super) fn is_glob(text: &str) -> bool {
    text.contains(['*', '?', '[', '{'])
}

/// The services of each group. Groups may be members of each other, also in a circle: what counts is which services they lead to.
pub(super) fn resolve(scope: &Scope, services: &[&str], findings: &mut Vec<Finding>) -> BTreeMap<String, BTreeSet<String>> {
    let groups = &scope.file.groups;
    let mut found = Vec::new();
    let mut direct: BTreeMap<&str, Direct> = BTreeMap::new();
    for (name, members) in groups {
        let place = scope.layers.key(&["groups", name]);
        if services.contains(&name.as_str()) {
            let finding = Finding::error("brik::config::group-name", format!("the group {name} is called like a service"));
            found.push(finding.help("give it another name: on the command line, nobody could tell which is meant").at(place));
        }
        let own = direct.entry(name).or_default();
        for member in members.iter().map(|member| member.0.as_str()) {
            let place = || scope.layers.item(&["groups", name], |item| item.as_str() == Some(member));
            if services.contains(&member) {
                own.services.insert(member);
            } else if let Some((other, _)) = groups.get_key_value(member) {
                own.groups.insert(other);
            } else if let Some(glob) = is_glob(member).then(|| Glob::of_names(member)).and_then(Result::ok) {
                let matching: Vec<&str> = services.iter().copied().filter(|service| glob.is_match(service)).collect();
                if matching.is_empty() {
                    found.push(Finding::warning("brik::config::no-match", format!("no service matches {member}")).at(place()));
                }
                own.services.extend(matching);
            } else {
                let known = services.iter().copied().chain(groups.keys().map(String::as_str));
                let finding = Finding::error("brik::config::unknown-service", format!("there is no service {member}"));
                found.push(finding.maybe_help(did_you_mean(member, known)).at(place()));
                own.unknown = true;
            }
        }
    }
    let all: BTreeMap<String, BTreeSet<String>> = direct.keys().map(|&group| (group.to_owned(), reached(&direct, group))).collect();
    for (name, _) in all.iter().filter(|(name, services)| services.is_empty() && !direct[name.as_str()].unknown) {
        let finding = Finding::error("brik::config::empty-group", format!("the group {name} has no service"));
        found.push(finding.at(scope.layers.key(&["groups", name])));
    }
    // What seems to be missing may be among what is wrong elsewhere.
    findings.extend(found.into_iter().filter(|finding| scope.complete || finding.code == "brik::config::group-name"));
    all
}

/// What a group names itself.
#[derive(Default)]
struct Direct<'a> {
    services: BTreeSet<&'a str>,
    groups: BTreeSet<&'a str>,
    /// Something else, too.
    unknown: bool,
}

/// The services of a group and of all groups that it leads to.
fn reached<'a>(direct: &BTreeMap<&'a str, Direct<'a>>, group: &'a str) -> BTreeSet<String> {
    let (mut services, mut seen, mut pending) = (BTreeSet::new(), BTreeSet::new(), vec![group]);
    while let Some(next) = pending.pop() {
        if let Some(own) = direct.get(next).filter(|_| seen.insert(next)) {
            services.extend(own.services.iter().map(|&service| service.to_owned()));
            pending.extend(&own.groups);
        }
    }
    services
}
