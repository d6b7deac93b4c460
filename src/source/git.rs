//! What git, or the CI that checked the commit out, tells of a directory. Never an error: what is not known is absent.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use git2::{ObjectType, Repository};

/// Facts of the commit that is checked out.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GitFacts {
    /// 40 hexadecimal digits.
    pub sha: Option<String>,
    pub branch: Option<String>,
    /// The tags of the commit, sorted.
    pub tags: Vec<String>,
    /// The number of the pull or merge request.
    pub pr: Option<String>,
    /// The committer's time, seconds since 1970.
    pub commit_time: Option<i64>,
    /// Of `origin`, else of the first remote; without credentials.
    pub remote_url: Option<String>,
    /// What `origin` has for its HEAD.
    pub default_branch: Option<String>,
}

impl GitFacts {
    /// Reads the repository that `dir` lies in, whoever owns it, and completes it from the variables of GitHub and GitLab.
    ///
    /// The commit is the one checked out, and the variables' only where there is no repository, and so is the remote; branch, tag and request are
    /// the variables' first: CI checks out a detached commit without tags.
    pub fn read(dir: &Path, env: &BTreeMap<String, String>) -> Self {
        let mut facts = open(dir).map(|repository| Self::of(&repository)).unwrap_or_default();
        let get = |name: &str| env.get(name).filter(|value| !value.is_empty()).cloned();
        facts.sha = facts.sha.or_else(|| get("GITHUB_SHA").or_else(|| get("CI_COMMIT_SHA")).filter(|sha| is_sha(sha)));
        let reference = get("GITHUB_REF").unwrap_or_default();
        let pull = reference.strip_prefix("refs/pull/").and_then(|rest| rest.split('/').next()).map(str::to_owned);
        let github = || Some(format!("{}/{}", get("GITHUB_SERVER_URL")?, get("GITHUB_REPOSITORY")?));
        facts.remote_url = facts.remote_url.or_else(|| github().or_else(|| get("CI_PROJECT_URL")).map(|url| without_credentials(&url)));
        facts.pr = pull.or_else(|| get("CI_MERGE_REQUEST_IID"));
        let branch = get("GITHUB_HEAD_REF")
            .or_else(|| reference.strip_prefix("refs/heads/").map(str::to_owned))
            .or_else(|| get("CI_COMMIT_BRANCH"))
            .or_else(|| get("CI_MERGE_REQUEST_SOURCE_BRANCH_NAME"));
        facts.branch = branch.or(facts.branch);
        facts.tags.extend(reference.strip_prefix("refs/tags/").map(str::to_owned).or_else(|| get("CI_COMMIT_TAG")));
        facts.tags.sort();
        facts.tags.dedup();
        facts
    }

    fn of(repository: &Repository) -> Self {
        let head = repository.head().ok();
        let commit = head.as_ref().and_then(|head| head.peel_to_commit().ok());
        // Of a branch without commits only the symbolic HEAD knows.
        let target = repository.find_reference("HEAD").ok().and_then(|head| head.symbolic_target().map(str::to_owned));
        Self {
            sha: commit.as_ref().map(|commit| commit.id().to_string()),
            branch: target.and_then(|target| target.strip_prefix("refs/heads/").map(str::to_owned)),
            tags: commit.as_ref().map(|commit| tags_at(repository, commit.id())).unwrap_or_default(),
            pr: None,
            commit_time: commit.as_ref().map(|commit| commit.time().seconds()),
            remote_url: remote_url(repository),
            default_branch: default_branch(repository),
        }
    }
}

/// The root of the checkout that `dir` lies in: the nearest directory above, or itself, that holds `.git`.
pub fn top_level(dir: &Path) -> Option<PathBuf> {
    let dir = dir.canonicalize().ok()?;
    dir.ancestors().find(|ancestor| ancestor.join(".git").exists()).map(Path::to_owned)
}

/// Opens the git directory itself: libgit2 refuses the checkout of another user (CI containers run as root on it), but
/// that guards against hooks and configuration being run, and nothing is run here.
pub(super) fn open(dir: &Path) -> Option<Repository> {
    let link = top_level(dir)?.join(".git");
    if link.is_dir() {
        return Repository::open_bare(link).ok();
    }
    // A worktree's or submodule's `.git` is a file (gitrepository-layout(5)).
    let text = std::fs::read_to_string(&link).ok()?;
    let target = text.strip_prefix("gitdir:")?.trim();
    Repository::open_bare(link.parent()?.join(target)).ok()
}

