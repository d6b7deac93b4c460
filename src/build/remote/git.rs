//! Files of git repositories (BuildKit's `source/git`): a ref is resolved to a commit by one `ls-remote`, the commit is fetched once, as
//! shallow as the server allows, and its files stay in the store. A full commit id whose files are here asks nobody.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use super::RemoteSources;
use super::git_program::{Git, GitError};
use super::tree::settle;
use crate::oci::Digest;
use crate::plan::Checkout;
use crate::source::{GitRef, is_commit_id, split_credentials};
use crate::store::{Flight, IdMapping, RecordKind};

/// Where the files of a commit are. Names the snapshot, which pruning keeps as long as the record.
#[derive(Serialize, Deserialize)]
pub struct CheckoutRecord {
    pub commit: String,
    pub files: Digest,
    /// The committer's time.
    pub time: i64,
}

/// What a ref means now.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Found {
    /// Of the commit, or of an annotated tag.
    id: String,
    /// As in `refs/tags/v1`; none for a commit id.
    name: Option<String>,
}

impl RemoteSources<'_> {
    pub(super) fn check_out(&self, service: &str, source: &GitRef, keep_git_dir: bool) -> Result<Checkout, String> {
        let text = |error: crate::store::Error| error.to_string();
        let work = self.store.temp_dir().map_err(text)?;
        let (remote, login) = split_credentials(&source.remote);
        // What follows `git@` or `ssh://git@` is no secret, and ssh needs it.
        let remote = if remote.starts_with("http") { remote } else { source.remote.clone() };
        let agent = self.access.agents.get(service).map(PathBuf::as_path);
        let mut git = Git::new(work.path(), self.access.env, agent, &work.path().join("known_hosts"));
        if let Some((scope, header)) = self.access.for_git(service, &source.remote)? {
            git.authorise(&scope, &header);
        }
        if login.is_some_and(|(_, password)| !password.is_empty())
            && let Some((_, rest)) = source.remote.split_once("://")
            && let Some((login, _)) = rest.rsplit_once('@')
        {
            git.hide(login);
        }
        let found = match source.commit() {
            Some(commit) => {
                check(source.checksum.as_deref(), &[commit])?;
                Found { id: commit.to_owned(), name: None }
            }
            None => resolve(&git, &remote, source.reference.as_deref(), source.checksum.as_deref())?,
        };
        // Like BuildKit, which has no use for `.git` without the rest of the tree.
        let keep = keep_git_dir && source.subdir.is_none();
        let id = identity(&remote, &found, source, keep);
        let known = || -> Option<Checkout> {
            let record: CheckoutRecord = self.store.record(RecordKind::Checkout, &id)?;
            Some(Checkout { path: self.store.snapshot(IdMapping::Fetched, &record.files)?, time: record.time })
        };
        if let Some(known) = known() {
            return Ok(known);
        }
        let _flight = self.store.single_flight(Flight::Checkout, &id).map_err(text)?;
        if let Some(known) = known() {
            return Ok(known);
        }
        let fetch = Fetch { remote: &remote, found: &found, keep, submodules: source.submodules, subdir: source.subdir.as_deref() };
        let (files, commit, time) = fetch.run(&mut git, work.path())?;
        let path = self.store.commit_snapshot(IdMapping::Fetched, &id, &files).map_err(text)?;
        self.store.put_record(RecordKind::Checkout, &id, &CheckoutRecord { commit, files: id, time }).map_err(text)?;
        Ok(Checkout { path, time })
    }
}

/// Everything that the files depend on. The ref itself is written into `.git` only.
fn identity(remote: &str, found: &Found, source: &GitRef, keep: bool) -> Digest {
    let name = found.name.as_deref().filter(|_| keep).unwrap_or_default();
    let parts = [remote, &found.id, source.subdir.as_deref().unwrap_or_default(), name];
    let flags = format!("{keep} {}", source.submodules);
    Digest::of(parts.into_iter().chain([flags.as_str()]).collect::<Vec<_>>().join("\0").as_bytes())
}

/// BuildKit's words.
fn check(checksum: Option<&str>, ids: &[&str]) -> Result<(), String> {
    match checksum {
        Some(checksum) if !ids.iter().any(|id| id.starts_with(&checksum.to_ascii_lowercase())) => {
            Err(format!("expected checksum to match {checksum}, got {}", ids.join(" or ")))
        }
        _ => Ok(()),
    }
}

/// Asks the server once what a ref, or the default branch, is.
fn resolve(git: &Git, remote: &str, reference: Option<&str>, checksum: Option<&str>) -> Result<Found, String> {
    let text = |error: GitError| error.to_string();
    let Some(reference) = reference else {
        let listed = git.run(&["ls-remote", "--symref", "--", remote, "HEAD"]).map_err(text)?;
        let found = default_branch(&listed).ok_or("could not find the default branch of the repository")?;
        check(checksum, &[&found.id])?;
        return Ok(found);
    };
    let listed = git.run(&["ls-remote", "--", remote, reference, &format!("{reference}^{{}}")]).map_err(text)?;
    let (found, peeled) = choose(&listed, reference).ok_or_else(|| format!("repository does not contain ref {reference}"))?;
    let ids: Vec<&str> = [found.id.as_str()].into_iter().chain(peeled.as_deref()).collect();
    check(checksum, &ids)?;
    // Two tags of one commit, annotated or not, have the same files, but for `.git`.
    Ok(found)
}

