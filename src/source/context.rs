//! A build context: a directory as it was walked once, less what its ignore file excludes.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io;
use std::os::fd::{AsFd, OwnedFd};
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError};

use rustix::fs::{OFlags, Stat, fstat};
use rustix::io::Errno;

use super::beneath::open_beneath;
use super::digest::digest_file;
use super::error::{Error, shown};
use super::ignore::IgnoreFile;
use super::inode::node_of;
use super::stat_cache::{self, Stamp, StatCache};
use super::tree::{Node, NodeKind, Tree, TreePath};
use super::walk::{Entry, Listing, split, walk};
use crate::oci::Digest;

/// Shared by every service that builds from the directory with the same ignore file. Files are owned by 0:0, as BuildKit
/// sends them; a file is hashed when it is first asked for, and at most once.
#[derive(Debug)]
pub struct Context {
    path: PathBuf,
    root: OwnedFd,
    root_node: Node,
    directories: HashMap<TreePath, Listing>,
    cache: Arc<StatCache>,
}

impl Context {
    /// Walks `path` once, in parallel. Symbolic links are kept as links. A directory that cannot be read is an error only
    /// when it is asked for.
    pub fn walk(path: &Path, ignore: &IgnoreFile, cache: &Arc<StatCache>) -> Result<Self, Error> {
        let failed = |source: io::Error| match source.kind() {
            io::ErrorKind::NotADirectory => Error::NotADirectory(path.to_owned()),
            _ => Error::Read { path: path.to_owned(), source },
        };
        let root = fs::File::open(path).map(OwnedFd::from).map_err(failed)?;
        let stat = fstat(&root).map_err(|error| failed(error.into()))?;
        let node = node_of(root.as_fd(), b"", &stat).map_err(|error| failed(error.into()))?;
        if node.kind != NodeKind::Directory {
            return Err(Error::NotADirectory(path.to_owned()));
        }
        let directories = walk(root.as_fd(), path, ignore, cache)?;
        let root_node = Node { uid: 0, gid: 0, ..node };
        Ok(Self { path: path.to_owned(), root, root_node, directories, cache: Arc::clone(cache) })
    }

    /// The directory that was walked.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// How many files, directories and links there are, the root not counted.
    pub fn len(&self) -> usize {
        self.directories.values().flatten().map(Vec::len).sum()
    }

    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn entry(&self, path: &[u8]) -> io::Result<Option<&Entry>> {
        let (parent, name) = split(path);
        let Some(listing) = self.directories.get(parent) else { return Ok(None) };
        let entries = listing.as_ref().map_err(|error| unreadable(parent, *error))?;
        Ok(entries.binary_search_by(|entry| entry.name.as_slice().cmp(name)).ok().map(|at| &entries[at]))
    }

    fn file(&self, path: &[u8]) -> io::Result<&Entry> {
        let entry = self.entry(path)?.filter(|entry| entry.node.kind == NodeKind::File);
        entry.ok_or_else(|| io::Error::new(io::ErrorKind::NotFound, format!("{:?} is no file", shown(path))))
    }

    fn open_checked(&self, path: &[u8]) -> io::Result<(File, &Entry)> {
        let entry = self.file(path)?;
        // Should it have become a FIFO since: opening does not block, and the stamp differs.
        let fd = open_beneath(self.root.as_fd(), path, OFlags::RDONLY | OFlags::NONBLOCK).map_err(|error| named(path, &error))?;
        self.cache.count_opened();
        self.unchanged(path, entry, &fstat(&fd)?)?;
        Ok((File::from(fd), entry))
    }

    fn unchanged(&self, path: &[u8], entry: &Entry, stat: &Stat) -> io::Result<()> {
        if Stamp::from(stat) == entry.stamp {
            return Ok(());
        }
        Err(io::Error::other(format!("{:?} changed while the build context was read; build again", shown(path))))
    }

