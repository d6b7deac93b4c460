//! Where each match of a COPY or ADD goes.

use std::collections::HashMap;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd};

use super::CopyError;
use super::borrow::Borrower;
use super::directory::Directory;
use super::leaf::FirstLinks;
use super::metadata::{Metadata, set_mtime};
use super::resolve::resolve;
use crate::plan::ModeChange;
use crate::source::tree::{Match, Node, NodeKind, Tree};

/// What ADD does with archives.
pub trait Unpacker {
    /// Whether the file is a tar, compressed or not, by its content.
    fn is_archive(&self, file: File) -> io::Result<bool>;
    /// Unpacks such a file into a directory.
    fn unpack(&self, file: File, into: BorrowedFd<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>>;
}

/// One tree's share of a COPY or ADD.
#[derive(Clone, Copy)]
pub struct CopyJob<'a> {
    pub tree: &'a dyn Tree,
    /// Written in this order: where two want the same path, the later one has it.
    pub matches: &'a [Match],
    /// The mounted root of the stage.
    pub root: BorrowedFd<'a>,
    /// Absolute in the image. A trailing `/` or `/.` makes it a directory.
    pub destination: &'a [u8],
    /// `--chown` (uid, gid), for implicit directories too; else sources keep their owner and implicit directories are root's.
    pub owner: Option<(u32, u32)>,
    pub mode: Option<&'a ModeChange>,
    /// Given for an ADD that unpacks archives.
    pub unpack: Option<&'a dyn Unpacker>,
    /// The sandbox has a single uid: owners that the kernel refuses are kept in [`super::OWNER_XATTR`].
    pub record_owner: bool,
}

/// What was written.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CopyStats {
    /// Files, links and special files, hard links counted each.
    pub files: u64,
    /// Directories that were not there before.
    pub directories: u64,
    /// Bytes of file content.
    pub bytes: u64,
}

/// Writes the matches into the root, but for regular files if there is a `borrower` for them.
///
/// A directory's *contents* go into the destination, which keeps its metadata but for the mtime if it was there and is 0755 else; a file
/// goes into a destination that is a directory, and replaces one that is a file. The destination is followed through links inside the root;
/// below it, links are replaced by files and refuse directories.
///
/// Hard links stay hard links within a match. BuildKit copies matches one by one, but all at once where `--parents` keeps their paths.
///
/// # Errors
/// The first match that cannot be written; what was written before it stays.
pub fn write_matches(job: &CopyJob<'_>, borrower: Option<Borrower<'_, '_>>) -> Result<CopyStats, CopyError> {
    let (links, borrowed_links) = (FirstLinks::default(), HashMap::new());
    let mut writer = Writer { job, borrower, stats: CopyStats::default(), links, borrowed_links };
    for found in job.matches {
        if found.parents.is_none() {
            writer.links.clear();
            writer.borrowed_links.clear();
        }
        writer.place(found)?;
    }
    Ok(writer.stats)
}

pub(super) struct Writer<'a, 'b, 'l> {
    pub(super) job: &'a CopyJob<'a>,
    pub(super) borrower: Option<Borrower<'b, 'l>>,
    pub(super) stats: CopyStats,
    pub(super) links: FirstLinks,
    /// The numbers of source files with several links, by device and inode.
    pub(super) borrowed_links: HashMap<(u64, u64), u64>,
}

