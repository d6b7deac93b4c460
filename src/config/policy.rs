//! `[policy]`: what images are held to, and by what a preset stands for. The rules themselves are the room `policy`.

use std::collections::BTreeSet;

use jiff::civil::Date;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::finding::{Finding, Location};
use super::format::begins_with_host;
use super::model::{PolicyTable, VersionTable, WaiverTable, When};
use super::resolve::Scope;
use super::suggest::did_you_mean;

/// `[policy]` with its preset filled in.
#[derive(Debug, Clone, PartialEq)]
pub struct Policy {
    pub preset: Option<Preset>,
    /// false: violations are warnings.
    pub enforce: bool,
    /// Rules whose violations are warnings in any case.
    pub warn: BTreeSet<PolicyRule>,
    pub require_sha: bool,
    pub require_version: RequireVersion,
    /// What counts as a version: `vX.Y.Z` alone, or also `X.Y.Z` and both with a suffix.
    pub strict_semver: bool,
    pub allow_latest: bool,
    /// Globs, of which each has to match a tag.
    pub required_tags: Vec<String>,
    /// Globs, of which none may match a tag.
    pub forbidden_tags: Vec<String>,
    pub non_root: bool,
    pub multi_stage: bool,
    pub no_secrets: bool,
    pub pinned_bases: bool,
    /// Hosts with or without a path, `docker.io/…` written out; empty: any.
    pub base_registries: Vec<String>,
    pub required_labels: Vec<String>,
    pub narrow_context: bool,
    pub waivers: Vec<Waiver>,
}

/// When an image needs a version among its tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RequireVersion {
    Never,
    OnRelease,
    Always,
}

/// Violations that are known and accepted for a time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Waiver {
    pub rule: PolicyRule,
    /// Empty: all.
    pub services: Vec<String>,
    pub reason: String,
    /// The last day on which it holds.
    pub until: Date,
    /// The day in brik.toml.
    pub location: Location,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum Preset {
    /// A sha tag required, vX.Y.Z on release, no latest, non-root, multi-stage, no secrets in ARG or ENV.
    Brikbyte,
    /// Every image has both a sha tag and a version tag; latest only in addition. The rest as in brikbyte.
    BrikbyteGovernance,
}

/// The rules by name, as `warn`, `deny` and waivers take them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
pub enum PolicyRule {
    ShaTag,
    VersionTag,
    LatestTag,
    RequiredTags,
    ForbiddenTags,
    NonRoot,
    MultiStage,
    NoSecrets,
    BaseRegistries,
    PinnedBases,
    RequiredLabels,
    NarrowContext,
}

impl Policy {
    /// What a preset stands for, or nothing at all without one.
    fn of(preset: Option<Preset>) -> Self {
        let some = preset.is_some();
        let governance = preset == Some(Preset::BrikbyteGovernance);
        Self {
            preset,
            enforce: true,
            // As narrow as practical: what is practical only people know.
            warn: BTreeSet::from_iter(some.then_some(PolicyRule::NarrowContext)),
            require_sha: some,
            require_version: match preset {
                None => RequireVersion::Never,
                Some(Preset::Brikbyte) => RequireVersion::OnRelease,
                Some(Preset::BrikbyteGovernance) => RequireVersion::Always,
            },
            strict_semver: !governance,
            allow_latest: !some || governance,
            required_tags: Vec::new(),
            forbidden_tags: Vec::new(),
            non_root: some,
            multi_stage: some,
            no_secrets: some,
            pinned_bases: false,
            base_registries: Vec::new(),
            required_labels: Vec::new(),
            narrow_context: some,
            waivers: Vec::new(),
        }
    }
}

