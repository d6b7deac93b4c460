//! `brik explain`: every code that brik can say has a page.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use crate::support::{Project, repository};

/// Every `"brik::room::what"` and `code(brik::room::what)` below a directory, outside of tests; and the build checks, one a page.
fn codes_in(directory: &Path, codes: &mut BTreeSet<String>) {
    for entry in fs::read_dir(directory).unwrap().map(Result::unwrap) {
        let path = entry.path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        if path.is_dir() && name != "tests" {
            codes_in(&path, codes);
        } else if name.ends_with(".rs") && name != "tests.rs" {
            let text = fs::read_to_string(&path).unwrap();
            let code = text.split("#[cfg(test)]\nmod tests {").next().unwrap();
            for before in ["\"brik::", "code(brik::"] {
                let found = code.match_indices(before).map(|(at, _)| &code[at + before.len()..]);
                let whole = |rest: &str| rest.chars().take_while(|c| c.is_ascii_alphanumeric() || ":_-".contains(*c)).collect::<String>();
                codes.extend(found.map(whole).filter(|code| !code.ends_with(':')).map(|code| format!("brik::{code}")));
            }
        } else if directory.ends_with("lint/doc") {
            codes.insert(format!("brik::lint::{}", name.trim_end_matches(".md")));
        }
    }
}

fn listed() -> BTreeSet<String> {
    let list = Project::empty().brik(["explain"]).succeeds().stdout;
    let codes: BTreeSet<String> =
        list.lines().map(|line| line.split_once("  ").unwrap_or_else(|| panic!("no summary: {line}")).0.to_owned()).collect();
    assert_eq!(codes.len(), list.lines().count(), "a code has two pages");
    codes
}

#[test]
fn the_codes_of_the_source_are_the_codes_that_are_explained() {
    let mut codes = BTreeSet::new();
    codes_in(&repository().join("src"), &mut codes);
    assert!(codes.len() > 100 && codes.contains("brik::config::unknown-key") && codes.contains("brik::registry::tls"), "{codes:?}");
    let listed = listed();
    let missing: Vec<_> = codes.difference(&listed).collect();
    assert!(missing.is_empty(), "no page in src/cli/explain/*.md for {missing:?}");
    let unused: Vec<_> = listed.difference(&codes).collect();
    assert!(unused.is_empty(), "a page for what nobody says: {unused:?}");
}

#[test]
fn pages_are_short_and_say_more_than_their_code() {
    let project = Project::empty();
    for code in listed().into_iter().filter(|code| !code.starts_with("brik::lint::") || code.ends_with(char::is_lowercase)) {
        if project.brik(["explain", &code]).succeeds().stdout.lines().count() > 60 {
            panic!("{code} has a long page");
        }
    }
}

#[test]
fn a_code_is_found_whole_or_by_its_last_part_in_any_case() {
    let project = Project::empty();
    let page = project.brik(["explain", "brik::policy::latest-tag"]).succeeds().stdout;
    insta::assert_snapshot!(page, @r"
    # brik::policy::latest-tag

    Latest forbidden: an image would be tagged `latest`, which says nothing of what it is and changes its meaning with every push.

    Take it out of `tags` and `--tags`, or set `allow_latest = true` in `[policy]`.
    ");
    for other in ["latest-tag", "LATEST-TAG", "Brik::Policy::Latest-Tag"] {
        assert_eq!(project.brik(["explain", other]).succeeds().stdout, page);
    }
}

#[test]
fn build_checks_are_explained_by_their_names() {
    let page = Project::empty().brik(["explain", "jsonargsrecommended"]).succeeds().stdout;
    assert!(page.starts_with("# JSONArgsRecommended\n") && page.contains("CMD [\"my-server\""), "{page}");
    assert!(page.ends_with("https://docs.docker.com/go/dockerfile/rule/json-args-recommended/\n"), "{page}");
}

#[test]
fn an_unknown_code_is_told_with_what_was_meant() {
    let project = Project::empty();
    for (asked, said) in [
        ("JSONArgRecomended", "there is no code \"JSONArgRecomended\"; did you mean `JSONArgsRecommended`?"),
        ("brik::policy::nonroot", "did you mean `brik::policy::non-root`?"),
        ("DL3008", "there is no code \"DL3008\"; `brik explain` lists all codes"),
        (
            "invalid",
            "\"invalid\" may be brik::config::invalid or brik::dockerignore::invalid or brik::plan::invalid or brik::lock::invalid",
        ),
    ] {
        project.brik(["explain", asked]).exits(2).says(&[said]);
    }
}
