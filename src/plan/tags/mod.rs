//! Tags of an image: what brik.toml or `--tags` lists, rendered against git's and CI's facts.
//!
//! `template`: brik's own templates; `metadata_action`: lines of docker/metadata-action; `semver`: versions.

mod metadata_action;
mod semver;
mod skip;
mod template;

pub use skip::{SkipReason, Skipped};

use self::metadata_action::Lines;
use self::template::Values;
use crate::config::TagEntry;
use crate::config::metadata_action::{Affix, Flavor, Latest};
use crate::oci::{ReferenceError, validate_tag};
use crate::source::Event;

/// What is known about the commit that is built. Whatever is None or empty leaves its variables without a value.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// The whole commit id, 40 or 64 hex digits.
    pub sha: Option<String>,
    /// None on a detached HEAD.
    pub branch: Option<String>,
    /// Git tags at HEAD, without `refs/tags/`.
    pub tags: Vec<String>,
    /// Number of the pull request.
    pub pr: Option<String>,
    /// Of the commit, as it shall stand in a tag: `20260131`.
    pub date: Option<String>,
    /// What lines of metadata-action go by.
    pub event: Event,
    /// Seconds since 1970.
    pub now: i64,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("the service {service} has no tag here: {}", skip::reasons(.skipped))]
    AllSkipped { service: String, skipped: Vec<Skipped> },
    #[error("the template {template:?} renders to an invalid tag: {error}")]
    Rendered { template: String, error: ReferenceError },
    #[error("`enable` of {template:?} is neither true nor false: {value:?}")]
    Enable { template: String, value: String },
}

/// Tags in order, each once, and what was skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    pub tags: Vec<String>,
    /// The one of the highest priority, of several the first.
    pub version: Option<String>,
    /// The version that git's tags say the image has.
    pub released: Option<String>,
    pub skipped: Vec<Skipped>,
}

/// What an entry makes.
struct Made {
    text: String,
    /// Higher ones come first.
    priority: i64,
    /// Whether `latest=auto` adds `latest`.
    latest: bool,
    from_git_tag: bool,
}

/// Renders a service's entries. One that has no value here is skipped. Where one is of metadata-action's, all stand in the order of their
/// priorities (templates have that of the type that does the same), else as they are written.
///
/// # Errors
/// If there are entries and all of them are skipped, or if one renders to what is no tag (longer than 128 characters).
pub fn render(service: &str, entries: &[TagEntry], flavor: &Flavor, facts: &Facts) -> Result<Tags, TagError> {
    let values = Values::of(service, facts);
    let lines = Lines { service, flavor, facts };
    let mut made: Vec<(&TagEntry, Made)> = Vec::new();
    let mut out = Tags::default();
    for entry in entries {
        let template = || entry.to_string();
        let one = match entry {
            TagEntry::Template(template) => values.render(template).map(|made| affixed(made, &lines)),
            TagEntry::Metadata(tag) => lines.render(tag),
        };
        match one {
            Err(SkipReason::Enable(value)) => return Err(TagError::Enable { template: template(), value }),
            Err(reason) => out.skipped.push(Skipped { template: template(), reason }),
            Ok(one) if one.text.is_empty() => out.skipped.push(Skipped { template: template(), reason: SkipReason::Empty }),
            Ok(one) => made.push((entry, one)),
        }
    }
    if entries.iter().any(|entry| matches!(entry, TagEntry::Metadata(_))) {
        made.sort_by_key(|(_, made)| std::cmp::Reverse(made.priority));
    }
    for (entry, one) in &mut made {
        one.text = sanitised(&one.text);
        validate_tag(&one.text).map_err(|error| TagError::Rendered { template: entry.to_string(), error })?;
        if !out.tags.contains(&one.text) {
            out.tags.push(one.text.clone());
        }
    }
    // Of equals, `max_by_key` would take the last.
    let main = made.iter().rev().map(|(_, made)| made).max_by_key(|made| made.priority);
    out.version = main.map(|made| made.text.clone());
    out.released =
        values.version.map(|version| version.text.to_owned()).or_else(|| main.filter(|m| m.from_git_tag).map(|m| m.text.clone()));
    let wanted = match flavor.latest {
        Latest::True => true,
        Latest::False => false,
        Latest::Auto => main.is_some_and(|made| made.latest),
    };
    if wanted && !made.is_empty() {
        let affix =
            |affix: &Option<Affix>| affix.as_ref().filter(|affix| affix.on_latest).map(|affix| affix.written.clone()).unwrap_or_default();
        let latest = sanitised(&(affix(&flavor.prefix) + "latest" + &affix(&flavor.suffix)));
        validate_tag(&latest).map_err(|error| TagError::Rendered { template: "latest".to_owned(), error })?;
        out.tags.retain(|tag| *tag != latest || out.version.as_ref() == Some(&latest));
        if !out.tags.contains(&latest) {
            out.tags.push(latest);
        }
    }
    if out.tags.is_empty() && !out.skipped.is_empty() {
        return Err(TagError::AllSkipped { service: service.to_owned(), skipped: out.skipped });
    }
    Ok(out)
}

/// With the prefix and the suffix that hold for all tags.
fn affixed(made: Made, lines: &Lines) -> Made {
    let affix = |affix: &Option<Affix>| affix.as_ref().map(|affix| lines.expand(&affix.text)).unwrap_or_default();
    Made { text: affix(&lines.flavor.prefix) + &made.text + &affix(&lines.flavor.suffix), ..made }
}

/// `[^A-Za-z0-9._-]+` becomes one dash.
fn sanitised(value: &str) -> String {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '_' | '-');
    let mut out = String::with_capacity(value.len());
    let mut replacing = false;
    for c in value.chars() {
        if allowed(c) {
            out.push(c);
        } else if !replacing {
            out.push('-');
        }
        replacing = !allowed(c);
    }
    out
}

#[cfg(test)]
mod tests;
