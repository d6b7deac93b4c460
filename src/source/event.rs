//! What made a CI run, and on which ref: from the variables of GitHub Actions or GitLab CI, else what git tells. Never an error: what
//! is not known is absent.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Read;

use serde_json::Value;

use super::git::GitFacts;

/// The facts that docker/metadata-action decides by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Event {
    /// `push`, `pull_request`, `schedule`, …; GitLab's names of pipeline sources.
    pub name: String,
    /// `refs/heads/…`, `refs/tags/…`, `refs/pull/N/merge`; empty where there is none.
    pub reference: String,
    pub sha: Option<String>,
    /// How many digits of it `{{sha}}` has.
    pub short: usize,
    pub default_branch: Option<String>,
    /// The branch that a pull request is for.
    pub base_branch: Option<String>,
    /// The committer's time, seconds since 1970.
    pub commit_time: Option<i64>,
}

const SHORT: usize = 7;
/// GitHub's largest payload is 25 MB.
const LARGEST_PAYLOAD: u64 = 32 << 20;

impl Default for Event {
    fn default() -> Self {
        Self {
            name: String::new(),
            reference: String::new(),
            sha: None,
            short: SHORT,
            default_branch: None,
            base_branch: None,
            commit_time: None,
        }
    }
}

impl Event {
    /// What the variables tell, completed by what git tells.
    pub fn read(git: &GitFacts, env: &BTreeMap<String, String>) -> Self {
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty());
        let event = if get("GITHUB_REF").is_some() || get("GITHUB_EVENT_NAME").is_some() {
            Self::github(&get)
        } else if get("GITLAB_CI").is_some() || get("CI_PIPELINE_SOURCE").is_some() || get("CI_COMMIT_SHA").is_some() {
            Self::gitlab(&get)
        } else {
            Self::git(git)
        };
        Self {
            short: get("DOCKER_METADATA_SHORT_SHA_LENGTH").and_then(|text| text.parse().ok()).unwrap_or(SHORT),
            sha: event.sha.or_else(|| git.sha.clone()),
            default_branch: event.default_branch.or_else(|| git.default_branch.clone()),
            commit_time: git.commit_time.or(event.commit_time),
            ..event
        }
    }

    fn github<'e>(get: &dyn Fn(&str) -> Option<&'e String>) -> Self {
        let name = get("GITHUB_EVENT_NAME").cloned().unwrap_or_default();
        let payload = get("GITHUB_EVENT_PATH").and_then(|path| payload(path)).unwrap_or_default();
        let text = |pointer: &str| payload.pointer(pointer).and_then(Value::as_str).map(str::to_owned);
        let mut reference = get("GITHUB_REF").cloned().unwrap_or_default();
        // Its ref is that of the branch that the request is for.
        if name == "pull_request_target"
            && let Some(number) = payload.pointer("/number").and_then(Value::as_u64)
        {
            reference = format!("refs/pull/{number}/merge");
        }
        let wants_head = get("DOCKER_METADATA_PR_HEAD_SHA").is_some_and(|text| text.eq_ignore_ascii_case("true"));
        let head = text("/pull_request/head/sha").filter(|_| wants_head && name.contains("pull_request"));
        let short = |branch: String| branch.strip_prefix("refs/heads/").map(str::to_owned).unwrap_or(branch);
        let base_branch = if reference.starts_with("refs/tags/") {
            text("/base_ref").map(short)
        } else if reference.starts_with("refs/pull/") {
            text("/pull_request/base/ref").or_else(|| get("GITHUB_BASE_REF").cloned())
        } else {
            None
        };
        Self {
            sha: head.or_else(|| get("GITHUB_SHA").cloned()),
            default_branch: text("/repository/default_branch"),
            base_branch,
            commit_time: text("/head_commit/timestamp").and_then(|time| seconds(&time)),
            name,
            reference,
            ..Self::default()
        }
    }

    fn gitlab<'e>(get: &dyn Fn(&str) -> Option<&'e String>) -> Self {
        let reference = match (get("CI_COMMIT_TAG"), get("CI_MERGE_REQUEST_IID"), get("CI_COMMIT_BRANCH")) {
            (Some(tag), ..) => format!("refs/tags/{tag}"),
            (None, Some(request), _) => format!("refs/pull/{request}/merge"),
            (None, None, Some(branch)) => format!("refs/heads/{branch}"),
            (None, None, None) => String::new(),
        };
        Self {
            name: get("CI_PIPELINE_SOURCE").cloned().unwrap_or_default(),
            reference,
            sha: get("CI_COMMIT_SHA").cloned(),
            default_branch: get("CI_DEFAULT_BRANCH").cloned(),
            base_branch: get("CI_MERGE_REQUEST_TARGET_BRANCH_NAME").cloned(),
            commit_time: get("CI_COMMIT_TIMESTAMP").and_then(|time| seconds(time)),
            ..Self::default()
        }
    }

    /// A branch that is checked out counts before tags at its commit.
    fn git(git: &GitFacts) -> Self {
        let reference = match (&git.branch, git.tags.first()) {
            (Some(branch), _) => format!("refs/heads/{branch}"),
            (None, Some(tag)) => format!("refs/tags/{tag}"),
            (None, None) => String::new(),
        };
        Self { reference, ..Self::default() }
    }
}

