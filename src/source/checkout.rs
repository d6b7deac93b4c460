//! The state that a checkout is in, for who asks whether it can be worked with.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::git::{open, top_level};

/// A work tree and the repository that it belongs to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checkout {
    pub top: PathBuf,
    /// `None` where the repository cannot be read.
    pub head: Option<Head>,
    /// The uid that `top` belongs to.
    pub owner: u32,
    /// The program git works there: it is ours, or `safe.directory` says so.
    pub trusted: bool,
    /// Its history has an end that is none.
    pub shallow: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Head {
    /// Nothing is committed yet.
    Unborn,
    /// A commit, and no branch.
    Detached,
    Branch,
}

impl Checkout {
    /// The one that `dir` lies in.
    pub fn find(dir: &Path) -> Option<Self> {
        let top = top_level(dir)?;
        let owner = std::fs::metadata(&top).ok()?.uid();
        let repository = open(dir);
        let head = repository.as_ref().map(|repository| match repository.head() {
            Err(_) => Head::Unborn,
            Ok(head) if head.is_branch() => Head::Branch,
            Ok(_) => Head::Detached,
        });
        let shallow = repository.is_some_and(|repository| repository.is_shallow());
        let trusted = owner == rustix::process::geteuid().as_raw() || is_safe(&top);
        Some(Self { top, head, owner, trusted, shallow })
    }
}

/// git-config(1), `safe.directory`: heard in the configuration of the user and the system only.
fn is_safe(top: &Path) -> bool {
    let safe = |directory: &str| directory == "*" || Path::new(directory) == top;
    let listed = || {
        let config = git2::Config::open_default().ok()?;
        let mut found = false;
        let entries = config.multivar("safe.directory", None).ok()?;
        entries.for_each(|entry| found |= entry.value().is_some_and(safe)).ok()?;
        Some(found)
    };
    listed().unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use git2::{Repository, Signature};

    #[test]
    fn a_head_is_unborn_then_on_a_branch_then_detached() {
        let directory = tempfile::tempdir().unwrap();
        assert_eq!(Checkout::find(directory.path()), None);
        let repository = Repository::init(directory.path()).unwrap();
        let head = || Checkout::find(directory.path()).unwrap().head;
        assert_eq!(head(), Some(Head::Unborn));
        let who = Signature::now("a", "a@b").unwrap();
        let tree = repository.find_tree(repository.treebuilder(None).unwrap().write().unwrap()).unwrap();
        let commit = repository.commit(Some("HEAD"), &who, &who, "m", &tree, &[]).unwrap();
        assert_eq!(head(), Some(Head::Branch));
        repository.set_head_detached(commit).unwrap();
        assert_eq!(head(), Some(Head::Detached));
        std::fs::write(directory.path().join(".git/shallow"), format!("{commit}\n")).unwrap();
        assert!(Checkout::find(directory.path()).unwrap().shallow);
        std::fs::remove_dir_all(directory.path().join(".git")).unwrap();
        std::fs::write(directory.path().join(".git"), "nonsense").unwrap();
        assert_eq!(head(), None);
    }
}
