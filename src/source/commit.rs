//! A commit in place of the checkout that it is of: [`Files`] from git objects. Nothing is written, neither tree nor index.

use std::ffi::OsString;
use std::fmt;
use std::io::{self, Cursor, Read};
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use git2::{Oid, Repository};
use rustix::fs::OFlags;
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::checked_out::CheckedOut;
use super::commit_tree::{CommitTree, LINK, SUBMODULE, TREE};
use super::context::Context;
use super::error::Error;
use super::files::{Disk, Files};
use super::git::{open, top_level};
use super::ignore::IgnoreFile;
use super::objects::Objects;
use super::stat_cache::StatCache;

/// As the kernel's limit, path_resolution(7).
const MOST_LINKS: usize = 40;

/// Paths of the checkout mean what they were in the commit; all others mean the disk.
pub struct Commit {
    /// The top of the checkout, canonical.
    top: PathBuf,
    id: Oid,
    tree: Oid,
    /// The committer's, seconds since 1970.
    time: i64,
    objects: Arc<Objects>,
    checked_out: Arc<CheckedOut>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CommitError {
    #[error("{} is in no git repository", .0.display())]
    NoRepository(PathBuf),
    #[error("{name:?} is no commit that git knows here")]
    Unknown { name: String, shallow: bool, remote: Option<String> },
    #[error("HEAD is no commit yet")]
    NoHead,
    #[error("where HEAD and {name:?} part is not in this clone, which is shallow")]
    Shallow { name: String },
    #[error("HEAD and {name:?} have no commit in common")]
    Unrelated { name: String },
    #[error("{name:?} cannot be read: {reason}")]
    Git { name: String, reason: String },
}

/// How a name is fetched that may be one elsewhere.
fn fetch(name: &str) -> Option<String> {
    let name = name.strip_prefix("origin/").unwrap_or(name);
    let plain = !name.is_empty() && !name.starts_with('-') && name != "HEAD" && !name.contains(['~', '^', '@', ':', ' ', '\'']);
    plain.then(|| format!("`git fetch origin {name}`"))
}

impl CommitError {
    /// What the user can do about it.
    pub fn help(&self) -> Option<String> {
        const DEEPEN: &str = "fetch more of the history: `fetch-depth: 0` for actions/checkout, `GIT_DEPTH: 0` for GitLab CI, \
                              or `git fetch --unshallow` (`git fetch --deepen=N`)";
        match self {
            Self::Unknown { remote: Some(remote), .. } => Some(format!("did you mean {remote}?")),
            Self::Unknown { name, shallow: true, .. } => Some(match fetch(name) {
                Some(fetch) => format!("{DEEPEN}; a branch also has to be fetched: {fetch}"),
                None => DEEPEN.to_owned(),
            }),
            Self::Unknown { name, .. } => Some(match fetch(name) {
                Some(fetch) => format!("name a branch, a tag or a commit; fetch it first: {fetch}"),
                None => "name a branch, a tag or a commit".to_owned(),
            }),
            Self::Shallow { .. } => Some(DEEPEN.to_owned()),
            Self::Unrelated { .. } => Some("name a commit that HEAD descends from, or a branch that it left".to_owned()),
            Self::NoRepository(_) | Self::NoHead | Self::Git { .. } => None,
        }
    }
}

/// The repository around `dir`, and its top.
fn repository_of(dir: &Path) -> Result<(PathBuf, Repository), CommitError> {
    top_level(dir).zip(open(dir)).ok_or_else(|| CommitError::NoRepository(dir.to_owned()))
}

fn commit_of(repository: &Repository, name: &str) -> Option<Oid> {
    repository.revparse_single(name).and_then(|object| object.peel_to_commit()).ok().map(|commit| commit.id())
}

fn named(repository: &Repository, name: &str) -> Result<Oid, CommitError> {
    commit_of(repository, name).ok_or_else(|| {
        let remote = Some(format!("origin/{name}")).filter(|remote| commit_of(repository, remote).is_some());
        CommitError::Unknown { name: name.to_owned(), shallow: repository.is_shallow(), remote }
    })
}

impl Commit {
    /// What `name` (a branch, tag or commit) leads to. `dir` lies in the repository.
    pub fn at(dir: &Path, name: &str) -> Result<Self, CommitError> {
        let (top, repository) = repository_of(dir)?;
        let id = named(&repository, name)?;
        Self::read(top, repository, id, name)
    }

