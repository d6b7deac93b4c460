//! What a RUN sees in place of files of the image where nothing can be mounted (rung 3): the image's are put aside for the time of the RUN,
//! and put back as they were.
//!
//! Mount sources are moved into the root and back out of it. A cache that a killed brik has left there is found by its mark
//! (see `store`); the rest of the root is thrown away.

use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{FileExt, OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, renameat};

use super::dev::{self, Streams};
use super::directory::{Directory, identify};
use super::error::SandboxError;
use super::mounts::{Agent, kind, mount_point};
use super::spec::{Access, RunSpec, SandboxMount};
use super::staging::grant;
use super::stubs::Kind;
use super::{certificates, etc, proc};
use crate::store::{COVERED, remove_tree};

/// All covers of one RUN. Taken away on drop, too.
pub(super) struct Covers<'a> {
    spec: &'a RunSpec,
    /// Beside the root: what is covered.
    aside: PathBuf,
    /// In the order in which they were placed.
    covers: Vec<Cover>,
    /// Directories with covers in them (relative), and when they last changed until all were placed.
    parents: HashMap<PathBuf, (Directory, (i64, i64))>,
    /// Sources that were moved, and where they are in the root.
    moved: HashMap<PathBuf, PathBuf>,
    secrets: Vec<(CString, File)>,
    agents: Vec<Agent>,
    /// Opened before the RUN's own covers can take their places.
    streams: Option<Streams>,
}

/// Something in the place of something else.
struct Cover {
    /// Relative to the root.
    path: PathBuf,
    parent: Directory,
    name: OsString,
    aside: PathBuf,
    /// Where it goes back to, and what it is, if it is not to be thrown away.
    home: Option<(PathBuf, OwnedFd)>,
}

impl<'a> Covers<'a> {
    /// Places everything that `spec` asks for. Mount points must exist.
    pub fn place(spec: &'a RunSpec) -> Result<Self, SandboxError> {
        let aside = spec.root.with_file_name(COVERED);
        fs::create_dir(&aside).or_else(|error| if aside.is_dir() { Ok(()) } else { Err(error) }).map_err(at("create", &aside))?;
        let mut covers = Self {
            spec,
            aside,
            covers: Vec::new(),
            parents: HashMap::new(),
            moved: HashMap::new(),
            secrets: Vec::new(),
            agents: Vec::new(),
            streams: None,
        };
        let readable = Access { mode: 0o644, uid: 0, gid: 0 };
        covers.cover(Path::new("proc"), Kind::Directory, |path| make_directory(path, 0o555).and_then(|()| proc::fill(path)))?;
        covers.cover(Path::new("sys"), Kind::Directory, |path| make_directory(path, 0o555))?;
        covers.cover(Path::new("dev"), Kind::Directory, |path| make_directory(path, 0o755))?;
        covers.streams = Some(dev::fill(&spec.root.join("dev"))?);
        let resolv_conf = etc::resolv_conf(spec.network);
        covers.cover(Path::new("/etc/resolv.conf"), Kind::File, |path| write_file(path, &resolv_conf, readable).map(drop))?;
        let hosts = etc::hosts(&spec.hostname, &spec.extra_hosts);
        covers.cover(Path::new("/etc/hosts"), Kind::File, |path| write_file(path, hosts.as_bytes(), readable).map(drop))?;
        if let Some(certificates) = &spec.ca_certs {
            let bytes = fs::read(certificates).map_err(at("read the certificates", certificates))?;
            for bundle in certificates::bundles(&spec.root)? {
                covers.cover(&bundle, Kind::File, |path| write_file(path, &bytes, readable).map(drop))?;
            }
        }
        spec.mounts.iter().try_for_each(|mount| covers.mount(mount))?;
        for parent in covers.covers.iter().filter_map(|cover| cover.path.parent()) {
            let directory = Directory::open(&spec.root.join(parent)).map_err(at("open", parent))?;
            if let Some(placed) = directory.changed() {
                covers.parents.insert(parent.to_owned(), (directory, placed));
            }
        }
        Ok(covers)
    }

    /// The null device and the named pipes /dev/stdout and /dev/stderr, which do what links into /proc do elsewhere; once.
    pub fn streams(&mut self) -> Option<Streams> {
        self.streams.take()
    }

    pub fn agents(&mut self) -> Vec<Agent> {
        std::mem::take(&mut self.agents)
    }

    /// Where the files with secrets are, and they themselves.
    pub fn secrets(&self) -> Result<Vec<(CString, OwnedFd)>, SandboxError> {
        let again = |(path, file): &(CString, File)| Ok((path.clone(), OwnedFd::from(file.try_clone()?)));
        self.secrets.iter().map(again).collect::<io::Result<_>>().map_err(at("keep open", &self.aside))
    }

