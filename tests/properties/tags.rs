//! What makes tags: brik's templates and lines of docker/metadata-action.

use brik::config::TagEntry;
use brik::config::metadata_action::Flavor;
use brik::oci::validate_tag;
use brik::plan::tags::{Facts, render};
use brik::source::Event;

/// `input` is a list of tags and, after a NUL, lines of a flavor.
pub fn check(input: &str) {
    let (list, flavor) = input.split_once('\0').unwrap_or((input, ""));
    let flavor = match Flavor::parse(flavor.lines()) {
        Ok(flavor) => flavor,
        Err(error) => {
            assert!(flavor.lines().any(|line| line.get(error.span.clone()).is_some()), "{error:?}");
            Flavor::default()
        }
    };
    for entry in list.lines().map(str::trim) {
        if let Err(error) = entry.parse::<TagEntry>() {
            assert!(entry.get(error.span.clone()).is_some(), "{error:?}");
        }
    }
    let Ok(entries) = TagEntry::list(list) else { return };
    rendered(&entries, &flavor);
}

/// Whatever the facts are, tags are tags.
pub fn rendered(entries: &[TagEntry], flavor: &Flavor) {
    for entry in entries {
        let written = entry.to_string();
        let again: TagEntry = written.parse().unwrap_or_else(|error| panic!("{error}: {written:?}"));
        assert_eq!(again.to_string(), written);
    }
    for facts in all_facts() {
        match render("api", entries, flavor, &facts) {
            Ok(found) => {
                assert!(found.tags.iter().all(|tag| validate_tag(tag).is_ok()), "{:?}", found.tags);
                assert!(found.tags.iter().enumerate().all(|(at, tag)| !found.tags[..at].contains(tag)), "{:?}", found.tags);
                assert!(found.tags.len() <= entries.len() + 1 && found.skipped.len() <= entries.len());
                assert!(found.version.is_none_or(|version| found.tags.contains(&version)));
            }
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
}

fn all_facts() -> Vec<Facts> {
    let sha = "2f4c9a12f4c9a12f4c9a12f4c9a12f4c9a12f4c9";
    let event = |name: &str, reference: &str| Event {
        name: name.to_owned(),
        reference: reference.to_owned(),
        sha: Some(sha.to_owned()),
        default_branch: Some("main".to_owned()),
        base_branch: Some("release/1.x".to_owned()),
        commit_time: Some(1_700_000_000),
        ..Event::default()
    };
    let facts = |event: Event, tags: &[&str]| Facts {
        sha: Some(sha.to_owned()),
        branch: event.reference.strip_prefix("refs/heads/").map(str::to_owned),
        tags: tags.iter().map(|tag| (*tag).to_owned()).collect(),
        pr: event.reference.strip_prefix("refs/pull/").map(|_| "42".to_owned()),
        date: Some("20231114".to_owned()),
        now: 1_700_000_000,
        event,
    };
    vec![
        Facts::default(),
        facts(event("push", "refs/heads/feature/é-x"), &[]),
        facts(event("push", "refs/tags/v1.2.3-beta.1"), &["v1.2.3-beta.1", "api/v2.0.0"]),
        facts(event("push", "refs/tags/1!2.0rc1.post3.dev4+l"), &["1!2.0rc1.post3.dev4+l"]),
        facts(event("pull_request", "refs/pull/42/merge"), &[]),
        facts(event("schedule", "refs/heads/main"), &["v9.9.9"]),
        Facts { now: i64::MAX, event: Event { commit_time: Some(i64::MIN), short: usize::MAX, ..event("push", "x") }, ..Facts::default() },
    ]
}
