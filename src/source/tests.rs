//! A commit in place of a checkout, against checkouts.

use super::*;
use git2::{IndexAddOption, Oid, Repository, RepositoryInitOptions, Signature, Time};
use std::ffi::OsString;
use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// A checkout of a repository of its own.
struct Checkout {
    directory: tempfile::TempDir,
    repository: Repository,
}

impl Checkout {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let repository = Repository::init_opts(directory.path(), RepositoryInitOptions::new().initial_head("main")).unwrap();
        Self { directory, repository }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().canonicalize().unwrap()
    }

    fn write(&self, path: &str, text: &str) {
        let path = self.path().join(path);
        fs::create_dir_all(path.parent().unwrap()).unwrap();
        fs::write(path, text).unwrap();
    }

    fn commit(&self) -> Oid {
        let mut index = self.repository.index().unwrap();
        index.add_all(["*"], IndexAddOption::FORCE, None).unwrap();
        index.write().unwrap();
        let tree = self.repository.find_tree(index.write_tree().unwrap()).unwrap();
        let who = Signature::new("a", "a@b", &Time::new(1_700_000_000, 0)).unwrap();
        let parent = self.repository.head().ok().and_then(|head| head.peel_to_commit().ok());
        self.repository.commit(Some("HEAD"), &who, &who, "m", &tree, &parent.iter().collect::<Vec<_>>()).unwrap()
    }

    fn at(&self, name: impl ToString) -> Commit {
        Commit::left_at(&self.path(), &name.to_string()).unwrap()
    }
}

fn hash(files: &dyn Files, directory: &Path, ignore: &str, cache: &Arc<StatCache>) -> ContentHash {
    let context = files.context(directory, &IgnoreFile::parse(ignore.as_bytes()).unwrap(), cache).unwrap();
    context.hash(&context.select(b"", &SelectOptions::default()).unwrap()).unwrap()
}

/// Paths, kinds and modes.
fn nodes(files: &dyn Files, directory: &Path, ignore: &str) -> Vec<(String, String)> {
    let context = files.context(directory, &IgnoreFile::parse(ignore.as_bytes()).unwrap(), &cache()).unwrap();
    let mut nodes = Vec::new();
    let mut meet = |path: &[u8], node: &Node| {
        nodes.push((String::from_utf8_lossy(path).into_owned(), format!("{:?} {:o} {}", node.kind, node.mode, node.size)));
        true
    };
    Tree::walk(&context, b"", &mut meet).unwrap();
    nodes
}

fn cache() -> Arc<StatCache> {
    Arc::new(StatCache::in_memory())
}

/// Names that trees and directories sort differently, hidden ones, and some that are no text.
const NAMES: [&[u8]; 9] = [b"a", b"a.b", b"a-b", b"B", b".hidden", b"\xff\xfe", b"lib", b"lib.rs", "ü".as_bytes()];

fn grow(random: &mut fastrand::Rng, directory: &Path, depth: u32) {
    fs::create_dir_all(directory).unwrap();
    for _ in 0..random.usize(1..6) {
        let path = directory.join(std::ffi::OsStr::from_bytes(NAMES[random.usize(..NAMES.len())]));
        if path.symlink_metadata().is_ok_and(|there| !there.is_dir()) {
            fs::remove_file(&path).unwrap();
        }
        if path.is_dir() || (depth > 0 && random.u8(..3) == 0) {
            grow(random, &path, depth.saturating_sub(1));
        } else if random.u8(..5) == 0 {
            symlink(["a", "../lib", "/etc/passwd", "."][random.usize(..4)], &path).unwrap();
        } else {
            fs::write(&path, random.u64(..4).to_string().repeat(random.usize(..2000))).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode([0o644, 0o755][random.usize(..2)])).unwrap();
        }
    }
}

