//! COPY, ADD and WORKDIR: the plan's description meets the mounted root.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;

use super::copy::{CopyJob, LooseFiles, Unpacker, make_directory, resolve_owner, verify_checksum, write_matches};
use super::engine::Engine;
use super::error::Error;
use super::run_step::open_dir;
use super::sandbox::Rung;
use crate::image::{ArchiveOptions, extract_archive, is_archive};
use crate::plan::step::{CopyOp, CopySource, WorkdirOp};
use crate::source::{Match, PatternList, SelectOptions, Tree, select};
use crate::store::TempDir;

impl Engine<'_> {
    fn record_owner(&self) -> bool {
        self.layers.rung == Rung::SingleUid
    }

    pub(super) fn copy(&self, op: &CopyOp, epoch: Option<i64>, root: &Path, work: &TempDir) -> Result<(), Error> {
        let root = open_dir(root)?;
        let owner = match &op.chown {
            Some(spec) => {
                let owner = resolve_owner(root.as_fd(), spec)?;
                if let Some(name) = &owner.unknown {
                    self.reporter().warning(format!("--chown={spec}: {name:?} is not known to the image, 0 is used"));
                }
                Some((owner.uid, owner.gid))
            }
            None => None,
        };
        let archives = Archives { owner, single_uid: self.record_owner() };
        let write = |tree: &dyn Tree, matches: &[Match], unpack: bool| {
            let unpack = unpack.then_some(&archives as &dyn Unpacker);
            let destination = op.destination.as_bytes();
            write_matches(&CopyJob {
                tree,
                matches,
                root: root.as_fd(),
                destination,
                owner,
                mode: op.chmod.as_ref(),
                unpack,
                record_owner: self.record_owner(),
            })
        };
        for (n, source) in op.sources.iter().enumerate() {
            match source {
                CopySource::Context { context, selection } => {
                    let context = &self.plan.contexts[*context];
                    write(context, &context.matches(selection), op.unpack.unwrap_or(op.add))?;
                }
                CopySource::Root { root: from, pattern } => {
                    let source = self.source(*from, work, &format!("source-{n}"))?;
                    let exclude = PatternList::new(&op.exclude).map_err(crate::source::Error::from)?;
                    let options = SelectOptions { wildcards: true, parents: op.parents, exclude };
                    let matches = select(source.tree(), pattern.as_bytes(), &options)?;
                    write(source.tree(), &matches, op.unpack.unwrap_or(op.add))?;
                }
                CopySource::Inline { name, text } => {
                    let mut files = LooseFiles::new();
                    files.add_heredoc(name, text.clone().into_bytes(), epoch.unwrap_or(0));
                    write(&files, &files.matches(), false)?;
                }
                CopySource::Url { url, digest, name, modified } => {
                    if let Some(expected) = &op.checksum {
                        verify_checksum(expected, digest)?;
                    }
                    let mut files = LooseFiles::new();
                    let path = self.layers.store.blob_path(digest);
                    let added = files.add_download(name, path.clone(), modified.unwrap_or(0));
                    added.map_err(|source| Error::Io { action: "open", path, source })?;
                    write(&files, &files.matches(), op.unpack.unwrap_or(false)).map_err(|error| error.in_archive(url))?;
                }
            }
        }
        Ok(())
    }

    pub(super) fn workdir(&self, op: &WorkdirOp, root: &Path) -> Result<(), Error> {
        let root = open_dir(root)?;
        let owner = if op.user.is_empty() { (0, 0) } else { resolve_owner(root.as_fd(), &op.user).map(|owner| (owner.uid, owner.gid))? };
        Ok(make_directory(root.as_fd(), op.path.as_bytes(), owner, self.record_owner())?)
    }

    /// The working directory of a RUN, where the image names one that it does not have.
    pub(super) fn make_working_dir(&self, root: &Path, path: &str) -> Result<(), Error> {
        let root = open_dir(root)?;
        Ok(make_directory(root.as_fd(), path.as_bytes(), (0, 0), self.record_owner())?)
    }

    /// Copies files, or what is in a directory, to `destination` in the directory `into`.
    pub(super) fn copy_matches(&self, tree: &dyn Tree, matches: &[Match], into: &Path, destination: &[u8]) -> Result<(), Error> {
        let root = open_dir(into)?;
        write_matches(&CopyJob {
            tree,
            matches,
            root: root.as_fd(),
            destination,
            owner: None,
            mode: None,
            unpack: None,
            record_owner: self.record_owner(),
        })?;
        Ok(())
    }
}

/// Archives of an ADD, unpacked by `image`.
struct Archives {
    owner: Option<(u32, u32)>,
    single_uid: bool,
}

impl Unpacker for Archives {
    fn is_archive(&self, mut file: File) -> io::Result<bool> {
        file.rewind()?;
        Ok(is_archive(file))
    }

    fn unpack(&self, mut file: File, into: BorrowedFd<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
        file.rewind()?;
        let root = format!("/proc/self/fd/{}", into.as_raw_fd());
        let options = ArchiveOptions { owner: self.owner, single_uid: self.single_uid, ..ArchiveOptions::default() };
        extract_archive(file, Path::new(&root), b"", &options)?;
        Ok(())
    }
}