    fn known(&self, path: &[u8]) -> io::Result<Digest> {
        let entry = self.file(path)?;
        // Held while the file is read: whoever asks for the same file waits for the answer.
        let mut known = entry.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.is_none() {
            *known = self.cache.find_learned(&entry.stamp);
        }
        if let Some(known) = *known {
            return Ok(known);
        }
        let read_at = stat_cache::now();
        let (file, entry) = self.open_checked(path)?;
        let digest = digest_file(&file).map_err(|error| named(path, &error))?;
        self.unchanged(path, entry, &fstat(&file)?)?;
        self.cache.learn(&entry.stamp, digest, read_at);
        *known = Some(digest);
        Ok(digest)
    }
}

impl Tree for Context {
    fn lookup(&self, path: &[u8]) -> io::Result<Option<Node>> {
        if path.is_empty() {
            return Ok(Some(self.root_node.clone()));
        }
        Ok(self.entry(path)?.map(|entry| entry.node.clone()))
    }

    fn children(&self, path: &[u8]) -> io::Result<Vec<Vec<u8>>> {
        let listing = self.directories.get(path).ok_or_else(|| unreadable(path, Errno::NOTDIR))?;
        let entries = listing.as_ref().map_err(|error| unreadable(path, *error))?;
        Ok(entries.iter().map(|entry| entry.name.clone()).collect())
    }

    fn open(&self, path: &[u8]) -> io::Result<File> {
        self.open_checked(path).map(|(file, _)| file)
    }

    fn digest(&self, path: &[u8]) -> io::Result<Digest> {
        self.known(path)
    }

    /// None: BuildKit does not transfer them, and two checkouts of one commit must give one image.
    fn xattrs(&self, _path: &[u8]) -> io::Result<Vec<(Vec<u8>, Vec<u8>)>> {
        Ok(Vec::new())
    }
}

fn unreadable(path: &[u8], error: Errno) -> io::Error {
    named(path, &error.into())
}

/// The same error, naming the path.
fn named(path: &[u8], error: &io::Error) -> io::Error {
    io::Error::new(error.kind(), format!("{:?}: {error}", shown(path)))
}

#[cfg(test)]
mod tests {
    use super::*;
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
        let mut out: Vec<_> = context
            .directories
            .iter()
            .flat_map(|(path, listing)| listing.iter().flatten().map(|entry| super::super::walk::join(path, &entry.name)))
            .map(|path| String::from_utf8_lossy(&path).into_owned())
            .collect();
        out.sort();
        out
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
        assert!(context.open(b"link").is_err() && context.digest(b"fifo").is_err());
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
        let first = context.digest(b"a").unwrap();
        assert_eq!((context.digest(b"a").unwrap(), first), (first, Digest::of(b"a")));
        assert_eq!(cache.counters(), super::super::Counters { digests_computed: 1, files_opened: 1 });
        cache.save().unwrap();

        let cache = Arc::new(StatCache::load(&caches.path().join("stat")));
        let context = walked(&directory, "", &cache);
        assert_eq!(context.digest(b"a").unwrap(), first);
        assert_eq!(context.xattrs(b"a").unwrap(), []);
        assert_eq!(cache.counters(), super::super::Counters::default());

        fs::write(directory.path().join("a"), "A").unwrap();
        fs::File::open(directory.path().join("a")).unwrap().set_modified(past).unwrap();
        assert_eq!(walked(&directory, "", &cache).digest(b"a").unwrap(), Digest::of(b"A"));
    }

    #[test]
    fn threads_that_ask_at_once_share_one_reading() {
        let directory = made(&["a"]);
        let cache = in_memory();
        let context = walked(&directory, "", &cache);
        std::thread::scope(|scope| {
            for _ in 0..8 {
                scope.spawn(|| context.digest(b"a").unwrap());
            }
        });
        assert_eq!(cache.counters().digests_computed, 1);
    }

    #[test]
    fn a_file_that_changed_since_the_walk_is_an_error() {
        let directory = made(&["a"]);
        let context = walked(&directory, "", &in_memory());
        fs::write(directory.path().join("a"), "longer").unwrap();
        let error = context.digest(b"a").unwrap_err().to_string();
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
        assert!(context.digest(b"c").is_ok());
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