fn payload(path: &str) -> Option<Value> {
    if !std::fs::metadata(path).ok()?.is_file() {
        return None;
    }
    let mut text = String::new();
    File::open(path).ok()?.take(LARGEST_PAYLOAD).read_to_string(&mut text).ok()?;
    serde_json::from_str(&text).ok()
}

fn seconds(time: &str) -> Option<i64> {
    time.parse::<jiff::Timestamp>().ok().map(jiff::Timestamp::as_second)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(pairs: &[(&str, &str)]) -> Event {
        let env = pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
        let git = GitFacts {
            sha: Some("a".repeat(40)),
            branch: Some("main".to_owned()),
            tags: vec!["v1".to_owned()],
            default_branch: Some("trunk".to_owned()),
            ..GitFacts::default()
        };
        Event::read(&git, &env)
    }

    #[test]
    fn github_tells_by_its_variables_and_its_payload() {
        let directory = tempfile::tempdir().unwrap();
        let payload = directory.path().join("event.json");
        let text = r#"{"number": 7, "base_ref": "refs/heads/release", "repository": {"default_branch": "master"},
            "pull_request": {"head": {"sha": "h"}, "base": {"ref": "dev"}}, "head_commit": {"timestamp": "2020-01-10T00:30:00Z"}}"#;
        std::fs::write(&payload, text).unwrap();
        let path = ("GITHUB_EVENT_PATH", payload.to_str().unwrap());
        let event = read(&[("GITHUB_EVENT_NAME", "push"), ("GITHUB_REF", "refs/tags/v1"), ("GITHUB_SHA", "s"), path]);
        assert_eq!((event.reference.as_str(), event.base_branch.as_deref()), ("refs/tags/v1", Some("release")));
        assert_eq!((event.sha.as_deref(), event.default_branch.as_deref()), (Some("s"), Some("master")));
        assert_eq!((event.commit_time, event.short), (Some(1_578_616_200), 7));
        let target = [("GITHUB_EVENT_NAME", "pull_request_target"), ("GITHUB_REF", "refs/heads/master"), ("GITHUB_SHA", "s"), path];
        let event = read(&target);
        assert_eq!((event.reference.as_str(), event.base_branch.as_deref()), ("refs/pull/7/merge", Some("dev")));
        assert_eq!(event.sha.as_deref(), Some("s"));
        let event = read(&[&target[..], &[("DOCKER_METADATA_PR_HEAD_SHA", "true"), ("DOCKER_METADATA_SHORT_SHA_LENGTH", "9")]].concat());
        assert_eq!((event.sha.as_deref(), event.short), (Some("h"), 9));
    }

    #[test]
    fn gitlab_tells_by_its_variables() {
        for (pairs, reference) in [
            (&[("CI_COMMIT_TAG", "v1"), ("CI_COMMIT_BRANCH", "")][..], "refs/tags/v1"),
            (&[("CI_MERGE_REQUEST_IID", "9")], "refs/pull/9/merge"),
            (&[("CI_COMMIT_BRANCH", "a/b")], "refs/heads/a/b"),
        ] {
            let event = read(&[pairs, &[("CI_PIPELINE_SOURCE", "schedule"), ("CI_DEFAULT_BRANCH", "main")]].concat());
            assert_eq!(
                (event.reference.as_str(), event.name.as_str(), event.default_branch.as_deref()),
                (reference, "schedule", Some("main"))
            );
        }
    }

    #[test]
    fn without_ci_it_is_what_git_has_checked_out() {
        let event = read(&[]);
        assert_eq!((event.reference.as_str(), event.default_branch.as_deref()), ("refs/heads/main", Some("trunk")));
        let detached = GitFacts { tags: vec!["v1".to_owned()], ..GitFacts::default() };
        assert_eq!(Event::read(&detached, &BTreeMap::new()).reference, "refs/tags/v1");
        assert_eq!(Event::read(&GitFacts::default(), &BTreeMap::new()), Event::default());
    }

    #[test]
    fn a_payload_that_is_none_is_passed_over() {
        for path in ["/nowhere", "/dev/zero", "/"] {
            let event = read(&[("GITHUB_REF", "refs/heads/x"), ("GITHUB_EVENT_PATH", path)]);
            assert_eq!((event.reference.as_str(), event.default_branch.as_deref()), ("refs/heads/x", Some("trunk")), "{path}");
        }
    }
}