impl Writer<'_, '_, '_> {
    fn place(&mut self, found: &Match) -> Result<(), CopyError> {
        if let Some(kept) = &found.parents {
            let top = self.destination_directory(self.implicit_mode())?;
            return self.kept(&top, found, kept);
        }
        if self.unpacked(found)? {
            return Ok(());
        }
        let is_directory = matches!(split(self.job.destination).1, b"" | b".");
        if found.node.kind == NodeKind::Directory {
            let top = self.destination_directory(self.implicit_mode())?;
            self.below(&top, found)?;
            return set_mtime(&top, found.node.mtime);
        }
        let (directory, name) = if is_directory {
            (self.destination_directory(self.implicit_mode())?, None)
        } else {
            let place = resolve(self.job.root, self.job.destination)?;
            let mode = self.implicit_mode();
            place.into_entry(|made| self.made(made, mode))?
        };
        let name = name.unwrap_or_else(|| split(&found.name).1.to_vec());
        self.leaf(&directory, &name, &found.path, &found.node)
    }

    /// Unpacks the match if this is an ADD and the match is an archive; the destination is a directory then, whatever it looks like.
    fn unpacked(&mut self, found: &Match) -> Result<bool, CopyError> {
        let Some(unpacker) = self.job.unpack else { return Ok(false) };
        if found.node.kind != NodeKind::File {
            return Ok(false);
        }
        let open = || self.job.tree.open(&found.path).map_err(|e| CopyError::read(&found.path, e));
        if !unpacker.is_archive(open()?).map_err(|e| CopyError::read(&found.path, e))? {
            return Ok(false);
        }
        let file = open()?;
        let read = file.try_clone().map_err(|e| CopyError::read(&found.path, e))?;
        // BuildKit gives this directory no --chmod.
        let top = self.destination_directory(0o755)?;
        let failed = |source| CopyError::Unpack { path: found.path.clone().into(), source };
        unpacker.unpack(file, top.as_fd()).map_err(failed)?;
        self.job.tree.unchanged(&found.path, &read).map_err(|e| CopyError::read(&found.path, e))?;
        Ok(true)
    }

    /// The destination as a directory; what is missing is made with `mode`.
    fn destination_directory(&mut self, mode: u32) -> Result<Directory, CopyError> {
        resolve(self.job.root, self.job.destination)?.into_directory(|made| self.made(made, mode))
    }

    fn made(&mut self, directory: &Directory, mode: u32) -> Result<(), CopyError> {
        self.refuse_borrowed(directory)?;
        self.stats.directories += 1;
        self.implicit(directory, mode)
    }

    /// Gives a directory that no source has its metadata.
    pub(super) fn implicit(&self, directory: &Directory, mode: u32) -> Result<(), CopyError> {
        let owner = self.job.owner.unwrap_or((0, 0));
        let metadata = Metadata { owner, mode, mtime: None, xattrs: Vec::new(), record_owner: self.job.record_owner };
        metadata.set(directory.as_fd(), directory.path())
    }

    pub(super) fn implicit_mode(&self) -> u32 {
        self.job.mode.map_or(0o755, ModeChange::implicit_directories)
    }

    /// What the copy of `node` gets.
    pub(super) fn metadata(&self, source: &[u8], node: &Node, with_xattrs: bool) -> Result<Metadata, CopyError> {
        let xattrs = if with_xattrs { self.job.tree.xattrs(source).map_err(|e| CopyError::read(source, e))? } else { Vec::new() };
        Ok(Metadata {
            owner: self.job.owner.unwrap_or((node.uid, node.gid)),
            mode: self.mode_of(node),
            mtime: Some(node.mtime),
            xattrs,
            record_owner: self.job.record_owner,
        })
    }

    pub(super) fn mode_of(&self, node: &Node) -> u32 {
        let mode = node.mode & 0o7777;
        self.job.mode.map_or(mode, |change| change.apply(mode, node.kind == NodeKind::Directory))
    }
}

