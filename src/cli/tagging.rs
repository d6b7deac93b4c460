//! What the tags of a run are made of: facts of git and CI, and what the command line says in the place of brik.toml.

use std::collections::BTreeMap;

use super::args::TaggingArgs;
use super::failure::Failure;
use crate::config::metadata_action::Flavor;
use crate::config::{Finding, ListError, Service, TagEntry, entry_lines};
use crate::plan::epoch_seconds;
use crate::plan::tags::{self, Facts, TagError, Tags};
use crate::source::{Event, GitFacts};

pub struct Tagging {
    facts: Facts,
    given: GivenTags,
}

/// What the command line says of tags.
#[derive(Debug, Clone, Default)]
pub struct GivenTags {
    /// Of all services, instead of their own.
    pub entries: Option<Vec<TagEntry>>,
    pub flavor: Option<Flavor>,
}

impl GivenTags {
    pub fn new(args: &TaggingArgs) -> Result<Self, Failure> {
        let wrong = |flag: &str, message: String, help: Option<&str>| {
            let help = help.map(|help| format!("; {help}")).unwrap_or_default();
            Failure::usage(format!("{flag}: {message}{help}"))
        };
        let entries = args.tags.as_deref().map(TagEntry::list).transpose();
        let flavor = args.flavor.as_deref().map(|text| Flavor::parse(entry_lines(text))).transpose();
        Ok(Self {
            entries: entries.map_err(|error: ListError| wrong("--tags", error.to_string(), error.help()))?,
            flavor: flavor.map_err(|error| wrong("--flavor", error.reason.clone(), error.help.as_deref()))?,
        })
    }
}

impl Tagging {
    /// SOURCE_DATE_EPOCH stands for the current time, where it is set.
    pub fn new(git: &GitFacts, env: &BTreeMap<String, String>, given: GivenTags) -> Self {
        let fixed = env.get("SOURCE_DATE_EPOCH").and_then(|text| epoch_seconds(text).ok());
        let now = fixed.unwrap_or_else(|| jiff::Timestamp::now().as_second());
        let date = jiff::Timestamp::from_second(now).ok().map(|time| time.strftime("%Y%m%d").to_string());
        let facts = Facts {
            sha: git.sha.clone(),
            branch: git.branch.clone(),
            tags: git.tags.clone(),
            pr: git.pr.clone(),
            date,
            event: Event::read(git, env),
            now,
        };
        Self { facts, given }
    }

    pub fn tags_of(&self, service: &Service) -> Result<Tags, TagError> {
        self.render(&service.name, &service.tags, service.flavor.as_ref())
    }

    /// The same where brik.toml has `entries` and `flavor`.
    pub fn render(&self, service: &str, entries: &[TagEntry], flavor: Option<&Flavor>) -> Result<Tags, TagError> {
        let entries = self.given.entries.as_deref().unwrap_or(entries);
        let none = Flavor::default();
        tags::render(service, entries, self.given.flavor.as_ref().or(flavor).unwrap_or(&none), &self.facts)
    }
}

/// Why a service cannot be tagged, at what makes it one.
pub fn no_tag(service: &Service, error: &TagError) -> Finding {
    let finding = Finding::error("brik::tags::none", error.to_string()).at(service.location.clone());
    finding.help(match error {
        TagError::AllSkipped { .. } => "commit first, pass --tags, or add a template that always has a value, as in \"dev\"",
        TagError::Rendered { .. } => "a tag has at most 128 characters of A-Z a-z 0-9 _ . - and begins with neither dot nor dash",
        TagError::Enable { .. } => "write enable=true, enable=false or an expression that is one of them",
    })
}