fn tags_at(repository: &Repository, commit: git2::Oid) -> Vec<String> {
    let Ok(references) = repository.references_glob("refs/tags/*") else { return Vec::new() };
    let mut tags: Vec<String> = references
        .flatten()
        .filter(|tag| tag.peel(ObjectType::Commit).is_ok_and(|object| object.id() == commit))
        .filter_map(|tag| tag.name().and_then(|name| name.strip_prefix("refs/tags/")).map(str::to_owned))
        .collect();
    tags.sort();
    tags
}

fn default_branch(repository: &Repository) -> Option<String> {
    let head = repository.find_reference("refs/remotes/origin/HEAD").ok()?;
    head.symbolic_target()?.strip_prefix("refs/remotes/origin/").map(str::to_owned)
}

fn remote_url(repository: &Repository) -> Option<String> {
    let remote = repository.find_remote("origin").ok().or_else(|| {
        let names = repository.remotes().ok()?;
        let first = names.iter().flatten().next()?;
        repository.find_remote(first).ok()
    })?;
    remote.url().map(without_credentials)
}

/// `https://user:token@host/x` as `https://host/x`; what ssh needs to log in (`git@`) stays, a password does not.
pub(super) fn without_credentials(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let (authority, path) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
    let Some((user, host)) = authority.rsplit_once('@') else { return url.to_owned() };
    let login = user.split(':').next().filter(|login| scheme.ends_with("ssh") && !login.is_empty());
    match login {
        Some(login) => format!("{scheme}://{login}@{host}{path}"),
        None => format!("{scheme}://{host}{path}"),
    }
}

