//! The rules about tags. Without any tag they say nothing: that is an error of its own, or there is no commit yet.

use super::Subject;
use super::found::Found;
use crate::config::{Glob, Policy, RequireVersion};

pub(super) fn sha(_: &Policy, subject: &Subject, found: &mut Found) {
    if subject.tags.is_empty() || subject.tags.iter().any(|tag| is_sha(tag)) {
        return;
    }
    let message = format!("missing sha tag: {} has {}", subject.service.name, subject.tag_list());
    found.violation(subject.tags_location.clone(), message, "add \"sha-{sha}\" to `tags`");
}

pub(super) fn version(policy: &Policy, subject: &Subject, found: &mut Found) {
    let always = policy.require_version == RequireVersion::Always;
    let release = is_release(&subject.service.name, subject.git_tags, subject.tags);
    let counts = |version: Version| !policy.strict_semver || version == Version::STRICT;
    let versions: Vec<(&String, Version)> = subject.tags.iter().filter_map(|tag| Some((tag, Version::of(tag)?))).collect();
    if subject.tags.is_empty() || !(always || release) || versions.iter().any(|(_, version)| counts(*version)) {
        return;
    }
    let what = if release { "release build missing vX.Y.Z tag" } else { "missing vX.Y.Z tag" };
    let message = format!("{what}: {} has {}", subject.service.name, subject.tag_list());
    let (at, help) = match versions.first() {
        Some((tag, Version { v: false, .. })) => (subject.tag_at(tag), format!("a version has a v before it: v{tag}")),
        Some((tag, _)) => (subject.tag_at(tag), format!("{tag} has a suffix; `strict_semver = false` in [policy] lets it be a version")),
        None => (subject.tags_location.clone(), "add \"v{version}\" to `tags`, and release from a git tag vX.Y.Z".to_owned()),
    };
    found.violation(at, message, help);
}

pub(super) fn latest(_: &Policy, subject: &Subject, found: &mut Found) {
    if subject.tags.iter().any(|tag| tag == "latest") {
        let message = format!("latest forbidden: {} would be tagged latest", subject.service.name);
        found.violation(subject.tag_at("latest"), message, "take it out of `tags`, or set `allow_latest = true` in [policy]");
    }
}

pub(super) fn required(policy: &Policy, subject: &Subject, found: &mut Found) {
    let missing = |pattern: &&String| !subject.tags.is_empty() && !subject.tags.iter().any(|tag| matches(pattern, tag));
    for pattern in policy.required_tags.iter().filter(missing) {
        let message = format!("missing tag {pattern}: {} has {}", subject.service.name, subject.tag_list());
        found.violation(subject.tags_location.clone(), message, "add a tag that matches to `tags`");
    }
}

pub(super) fn forbidden(policy: &Policy, subject: &Subject, found: &mut Found) {
    for tag in subject.tags {
        if let Some(pattern) = policy.forbidden_tags.iter().find(|pattern| matches(pattern, tag)) {
            let message = format!("tag forbidden: {} would be tagged {tag}, which {pattern} matches", subject.service.name);
            found.violation(subject.tag_at(tag), message, "take it out of `tags`");
        }
    }
}

/// The configuration has seen to it that it is a glob.
fn matches(pattern: &str, tag: &str) -> bool {
    Glob::of_names(pattern).is_ok_and(|glob| glob.is_match(tag))
}

/// `sha-` and 7 digits of a commit to all of them, 64 where git's hash is SHA-256.
fn is_sha(tag: &str) -> bool {
    let digit = |b: u8| b.is_ascii_digit() || (b'a'..=b'f').contains(&b);
    tag.strip_prefix("sha-").is_some_and(|sha| (7..=64).contains(&sha.len()) && sha.bytes().all(digit))
}

/// What is special about a version: `X.Y.Z` without leading zeros, with `v` before or a suffix behind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Version {
    v: bool,
    suffix: bool,
}

impl Version {
    /// `vX.Y.Z`
    const STRICT: Self = Self { v: true, suffix: false };

    fn of(tag: &str) -> Option<Self> {
        let bare = tag.strip_prefix('v').unwrap_or(tag);
        let (core, suffix) = bare.find(['-', '+']).map_or((bare, ""), |at| bare.split_at(at));
        let number = |part: &str| !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit()) && (part == "0" || !part.starts_with('0'));
        let numbers: Vec<&str> = core.split('.').collect();
        let good = numbers.len() == 3 && numbers.into_iter().all(number) && suffix.len() != 1;
        good.then_some(Self { v: bare.len() < tag.len(), suffix: !suffix.is_empty() })
    }
}

/// Whether a run releases a service: its commit has a git tag that begins like a version, of the service or of all; or a tag of the
/// image is a version, wherever it comes from.
fn is_release(service: &str, git_tags: &[String], tags: &[String]) -> bool {
    let own = |tag: &String| match tag.rsplit_once('/') {
        Some((prefix, rest)) => (prefix == service).then(|| rest.to_owned()),
        None => Some(tag.clone()),
    };
    let begins = |tag: String| tag.strip_prefix('v').unwrap_or(&tag).starts_with(|c: char| c.is_ascii_digit());
    git_tags.iter().filter_map(own).any(begins) || tags.iter().any(|tag| Version::of(tag).is_some())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sha_tags_have_seven_digits_or_more() {
        for (tag, is) in [
            ("sha-2f4c9a1", true),
            ("sha-2f4c9a12f4c9a12f4c9a12f4c9a12f4c9a12f4c9", true),
            ("sha-2f4c9a", false),
            ("sha-2F4C9A1", false),
            ("sha-", false),
            ("2f4c9a1", false),
            ("sha-release", false),
        ] {
            assert_eq!(is_sha(tag), is, "{tag}");
        }
    }

    #[test]
    fn versions_are_told_apart_by_v_and_suffix() {
        for (tag, is) in [
            ("v1.2.3", Some(Version::STRICT)),
            ("1.2.3", Some(Version { v: false, suffix: false })),
            ("v1.2.3-beta.1", Some(Version { v: true, suffix: true })),
            ("1.2.3+build.5", Some(Version { v: false, suffix: true })),
            ("v1.2", None),
            ("v01.2.3", None),
            ("v1.2.3.4", None),
            ("v1.2.3-", None),
            ("vv1.2.3", None),
            ("20261122", None),
        ] {
            assert_eq!(Version::of(tag), is, "{tag}");
        }
    }

    #[test]
    fn a_release_is_what_git_or_the_tags_call_a_version() {
        for (git, tags, is) in [
            ("v1.2.3", "sha-0000000", true),
            ("v1.2", "sha-0000000", true),
            ("api/v1.2.3", "sha-0000000", true),
            ("web/v1.2.3", "sha-0000000", false),
            ("nightly", "sha-0000000", false),
            ("", "1.2.3", true),
            ("", "v2-rewrite", false),
            ("", "20261122", false),
        ] {
            assert_eq!(is_release("api", &[git.to_owned()], &[tags.to_owned()]), is, "{git} {tags}");
        }
    }
}
