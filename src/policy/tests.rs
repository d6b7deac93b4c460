//! Rules over one service, from its brik.toml and its Dockerfile.

use std::path::Path;

use jiff::civil::date;

use super::*;
use crate::config::{LoadOptions, Severity, Source, load};
use crate::oci::Platform;
use crate::plan::{Dockerfile, NamedContexts};
use crate::source::Disk;

/// What is known besides brik.toml and the Dockerfile.
#[derive(Default, Clone, Copy)]
struct Facts<'a> {
    tags: &'a [&'a str],
    git_tags: &'a [&'a str],
    /// Whom every base runs as.
    base: Option<&'a str>,
    locked: bool,
    holds: &'a [&'a str],
}

/// `severity rule bytes` of each finding of 2026-11-22, and whether the policy lets the service pass.
fn findings(policy: &str, dockerfile: &str, facts: Facts) -> (Vec<String>, bool) {
    let directory = tempfile::tempdir().unwrap();
    let root = directory.path().canonicalize().unwrap();
    let toml = format!("tags = ['v1', \"latest\"]\n[services.api]\ncontext = '.'\nlabels = {{ own = 'x' }}\n{policy}");
    std::fs::write(root.join("brik.toml"), toml).unwrap();
    std::fs::write(root.join("Dockerfile"), dockerfile).unwrap();
    let config = load(&LoadOptions { cwd: root, ..LoadOptions::default() }, &Disk).unwrap();
    let service = &config.services["api"];
    let dockerfile = Dockerfile::parse(Path::new("Dockerfile"), dockerfile.as_bytes()).unwrap();
    let platform: Platform = "linux/amd64".parse().unwrap();
    let contexts = NamedContexts::default();
    let survey = dockerfile.survey(&service.args, None, &platform, &platform, &contexts).unwrap();
    let owned = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (tags, git_tags) = (owned(facts.tags), owned(facts.git_tags));
    let base = |outside: &crate::plan::NamedImage| Base { reference: outside.reference.clone(), span: outside.span, locked: facts.locked };
    let bases = crate::plan::images_of(&survey, &contexts, &crate::plan::ServiceNames::default(), "api", &platform);
    let subject = Subject {
        service,
        dockerfile: &dockerfile,
        source: Source::new("Dockerfile", &*dockerfile.text),
        survey: &survey,
        contexts: &contexts,
        tags: &tags,
        tags_location: service.tags_location.clone(),
        git_tags: &git_tags,
        bases: bases.iter().map(base).collect(),
        user: final_user(&dockerfile, &survey, &contexts, &service.args, &|_, _| facts.base.map(str::to_owned)),
        standard_labels: owned(&["revision"]),
        holds: owned(facts.holds),
    };
    let verdict = judge(config.policy.as_ref().unwrap(), &[subject], Vec::new(), date(2026, 11, 22));
    let line = |finding: crate::config::Finding| {
        let at = finding.location.unwrap();
        let level = if finding.severity == Severity::Error { "deny" } else { "warn" };
        format!("{level} {} {}", finding.code.trim_start_matches("brik::policy::"), &at.source.text[at.span])
    };
    (verdict.findings().into_iter().map(line).collect(), verdict.passes())
}

fn told(policy: &str, dockerfile: &str, facts: Facts) -> Vec<String> {
    findings(policy, dockerfile, facts).0
}

const GOOD: &str = "FROM golang AS build\nRUN make\nFROM scratch\nCOPY --from=build /app /app\nUSER 65532:65532\n";
const SHA: Facts = Facts { tags: &["sha-2f4c9a1"], git_tags: &[], base: None, locked: false, holds: &[] };

