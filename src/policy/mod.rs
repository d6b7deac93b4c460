//! `[policy]` of brik.toml, held against the services of a run: values in, a [`Verdict`] out. Nothing is read, asked or written here.
//!
//! ```text
//! subject    one service as rules see it: its Dockerfile, tags, bases, final user
//! user       who the final image runs as, as far as the Dockerfile says
//! tags, bases, labels, stages, secrets, context    the rules, by what they look at
//! found      where a rule leaves what it finds
//! verdict    all rules over all services, waivers taken into account
//! summary    the verdict as evidence: JSON and Markdown
//! ```
//!
//! A rule is a row of [`RULES`], a variant of `config::PolicyRule` and a page of `brik explain`.

mod bases;
mod context;
mod found;
mod labels;
mod secrets;
mod stages;
mod subject;
mod summary;
mod tags;
#[cfg(test)]
mod tests;
mod user;
mod verdict;

pub use subject::{Base, Subject};
pub use user::{FinalUser, final_user, is_root};
pub use verdict::{Verdict, Violation, judge};

use crate::config::{Policy, PolicyRule, RequireVersion};
use found::Found;

/// A rule of the policy.
pub struct Rule {
    pub rule: PolicyRule,
    /// `brik::policy::<name>`.
    pub code: &'static str,
    /// One line.
    pub description: &'static str,
    /// Whether a policy asks for it.
    applies: fn(&Policy) -> bool,
    check: fn(&Policy, &Subject, &mut Found),
}

/// In the order in which they are told.
pub const RULES: [Rule; 12] = [
    Rule {
        rule: PolicyRule::ShaTag,
        code: "brik::policy::sha-tag",
        description: "Every image has a tag sha-<commit>",
        applies: |policy| policy.require_sha,
        check: tags::sha,
    },
    Rule {
        rule: PolicyRule::VersionTag,
        code: "brik::policy::version-tag",
        description: "A release, or every image, has a version among its tags",
        applies: |policy| policy.require_version != RequireVersion::Never,
        check: tags::version,
    },
    Rule {
        rule: PolicyRule::LatestTag,
        code: "brik::policy::latest-tag",
        description: "No image is tagged latest",
        applies: |policy| !policy.allow_latest,
        check: tags::latest,
    },
    Rule {
        rule: PolicyRule::RequiredTags,
        code: "brik::policy::required-tags",
        description: "Every pattern of required_tags matches a tag",
        applies: |policy| !policy.required_tags.is_empty(),
        check: tags::required,
    },
    Rule {
        rule: PolicyRule::ForbiddenTags,
        code: "brik::policy::forbidden-tags",
        description: "No tag matches a pattern of forbidden_tags",
        applies: |policy| !policy.forbidden_tags.is_empty(),
        check: tags::forbidden,
    },
    Rule {
        rule: PolicyRule::NonRoot,
        code: "brik::policy::non-root",
        description: "The final image runs as a user other than root",
        applies: |policy| policy.non_root,
        check: user::non_root,
    },
    Rule {
        rule: PolicyRule::MultiStage,
        code: "brik::policy::multi-stage",
        description: "What builds an image does not stay in it",
        applies: |policy| policy.multi_stage,
        check: stages::multi_stage,
    },
    Rule {
        rule: PolicyRule::NoSecrets,
        code: "brik::policy::no-secrets",
        description: "No ARG and no ENV is named like a secret",
        applies: |policy| policy.no_secrets,
        check: secrets::no_secrets,
    },
    Rule {
        rule: PolicyRule::BaseRegistries,
        code: "brik::policy::base-registries",
        description: "Base images come from below base_registries",
        applies: |policy| !policy.base_registries.is_empty(),
        check: bases::registries,
    },
    Rule {
        rule: PolicyRule::PinnedBases,
        code: "brik::policy::pinned-bases",
        description: "Base images are named by digest or pinned in brik.lock",
        applies: |policy| policy.pinned_bases,
        check: bases::pinned,
    },
    Rule {
        rule: PolicyRule::RequiredLabels,
        code: "brik::policy::required-labels",
        description: "Every image has the labels of required_labels",
        applies: |policy| !policy.required_labels.is_empty(),
        check: labels::required,
    },
    Rule {
        rule: PolicyRule::NarrowContext,
        code: "brik::policy::narrow-context",
        description: "No context holds the directories of other services",
        applies: |policy| policy.narrow_context,
        check: context::narrow,
    },
];

impl Rule {
    pub fn name(&self) -> &'static str {
        self.rule.name()
    }
}