/// Out of `ref: refs/heads/main\tHEAD` and `<id>\tHEAD`.
fn default_branch(listed: &str) -> Option<Found> {
    let of_head = |line: &str| line.strip_suffix("\tHEAD").map(str::to_owned);
    let name = listed.lines().find_map(|line| of_head(line)?.strip_prefix("ref: ").map(str::to_owned));
    let id = listed.lines().filter_map(of_head).find(|id| is_commit_id(id))?;
    Some(Found { id, name })
}

/// The line of `ls-remote` that `reference` means, and what it leads to where it is an annotated tag. A full name comes first, then
/// a branch, then a tag, as in git-checkout(1).
fn choose(listed: &str, reference: &str) -> Option<(Found, Option<String>)> {
    let id_of = |name: &str| listed.lines().find_map(|line| line.split_once('\t').filter(|(_, found)| *found == name).map(|(id, _)| id));
    let below = |prefix: &str| format!("{prefix}{}", reference.strip_prefix(prefix).unwrap_or(reference));
    let name = ["refs/", "refs/heads/", "refs/tags/"].map(below).into_iter().find(|name| id_of(name).is_some())?;
    let id = id_of(&name).filter(|id| is_commit_id(id))?.to_owned();
    let peeled = id_of(&format!("{name}^{{}}")).map(str::to_owned);
    Some((Found { id, name: Some(name) }, peeled))
}

struct Fetch<'a> {
    remote: &'a str,
    found: &'a Found,
    keep: bool,
    submodules: bool,
    subdir: Option<&'a str>,
}

impl Fetch<'_> {
    /// Fetches and checks out below `work`: the directory of the files, the commit, and its time.
    fn run(&self, git: &mut Git, work: &Path) -> Result<(PathBuf, String, i64), String> {
        let text = |error: GitError| error.to_string();
        let tree = work.join("tree");
        let format = if self.found.id.len() == 64 { "--object-format=sha256" } else { "--object-format=sha1" };
        git.run(&["init", "--quiet", "--template=", format, "--", "tree"]).map_err(text)?;
        git.in_directory(&tree);
        git.run(&["remote", "add", "--", "origin", self.remote]).map_err(text)?;
        self.fetch(git).map_err(text)?;
        let commit = git.run(&["rev-parse", "--verify", "--quiet", "--end-of-options", &format!("{}^{{commit}}", self.found.id)]);
        let commit = commit.map_err(|_| format!("{} is no commit, or the server does not give it out", self.found.id))?.trim().to_owned();
        let time = git.run(&["show", "--no-patch", "--no-show-signature", "--format=%ct", &commit, "--"]).map_err(text)?;
        let time = time.trim().parse().map_err(|_| format!("commit {commit} has no readable time"))?;
        git.run(&["checkout", "--quiet", "--force", "--detach", &commit, "--"]).map_err(text)?;
        if self.submodules && tree.join(".gitmodules").exists() {
            self.update_submodules(git).map_err(text)?;
        }
        let files = match self.subdir {
            Some(subdir) => below(&tree, subdir)?,
            None => tree.clone(),
        };
        let failed = |error: std::io::Error| format!("its files cannot be put into the store: {error}");
        if self.keep {
            tidy(git, &tree.join(".git")).map_err(text)?;
        }
        settle(&files, time, self.keep).map_err(failed)?;
        Ok((files, commit, time))
    }

    /// The commit alone. Servers that give out only what a ref names, and those that serve plain files, are asked for all refs.
    fn fetch(&self, git: &Git) -> Result<(), GitError> {
        let id = &self.found.id;
        let wanted = match self.found.name.as_ref().filter(|_| self.keep) {
            Some(name) => format!("+{id}:{name}"),
            None => id.clone(),
        };
        match git.run(&["fetch", "--quiet", "--no-tags", "--depth=1", "--update-head-ok", "--", "origin", &wanted]) {
            Err(GitError::Failed { message, .. }) if is_refusal(&message) => {}
            done => return done.map(drop),
        }
        let all = ["+refs/heads/*:refs/brik/heads/*", "+refs/tags/*:refs/brik/tags/*"];
        git.run(&["fetch", "--quiet", "--no-tags", "--", "origin", all[0], all[1]])?;
        match self.found.name.as_ref().filter(|_| self.keep) {
            Some(name) => git.run(&["update-ref", name, id]).map(drop),
            None => Ok(()),
        }
    }

    fn update_submodules(&self, git: &Git) -> Result<(), GitError> {
        match git.run(&["submodule", "--quiet", "update", "--init", "--recursive", "--depth=1"]) {
            Err(GitError::Failed { message, .. }) if is_refusal(&message) => {
                git.run(&["submodule", "--quiet", "update", "--init", "--recursive"]).map(drop)
            }
            done => done.map(drop),
        }
    }
}

