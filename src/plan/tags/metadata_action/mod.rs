//! Lines of docker/metadata-action, rendered: when each type fires and what it then says.
//!
//! `pep440`: versions of Python packages; `moment`: formats of dates.

mod moment;
mod pep440;

use super::semver::Version;
use super::{Facts, Made, SkipReason};
use crate::config::metadata_action::{
    Affix, Expression, ExpressionPart, Flavor, MetadataKind, MetadataTag, Pattern, VersionPart, VersionRule,
};
use crate::source::Event;

/// What lines say of one event, for one service.
pub(super) struct Lines<'a> {
    pub service: &'a str,
    pub flavor: &'a Flavor,
    pub facts: &'a Facts,
}

/// A value before its prefix and suffix, and whether `latest=auto` adds `latest`.
type Value = (String, bool);

impl Lines<'_> {
    pub fn render(&self, tag: &MetadataTag) -> Result<Made, SkipReason> {
        match tag.enable.as_ref().map(|enable| self.expand(enable)).as_deref() {
            None | Some("true") => {}
            Some("false") => return Err(SkipReason::Disabled),
            Some(other) => return Err(SkipReason::Enable(other.to_owned())),
        }
        let (value, latest) = self.value(&tag.kind)?;
        let affix = |own: &Option<Expression>, common: &Option<Affix>| match (own, common) {
            (Some(own), _) => self.expand(own),
            (None, Some(common)) => self.expand(&common.text),
            (None, None) => String::new(),
        };
        let text = affix(&tag.prefix, &self.flavor.prefix) + &value + &affix(&tag.suffix, &self.flavor.suffix);
        let from_git_tag =
            matches!(tag.kind, MetadataKind::Semver(_) | MetadataKind::Pep440(_) | MetadataKind::Match { .. } | MetadataKind::Tag);
        Ok(Made { text, priority: tag.priority, latest, from_git_tag })
    }

    fn value(&self, kind: &MetadataKind) -> Result<Value, SkipReason> {
        match kind {
            MetadataKind::Schedule { pattern } if self.event().name.contains("schedule") => Ok((self.expand(pattern), false)),
            MetadataKind::Schedule { .. } => Err(SkipReason::NoSchedule),
            MetadataKind::Semver(rule) => self.semver(rule),
            MetadataKind::Pep440(rule) => self.pep440(rule),
            MetadataKind::Match { pattern, group, value } => {
                let text = self.tag_or(value.as_ref())?;
                first(pattern, *group, &text).map(|found| (found, true))
            }
            MetadataKind::Edge { branch } => {
                let wanted = branch.as_ref().or(self.event().default_branch.as_ref()).ok_or(SkipReason::NoDefaultBranch)?;
                let here = self.branch().ok_or(SkipReason::NoBranch)?;
                if here == wanted { Ok(("edge".to_owned(), false)) } else { Err(SkipReason::OtherBranch(wanted.clone())) }
            }
            MetadataKind::Branch => self.branch().map(|branch| (branch.to_owned(), false)).ok_or(SkipReason::NoBranch),
            MetadataKind::Tag => self.tag().map(|tag| (tag.to_owned(), true)).ok_or(SkipReason::NoTagEvent),
            MetadataKind::PullRequest => {
                let request = self.event().reference.strip_prefix("refs/pull/").ok_or(SkipReason::NoPullRequest)?;
                Ok((request.strip_suffix("/merge").unwrap_or(request).to_owned(), false))
            }
            MetadataKind::Raw { value } => Ok((self.expand(value), false)),
            MetadataKind::Sha { long } => {
                let sha = self.event().sha.as_deref().ok_or(SkipReason::NoCommit)?;
                Ok((if *long { sha.to_owned() } else { self.short_sha() }, false))
            }
        }
    }

    fn semver(&self, rule: &VersionRule) -> Result<Value, SkipReason> {
        let text = self.version_text(rule)?;
        let trimmed = text.trim();
        let bare = trimmed.strip_prefix('v').unwrap_or(trimmed);
        let version = Version::parse(bare).ok_or_else(|| SkipReason::Invalid { text: text.clone(), what: "semantic version" })?;
        if version.pre_release.is_some() && !is_raw(&rule.pattern) {
            return Ok((version.precise().to_owned(), false));
        }
        let part = |part| match part {
            VersionPart::Raw => text.clone(),
            VersionPart::Version => version.precise().to_owned(),
            VersionPart::Major => version.numbers[0].to_owned(),
            VersionPart::Minor => version.numbers[1].to_owned(),
            VersionPart::Patch => version.numbers[2].to_owned(),
        };
        Ok((self.expand_version(&rule.pattern, &part), version.pre_release.is_none()))
    }

    fn pep440(&self, rule: &VersionRule) -> Result<Value, SkipReason> {
        let text = self.version_text(rule)?;
        let version =
            pep440::Version::parse(&text).ok_or_else(|| SkipReason::Invalid { text: text.clone(), what: "version by PEP 440" })?;
        if !version.is_final && !is_raw(&rule.pattern) {
            return Ok((version.normal, false));
        }
        let part = |part| match part {
            VersionPart::Raw => text.clone(),
            VersionPart::Version => version.normal.clone(),
            VersionPart::Major => version.number(0).to_owned(),
            VersionPart::Minor => version.number(1).to_owned(),
            VersionPart::Patch => version.number(2).to_owned(),
        };
        Ok((self.expand_version(&rule.pattern, &part), version.is_final))
    }

    /// What is to be read as a version. A git tag of the service's own, `api/v1.2.3`, counts without the service.
    fn version_text(&self, rule: &VersionRule) -> Result<String, SkipReason> {
        let text = self.tag_or(rule.value.as_ref())?;
        if let Some(matching) = &rule.matching {
            return first(matching, 1, &text);
        }
        let own = text.strip_prefix(self.service).and_then(|rest| rest.strip_prefix('/'));
        Ok(own.unwrap_or(&text).replace('/', "-"))
    }

    fn tag_or(&self, value: Option<&Expression>) -> Result<String, SkipReason> {
        match value {
            Some(value) => Ok(self.expand(value)),
            None => self.tag().map(str::to_owned).ok_or(SkipReason::NoTagEvent),
        }
    }

    fn event(&self) -> &Event {
        &self.facts.event
    }

    fn branch(&self) -> Option<&str> {
        self.event().reference.strip_prefix("refs/heads/")
    }

    fn tag(&self) -> Option<&str> {
        self.event().reference.strip_prefix("refs/tags/")
    }

    fn short_sha(&self) -> String {
        let sha = self.event().sha.as_deref().unwrap_or_default();
        sha.get(..self.event().short).unwrap_or(sha).to_owned()
    }

    fn is_default_branch(&self) -> bool {
        let event = self.event();
        let reference = event.reference.strip_prefix("refs/heads/").unwrap_or(&event.reference);
        // These events are always about the last commit of the default branch.
        let always = ["create", "discussion", "issues", "schedule"].into_iter().any(|name| event.name.contains(name));
        !reference.is_empty() && (always || event.default_branch.as_deref() == Some(reference))
    }

    pub fn expand(&self, expression: &Expression) -> String {
        self.expand_version(expression, &|_| String::new())
    }

    fn expand_version(&self, expression: &Expression, version: &dyn Fn(VersionPart) -> String) -> String {
        let date = |seconds: i64, format: &str, zone: &jiff::tz::TimeZone| {
            let time = jiff::Timestamp::from_second(seconds).unwrap_or_default();
            moment::format(&time.to_zoned(zone.clone()), format)
        };
        let part = |part: &ExpressionPart| match part {
            ExpressionPart::Text(text) => text.clone(),
            ExpressionPart::Branch => self.branch().unwrap_or_default().to_owned(),
            ExpressionPart::Tag => self.tag().unwrap_or_default().to_owned(),
            ExpressionPart::Sha => self.short_sha(),
            ExpressionPart::BaseRef => self.event().base_branch.clone().unwrap_or_default(),
            ExpressionPart::IsDefaultBranch => self.is_default_branch().to_string(),
            ExpressionPart::IsNotDefaultBranch => (!self.is_default_branch()).to_string(),
            ExpressionPart::Date { format, zone } => date(self.facts.now, format, zone),
            ExpressionPart::CommitDate { format, zone } => date(self.event().commit_time.unwrap_or(self.facts.now), format, zone),
            ExpressionPart::Version(part) => version(*part),
        };
        expression.parts.iter().map(part).collect()
    }
}

fn is_raw(pattern: &Expression) -> bool {
    matches!(pattern.parts[..], [ExpressionPart::Version(VersionPart::Raw)])
}

/// A group of the first match.
fn first(pattern: &Pattern, group: usize, text: &str) -> Result<String, SkipReason> {
    let groups = pattern.groups(text).ok_or_else(|| SkipReason::NoMatch { pattern: pattern.to_string(), text: text.to_owned() })?;
    let found = groups.get(group).copied().flatten();
    found.map(str::to_owned).ok_or_else(|| SkipReason::NoGroup { pattern: pattern.to_string(), group })
}

#[cfg(test)]
mod tests;