#[test]
fn a_commit_has_the_hashes_of_a_clean_checkout_of_it() {
    for seed in 0..15 {
        let mut random = fastrand::Rng::with_seed(seed);
        let work = Checkout::new();
        grow(&mut random, &work.path(), 3);
        let then = work.commit();
        grow(&mut random, &work.path(), 3);
        work.commit();
        grow(&mut random, &work.path(), 2);

        let beside = tempfile::tempdir().unwrap();
        let clean = beside.path().canonicalize().unwrap().join("clean");
        let branch = work.repository.branch("then", &work.repository.find_commit(then).unwrap(), false).unwrap();
        let mut options = git2::WorktreeAddOptions::new();
        work.repository.worktree("clean", &clean, Some(options.reference(Some(branch.get())))).unwrap();
        // The mode of the top, of which git knows nothing.
        fs::set_permissions(&clean, work.path().metadata().unwrap().permissions()).unwrap();

        let (commit, cache) = (work.at(then), cache());
        let mut pending = vec![PathBuf::new()];
        while let Some(at) = pending.pop() {
            let (there, here) = (work.path().join(&at), clean.join(&at));
            let below = commit.directories(&there).unwrap();
            let listed: Vec<_> = Disk.directories(&here).unwrap().into_iter().filter(|(name, _)| name != ".git").collect();
            // What a link leads to outside of the checkout is the same for both, but for links to above.
            assert_eq!(below.iter().filter(|d| !d.1).collect::<Vec<_>>(), listed.iter().filter(|d| !d.1).collect::<Vec<_>>());
            assert_eq!(nodes(&commit, &there, ".git"), nodes(&Disk, &here, ".git"), "seed {seed}: {at:?}");
            for ignore in [".git", ".git\n**/a*\n!**/a.b", ".git\nlib"] {
                assert_eq!(
                    hash(&commit, &there, ignore, &cache),
                    hash(&Disk, &here, ignore, &cache),
                    "seed {seed}: {at:?} without {ignore:?}"
                );
            }
            pending.extend(below.into_iter().filter(|(_, is_link)| !is_link).map(|(name, _)| at.join(name)));
        }
    }
}

#[test]
fn modes_of_which_git_knows_nothing_are_those_of_now() {
    let work = Checkout::new();
    work.write("sub/file", "x");
    work.commit();
    let before = hash(&work.at("HEAD"), &work.path(), ".git", &cache());
    for (path, mode) in [("sub/file", 0o664), ("sub", 0o775)] {
        fs::set_permissions(work.path().join(path), fs::Permissions::from_mode(mode)).unwrap();
    }
    let after = hash(&work.at("HEAD"), &work.path(), ".git", &cache());
    assert_eq!(after, hash(&Disk, &work.path(), ".git", &cache()));
    assert_ne!(after, before);
    fs::set_permissions(work.path().join("sub/file"), fs::Permissions::from_mode(0o775)).unwrap();
    assert_ne!(hash(&work.at("HEAD"), &work.path(), ".git", &cache()), hash(&Disk, &work.path(), ".git", &cache()));
}

#[test]
fn a_file_that_git_finds_unchanged_is_the_one_in_the_work_tree() {
    let work = Checkout::new();
    work.write(".gitattributes", "*.txt text eol=crlf\n");
    work.write("a.txt", "one\ntwo\n");
    work.commit();
    fs::remove_file(work.path().join("a.txt")).unwrap();
    work.repository.checkout_head(Some(git2::build::CheckoutBuilder::new().force())).unwrap();
    assert_eq!(fs::read_to_string(work.path().join("a.txt")).unwrap(), "one\r\ntwo\r\n");
    // A file that is younger than the index is doubtful.
    let later = std::time::SystemTime::now() + std::time::Duration::from_secs(10);
    fs::File::options().write(true).open(work.path().join(".git/index")).unwrap().set_modified(later).unwrap();
    std::thread::sleep(std::time::Duration::from_millis(50));
    let known = cache();
    let now = hash(&Disk, &work.path(), ".git", &known);
    let hashed = known.counters();
    assert_eq!(hash(&work.at("HEAD"), &work.path(), ".git", &known), now);
    assert_eq!(known.counters(), hashed, "nothing was hashed twice");
    work.write("a.txt", "one\r\nTwo\r\n");
    assert_ne!(hash(&work.at("HEAD"), &work.path(), ".git", &known), hash(&Disk, &work.path(), ".git", &known));
}