    fn mount(&mut self, mount: &SandboxMount) -> Result<(), SandboxError> {
        let target = mount.target();
        match mount {
            SandboxMount::Bind { source, .. } => self.move_in(source, target, kind(mount)),
            // Its size is not limited.
            SandboxMount::Tmpfs { mode, .. } => {
                self.cover(target, Kind::Directory, |path| make_directory(path, mode.unwrap_or(0o1777))).map(drop)
            }
            SandboxMount::Secret { bytes, access, .. } => {
                let mut made = None;
                let path = self.cover(target, Kind::File, |path| write_file(path, bytes, *access).map(|file| made = Some(file)))?;
                let path = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| SandboxError::NulByte("mount target"))?;
                self.secrets.extend(made.map(|file| (path, file)));
                Ok(())
            }
            SandboxMount::SshAgent { agent, access, .. } => {
                let mut made = None;
                self.cover(target, Kind::File, |path| listen(path, *access).map(|listener| made = Some(listener)))?;
                self.agents.extend(made.map(|listener| Agent { listener, upstream: agent.clone() }));
                Ok(())
            }
        }
    }

    /// A source that is mounted twice is a link the second time.
    fn move_in(&mut self, source: &Path, target: &Path, kind: Kind) -> Result<(), SandboxError> {
        if let Some(there) = self.moved.get(source).cloned() {
            let kind = if self.spec.root.join(&there).is_dir() { Kind::Directory } else { Kind::File };
            return self.cover(target, kind, |path| symlink(Path::new("/").join(&there), path)).map(drop);
        }
        let file = identify(source).map_err(at("open the mount source", source))?;
        let path = self.cover(target, kind, |path| fs::rename(source, path))?;
        if let Some(cover) = self.covers.last_mut() {
            cover.home = Some((source.to_owned(), file));
            self.moved.insert(source.to_owned(), cover.path.clone());
        }
        debug_assert!(path.exists());
        Ok(())
    }

    /// Puts what is at `target` aside, and what `make` makes there instead: its path. The directory's times stay.
    fn cover(&mut self, target: &Path, kind: Kind, make: impl FnOnce(&Path) -> io::Result<()>) -> Result<PathBuf, SandboxError> {
        let covered = |inside: &Path| self.covers.iter().any(|cover| inside.starts_with(&cover.path));
        let path = mount_point(&self.spec.root, target, kind, covered)?;
        let (Some(directory), Some(name), Ok(inside)) = (path.parent(), path.file_name(), path.strip_prefix(&self.spec.root)) else {
            return Err(at("cover", target)(io::ErrorKind::InvalidInput.into()));
        };
        let parent = Directory::open(directory).map_err(at("open", directory))?;
        let times = parent.times().map_err(at("read", directory))?;
        let aside = self.aside.join(self.covers.len().to_string());
        fs::rename(&path, &aside).map_err(at("put aside", &path))?;
        self.covers.push(Cover { path: inside.to_owned(), parent, name: name.to_owned(), aside, home: None });
        make(&path).map_err(at("make", &path))?;
        let parent = &self.covers[self.covers.len() - 1].parent;
        parent.set_times(times).map_err(|errno| at("set the times of", directory)(errno.into()))?;
        Ok(path)
    }

    /// Puts everything back. Returns the paths that are as they were but for their ctimes.
    pub fn take_away(&mut self) -> Vec<PathBuf> {
        for (_, file) in self.secrets.drain(..) {
            overwrite(file);
        }
        let mut restored: Vec<PathBuf> = Vec::new();
        let mut parents = Vec::new();
        for (path, (directory, placed)) in self.parents.drain() {
            // Otherwise it is the RUN that did something there.
            if directory.changed() == Some(placed) {
                restored.push(path);
            }
            parents.extend(directory.times().ok().map(|times| (directory, times)));
        }
        for cover in self.covers.drain(..).rev() {
            cover.take_away(&self.spec.root);
            restored.push(cover.path);
        }
        for (directory, times) in parents {
            let _ = directory.set_times(times);
        }
        restored
    }
}

impl Drop for Covers<'_> {
    fn drop(&mut self) {
        self.take_away();
    }
}

impl Cover {
    fn take_away(&self, root: &Path) {
        let in_place = |file: &OwnedFd| self.parent.holds(&self.name, file);
        let gone = match &self.home {
            Some((home, file)) if in_place(file) => renameat(&self.parent, &self.name, CWD, home).is_ok(),
            Some((home, file)) => {
                // The RUN has moved it, which a mount would have refused: it is no part of the image even so.
                let moved = fs::read_link(opened(file)).ok().filter(|path| path.starts_with(root));
                moved.is_some_and(|path| renameat(CWD, &path, CWD, home).is_ok()) && self.parent.lookup(&self.name).is_none()
            }
            None => false,
        };
        if !gone {
            remove_tree(&opened(&self.parent).join(&self.name));
        }
        // The RUN may have removed the directory, and so what was in it.
        if renameat(CWD, &self.aside, &self.parent, &self.name).is_err() {
            remove_tree(&self.aside);
        }
    }
}

/// The path by which an open file can be used, wherever it is.
fn opened(file: impl AsFd) -> PathBuf {
    Path::new("/proc/self/fd").join(file.as_fd().as_raw_fd().to_string())
}

fn make_directory(path: &Path, mode: u32) -> io::Result<()> {
    fs::create_dir(path)?;
    fs::set_permissions(path, Permissions::from_mode(mode & 0o7777))
}

fn write_file(path: &Path, bytes: &[u8], access: Access) -> io::Result<File> {
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    grant(path, access, true)?;
    Ok(file)
}

/// A socket's address has 108 bytes, too few for the way to a root file system.
fn listen(path: &Path, access: Access) -> io::Result<UnixListener> {
    let directory = File::open(path.parent().unwrap_or(path))?;
    let short = Path::new("/proc/self/fd").join(directory.as_raw_fd().to_string()).join(path.file_name().unwrap_or_default());
    let listener = UnixListener::bind(short)?;
    grant(path, access, true)?;
    Ok(listener)
}

/// Without a mount a secret is a file on the store's disk.
fn overwrite(mut file: File) {
    let length = file.seek(io::SeekFrom::End(0)).unwrap_or(0);
    let zeros = vec![0; 4096];
    for position in (0..length).step_by(zeros.len()) {
        let rest = usize::try_from(length - position).unwrap_or(zeros.len()).min(zeros.len());
        let _ = file.write_all_at(&zeros[..rest], position);
    }
    let _ = file.sync_data();
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Mount { action, path, source }
}