#[test]
fn the_presets_are_what_the_conventions_say() {
    let brikbyte = "[policy]\nextends = 'brikbyte'\n";
    let governance = "[policy]\nextends = 'brikbyte-governance'\n";
    let list = "['v1', \"latest\"]";
    for (policy, tags, git_tags, expected) in [
        (brikbyte, &["sha-2f4c9a1"][..], &[][..], vec![]),
        (brikbyte, &["edge"], &[], vec![format!("deny sha-tag {list}")]),
        (brikbyte, &["sha-2f4c9a1", "v1.2.3"], &["v1.2.3"], vec![]),
        (brikbyte, &["sha-2f4c9a1"], &["v1.2.3"], vec![format!("deny version-tag {list}")]),
        (brikbyte, &["sha-2f4c9a1", "v1.2.3-beta.1"], &[], vec![format!("deny version-tag {list}")]),
        (brikbyte, &["sha-2f4c9a1", "1.2.3"], &[], vec![format!("deny version-tag {list}")]),
        (brikbyte, &["sha-2f4c9a1", "latest"], &[], vec!["deny latest-tag \"latest\"".to_owned()]),
        (governance, &["sha-2f4c9a1"], &[], vec![format!("deny version-tag {list}")]),
        (governance, &["sha-2f4c9a1", "v1.2.3"], &[], vec![]),
        (governance, &["sha-2f4c9a1", "1.2.3-beta.1", "latest", "prod"], &[], vec![]),
        (governance, &["v1.2.3"], &[], vec![format!("deny sha-tag {list}")]),
    ] {
        assert_eq!(told(policy, GOOD, Facts { tags, git_tags, ..SHA }), expected, "{policy}{tags:?} {git_tags:?}");
    }
}

#[test]
fn a_key_takes_a_rule_of_a_preset_away_and_none_is_held_without_one() {
    let bad = Facts { tags: &["latest"], holds: &["web"], ..Facts::default() };
    let root = "FROM scratch\nENV TOKEN=x\n";
    assert_eq!(told("[policy]\n", root, bad), [""; 0]);
    let off =
        "require_sha = false\nallow_latest = true\nnon_root = false\nmulti_stage = false\nno_secrets = false\nnarrow_context = false\n";
    assert_eq!(told(&format!("[policy]\nextends = 'brikbyte'\n{off}"), root, bad), [""; 0]);
    let all = told("[policy]\nextends = 'brikbyte'\n", root, bad);
    let rules: Vec<&str> = all.iter().filter_map(|line| line.split(' ').nth(1)).collect();
    assert_eq!(rules, ["sha-tag", "latest-tag", "non-root", "multi-stage", "no-secrets", "narrow-context"]);
}

#[test]
fn each_rule_points_at_the_bytes_that_break_it() {
    for (policy, dockerfile, facts, expected) in [
        ("required_tags = ['sha-*', 'v*']", GOOD, SHA, vec!["deny required-tags ['v1', \"latest\"]"]),
        ("forbidden_tags = ['v?']", GOOD, Facts { tags: &["v1", "v10"], ..SHA }, vec!["deny forbidden-tags 'v1'"]),
        ("multi_stage = true", "FROM a\nRUN b\n", SHA, vec!["deny multi-stage a"]),
        ("multi_stage = true", "FROM a\nCOPY --from=b /x /x\n", SHA, vec![]),
        (
            "no_secrets = true",
            "ARG API_KEY\nFROM a\nENV X=1 TOKEN=2\nARG PUBLIC_KEY\n",
            SHA,
            vec!["deny no-secrets API_KEY", "deny no-secrets TOKEN"],
        ),
        ("no_secrets = true", "FROM a AS unused\nENV TOKEN=1\nFROM a\n", SHA, vec![]),
        (
            "base_registries = ['library', 'ghcr.io/org']",
            "FROM alpine AS a\nFROM ghcr.io/other/x\nCOPY --from=a /x /x\nCOPY --from=q.io/y /y /y\n",
            SHA,
            vec!["deny base-registries ghcr.io/other/x", "deny base-registries q.io/y"],
        ),
        ("pinned_bases = true", "FROM alpine:3\n", SHA, vec!["deny pinned-bases alpine:3"]),
        ("pinned_bases = true", "FROM alpine:3\n", Facts { locked: true, ..SHA }, vec![]),
        (
            "required_labels = ['own', 'title', 'other', 'revision']",
            "FROM a AS b\nLABEL \"title\"=x\nFROM c AS unused\nLABEL other=x\nFROM b\n",
            SHA,
            vec!["deny required-labels b"],
        ),
        ("narrow_context = true", GOOD, Facts { holds: &["web"], ..SHA }, vec!["deny narrow-context api"]),
    ] {
        assert_eq!(told(&format!("[policy]\n{policy}\n"), dockerfile, facts), expected, "{policy} {dockerfile}");
    }
}