#[test]
fn paths_are_resolved_in_the_commit() {
    let work = Checkout::new();
    work.write("dir/file", "then");
    symlink("dir/../dir", work.path().join("link")).unwrap();
    symlink("loop", work.path().join("loop")).unwrap();
    symlink("/dev/null", work.path().join("out")).unwrap();
    work.commit();
    let top = work.path();
    fs::remove_dir_all(top.join("dir")).unwrap();
    work.write("new", "now");
    let commit = work.at("HEAD");
    for (path, expected) in [
        ("dir/file", Some("dir/file")),
        ("link/file", Some("dir/file")),
        ("dir/../link/./file", Some("dir/file")),
        ("", Some("")),
        ("new", None),
        ("dir/file/below", None),
        ("loop", None),
    ] {
        let expected = expected.map(|path| if path.is_empty() { top.clone() } else { top.join(path) });
        assert_eq!(commit.canonicalize(&top.join(path)).ok(), expected, "{path}");
    }
    assert_eq!(commit.canonicalize(&top.join("out")).unwrap(), Path::new("/dev/null"));
    assert_eq!(commit.canonicalize(&top.join("../")).unwrap(), top.parent().unwrap());
    assert!(commit.is_dir(&top.join("link")) && commit.is_file(&top.join("link/file")) && !commit.is_file(&top.join("new")));
    let mut text = String::new();
    commit.open(&top.join("link/file")).unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "then");
    let names: Vec<_> = commit.directories(&top).unwrap();
    assert_eq!(names, [(OsString::from("dir"), false), (OsString::from("link"), true)]);
    let context = commit.context(&top.join("dir"), &IgnoreFile::default(), &cache()).unwrap();
    text.clear();
    crate::source::Tree::open(&context, b"file").unwrap().read_to_string(&mut text).unwrap();
    assert_eq!(text, "then");
}

#[test]
fn a_submodule_is_an_empty_directory() {
    let work = Checkout::new();
    work.write("file", "x");
    let first = work.commit();
    let mut index = work.repository.index().unwrap();
    let entry = git2::IndexEntry {
        ctime: git2::IndexTime::new(0, 0),
        mtime: git2::IndexTime::new(0, 0),
        dev: 0,
        ino: 0,
        mode: 0o160_000,
        uid: 0,
        gid: 0,
        file_size: 0,
        id: first,
        flags: 0,
        flags_extended: 0,
        path: b"sub".to_vec(),
    };
    index.add(&entry).unwrap();
    let tree = work.repository.find_tree(index.write_tree().unwrap()).unwrap();
    let who = Signature::new("a", "a@b", &Time::new(0, 0)).unwrap();
    let parent = work.repository.find_commit(first).unwrap();
    work.repository.commit(Some("HEAD"), &who, &who, "m", &tree, &[&parent]).unwrap();
    let (commit, top) = (work.at("HEAD"), work.path());
    fs::create_dir(top.join("sub")).unwrap();
    assert_eq!(hash(&commit, &top, ".git", &cache()), hash(&Disk, &top, ".git", &cache()));
    assert_eq!(hash(&commit, &top.join("sub"), "", &cache()), hash(&Disk, &top.join("sub"), "", &cache()));
    assert!(commit.is_dir(&top.join("sub")) && commit.canonicalize(&top.join("sub/x")).is_err());
}

#[test]
fn a_branch_is_compared_where_it_was_left() {
    let work = Checkout::new();
    let first = work.commit();
    work.repository.branch("topic", &work.repository.find_commit(first).unwrap(), false).unwrap();
    let second = work.commit();
    assert_eq!(work.at("topic").id(), first.to_string());
    assert_eq!(work.at("main").id(), second.to_string());
    work.repository.set_head("refs/heads/topic").unwrap();
    assert_eq!(work.at("main").id(), first.to_string());
    assert_eq!(work.at(second).id(), first.to_string());
}

#[test]
fn what_git_does_not_know_is_an_error_with_a_fix() {
    let nowhere = tempfile::tempdir().unwrap();
    assert!(matches!(Commit::left_at(nowhere.path(), "main"), Err(CommitError::NoRepository(_))));
    let work = Checkout::new();
    assert!(matches!(Commit::left_at(&work.path(), "main"), Err(CommitError::Unknown { .. })));
    let first = work.commit();
    work.repository.reference("refs/remotes/origin/trunk", first, true, "").unwrap();
    let error = Commit::left_at(&work.path(), "trunk").unwrap_err();
    assert_eq!(error.help().as_deref(), Some("did you mean origin/trunk?"));
    for name in ["", "missing", "main..HEAD", "\0", "--all", "HEAD:sub", "HEAD^{tree}"] {
        assert!(matches!(Commit::left_at(&work.path(), name), Err(CommitError::Unknown { .. })), "{name:?}");
    }
    let tree = work.repository.find_commit(first).unwrap().tree().unwrap();
    let who = Signature::new("a", "a@b", &Time::new(0, 0)).unwrap();
    let other = work.repository.commit(None, &who, &who, "unrelated", &tree, &[]).unwrap();
    assert!(matches!(Commit::left_at(&work.path(), &other.to_string()), Err(CommitError::Unrelated { .. })));
}
