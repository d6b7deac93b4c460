//! When each type fires.

use super::super::{TagError, render};
use super::*;
use crate::config::TagEntry;

const SHA: &str = "90dd6032fac8bda1b6c4436a2e65de27961ed071";

fn facts(name: &str, reference: &str) -> Facts {
    let event = Event {
        name: name.to_owned(),
        reference: reference.to_owned(),
        sha: Some(SHA.to_owned()),
        default_branch: Some("master".to_owned()),
        base_branch: Some("base".to_owned()),
        commit_time: Some(1_578_616_200),
        ..Event::default()
    };
    Facts { event, now: 1_600_000_000, ..Facts::default() }
}

fn tags(line: &str, flavor: &[&str], facts: &Facts) -> Result<String, String> {
    let entries = TagEntry::list(line).unwrap();
    let tags = render("api", &entries, &Flavor::parse(flavor.iter().copied()).unwrap(), facts);
    tags.map(|tags| tags.tags.join(" ")).map_err(|error| error.to_string())
}

#[test]
fn types_fire_on_their_events() {
    let on = |reference: &str, line: &str| tags(line, &[], &facts("push", reference));
    for (reference, line, expected) in [
        ("refs/heads/feature/x", "type=ref,event=branch", "feature-x"),
        ("refs/heads/main", "type=edge,branch=main", "edge"),
        ("refs/heads/master", "type=edge", "edge"),
        ("refs/tags/v1.2.3", "type=ref,event=tag", "v1.2.3"),
        ("refs/pull/2/merge", "type=ref,event=pr", "pr-2"),
        ("refs/pull/2/merge", "type=ref,event=pr,prefix=,suffix=-x", "2-x"),
        ("refs/heads/x", "type=sha", "sha-90dd603"),
        ("refs/heads/x", "type=sha,format=long,prefix=", SHA),
        ("refs/heads/a/b", "type=raw,value=mytag-{{branch}}-{{sha}}", "mytag-a-b-90dd603"),
        ("refs/tags/v1", "type=raw,value=x{{branch}}{{tag}}", "xv1"),
        ("refs/pull/2/merge", "type=raw,value={{base_ref}}", "base"),
        ("refs/heads/master", "type=raw,value=latest,enable={{is_default_branch}}", "latest"),
        ("refs/heads/x", "type=raw,value=a,enable={{is_not_default_branch}}", "a"),
        ("refs/heads/x", "type=raw,value={{date 'YYYYMMDD'}}", "20200913"),
        ("refs/heads/x", "type=raw,value={{commit_date 'YYYYMMDD-HHmmss' tz='Asia/Tokyo'}}", "20200110-093000"),
        ("refs/tags/api/v1.2.3", "type=semver,pattern={{major}}.{{minor}}", "1.2"),
        ("refs/tags/api/v1.2.3", "type=semver,pattern={{raw}}", "v1.2.3"),
        ("refs/tags/p1/v1.2.3", r"type=semver,pattern={{version}},match=v(\d.\d.\d)$", "1.2.3"),
        ("refs/tags/p1/v1.2.3", r"type=match,pattern=p1/v(\d.\d.\d),group=1", "1.2.3"),
        ("refs/tags/v9.5.7-alpha.2+fork.3.1.8", "type=semver,pattern={{raw}}", "v9.5.7-alpha.2-fork.3.1.8"),
        ("refs/tags/v9.5.7-alpha.2+fork.3.1.8", "type=semver,pattern={{major}}", "9.5.7-alpha.2"),
        ("refs/heads/x", "type=semver,pattern={{version}},value=v1.0.0", "1.0.0"),
        ("refs/tags/v1.2.3rc2", "type=pep440,pattern={{raw}}", "v1.2.3rc2"),
        ("refs/tags/2.1", "type=pep440,pattern={{major}}-{{minor}}-{{patch}}", "2-1-0"),
    ] {
        assert_eq!(on(reference, line).as_deref(), Ok(expected), "{line} on {reference}");
    }
    assert_eq!(tags("type=schedule", &[], &facts("schedule", "refs/heads/x")).as_deref(), Ok("nightly"));
    let pattern = "type=schedule,pattern={{date 'YYYYMMDD'}}";
    assert_eq!(tags(pattern, &[], &facts("schedule", "refs/heads/x")).as_deref(), Ok("20200913"));
}

#[test]
fn what_does_not_fire_says_why() {
    for (reference, line, reason) in [
        ("refs/heads/x", "type=schedule", "not a scheduled run"),
        ("refs/heads/x", "type=semver,pattern={{version}}", "not on a git tag"),
        ("refs/tags/web/v1.2.3", "type=semver,pattern={{version}}", "web-v1.2.3 is no semantic version"),
        ("refs/tags/1.2", "type=semver,pattern={{version}}", "1.2 is no semantic version"),
        ("refs/tags/x", "type=pep440,pattern={{version}}", "x is no version by PEP 440"),
        ("refs/tags/x", "type=match,pattern=v(.*)", "v(.*) does not match x"),
        ("refs/tags/v", "type=match,pattern=v,group=1", "v has no group 1 here"),
        ("refs/heads/x", "type=edge", "not on the branch master"),
        ("refs/tags/x", "type=ref,event=branch", "not on a branch"),
        ("refs/heads/x", "type=ref,event=tag", "not on a git tag"),
        ("refs/heads/x", "type=ref,event=pr", "not a pull request"),
        ("refs/heads/x", "type=raw,value=a,enable=false", "enable is false"),
        ("refs/heads/x", "type=raw,value={{tag}}", "empty here"),
    ] {
        let error = tags(line, &[], &facts("push", reference)).unwrap_err();
        assert!(error.ends_with(&format!("({reason})")), "{line}: {error}");
    }
}

#[test]
fn entries_are_sorted_by_priority_and_an_own_affix_replaces_the_flavors() {
    let on = facts("push", "refs/tags/v1.2.3");
    let list = "type=sha\ntype=ref,event=tag,priority=950\ntype=semver,pattern={{version}}\nfoo";
    assert_eq!(tags(list, &["latest=auto"], &on).as_deref(), Ok("v1.2.3 1.2.3 foo sha-90dd603 latest"));
    let flavor = ["prefix=a-,onlatest=true", "suffix=-z", "latest=true"];
    assert_eq!(tags(list, &flavor, &on).as_deref(), Ok("a-v1.2.3-z a-1.2.3-z a-foo-z sha-90dd603-z a-latest"));
}

#[test]
fn tags_that_are_none_are_errors() {
    let on = |reference: &str, line: &str| tags(line, &[], &facts("push", reference)).unwrap_err();
    assert!(on("refs/heads/-x", "type=ref,event=branch").contains("invalid tag"));
    assert!(on(&format!("refs/heads/{}", "x".repeat(129)), "type=ref,event=branch").contains("invalid tag"));
    let error = on("refs/heads/x", "type=raw,value=a,enable={{branch}}");
    let expected = TagError::Enable { template: "type=raw,value=a,enable={{branch}}".to_owned(), value: "x".to_owned() };
    assert_eq!(error, expected.to_string());
}
