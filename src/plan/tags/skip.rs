//! Why an entry makes no tag in a run.

use std::fmt;

/// An entry that has rendered to nothing, and why.
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
    /// What CI says made the run was no git tag.
    NoTagEvent,
    NoSchedule,
    /// Nobody says what the default branch is.
    NoDefaultBranch,
    /// Another branch than this one.
    OtherBranch(String),
    /// `enable=` says false.
    Disabled,
    /// `enable=` says neither true nor false, which is an error.
    Enable(String),
    Invalid {
        text: String,
        what: &'static str,
    },
    NoMatch {
        pattern: String,
        text: String,
    },
    NoGroup {
        pattern: String,
        group: usize,
    },
    /// Every expression in it has nothing to say here.
    Empty,
}

pub(super) fn reasons(skipped: &[Skipped]) -> String {
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
            Self::NoTagEvent => f.write_str("not on a git tag"),
            Self::NoSchedule => f.write_str("not a scheduled run"),
            Self::NoDefaultBranch => f.write_str("the default branch is not known; name one with branch="),
            Self::OtherBranch(branch) => write!(f, "not on the branch {branch}"),
            Self::Disabled => f.write_str("enable is false"),
            Self::Enable(value) => write!(f, "enable is {value:?}"),
            Self::Invalid { text, what } => write!(f, "{text} is no {what}"),
            Self::NoMatch { pattern, text } => write!(f, "{pattern} does not match {text}"),
            Self::NoGroup { pattern, group } => write!(f, "{pattern} has no group {group} here"),
            Self::Empty => f.write_str("empty here"),
        }
    }
}
