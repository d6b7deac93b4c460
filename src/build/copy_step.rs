//! COPY, ADD and WORKDIR: the plan's description meets the mounted root.

use std::fs::File;
use std::io::{self, Seek};
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use super::copy::{Borrower, CopyJob, LooseFiles, Unpacker, make_directory, resolve_owner, verify_checksum, write_matches};
use super::engine::Engine;
use super::error::Error;
use super::run_step::open_dir;
use super::sandbox::Rung;
use super::workspace::Source;
use crate::image::{ArchiveOptions, BorrowedFiles, Lender, extract_archive, is_archive};
use crate::plan::step::{CopyOp, CopySource, WorkdirOp};
use crate::source::{Context, Match, Tree, select};
use crate::store::TempDir;

/// A tree that files are copied or borrowed from.
enum SourceTree<'a> {
    Context(&'a Context),
    State(Source),
    Loose(LooseFiles),
}

impl SourceTree<'_> {
    fn tree(&self) -> &dyn Tree {
        match self {
            Self::Context(context) => *context,
            Self::State(source) => source.tree(),
            Self::Loose(files) => files,
        }
    }
}

impl Lender for SourceTree<'_> {
    fn open(&self, path: &[u8]) -> io::Result<File> {
        self.tree().open(path)
    }

    fn unchanged(&self, path: &[u8], file: &File) -> io::Result<()> {
        self.tree().unchanged(path, file)
    }

    fn lends_xattrs(&self) -> bool {
        matches!(self, Self::State(_))
    }
}

impl<'a> Engine<'a> {
    fn record_owner(&self) -> bool {
        self.layers.rung == Rung::SingleUid
    }

    /// Copies into `root`. With `borrow`, regular files are not copied but given back, for the layer to take them from where they lie.
    pub(super) fn copy(
        &self,
        op: &'a CopyOp,
        epoch: Option<i64>,
        root: &Path,
        work: &TempDir,
        borrow: bool,
    ) -> Result<BorrowedFiles<'a>, Error> {
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
        let borrow = borrow && !may_unpack(op);
        let mut borrowed = BorrowedFiles::default();
        let mut write = |tree: SourceTree<'a>, matches: &[Match], unpack: bool| {
            let lender = Arc::new(tree);
            let job = CopyJob {
                tree: lender.tree(),
                matches,
                root: root.as_fd(),
                destination: op.destination.as_bytes(),
                owner,
                mode: op.chmod.as_ref(),
                unpack: unpack.then_some(&archives as &dyn Unpacker),
                record_owner: self.record_owner(),
            };
            write_matches(&job, borrow.then(|| Borrower { files: &mut borrowed, lender: lender.clone() }))
        };
        for (n, source) in op.sources.iter().enumerate() {
            match source {
                CopySource::Context { context, selection } => {
                    let context = &self.plan.contexts[*context];
                    write(SourceTree::Context(context), &context.matches(selection), op.unpack.unwrap_or(op.add))?;
                }
                CopySource::Root { root: from, pattern } => {
                    let source = self.source(*from, work, &format!("source-{n}"))?;
                    let matches = select(source.tree(), pattern.as_bytes(), &op.select_options()?)?;
                    write(SourceTree::State(source), &matches, op.unpack.unwrap_or(op.add))?;
                }
                CopySource::Inline { name, text } => {
                    let mut files = LooseFiles::new();
                    files.add_heredoc(name, text.clone().into_bytes(), epoch.unwrap_or(0));
                    let matches = files.matches();
                    write(SourceTree::Loose(files), &matches, false)?;
                }
                CopySource::Url { url, digest, name, modified } => {
                    if let Some(expected) = &op.checksum {
                        verify_checksum(expected, digest)?;
                    }
                    let mut files = LooseFiles::new();
                    let path = self.layers.store.blob_path(digest);
                    let added = files.add_download(name, path.clone(), modified.unwrap_or(0));
                    added.map_err(|source| Error::Io { action: "open", path, source })?;
                    let matches = files.matches();
                    let unpack = op.unpack.unwrap_or(false);
                    write(SourceTree::Loose(files), &matches, unpack).map_err(|error| error.in_archive(url))?;
                }
            }
        }
        Ok(borrowed)
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
        let job = CopyJob {
            tree,
            matches,
            root: root.as_fd(),
            destination,
            owner: None,
            mode: None,
            unpack: None,
            record_owner: self.record_owner(),
        };
        write_matches(&job, None)?;
        Ok(())
    }
}

/// Whether archives may be unpacked beside what is copied: what they contain could stand where a borrowed file does.
pub(super) fn may_unpack(op: &CopyOp) -> bool {
    op.sources.iter().any(|source| match source {
        CopySource::Context { selection, .. } => op.unpack.unwrap_or(op.add) && !selection.is_of_directories(),
        CopySource::Root { .. } => op.unpack.unwrap_or(op.add),
        CopySource::Inline { .. } => false,
        CopySource::Url { .. } => op.unpack.unwrap_or(false),
    })
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
