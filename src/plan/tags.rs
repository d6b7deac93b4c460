//! Tags of an image: templates of brik.toml rendered against git's facts, and lists given by hand.

use std::fmt;

use crate::config::{Piece, TagTemplate, Variable};
use crate::oci::{ReferenceError, validate_tag};

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
}

/// A template that has rendered to nothing, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Skipped {
    pub template: String,
    pub reason: SkipReason,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SkipReason {
    NoCommit,
    NoBranch,
    NoPullRequest,
    NoDate,
    /// No git tag at HEAD that concerns the service.
    NoTag,
    /// Git tags at HEAD concern the service, but none is `vX.Y.Z`.
    NoVersion,
    /// A pre-release has no series of its own to stand for: `v1.2.3-rc.1` is not `1.2`.
    PreRelease(String),
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TagError {
    #[error("the service {service} has no tag here: {}", reasons(.skipped))]
    AllSkipped { service: String, skipped: Vec<Skipped> },
    #[error("the template {template:?} renders to an invalid tag: {error}")]
    Rendered { template: String, error: ReferenceError },
    #[error(transparent)]
    Listed(#[from] ReferenceError),
    #[error("the list of tags is empty")]
    EmptyList,
}

/// Tags in the order of their templates, each once, and what was skipped.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tags {
    pub tags: Vec<String>,
    pub skipped: Vec<Skipped>,
}

/// Renders a service's templates. A template any variable of which has no value is skipped.
///
/// # Errors
/// If there are templates and all of them are skipped, or if one renders to what is no tag (longer than 128 characters).
pub fn render(service: &str, templates: &[TagTemplate], facts: &Facts) -> Result<Tags, TagError> {
    let values = Values::of(service, facts);
    let mut out = Tags::default();
    for template in templates {
        match values.render(template) {
            Err(reason) => out.skipped.push(Skipped { template: template.to_string(), reason }),
            Ok(tag) => {
                validate_tag(&tag).map_err(|error| TagError::Rendered { template: template.to_string(), error })?;
                if !out.tags.contains(&tag) {
                    out.tags.push(tag);
                }
            }
        }
    }
    if out.tags.is_empty() && !out.skipped.is_empty() {
        return Err(TagError::AllSkipped { service: service.to_owned(), skipped: out.skipped });
    }
    Ok(out)
}

/// Reads `--tags`: separated by commas or newlines, blanks around them dropped, each once.
///
/// # Errors
/// On the first that is no tag, and if there is none at all.
pub fn parse_tag_list(text: &str) -> Result<Vec<String>, TagError> {
    let mut tags: Vec<String> = Vec::new();
    for tag in text.split([',', '\n']).map(str::trim).filter(|tag| !tag.is_empty()) {
        validate_tag(tag)?;
        if !tags.iter().any(|known| known == tag) {
            tags.push(tag.to_owned());
        }
    }
    if tags.is_empty() { Err(TagError::EmptyList) } else { Ok(tags) }
}

struct Values<'a> {
    service: &'a str,
    facts: &'a Facts,
    /// The first git tag that concerns the service, without its prefix.
    tag: Option<&'a str>,
    version: Option<Version<'a>>,
}

/// SemVer 2.0.0, as written after the `v`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version<'a> {
    text: &'a str,
    /// Major, minor, patch.
    numbers: [&'a str; 3],
    pre_release: Option<&'a str>,
}