/// The policy, where brik.toml or a layer above speaks of one.
pub(super) fn resolve(scope: &Scope, known: &[&str], findings: &mut Vec<Finding>) -> Option<Policy> {
    if !scope.layers.has(&["policy"]) {
        return None;
    }
    let table = &scope.file.policy;
    let mut policy = Policy::of(table.extends);
    let set = |value: &mut bool, written: Option<bool>| *value = written.unwrap_or(*value);
    set(&mut policy.enforce, table.enforce);
    set(&mut policy.require_sha, table.require_sha);
    set(&mut policy.strict_semver, table.strict_semver);
    set(&mut policy.allow_latest, table.allow_latest);
    set(&mut policy.non_root, table.non_root);
    set(&mut policy.multi_stage, table.multi_stage);
    set(&mut policy.no_secrets, table.no_secrets);
    set(&mut policy.pinned_bases, table.pinned_bases);
    set(&mut policy.narrow_context, table.narrow_context);
    policy.require_version = match &table.require_version {
        None => policy.require_version,
        Some(VersionTable::Enabled(false)) => RequireVersion::Never,
        Some(VersionTable::Enabled(true) | VersionTable::When(When::Release)) => RequireVersion::OnRelease,
        Some(VersionTable::When(When::Always)) => RequireVersion::Always,
    };
    policy.warn.extend(&table.warn);
    policy.warn.retain(|rule| !table.deny.contains(rule));
    policy.required_tags = table.required_tags.iter().map(|pattern| pattern.0.clone()).collect();
    policy.forbidden_tags = table.forbidden_tags.iter().map(|pattern| pattern.0.clone()).collect();
    policy.base_registries = table.base_registries.iter().map(|prefix| with_host(&prefix.0)).collect();
    policy.required_labels = table.required_labels.iter().map(|name| name.0.clone()).collect();
    contradictions(scope, table, findings);
    policy.waivers = table.waive.iter().filter_map(|waiver| self::waiver(scope, waiver, known, findings)).collect();
    Some(policy)
}

/// `library` as `docker.io/library`.
fn with_host(prefix: &str) -> String {
    if begins_with_host(&format!("{prefix}/")) { prefix.to_owned() } else { format!("docker.io/{prefix}") }
}

/// No rule can be both.
fn contradictions(scope: &Scope, table: &PolicyTable, findings: &mut Vec<Finding>) {
    for rule in table.warn.iter().filter(|rule| table.deny.contains(rule)) {
        let name = rule.name();
        let at = scope.layers.item(&["policy", "deny"], |item| item.as_str() == Some(name));
        let finding = Finding::error("brik::config::contradiction", format!("the rule {name} is in both `warn` and `deny`"));
        findings.push(finding.help("take it out of one of them").at(at));
    }
}

/// None where the day is none, which the check of the document tells.
fn waiver(scope: &Scope, table: &WaiverTable, known: &[&str], findings: &mut Vec<Finding>) -> Option<Waiver> {
    let place = |key: &str| {
        scope.layers.below_item(&["policy", "waive"], key, |item| {
            let is = |key: &str, text: &str| item.get(key).is_some_and(|entry| entry.node.as_text() == Some(text));
            is("rule", table.rule.name()) && is("until", &table.until) && is("reason", &table.reason)
        })
    };
    if table.reason.trim().is_empty() {
        let finding = Finding::error("brik::config::empty", "a waiver without a reason waives nothing");
        findings.push(finding.help("say why the rule may be broken for a while").at(place("reason")));
    }
    for name in table.services.iter().filter(|name| scope.complete && !known.contains(&name.0.as_str())) {
        let finding = Finding::error("brik::config::unknown-service", format!("there is no service {}", name.0));
        findings.push(finding.maybe_help(did_you_mean(&name.0, known.iter().copied())).at(place("services")));
    }
    Some(Waiver {
        rule: table.rule,
        services: table.services.iter().map(|name| name.0.clone()).collect(),
        reason: table.reason.trim().to_owned(),
        until: table.until.parse().ok()?,
        location: place("until"),
    })
}

impl PolicyRule {
    pub fn name(self) -> &'static str {
        match self {
            Self::ShaTag => "sha-tag",
            Self::VersionTag => "version-tag",
            Self::LatestTag => "latest-tag",
            Self::RequiredTags => "required-tags",
            Self::ForbiddenTags => "forbidden-tags",
            Self::NonRoot => "non-root",
            Self::MultiStage => "multi-stage",
            Self::NoSecrets => "no-secrets",
            Self::BaseRegistries => "base-registries",
            Self::PinnedBases => "pinned-bases",
            Self::RequiredLabels => "required-labels",
            Self::NarrowContext => "narrow-context",
        }
    }
}
