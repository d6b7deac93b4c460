//! brik's templates, rendered: `v{version}`.

use super::semver::Version;
use super::{Facts, Made, SkipReason, sanitised};
use crate::config::{Piece, TagTemplate, Variable};

/// What the variables of templates have for one service.
pub(super) struct Values<'a> {
    service: &'a str,
    facts: &'a Facts,
    /// The first git tag that concerns the service, without its prefix.
    tag: Option<&'a str>,
    pub version: Option<Version<'a>>,
}

impl<'a> Values<'a> {
    pub fn of(service: &'a str, facts: &'a Facts) -> Self {
        // `api/v1.2.3` is about api alone and says more about it than `v1.2.3`; `web/v1` says nothing about api.
        let own = facts.tags.iter().filter_map(|tag| tag.strip_prefix(service)?.strip_prefix('/'));
        let shared = facts.tags.iter().map(String::as_str).filter(|tag| !tag.contains('/'));
        let tags: Vec<&str> = own.clone().chain(shared.clone()).collect();
        let newest = |tags: &mut dyn Iterator<Item = &'a str>| {
            tags.filter_map(|tag| Version::parse(tag.strip_prefix('v')?)).max_by(|a, b| a.precedence(b))
        };
        let version = newest(&mut own.clone()).or_else(|| newest(&mut shared.clone()));
        let named = version.and_then(|version| tags.iter().find(|tag| tag.strip_prefix('v') == Some(version.text)));
        Self { service, facts, tag: named.or(tags.first()).copied(), version }
    }

    pub fn render(&self, template: &TagTemplate) -> Result<Made, SkipReason> {
        let text = template.pieces.iter().try_fold(String::new(), |tag, piece| match piece {
            Piece::Text(text) => Ok(tag + text),
            Piece::Variable(variable) => {
                let value = self.value(*variable)?;
                // A tag cannot begin with a dot or a dash, whatever a branch is called.
                Ok(if tag.is_empty() { sanitised(value).trim_start_matches(['.', '-']).to_owned() } else { tag + &sanitised(value) })
            }
        })?;
        let names = |wanted: &[Variable]| template.pieces.iter().any(|piece| matches!(piece, Piece::Variable(v) if wanted.contains(v)));
        let version = names(&[Variable::Version, Variable::Major, Variable::Minor, Variable::Patch]);
        let tag = names(&[Variable::Tag]);
        // As metadata-action has it for the type that does the same.
        let priority = match () {
            () if version => 900,
            () if tag || names(&[Variable::Branch, Variable::Pr]) => 600,
            () if names(&[Variable::Sha, Variable::ShaLong]) => 100,
            () => 200,
        };
        let released = self.version.is_some_and(|version| version.pre_release.is_none());
        Ok(Made { text, priority, latest: tag || (version && released), from_git_tag: version || tag })
    }

    fn value(&self, variable: Variable) -> Result<&'a str, SkipReason> {
        let fact = |fact: &'a Option<String>, reason| fact.as_deref().filter(|value| !value.is_empty()).ok_or(reason);
        let no_version = || if self.tag.is_some() { SkipReason::NoVersion } else { SkipReason::NoTag };
        let number = |index: usize| {
            let version = self.version.ok_or_else(no_version)?;
            match version.pre_release {
                Some(_) => Err(SkipReason::PreRelease(version.text.to_owned())),
                None => Ok(version.numbers[index]),
            }
        };
        match variable {
            Variable::Sha => fact(&self.facts.sha, SkipReason::NoCommit).map(|sha| sha.get(..7).unwrap_or(sha)),
            Variable::ShaLong => fact(&self.facts.sha, SkipReason::NoCommit),
            Variable::Branch => fact(&self.facts.branch, SkipReason::NoBranch),
            Variable::Tag => self.tag.ok_or(SkipReason::NoTag),
            Variable::Version => self.version.map(|version| version.text).ok_or_else(no_version),
            Variable::Major => number(0),
            Variable::Minor => number(1),
            Variable::Patch => number(2),
            Variable::Pr => fact(&self.facts.pr, SkipReason::NoPullRequest),
            Variable::Date => fact(&self.facts.date, SkipReason::NoDate),
            Variable::Service => Ok(self.service),
        }
    }
}
