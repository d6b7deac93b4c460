//! A build context: a directory as it was walked once, less what its ignore file excludes.

use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::fs::{CWD, MemfdFlags, Mode, OFlags, fstat, memfd_create, openat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::commit_tree::CommitTree;
use super::error::{Error, shown};
use super::ignore::IgnoreFile;
use super::inode::node_of;
use super::listing::{Directory, DirectoryId, Entry, EntryId, EntryKind};
use super::stamp::Stamp;
use super::stat_cache::StatCache;
use super::tree::{Meet, Node, NodeKind, Tree};
use super::walk::{split, walk};

/// Where a context's files are.
#[derive(Debug)]
pub(super) enum Origin {
    /// Opened when a file is asked for: a monorepo has more contexts than a process may have open files.
    Disk,
    Commit(CommitTree),
}

/// Shared by every service that builds from the directory with the same ignore file. Files are owned by 0:0, as BuildKit
/// sends them; a file is hashed when it is first asked for, and at most once.
#[derive(Debug)]
pub struct Context {
    path: PathBuf,
    pub(super) origin: Origin,
    root_node: Node,
    /// The root first.
    pub(super) directories: Vec<Directory>,
    pub(super) cache: Arc<StatCache>,
}

impl Context {
    /// Walks `path` once, in parallel. Symbolic links are kept as links. A directory that cannot be read is an error only
    /// when it is asked for.
    pub fn walk(path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Self, Error> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotADirectory => Error::NotADirectory(path.to_owned()),
            _ => Error::Read { path: path.to_owned(), source },
        };
        let root = File::open(path).map(OwnedFd::from).map_err(failed)?;
        let stat = fstat(&root).map_err(|error| failed(error.into()))?;
        let node = node_of(root.as_fd(), b"", &stat).map_err(|error| failed(error.into()))?;
        if node.kind != NodeKind::Directory {
            return Err(Error::NotADirectory(path.to_owned()));
        }
        let directories = walk(&root, path, ignore)?;
        let root_node = Node { uid: 0, gid: 0, ..node };
        Ok(Self { path: path.to_owned(), origin: Origin::Disk, root_node, directories, cache: Arc::clone(cache) })
    }

    /// The directory at `path` as it was in a commit.
    pub(super) fn of_commit(path: &Path, mut tree: CommitTree, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Self, Error> {
        let directories = walk(&tree, path, ignore)?;
        let mode = tree.mode() & 0o7777;
        tree.present = None;
        let root_node = Node { kind: NodeKind::Directory, mode, uid: 0, gid: 0, size: 0, mtime: (tree.time, 0), hardlink: None };
        Ok(Self { path: path.to_owned(), origin: Origin::Commit(tree), root_node, directories, cache: Arc::clone(cache) })
    }

    /// The directory that was walked.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The directory at `path` as it was listed; `None` where there is no directory.
    pub(super) fn directory_id(&self, path: &[u8]) -> Option<DirectoryId> {
        let mut at = 0;
        for name in path.split(|&b| b == b'/').filter(|_| !path.is_empty()) {
            let directory = self.directories.get(at as usize)?;
            at = match directory.entries[directory.find(name)?].kind {
                EntryKind::Directory(below) => below,
                _ => return None,
            };
        }
        Some(at)
    }

    pub(super) fn directory(&self, path: &[u8]) -> Option<&Directory> {
        self.directories.get(self.directory_id(path)? as usize)
    }

    /// The directory and the entry in it.
    pub(super) fn at(&self, id: EntryId) -> (&Directory, &Entry) {
        let directory = &self.directories[id.directory as usize];
        (directory, &directory.entries[id.place as usize])
    }

    /// Where something lies, and what; the root is in no directory.
    pub(super) fn find(&self, path: &[u8]) -> Result<Option<EntryId>, Errno> {
        let (parent, name) = split(path);
        let Some(directory) = self.directory_id(parent) else { return Ok(None) };
        let listed = listed(&self.directories[directory as usize])?;
        Ok(listed.find(name).map(|place| EntryId { directory, place: place as u32 }))
    }

    /// Meets everything below a directory, as [`Tree::walk`] does.
    pub(super) fn walk_entries(&self, base: &[u8], meet: &mut dyn FnMut(&[u8], EntryId, &Entry) -> bool) -> Result<(), Error> {
        let failed = |path: &[u8], error: Errno| Error::Read { path: shown(path).into(), source: error.into() };
        let top = self.directory_id(base).ok_or_else(|| failed(base, Errno::NOTDIR))?;
        // The directories that the walk is in, the place of each that comes next, and the length of its path.
        let mut open = vec![(top, 0, 0)];
        let mut path = Vec::new();
        while let Some((directory, place, length)) = open.last_mut() {
            let listed = &self.directories[*directory as usize];
            let listed = self::listed(listed).map_err(|error| failed(&listed.path, error))?;
            let Some(entry) = listed.entries.get(*place) else {
                open.pop();
                continue;
            };
            let id = EntryId { directory: *directory, place: *place as u32 };
            *place += 1;
            path.truncate(*length);
            path.extend((!path.is_empty()).then_some(b'/'));
            path.extend_from_slice(listed.name(entry));
            let enter = meet(&path, id, entry);
            if let EntryKind::Directory(below) = entry.kind
                && enter
            {
                open.push((below, 0, path.len()));
            }
        }
        Ok(())
    }

    /// The directory on the disk, where the stamps tell whether a file is the one that was walked.
    pub(super) fn open_root(&self) -> io::Result<OwnedFd> {
        Ok(openat(CWD, &self.path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?)
    }

    /// Opens a file, which is still the one that was walked.
    fn open_checked(&self, path: &[u8]) -> io::Result<File> {
        let found = self.find(path).map_err(|error| named(path, &error.into()))?.map(|id| self.at(id).1);
        let Some(entry) = found.filter(|entry| matches!(entry.kind, EntryKind::File(_))) else {
            return Err(io::Error::new(io::ErrorKind::NotFound, format!("{:?} is no file", shown(path))));
        };
        if let Origin::Commit(tree) = &self.origin {
            let (directory, name) = split(path);
            let content = tree.read(directory, name).map_err(|error| io::Error::other(error.message().to_owned()))?;
            return in_memory(&content);
        }
        let root = self.open_root().map_err(|error| named(b"", &error))?;
        // Should it have become a FIFO since: opening does not block, and the stamp differs.
        let fd = open_beneath(root.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|error| named(path, &error))?;
        self.cache.count_opened();
        let file = File::from(fd);
        self.check_unchanged(path, entry, &file).map(|()| file)
    }

    fn check_unchanged(&self, path: &[u8], entry: &Entry, file: &File) -> io::Result<()> {
        match &self.origin {
            Origin::Disk if Stamp::from(&fstat(file)?) != entry.stamp => Err(changed(path)),
            Origin::Disk | Origin::Commit(_) => Ok(()),
        }
    }
}

impl Tree for Context {
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>> {
        if path.is_empty() {
            return Ok(Some(self.root_node.clone()));
        }
        let found = self.find(path).map_err(|error| named(split(path).0, &error.into()))?;
        Ok(found.map(|id| self.at(id).1.node()))
    }

    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let directory = self.directory(path).ok_or(Errno::NOTDIR).and_then(listed);
        let directory = directory.map_err(|error| named(path, &error.into()))?;
        Ok(directory.entries.iter().map(|entry| directory.name(entry).to_vec()).collect())
    }

    fn walk(&self, path: &[u8], meet: &mut Meet<'_>) -> Result<(), Error> {
        self.walk_entries(path, &mut |path, _, entry| meet(path, &entry.node()))
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        self.open_checked(path)
    }

    fn unchanged(&self, path: &[u8], file: &File) -> io::Result<()> {
        let found = self.find(path).map_err(|error| named(path, &error.into()))?;
        found.map_or_else(|| Err(changed(path)), |id| self.check_unchanged(path, self.at(id).1, file))
    }

    /// None: BuildKit does not transfer them, and two checkouts of one commit must give one image.
    fn xattrs(&self, _path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(Vec::new())
    }
}

fn listed(directory: &Directory) -> Result<&Directory, Errno> {
    directory.failed.map_or(Ok(directory), Err)
}

/// A file without a place on disk, at its beginning.
fn in_memory(content: &[u8]) -> io::Result<File> {
    let mut file = File::from(memfd_create(c"brik", MemfdFlags::CLOEXEC)?);
    file.write_all(content)?;
    file.rewind()?;
    Ok(file)
}

/// The same error, naming the path.
fn named(path: &[u8], error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{:?}: {error}", shown(path)))
}

pub(super) fn changed(path: &[u8]) -> io::Error {
    io::Error::other(format!("{:?} changed while the build context was read; build again", shown(path)))
}
#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::{ContentHash, Counters, SelectOptions};
    use std::fs;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::fs::{PermissionsExt, symlink};
    use std::os::unix::net::UnixListener;
    use std::time::{Duration, SystemTime};

    fn made(files: &[&str]) -> tempfile::TempDir {
        let directory = tempfile::tempdir().unwrap();
        for file in files {
            let path = directory.path().join(file);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, file).unwrap();
        }
        directory
    }

    fn walked(directory: &tempfile::TempDir, ignore: &str, cache: &Arc<StatCache>) -> Context {
        Context::walk(directory.path(), &IgnoreFile::parse(ignore.as_bytes()).unwrap(), cache).unwrap()
    }

    fn paths(context: &Context) -> Vec<String> {
        let mut out = Vec::new();
        let mut meet = |path: &[u8], _: &Node| {
            out.push(String::from_utf8_lossy(path).into_owned());
            true
        };
        Tree::walk(context, b"", &mut meet).unwrap();
        out
    }

    fn hash(context: &Context, path: &str) -> Result<ContentHash, Error> {
        context.hash(&context.select(path.as_bytes(), &SelectOptions::default())?)
    }

    fn in_memory() -> Arc<StatCache> {
        Arc::new(StatCache::in_memory())
    }

    #[test]
    fn what_is_ignored_is_not_there() {
        let directory = made(&["a/b/c", "a/d", "e", "f/g"]);
        for (ignore, expected) in [
            ("", &["a", "a/b", "a/b/c", "a/d", "e", "f", "f/g"][..]),
            ("a", &["e", "f", "f/g"]),
            ("**", &[]),
            ("**\n!a/d", &["a", "a/d"]),
            ("**\n!a/missing", &[]),
            ("a\n!**/c", &["a", "a/b", "a/b/c", "e", "f", "f/g"]),
            ("a/*\n!a/b", &["a", "a/b", "a/b/c", "e", "f", "f/g"]),
            ("f/g", &["a", "a/b", "a/b/c", "a/d", "e", "f"]),
        ] {
            assert_eq!(paths(&walked(&directory, ignore, &in_memory())), expected, "{ignore:?}");
        }
    }

    #[test]
    fn every_kind_of_node_is_told_as_it_is() {
        let directory = made(&["file"]);
        let root = directory.path();
        symlink("/nowhere", root.join("link")).unwrap();
        fs::hard_link(root.join("file"), root.join("hard")).unwrap();
        let _socket = UnixListener::bind(root.join("socket")).unwrap();
        rustix::fs::mknodat(rustix::fs::CWD, root.join("fifo"), rustix::fs::FileType::Fifo, 0o640.into(), 0).unwrap();
        fs::write(root.join(std::ffi::OsStr::from_bytes(b"\xff")), "").unwrap();
        fs::set_permissions(root.join("file"), fs::Permissions::from_mode(0o4751)).unwrap();
        let context = walked(&directory, "", &in_memory());
        let node = |path: &[u8]| context.lookup(path).unwrap();
        assert_eq!(context.children(b"").unwrap(), [&b"fifo"[..], b"file", b"hard", b"link", b"socket", b"\xff"]);
        assert_eq!(node(b"link").unwrap().kind, NodeKind::Symlink(b"/nowhere".to_vec()));
        assert_eq!(node(b"fifo").unwrap().kind, NodeKind::Fifo);
        assert_eq!(node(b"socket").unwrap().kind, NodeKind::Socket);
        let file = node(b"file").unwrap();
        assert_eq!((file.mode, file.uid, file.gid, file.size), (0o4751, 0, 0, 4));
        assert!(file.hardlink.is_some() && file.hardlink == node(b"hard").unwrap().hardlink);
        assert_eq!(node(b"link/x"), None);
        assert!(context.open(b"link").is_err() && context.open(b"fifo").is_err());
    }

    #[test]
    fn a_file_that_changes_while_it_is_read_is_told() {
        let directory = made(&["a"]);
        let context = walked(&directory, "", &in_memory());
        let file = context.open(b"a").unwrap();
        Tree::unchanged(&context, b"a", &file).unwrap();
        std::thread::sleep(Duration::from_millis(30));
        fs::write(directory.path().join("a"), "b").unwrap();
        let error = Tree::unchanged(&context, b"a", &file).unwrap_err().to_string();
        assert!(error.contains("changed while the build context was read"), "{error}");
    }

    #[test]
    fn an_unchanged_file_is_read_once_over_all_runs() {
        let directory = made(&["a", "b"]);
        let caches = tempfile::tempdir().unwrap();
        let past = SystemTime::now() - Duration::from_secs(100);
        fs::File::open(directory.path().join("a")).unwrap().set_modified(past).unwrap();
        // The stamps of the files are to be older than the granularity of the clock.
        std::thread::sleep(Duration::from_millis(50));
        let cache = Arc::new(StatCache::load(&caches.path().join("stat")));
        let context = walked(&directory, "", &cache);
        let first = hash(&context, "a").unwrap();
        assert_eq!(hash(&context, "a").unwrap(), first);
        assert_eq!(cache.counters(), Counters { files_hashed: 1, files_opened: 1 });
        cache.save(&caches.path().join("new")).unwrap();

        let cache = Arc::new(StatCache::load(&caches.path().join("stat")));
        let context = walked(&directory, "", &cache);
        assert_eq!(hash(&context, "a").unwrap(), first);
        assert_eq!(cache.counters(), Counters::default());

        fs::write(directory.path().join("a"), "A").unwrap();
        fs::File::open(directory.path().join("a")).unwrap().set_modified(past).unwrap();
        assert_ne!(hash(&walked(&directory, "", &cache), "a").unwrap(), first);
    }

    #[test]
    fn contexts_of_one_run_share_what_they_learned() {
        let directory = made(&["a", "b"]);
        std::thread::sleep(Duration::from_millis(50));
        let cache = in_memory();
        let contexts = ["", "b"].map(|ignore| walked(&directory, ignore, &cache));
        assert_eq!(hash(&contexts[0], "a").unwrap(), hash(&contexts[1], "a").unwrap());
        assert_eq!(cache.counters().files_hashed, 1);
    }

    #[test]
    fn a_file_that_changed_since_the_walk_is_an_error() {
        let directory = made(&["a"]);
        let context = walked(&directory, "", &in_memory());
        fs::write(directory.path().join("a"), "longer").unwrap();
        let error = hash(&context, "a").unwrap_err().to_string();
        assert!(error.contains("\"/a\" changed"), "{error}");
        let error = context.open(b"a").unwrap_err().to_string();
        assert!(error.starts_with("\"/a\" changed"), "{error}");
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_an_error_only_when_asked_for() {
        if rustix::process::geteuid().is_root() {
            eprintln!("skipped: root can read every directory");
            return;
        }
        let directory = made(&["a/b", "c"]);
        fs::set_permissions(directory.path().join("a"), fs::Permissions::from_mode(0o000)).unwrap();
        let context = walked(&directory, "", &in_memory());
        assert!(hash(&context, "c").is_ok());
        assert!(context.children(b"a").unwrap_err().to_string().starts_with("\"/a\":"));
        fs::set_permissions(directory.path().join("a"), fs::Permissions::from_mode(0o755)).unwrap();
    }

    #[test]
    fn a_context_that_is_no_directory_is_an_error() {
        let directory = made(&["a"]);
        for (path, expected) in [("a", "is not a directory"), ("b", "cannot read")] {
            let error = Context::walk(&directory.path().join(path), &IgnoreFile::default(), &in_memory()).unwrap_err();
            assert!(error.to_string().contains(expected), "{error}");
        }
    }
}
