//! Templates, and lists that they share with lines of metadata-action.

use super::*;

fn facts(tags: &[&str]) -> Facts {
    Facts {
        sha: Some("2f4c9a1b00000000000000000000000000000000".to_owned()),
        branch: Some("feature/läuft  schnell".to_owned()),
        tags: tags.iter().map(|&tag| tag.to_owned()).collect(),
        pr: Some("17".to_owned()),
        date: Some("20260131".to_owned()),
        ..Facts::default()
    }
}

fn rendered(template: &str, facts: &Facts) -> Result<String, String> {
    let templates: Vec<TagEntry> = template.split(' ').map(|t| t.parse().unwrap()).collect();
    render("api", &templates, &Flavor::default(), facts).map(|tags| tags.tags.join(" ")).map_err(|error| error.to_string())
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
    for tag in ["1.2.3", "v1.2", "v1.2.3.4", "v01.2.3", "v1.2.03", "v1.2.3-", "v1.2.3-01", "v1.2.3+", "v1.2.x", "V1.2.3", "v1.2.3-a..b"] {
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
    assert_eq!(render("api", &[], &Flavor::default(), &Facts::default()), Ok(Tags::default()));
}

#[test]
fn what_is_skipped_is_told_beside_the_tags() {
    let templates = ["sha-{sha}", "v{version}"].map(|t| t.parse().unwrap());
    let tags = render("api", &templates, &Flavor::default(), &facts(&[])).unwrap();
    assert_eq!(tags.skipped, [Skipped { template: "v{version}".to_owned(), reason: SkipReason::NoTag }]);
}

#[test]
fn a_value_at_the_head_of_a_tag_loses_what_no_tag_begins_with() {
    let at = |branch: &str| Facts { branch: Some(branch.to_owned()), ..Facts::default() };
    assert_eq!(rendered("{branch}", &at("-.x")).as_deref(), Ok("x"));
    assert_eq!(rendered("b{branch}", &at("-.x")).as_deref(), Ok("b-.x"));
    assert!(rendered("{branch}", &at("---")).unwrap_err().contains("{branch} (empty here)"));
    assert!(rendered("{branch}", &at(&"x".repeat(129))).unwrap_err().contains("invalid tag"));
}

/// On the tag `v1.2.3`, with these lines of flavor.
fn mixed(list: &str, flavor: &[&str]) -> (String, String) {
    let mut facts = facts(&["v1.2.3"]);
    facts.event = Event { reference: "refs/tags/v1.2.3".to_owned(), sha: facts.sha.clone(), ..Event::default() };
    let tags = render("api", &TagEntry::list(list).unwrap(), &Flavor::parse(flavor.iter().copied()).unwrap(), &facts).unwrap();
    (tags.tags.join(" "), tags.version.unwrap_or_default())
}

#[test]
fn templates_stand_among_lines_where_the_type_does_that_says_the_same() {
    let list = "sha-{sha}, dev\nv{version}\ntype=ref,event=tag,prefix=ref-\ntype=raw,value=x";
    assert_eq!(mixed(list, &[]), ("v1.2.3 ref-v1.2.3 dev x sha-2f4c9a1".to_owned(), "v1.2.3".to_owned()));
    assert_eq!(mixed("sha-{sha}\nv{version}", &[]), ("sha-2f4c9a1 v1.2.3".to_owned(), "v1.2.3".to_owned()));
}

#[test]
fn latest_is_there_only_where_the_flavor_says_so() {
    for (list, flavor, tags) in [
        ("type=semver,pattern={{version}}", &[][..], "1.2.3"),
        ("type=semver,pattern={{version}}", &["latest=auto"], "1.2.3 latest"),
        ("v{version}", &["latest=auto"], "v1.2.3 latest"),
        ("type=sha", &["latest=auto"], "sha-2f4c9a1"),
        ("type=sha", &["latest=true", "suffix=-x,onlatest=true"], "sha-2f4c9a1-x latest-x"),
        ("v{version}", &["suffix=-{{sha}}"], "v1.2.3-2f4c9a1"),
        ("latest\ntype=ref,event=tag", &["latest=auto"], "v1.2.3 latest"),
    ] {
        assert_eq!(mixed(list, flavor).0, tags, "{list} {flavor:?}");
    }
}