fn is_sha(text: &str) -> bool {
    text.len() == 40 && text.bytes().all(|b| b.is_ascii_hexdigit())
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::{RepositoryInitOptions, Signature, Time};

    fn init(path: &Path) -> Repository {
        Repository::init_opts(path, RepositoryInitOptions::new().initial_head("main")).unwrap()
    }

    fn commit(repository: &Repository) -> git2::Oid {
        let who = Signature::new("a", "a@b", &Time::new(1_700_000_000, 0)).unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let parent = repository.head().ok().and_then(|head| head.peel_to_commit().ok());
        repository.commit(Some("HEAD"), &who, &who, "m", &tree, &parent.iter().collect::<Vec<_>>()).unwrap()
    }

    fn read(path: &Path) -> GitFacts {
        GitFacts::read(path, &BTreeMap::new())
    }

    fn env(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn outside_a_repository_nothing_is_known() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(read(directory.path()), GitFacts::default());
        assert_eq!(read(&directory.path().join("missing")), GitFacts::default());
        std::fs::write(directory.path().join(".git"), "nonsense").unwrap();
        assert_eq!(read(directory.path()), GitFacts::default());
    }

    #[test]
    fn an_empty_repository_has_a_branch_only() {
        let directory = tempfile::tempdir().unwrap();
        init(directory.path());
        assert_eq!(read(directory.path()), GitFacts { branch: Some("main".to_owned()), ..GitFacts::default() });
    }

    #[test]
    fn a_commit_is_told_from_any_directory_below() {
        let directory = tempfile::tempdir().unwrap();
        let repository = init(directory.path());
        commit(&repository);
        let id = commit(&repository);
        let head = repository.find_object(id, None).unwrap();
        let who = Signature::now("a", "a@b").unwrap();
        repository.tag("v1", &head, &who, "annotated", false).unwrap();
        repository.tag_lightweight("group/light", &head, false).unwrap();
        let parent = head.as_commit().unwrap().parent(0).unwrap();
        repository.tag_lightweight("old", parent.as_object(), false).unwrap();
        repository.remote("origin", "https://user:token@host.example/org/repo.git").unwrap();
        let below = directory.path().join("a/b");
        std::fs::create_dir_all(&below).unwrap();
        let expected = GitFacts {
            sha: Some(id.to_string()),
            branch: Some("main".to_owned()),
            tags: vec!["group/light".to_owned(), "v1".to_owned()],
            pr: None,
            commit_time: Some(1_700_000_000),
            remote_url: Some("https://host.example/org/repo.git".to_owned()),
            default_branch: None,
        };
        assert_eq!(read(&below), expected);
        assert_eq!(top_level(&below), Some(directory.path().canonicalize().unwrap()));
        repository.set_head_detached(id).unwrap();
        assert_eq!(read(&below), GitFacts { branch: None, ..expected });
    }

    #[test]
    fn packed_references_and_worktrees_are_read() {
        let directory = tempfile::tempdir().unwrap();
        let main = directory.path().join("main");
        let repository = init(&main);
        let id = commit(&repository);
        let worktree = directory.path().join("tree");
        repository.worktree("tree", &worktree, None).unwrap();
        let packed = format!("# pack-refs with: peeled fully-peeled sorted \n{id} refs/heads/main\n{id} refs/tags/v2\n");
        std::fs::write(main.join(".git/packed-refs"), packed).unwrap();
        std::fs::remove_file(main.join(".git/refs/heads/main")).unwrap();
        let facts = read(&main);
        assert_eq!((facts.sha, facts.tags), (Some(id.to_string()), vec!["v2".to_owned()]));
        let facts = read(&worktree);
        assert_eq!((facts.sha, facts.branch), (Some(id.to_string()), Some("tree".to_owned())));
    }

    #[test]
    fn another_user_s_checkout_is_read() {
        if !rustix::process::geteuid().is_root() {
            eprintln!("skipped: only root can give a checkout away");
            return;
        }
        let directory = tempfile::tempdir().unwrap();
        let id = commit(&init(directory.path()));
        for path in [directory.path().to_owned(), directory.path().join(".git")] {
            std::os::unix::fs::chown(path, Some(12345), Some(12345)).unwrap();
        }
        assert_eq!(read(directory.path()).sha, Some(id.to_string()));
    }

    #[test]
    fn ci_variables_tell_what_a_detached_checkout_does_not() {
        let directory = tempfile::tempdir().unwrap();
        let sha = "0123456789abcdef0123456789abcdef01234567";
        let facts = |pairs: &[(&str, &str)]| {
            let facts = GitFacts::read(directory.path(), &env(pairs));
            (facts.branch.unwrap_or_default(), facts.tags.join(","), facts.pr.unwrap_or_default(), facts.sha.is_some())
        };
        let expected = |branch: &str, tags: &str, pr: &str, sha| (branch.to_owned(), tags.to_owned(), pr.to_owned(), sha);
        assert_eq!(facts(&[("GITHUB_SHA", sha), ("GITHUB_REF", "refs/heads/a/b")]), expected("a/b", "", "", true));
        assert_eq!(facts(&[("GITHUB_REF", "refs/tags/v1"), ("GITHUB_REF_NAME", "v1")]), expected("", "v1", "", false));
        assert_eq!(facts(&[("GITHUB_REF", "refs/pull/7/merge"), ("GITHUB_HEAD_REF", "fix")]), expected("fix", "", "7", false));
        assert_eq!(facts(&[("CI_COMMIT_SHA", sha), ("CI_COMMIT_BRANCH", "x"), ("CI_COMMIT_TAG", "")]), expected("x", "", "", true));
        assert_eq!(facts(&[("CI_COMMIT_TAG", "v2"), ("CI_MERGE_REQUEST_IID", "9")]), expected("", "v2", "9", false));
        assert_eq!(facts(&[("GITHUB_SHA", "not a sha")]), expected("", "", "", false));
    }

    #[test]
    fn the_commit_checked_out_beats_the_variables() {
        let directory = tempfile::tempdir().unwrap();
        let id = commit(&init(directory.path()));
        let facts = GitFacts::read(directory.path(), &env(&[("GITHUB_SHA", "0123456789abcdef0123456789abcdef01234567")]));
        assert_eq!(facts.sha, Some(id.to_string()));
    }

    #[test]
    fn credentials_are_stripped_from_urls() {
        for (url, expected) in [
            ("https://u:p@h/x", "https://h/x"),
            ("https://token@h:8443/x@y", "https://h:8443/x@y"),
            ("https://u:p@ss@h", "https://h"),
            ("https://h/x", "https://h/x"),
            ("ssh://git@h:22/x", "ssh://git@h:22/x"),
            ("ssh://git:pw@h/x", "ssh://git@h/x"),
            ("git@h:org/x.git", "git@h:org/x.git"),
            ("/srv/x.git", "/srv/x.git"),
        ] {
            assert_eq!(without_credentials(url), expected, "{url}");
        }
    }
}
