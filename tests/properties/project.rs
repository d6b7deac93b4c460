//! A project in memory: what brik.toml may name, without a disk.

use std::collections::BTreeMap;
use std::ffi::OsString;
use std::io::{self, Read};
use std::path::{Component, Path, PathBuf};
use std::sync::Arc;

use brik::source::{Context, Disk, Error, Files, IgnoreFile, StatCache};

/// Where it lies. There is no such directory on the disk.
pub const ROOT: &str = "/brik-properties/project";

/// Its files by their paths; a directory is there because of what it holds.
#[derive(Debug, Default)]
pub struct Project(BTreeMap<PathBuf, Vec<u8>>);

impl Project {
    /// With some Dockerfiles, and what else services name.
    pub fn new() -> Self {
        let mut project = Self::default();
        for file in [
            "services/api/Dockerfile",
            "services/api/Dockerfile.worker",
            "services/web/Dockerfile",
            "services/Odd Name/Dockerfile",
            "tools/codegen/Dockerfile",
            "tools/api/Dockerfile",
            "packages/shared/package.json",
            "vendor/base/index.json",
            "certs/mirror.pem",
        ] {
            project.add(file, b"FROM scratch\n");
        }
        project
    }

    pub fn add(&mut self, file: &str, content: &[u8]) {
        self.0.insert(Path::new(ROOT).join(file), content.to_vec());
    }
}

impl Files for Project {
    fn canonicalize(&self, path: &Path) -> io::Result<PathBuf> {
        let mut real = PathBuf::from("/");
        for component in path.components() {
            match component {
                Component::Normal(name) => real.push(name),
                Component::ParentDir => drop(real.pop()),
                _ => {}
            }
            if !self.is_file(&real) && !self.is_dir(&real) {
                return Err(io::ErrorKind::NotFound.into());
            }
        }
        Ok(real)
    }

    fn is_file(&self, path: &Path) -> bool {
        self.0.contains_key(path)
    }

    fn is_dir(&self, path: &Path) -> bool {
        self.0.keys().any(|file| file != path && file.starts_with(path))
    }

    fn open(&self, path: &Path) -> io::Result<Box<dyn Read>> {
        let content = self.0.get(&self.canonicalize(path)?).ok_or(io::ErrorKind::IsADirectory)?;
        Ok(Box::new(io::Cursor::new(content.clone())))
    }

    fn directories(&self, path: &Path) -> io::Result<Vec<(OsString, bool)>> {
        let name = |file: &PathBuf| {
            let mut below = file.strip_prefix(path).ok()?.components();
            let first = below.next()?.as_os_str().to_owned();
            below.next().map(|_| (first, false))
        };
        let mut names: Vec<_> = self.0.keys().filter_map(name).collect();
        names.dedup();
        Ok(names)
    }

    fn context(&self, path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Context, Error> {
        Disk.context(path, ignore, cache)
    }
}