    /// Where HEAD left `name` (a branch, tag or commit), as `git diff name...HEAD` understands it: that commit itself if HEAD descends
    /// from it. `dir` lies in the repository.
    pub fn left_at(dir: &Path, name: &str) -> Result<Self, CommitError> {
        let (top, repository) = repository_of(dir)?;
        let named = named(&repository, name)?;
        let head = commit_of(&repository, "HEAD").ok_or(CommitError::NoHead)?;
        let base = repository.merge_base(named, head).map_err(|error| match error.code() {
            _ if repository.is_shallow() => CommitError::Shallow { name: name.to_owned() },
            git2::ErrorCode::NotFound => CommitError::Unrelated { name: name.to_owned() },
            _ => CommitError::Git { name: name.to_owned(), reason: error.message().to_owned() },
        })?;
        Self::read(top, repository, base, name)
    }

    fn read(top: PathBuf, repository: Repository, id: Oid, name: &str) -> Result<Self, CommitError> {
        let failed = |error: git2::Error| CommitError::Git { name: name.to_owned(), reason: error.message().to_owned() };
        let commit = repository.find_commit(id).map_err(failed)?;
        let (tree, time) = (commit.tree_id(), commit.time().seconds());
        drop(commit);
        let checked_out = Arc::new(CheckedOut::read(&repository));
        Ok(Self { top, id, tree, time, objects: Arc::new(Objects::new(repository)), checked_out })
    }

    /// 40 hexadecimal digits.
    pub fn id(&self) -> String {
        self.id.to_string()
    }

    /// What is at a path from the top: its mode in the tree, and the object.
    fn entry(&self, path: &Path) -> io::Result<Option<(i32, Oid)>> {
        if path.as_os_str().is_empty() {
            return Ok(Some((TREE, self.tree)));
        }
        let found = self.objects.with(|repository| {
            let entry = repository.find_tree(self.tree)?.get_path(path)?;
            Ok((entry.filemode_raw(), entry.id()))
        });
        match found {
            Ok(found) => Ok(Some(found)),
            Err(error) if error.class() == git2::ErrorClass::Tree && error.code() == git2::ErrorCode::NotFound => Ok(None),
            Err(error) => Err(failed(&error)),
        }
    }

    /// Follows links as the kernel does; in the checkout by the commit, elsewhere on the disk.
    fn locate(&self, path: &Path) -> io::Result<Located> {
        let mut path = path.to_owned();
        'followed: for _ in 0..=MOST_LINKS {
            let Ok(below) = path.strip_prefix(&self.top) else { return Ok(Located::Outside(path.canonicalize()?)) };
            let (mut at, mut found) = (PathBuf::new(), (TREE, self.tree));
            let mut rest = below.components();
            while let Some(component) = rest.next() {
                match component {
                    Component::ParentDir if !at.pop() => {
                        path = followed_by(self.top.join("..").canonicalize()?, rest.as_path());
                        continue 'followed;
                    }
                    Component::Normal(_) if found.0 != TREE => {
                        let directory = found.0 == SUBMODULE;
                        return Err(if directory { io::ErrorKind::NotFound } else { io::ErrorKind::NotADirectory }.into());
                    }
                    Component::Normal(name) => at.push(name),
                    _ => {}
                }
                found = self.entry(&at)?.ok_or(io::ErrorKind::NotFound)?;
                if found.0 == LINK {
                    let target = self.objects.blob(found.1).map_err(|error| failed(&error))?;
                    let parent = self.top.join(at.parent().unwrap_or(Path::new("")));
                    path = followed_by(parent.join(OsString::from_vec(target)), rest.as_path());
                    continue 'followed;
                }
            }
            return Ok(Located::Inside { path: at, mode: found.0, object: found.1 });
        }
        Err(Errno::LOOP.into())
    }