/// Whether a server would rather be asked for more.
fn is_refusal(message: &str) -> bool {
    [
        "not our ref",
        "unadvertised object",
        "--depth",
        "shallow",
        "no such remote ref",
        "couldn't find remote ref",
        "did not send all necessary",
    ]
    .iter()
    .any(|part| message.contains(part))
}

/// A directory of the tree, without leaving it by a link that the repository brought.
fn below(tree: &Path, subdir: &str) -> Result<PathBuf, String> {
    let real = tree.canonicalize().and_then(|tree| Ok((tree.join(subdir).canonicalize()?, tree)));
    match real {
        Ok((found, tree))
            if found.starts_with(&tree) && found.is_dir() && !found.strip_prefix(&tree).is_ok_and(|p| p.starts_with(".git")) =>
        {
            Ok(found)
        }
        _ => Err(format!("failed to open subdir {subdir}: it is no directory of the repository")),
    }
}

/// Removes from a repository what differs from machine to machine: the stat data of the index, what was fetched when, and how the server
/// happened to pack objects. Those of submodules lie in it.
fn tidy(git: &Git, git_dir: &Path) -> Result<(), GitError> {
    for name in ["FETCH_HEAD", "ORIG_HEAD", "index"] {
        let _ = fs::remove_file(git_dir.join(name));
    }
    for name in ["logs", "branches", "hooks", "info", "refs/brik"] {
        let _ = fs::remove_dir_all(git_dir.join(name));
    }
    let option = format!("--git-dir={}", git_dir.display());
    git.run(&[&option, "read-tree", "HEAD"])?;
    git.run(&[&option, "repack", "-a", "-d", "-f", "--quiet", "--no-write-bitmap-index"])?;
    git.run(&[&option, "prune-packed", "--quiet"])?;
    let _ = fs::remove_dir_all(git_dir.join("info"));
    let mut pending = vec![git_dir.join("modules")];
    while let Some(directory) = pending.pop() {
        for entry in
            fs::read_dir(directory).into_iter().flatten().flatten().filter(|entry| entry.file_type().is_ok_and(|kind| kind.is_dir()))
        {
            let path = entry.path();
            if path.join("HEAD").is_file() && path.join("objects").is_dir() { tidy(git, &path)? } else { pending.push(path) }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const A: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";
    const B: &str = "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb";

    #[test]
    fn a_ref_is_a_full_name_else_a_branch_else_a_tag() {
        let listed = format!("{A}\trefs/heads/x/v1\n{B}\trefs/heads/v1\n{A}\trefs/tags/v1\n{A}\trefs/tags/v2\n{B}\trefs/tags/v2^{{}}\n");
        for (reference, expected) in [
            ("v1", Some((B, "refs/heads/v1", None))),
            ("refs/tags/v1", Some((A, "refs/tags/v1", None))),
            ("tags/v1", Some((A, "refs/tags/v1", None))),
            ("v2", Some((A, "refs/tags/v2", Some(B)))),
            ("x/v1", Some((A, "refs/heads/x/v1", None))),
            ("x", None),
        ] {
            let found = choose(&listed, reference);
            let found = found.as_ref().map(|(found, peeled)| (found.id.as_str(), found.name.as_deref().unwrap(), peeled.as_deref()));
            assert_eq!(found, expected, "{reference}");
        }
        assert_eq!(choose("garbage\trefs/heads/v1\n", "v1"), None);
    }

    #[test]
    fn the_default_branch_is_what_head_points_at() {
        let found = default_branch(&format!("ref: refs/heads/main\tHEAD\n{A}\tHEAD\n{B}\trefs/remotes/HEAD\n")).unwrap();
        assert_eq!((found.id.as_str(), found.name.as_deref()), (A, Some("refs/heads/main")));
        assert_eq!(default_branch(&format!("{A}\tHEAD\n")).unwrap().name, None, "a detached head");
        assert_eq!(default_branch(""), None);
    }

    #[test]
    fn a_checksum_is_a_prefix_of_a_commit_or_of_the_tag_that_leads_to_it() {
        for (checksum, ids, right) in [
            (None, &[A][..], true),
            (Some("aaaa"), &[A], true),
            (Some("AAAA"), &[A], true),
            (Some("bb"), &[A, B], true),
            (Some("b"), &[A], false),
        ] {
            assert_eq!(check(checksum, ids).is_ok(), right, "{checksum:?}");
        }
    }

    #[test]
    fn a_subdirectory_stays_in_the_tree() {
        let tree = tempfile::tempdir().unwrap();
        fs::create_dir_all(tree.path().join("a/b")).unwrap();
        fs::create_dir_all(tree.path().join(".git/refs")).unwrap();
        fs::write(tree.path().join("file"), "").unwrap();
        std::os::unix::fs::symlink("/etc", tree.path().join("out")).unwrap();
        std::os::unix::fs::symlink("a", tree.path().join("in")).unwrap();
        for (subdir, inside) in [("a/b", true), ("in/b", true), ("out", false), ("file", false), ("missing", false), (".git/refs", false)] {
            assert_eq!(below(tree.path(), subdir).is_ok(), inside, "{subdir}");
        }
    }
}
