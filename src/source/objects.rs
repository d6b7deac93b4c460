//! The object database of a repository, for many threads: each works with a handle of its own (libgit2's may move, not be shared).

use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};

use git2::{Oid, Repository};

pub(super) struct Objects {
    git_dir: PathBuf,
    idle: Mutex<Vec<Repository>>,
}

impl Objects {
    pub fn new(repository: Repository) -> Self {
        Self { git_dir: repository.path().to_owned(), idle: Mutex::new(vec![repository]) }
    }

    pub fn with<T>(&self, work: impl FnOnce(&Repository) -> Result<T, git2::Error>) -> Result<T, git2::Error> {
        let idle = || self.idle.lock().unwrap_or_else(PoisonError::into_inner);
        let taken = idle().pop();
        let repository = taken.map_or_else(|| Repository::open_bare(&self.git_dir), Ok)?;
        let result = work(&repository);
        idle().push(repository);
        result
    }

    /// Whole in memory: libgit2 has no streams of packed objects.
    pub fn blob(&self, id: Oid) -> Result<Vec<u8>, git2::Error> {
        self.with(|repository| Ok(repository.find_blob(id)?.content().to_vec()))
    }

    /// Bytes of a blob.
    pub fn size(&self, id: Oid) -> Result<u64, git2::Error> {
        self.with(|repository| Ok(repository.odb()?.read_header(id)?.0 as u64))
    }
}

impl fmt::Debug for Objects {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Objects").field("git_dir", &self.git_dir).finish_non_exhaustive()
    }
}