    fn context_at(&self, path: &Path, mode: i32, object: Oid) -> CommitTree {
        let prefix = path.as_os_str().as_bytes().to_vec();
        let flags = OFlags::PATH | OFlags::DIRECTORY;
        let present = std::fs::File::open(&self.top).and_then(|top| open_beneath(OwnedFd::from(top).as_fd(), &prefix, flags)).ok();
        let root = (mode == TREE).then_some(object);
        let (objects, checked_out) = (Arc::clone(&self.objects), Arc::clone(&self.checked_out));
        CommitTree { objects, checked_out, root, prefix, present, time: self.time }
    }
}

/// Without the slash at the end that an empty rest would leave: it asks for a directory.
fn followed_by(path: PathBuf, rest: &Path) -> PathBuf {
    if rest.as_os_str().is_empty() { path } else { path.join(rest) }
}

/// A path without links.
enum Located {
    Inside {
        /// From the top of the checkout.
        path: PathBuf,
        mode: i32,
        object: Oid,
    },
    Outside(PathBuf),
}

impl Files for Commit {
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        Ok(match self.locate(path)? {
            Located::Inside { path, .. } if path.as_os_str().is_empty() => self.top.clone(),
            Located::Inside { path, .. } => self.top.join(path),
            Located::Outside(path) => path,
        })
    }

    fn is_file(&self, path: &Path) -> bool {
        match self.locate(path) {
            Ok(Located::Inside { mode, .. }) => !matches!(mode, TREE | SUBMODULE),
            Ok(Located::Outside(path)) => Disk.is_file(&path),
            Err(_) => false,
        }
    }

    fn is_dir(&self, path: &Path) -> bool {
        match self.locate(path) {
            Ok(Located::Inside { mode, .. }) => matches!(mode, TREE | SUBMODULE),
            Ok(Located::Outside(path)) => Disk.is_dir(&path),
            Err(_) => false,
        }
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        match self.locate(path)? {
            Located::Inside { mode: TREE | SUBMODULE, .. } => Err(io::ErrorKind::IsADirectory.into()),
            Located::Inside { object, .. } => Ok(Box::new(Cursor::new(self.objects.blob(object).map_err(|error| failed(&error))?))),
            Located::Outside(path) => Disk.open(&path),
        }
    }

    fn directories(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let (path, tree) = match self.locate(path)? {
            Located::Inside { path, mode: TREE, object } => (self.top.join(path), object),
            Located::Inside { mode: SUBMODULE, .. } => return Ok(Vec::new()),
            Located::Inside { .. } => return Err(io::ErrorKind::NotADirectory.into()),
            Located::Outside(path) => return Disk.directories(&path),
        };
        let entries = self.objects.with(|repository| {
            let tree = repository.find_tree(tree)?;
            Ok(tree.iter().map(|entry| (OsString::from_vec(entry.name_bytes().to_vec()), entry.filemode_raw())).collect::<Vec<_>>())
        });
        let directory = |(name, mode): (OsString, i32)| match mode {
            TREE | SUBMODULE => Some((name, false)),
            LINK => self.is_dir(&path.join(&name)).then_some((name, true)),
            _ => None,
        };
        let mut names: Vec<_> = entries.map_err(|error| failed(&error))?.into_iter().filter_map(directory).collect();
        names.sort();
        Ok(names)
    }

    fn context(&self, path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Context, Error> {
        match self.locate(path).map_err(|source| Error::Read { path: path.to_owned(), source })? {
            Located::Inside { path: below, mode: mode @ (TREE | SUBMODULE), object } => {
                Context::of_commit(path, self.context_at(&below, mode, object), ignore, cache)
            }
            Located::Inside { .. } => Err(Error::NotADirectory(path.to_owned())),
            Located::Outside(path) => Disk.context(&path, ignore, cache),
        }
    }
}

impl fmt::Debug for Commit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Commit").field("id", &self.id).field("top", &self.top).finish_non_exhaustive()
    }
}

/// An object that should be there is not, as in a partial clone, or is damaged.
fn failed(error: &git2::Error) -> io::Error {
    io::Error::other(format!("git: {}", error.message()))
}