impl<'a> Values<'a> {
    fn of(service: &'a str, facts: &'a Facts) -> Self {
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

    fn render(&self, template: &TagTemplate) -> Result<String, SkipReason> {
        template.pieces.iter().try_fold(String::new(), |tag, piece| match piece {
            Piece::Text(text) => Ok(tag + text),
            Piece::Variable(variable) => {
                let value = self.value(*variable)?;
                // A tag cannot begin with a dot or a dash, whatever a branch is called.
                Ok(if tag.is_empty() { sanitised(value).trim_start_matches(['.', '-']).to_owned() } else { tag + &sanitised(value) })
            }
        })
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

impl<'a> Version<'a> {
    /// Strictly: three numbers without leading zeros, then a pre-release, then build metadata.
    fn parse(text: &'a str) -> Option<Self> {
        let word = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
        let number = |part: &str| part.bytes().all(|b| b.is_ascii_digit()) && !part.is_empty() && (part == "0" || !part.starts_with('0'));
        let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let (rest, metadata) = text.split_once('+').map_or((text, None), |(rest, metadata)| (rest, Some(metadata)));
        let (core, pre_release) = rest.split_once('-').map_or((rest, None), |(core, pre)| (core, Some(pre)));
        let numbers: Vec<&str> = core.split('.').collect();
        let numbers: [&str; 3] = numbers.try_into().ok()?;
        let good = numbers.iter().all(|part| number(part))
            && metadata.is_none_or(|metadata| metadata.split('.').all(word))
            && pre_release.is_none_or(|pre| pre.split('.').all(|part| word(part) && (!digits(part) || number(part))));
        good.then_some(Self { text, numbers, pre_release })
    }

    /// SemVer 2.0.0, section 11.
    fn precedence(&self, other: &Self) -> std::cmp::Ordering {
        use std::cmp::Ordering;
        // Numbers without leading zeros compare by length, then by digits, however long they are.
        let numeric = |a: &str, b: &str| a.len().cmp(&b.len()).then_with(|| a.cmp(b));
        let is_number = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
        let identifiers = |a: &str, b: &str| match (is_number(a), is_number(b)) {
            (true, true) => numeric(a, b),
            (true, false) => Ordering::Less,
            (false, true) => Ordering::Greater,
            (false, false) => a.cmp(b),
        };
        let core = self.numbers.iter().zip(other.numbers).map(|(a, b)| numeric(a, b)).find(|order| order.is_ne());
        core.unwrap_or_else(|| match (self.pre_release, other.pre_release) {
            (None, None) => Ordering::Equal,
            (None, Some(_)) => Ordering::Greater,
            (Some(_), None) => Ordering::Less,
            (Some(a), Some(b)) => {
                let pairs = a.split('.').zip(b.split('.')).map(|(a, b)| identifiers(a, b)).find(|order| order.is_ne());
                pairs.unwrap_or_else(|| a.split('.').count().cmp(&b.split('.').count()))
            }
        })
    }
}

fn reasons(skipped: &[Skipped]) -> String {
    skipped.iter().map(|Skipped { template, reason }| format!("{template} ({reason})")).collect::<Vec<_>>().join(", ")
}

impl fmt::Display for SkipReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoCommit => f.write_str("no commit"),
            Self::NoBranch => f.write_str("not on a branch"),
            Self::NoPullRequest => f.write_str("not a pull request"),
            Self::NoDate => f.write_str("no date"),
            Self::NoTag => f.write_str("no git tag at this commit"),
            Self::NoVersion => f.write_str("no git tag at this commit is vX.Y.Z"),
            Self::PreRelease(version) => write!(f, "{version} is a pre-release"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn facts(tags: &[&str]) -> Facts {
        Facts {
            sha: Some("2f4c9a1b00000000000000000000000000000000".to_owned()),
            branch: Some("feature/läuft  schnell".to_owned()),
            tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
            pr: Some("17".to_owned()),
            date: Some("20260131".to_owned()),
        }
    }

    fn rendered(template: &str, facts: &Facts) -> Result<String, String> {
        let templates: Vec<TagTemplate> = template.split(' ').map(|t| t.parse().unwrap()).collect();
        render("api", &templates, facts).map(|tags| tags.tags.join(" ")).map_err(|error| error.to_string())
    }

    #[test]
    fn every_variable_renders_to_its_value() {
        for (template, tags, expected) in [
            ("sha-{sha}", &[][..], "sha-2f4c9a1"),
            ("{sha_long}", &[], "2f4c9a1b00000000000000000000000000000000"),
            ("{branch}", &[], "feature-l-uft-schnell"),
            ("pr-{pr}", &[], "pr-17"),
            ("{service}.{date}", &[], "api.20260131"),
            ("latest latest", &[], "latest"),
            ("{tag}", &["nightly"], "nightly"),
            ("v{version}", &["v1.2.3"], "v1.2.3"),
            ("{major}.{minor} {major} {patch}", &["v10.20.30"], "10.20 10 30"),
            ("v{version} {tag}", &["v1.2.3-rc.1"], "v1.2.3-rc.1"),
            ("{version}", &["v1.2.3+build.5"], "1.2.3-build.5"),
            ("{version}", &["api/v2.0.0", "v1.0.0"], "2.0.0"),
            ("{version} {tag}", &["v9.0.0", "api/v2.0.0", "web/v3.0.0"], "2.0.0 v2.0.0"),
            ("{version}", &["v1.9.0", "v1.10.0", "v1.10.0-rc.1"], "1.10.0"),
            ("{version}", &["v1.0.0-rc.2", "v1.0.0-rc.10", "v1.0.0-rc"], "1.0.0-rc.10"),
            ("{version} {sha}", &["web/v3.0.0"], "2f4c9a1"),
            ("{major} {version}", &["v1.2.3-rc.1"], "1.2.3-rc.1"),
        ] {
            assert_eq!(rendered(template, &facts(tags)).as_deref(), Ok(expected), "{template} {tags:?}");
        }
    }

    #[test]
    fn only_strict_semver_after_a_v_is_a_version() {
        for tag in ["1.2.3", "v1.2", "v1.2.3.4", "v01.2.3", "v1.2.03", "v1.2.3-", "v1.2.3-01", "v1.2.3+", "v1.2.x", "V1.2.3", "v1.2.3-a..b"]
        {
            let message = rendered("{version}", &facts(&[tag])).unwrap_err();
            assert_eq!(message, "the service api has no tag here: {version} (no git tag at this commit is vX.Y.Z)", "{tag}");
        }
        for tag in ["v0.0.0", "v1.2.3-0", "v1.2.3-0a", "v1.2.3-x-y.7", "v1.2.3+001", "v99999999999999999999.0.0"] {
            assert!(rendered("{version}", &facts(&[tag])).is_ok(), "{tag}");
        }
    }

    #[test]
    fn a_service_without_any_tag_is_an_error_that_says_why_for_each() {
        let error = rendered("{sha} {branch} {pr} {date} {tag} {major}", &Facts::default()).unwrap_err();
        let expected = "the service api has no tag here: {sha} (no commit), {branch} (not on a branch), {pr} (not a pull request), \
                        {date} (no date), {tag} (no git tag at this commit), {major} (no git tag at this commit)";
        assert_eq!(error, expected);
        let error = rendered("{major}", &facts(&["v1.2.3-rc.1"])).unwrap_err();
        assert!(error.ends_with("{major} (1.2.3-rc.1 is a pre-release)"), "{error}");
        assert_eq!(render("api", &[], &Facts::default()), Ok(Tags::default()));
    }

    #[test]
    fn what_is_skipped_is_told_beside_the_tags() {
        let templates = ["sha-{sha}", "v{version}"].map(|t| t.parse().unwrap());
        let tags = render("api", &templates, &facts(&[])).unwrap();
        assert_eq!(tags.skipped, [Skipped { template: "v{version}".to_owned(), reason: SkipReason::NoTag }]);
    }

    #[test]
    fn a_value_at_the_head_of_a_tag_loses_what_no_tag_begins_with() {
        let at = |branch: &str| Facts { branch: Some(branch.to_owned()), ..Facts::default() };
        assert_eq!(rendered("{branch}", &at("-.x")).as_deref(), Ok("x"));
        assert_eq!(rendered("b{branch}", &at("-.x")).as_deref(), Ok("b-.x"));
        assert!(rendered("{branch}", &at("---")).unwrap_err().contains("invalid tag"));
        assert!(rendered("{branch}", &at(&"x".repeat(129))).unwrap_err().contains("invalid tag"));
    }

    #[test]
    fn a_list_takes_commas_and_newlines_and_drops_blanks_and_repetitions() {
        for (text, expected) in
            [("a", &["a"][..]), (" a , b ,\r\n c\n\n,a,", &["a", "b", "c"]), ("v1.2.3\nsha-2f4c9a1\n", &["v1.2.3", "sha-2f4c9a1"])]
        {
            assert_eq!(parse_tag_list(text).unwrap(), expected, "{text:?}");
        }
        assert_eq!(parse_tag_list(" ,\n"), Err(TagError::EmptyList));
        let error = parse_tag_list("ok,bad tag").unwrap_err();
        assert!(error.to_string().starts_with("invalid tag \"bad tag\""), "{error}");
        assert!(parse_tag_list(&"x".repeat(129)).is_err());
    }
}