/// The directory part and the last component.
pub(super) fn split(path: &[u8]) -> (&[u8], &[u8]) {
    match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (b"", path),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::copy::testing::{Destination, copy, job, matched, may_give_files_away, me};
    use crate::build::copy::{LooseFiles, OWNER_XATTR};

    /// `file` (0640), `dir` (0700) with `inner` and `sub/deep`.
    fn source() -> Destination {
        let source = Destination::new();
        source.file("file", "content");
        source.chmod("file", 0o640);
        source.file("dir/inner", "inner");
        source.file("dir/sub/deep", "deep");
        source.chmod("dir", 0o700);
        source.chmod("dir/sub", 0o750);
        source
    }

    #[test]
    fn the_destination_is_a_file_or_a_directory_as_buildkit_has_it() {
        for (prepare, paths, destination, expected) in [
            ("", &["file"][..], "/new", &["new f640"][..]),
            ("", &["file"], "/new/", &["new d755", "new/file f640"]),
            ("", &["file"], "/new/.", &["new d755", "new/file f640"]),
            ("", &["file"], "/", &["file f640"]),
            ("", &["file"], "/a/b/c", &["a d755", "a/b d755", "a/b/c f640"]),
            ("d", &["file"], "/d", &["d d711", "d/file f640"]),
            ("f", &["file"], "/f", &["f f640"]),
            // A directory's contents are copied; a destination that is made is 0755, one that was there stays as it was.
            ("", &["dir"], "/new", &["new d755", "new/inner f644", "new/sub d750", "new/sub/deep f644"]),
            ("", &["dir/sub"], "/new/", &["new d755", "new/deep f644"]),
            ("d", &["dir"], "/d", &["d d711", "d/inner f644", "d/sub d750", "d/sub/deep f644"]),
            ("", &["dir", "file"], "/new", &["new d755", "new/file f640", "new/inner f644", "new/sub d750", "new/sub/deep f644"]),
            // The last of several files for one name wins.
            ("", &["dir/inner", "file"], "/new", &["new f640"]),
            ("", &["file", "dir/inner"], "/new/", &["new d755", "new/file f640", "new/inner f644"]),
            ("", &[], "/new/", &[]),
        ] {
            let (source, root) = (source(), Destination::new());
            match prepare {
                "d" => {
                    root.directory("d");
                    root.chmod("d", 0o711);
                }
                "f" => root.file("f", "old"),
                _ => {}
            }
            copy(&source, paths, &root, destination).unwrap();
            assert_eq!(root.list(), expected, "{paths:?} to {destination}");
        }
    }

    #[test]
    fn what_cannot_be_where_it_should_is_an_error() {
        for (paths, destination) in
            [(&["dir"][..], "/file"), (&["dir"], "/file/"), (&["file"], "/file/"), (&["file"], "/file/x"), (&["file", "dir"], "/new")]
        {
            let (source, root) = (source(), Destination::new());
            root.file("file", "old");
            let error = copy(&source, paths, &root, destination).unwrap_err();
            assert!(matches!(error, CopyError::NotADirectory { .. }), "{paths:?} to {destination}: {error}");
        }
    }

    #[test]
    fn links_in_the_destination_are_followed_inside_the_root_only() {
        let outside = Destination::new();
        let outside_path = outside.path("").to_str().unwrap().trim_end_matches('/').to_owned();
        for (link, destination, written) in [
            ("/real", "/link/y", "real/y".to_owned()),
            ("real", "/link/y", "real/y".to_owned()),
            ("/real", "/link", "real/file".to_owned()),
            ("/real/new", "/link", "real/new".to_owned()),
            ("/missing/new", "/link", "missing/new".to_owned()),
            ("/missing", "/link/", "missing/file".to_owned()),
            ("../../../../..", "/link/y", "y".to_owned()),
            (&*outside_path, "/link/y", format!("{}/y", outside_path.trim_start_matches('/'))),
            (&*outside_path, "/link/../y", "y".to_owned()),
        ] {
            let (source, root) = (source(), Destination::new());
            root.directory("real");
            root.link(link, "link");
            copy(&source, &["file"], &root, destination).unwrap();
            assert_eq!(root.read(&written), "content", "{link} {destination}");
            assert!(root.stat("link").is_symlink());
            assert!(outside.list().is_empty());
        }
    }

    #[test]
    fn an_octal_chmod_hits_implicit_directories_and_a_symbolic_one_does_not() {
        for (text, expected) in [
            ("0770", ["p d770", "p/q d770", "p/q/inner f770", "p/q/sub d770", "p/q/sub/deep f770"]),
            ("6777", ["p d777", "p/q d777", "p/q/inner f6777", "p/q/sub d6777", "p/q/sub/deep f6777"]),
            ("u=rwX,go=rX", ["p d755", "p/q d755", "p/q/inner f644", "p/q/sub d755", "p/q/sub/deep f644"]),
        ] {
            let (source, root) = (source(), Destination::new());
            let mode = ModeChange::parse(text).unwrap();
            let matches = [matched(&source, "dir")];
            write_matches(&CopyJob { mode: Some(&mode), ..job(&source, &matches, &root, "/p/q") }, None).unwrap();
            assert_eq!(root.list(), expected, "{text}");
        }
    }

    #[test]
    fn owners_are_the_sources_or_chowns_and_roots_for_implicit_directories() {
        use std::os::unix::fs::MetadataExt;
        if !may_give_files_away() {
            eprintln!("skipped: only root may give files away");
            return;
        }
        for (owner, expected) in [(None, [(0, 0), (101, 201), (102, 202)]), (Some((300, 400)), [(300, 400); 3])] {
            let (source, root) = (source(), Destination::new());
            for (path, uid) in [("dir", 100), ("dir/sub", 101), ("dir/sub/deep", 102)] {
                std::os::unix::fs::chown(source.path(path), Some(uid), Some(uid + 100)).unwrap();
            }
            root.directory("there");
            std::os::unix::fs::chown(root.path("there"), Some(500), Some(600)).unwrap();
            let matches = [matched(&source, "dir")];
            for destination in ["/new", "/there"] {
                write_matches(&CopyJob { owner, ..job(&source, &matches, &root, destination) }, None).unwrap();
            }
            let owner_of = |path: &str| (root.stat(path).uid(), root.stat(path).gid());
            assert_eq!(["new", "new/sub", "new/sub/deep"].map(owner_of), expected);
            assert_eq!(owner_of("there"), (500, 600));
            assert_eq!(owner_of("there/sub"), expected[1]);
        }
    }

    #[test]
    fn owners_that_the_kernel_refuses_are_recorded_or_fail() {
        if may_give_files_away() {
            eprintln!("skipped: the kernel refuses this process nothing");
            return;
        }
        let (source, root) = (source(), Destination::new());
        source.link("file", "link");
        let matches = [matched(&source, "file"), matched(&source, "link")];
        let refused = CopyJob { owner: Some((0, 7)), ..job(&source, &matches, &root, "/d/") };
        assert!(matches!(write_matches(&refused, None), Err(CopyError::Write { action: "change the owner of", .. })));
        write_matches(&CopyJob { record_owner: true, ..refused }, None).unwrap();
        let recorded = |path: &str| {
            let mut value = [0; 16];
            rustix::fs::lgetxattr(root.path(path), OWNER_XATTR, &mut value[..])
                .map(|length| String::from_utf8_lossy(&value[..length]).into_owned())
        };
        assert_eq!(recorded("d/file").as_deref(), Ok("0:7"));
        // Given back to whom the kernel allows: the record goes.
        write_matches(&CopyJob { owner: Some(me()), record_owner: true, ..refused }, None).unwrap();
        assert!(recorded("d/file").is_err());
    }

    struct Tars;

    impl Unpacker for Tars {
        fn is_archive(&self, file: File) -> io::Result<bool> {
            Ok(io::read_to_string(file)? == "tar")
        }

        fn unpack(&self, file: File, into: BorrowedFd<'_>) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
            assert_eq!(io::read_to_string(file)?, "tar");
            rustix::fs::mkdirat(into, "unpacked", rustix::fs::Mode::RWXU)?;
            Ok(())
        }
    }

    #[test]
    fn add_unpacks_archives_into_the_destination_and_copies_the_rest() {
        let (source, root) = (source(), Destination::new());
        source.file("a.tar", "tar");
        let matches = [matched(&source, "a.tar"), matched(&source, "file")];
        let mode = ModeChange::parse("0600").unwrap();
        write_matches(&CopyJob { unpack: Some(&Tars), mode: Some(&mode), ..job(&source, &matches, &root, "/dest") }, None).unwrap();
        assert_eq!(root.list(), ["dest d755", "dest/file f600", "dest/unpacked d700"]);
    }

    #[test]
    fn heredocs_are_copied_like_files() {
        for (destination, expected) in [("/out/", &["out d755", "out/A f644", "out/B f644"][..]), ("/out", &["out f644"])] {
            let mut files = LooseFiles::new();
            files.add_heredoc("A", b"a\n".to_vec(), 1);
            files.add_heredoc("B", b"bb\n".to_vec(), 1);
            let (root, matches) = (Destination::new(), files.matches());
            let stats = write_matches(&CopyJob { tree: &files, ..job(&Destination::new(), &matches, &root, destination) }, None).unwrap();
            assert_eq!(root.list(), expected);
            assert_eq!(stats.bytes, 5);
        }
    }
}