#[test]
fn the_final_user_is_the_last_one_of_the_stages_that_make_the_image() {
    for (dockerfile, base, expected) in [
        ("FROM scratch\nUSER app\n", None, vec![]),
        ("FROM scratch\nUSER app\nUSER 0:0\n", None, vec!["deny non-root 0:0"]),
        ("FROM scratch\nUSER root\n", None, vec!["deny non-root root"]),
        ("FROM scratch\n", None, vec!["deny non-root scratch"]),
        ("FROM a AS base\nUSER app\nFROM base\nRUN x\n", Some("root"), vec![]),
        ("FROM a AS base\nUSER app\nFROM b\nCOPY --from=base / /\n", Some("root"), vec!["deny non-root b"]),
        ("FROM a\n", Some(""), vec!["deny non-root a"]),
        ("FROM a\n", Some("nonroot"), vec![]),
        ("FROM a\n", None, vec!["warn non-root a"]),
        ("ARG ID=0\nFROM a\nARG ID\nUSER $ID\n", None, vec!["deny non-root $ID"]),
        ("FROM a\nARG ID=7\nENV U=u$ID\nUSER ${U}\n", None, vec![]),
        ("FROM a\nUSER $FROM_BASE\n", None, vec!["warn non-root $FROM_BASE"]),
    ] {
        assert_eq!(told("[policy]\nnon_root = true\n", dockerfile, Facts { base, ..SHA }), expected, "{dockerfile}");
    }
}

#[test]
fn rules_warn_or_deny_as_they_are_told_to() {
    let single = "FROM scratch\nUSER 1\n";
    let held = Facts { holds: &["web"], ..SHA };
    for (policy, expected, passes) in [
        ("", ["deny multi-stage", "warn narrow-context"], false),
        ("warn = ['multi-stage']", ["warn multi-stage", "warn narrow-context"], true),
        ("deny = ['narrow-context']", ["deny multi-stage", "deny narrow-context"], false),
        ("enforce = false\ndeny = ['narrow-context']", ["warn multi-stage", "warn narrow-context"], true),
    ] {
        let (told, passed) = findings(&format!("[policy]\nextends = 'brikbyte'\n{policy}\n"), single, held);
        let told: Vec<&str> = told.iter().map(|line| line.rsplit_once(' ').unwrap().0).collect();
        assert_eq!((&told[..], passed), (&expected[..], passes), "{policy}");
    }
}

#[test]
fn a_waiver_holds_for_its_services_to_the_end_of_its_day() {
    for (waiver, expected) in [
        ("rule = 'non-root'\nuntil = 2026-11-22", vec![]),
        ("rule = 'non-root'\nuntil = '2026-11-22'\nservices = ['api']", vec![]),
        ("rule = 'multi-stage'\nuntil = 2026-11-22", vec!["deny non-root scratch"]),
        ("rule = 'non-root'\nuntil = 2026-11-21", vec!["deny expired-waiver 2026-11-21", "deny non-root scratch"]),
    ] {
        let policy = format!("[policy]\nnon_root = true\n[[policy.waive]]\nreason = 'a port below 1024'\n{waiver}\n");
        assert_eq!(told(&policy, "FROM scratch\n", SHA), expected, "{waiver}");
    }
}
