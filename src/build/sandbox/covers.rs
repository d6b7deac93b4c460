//! What a RUN sees in place of files of the image where nothing can be mounted (rung 3): the image's are put aside for the time of the RUN,
//! and put back as they were.
//!
//! Mount sources are moved into the root and back out of it. A cache that a killed brik has left there is found by its mark
//! (see `store`); the rest of the root is thrown away.

use std::collections::HashMap;
use std::ffi::{CString, OsString};
use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, symlink};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, renameat};

use super::dev::{self, Streams};
use super::directory::{Directory, identify};
use super::error::SandboxError;
use super::mounts::{Agent, kind, mount_point};
use super::placed_secret::PlacedSecret;
use super::spec::{Access, RunSpec, SandboxMount};
use super::staging::grant;
use super::stubs::Kind;
use super::tick::wait_for_the_tick_after;
use super::{certificates, etc, proc};
use crate::store::{COVERED, remove_tree, unmark_cache};

/// All covers of one RUN. Taken away on drop, too.
pub(super) struct Covers<'a> {
    spec: &'a RunSpec,
    /// Beside the root: what is covered.
    aside: PathBuf,
    /// In the order in which they were placed.
    covers: Vec<Cover>,
    /// Directories with covers in them (relative), and when they last changed until all were placed.
    parents: HashMap<PathBuf, (Directory, i64)>,
    /// Sources that were moved, and where they are in the root.
    moved: HashMap<PathBuf, PathBuf>,
    secrets: Vec<PlacedSecret>,
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
        // What the RUN does to one of them has to show.
        if let Some(newest) = covers.parents.values().map(|(_, placed)| *placed).max() {
            wait_for_the_tick_after(newest);
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

    pub fn secrets(&self) -> Result<Vec<PlacedSecret>, SandboxError> {
        self.secrets.iter().map(PlacedSecret::try_clone).collect::<io::Result<_>>().map_err(at("keep open", &self.aside))
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
                self.cover(target, Kind::File, |path| write_file(path, bytes, *access).map(|file| made = Some(file)))?;
                if let Some((file, cover)) = made.zip(self.covers.last()) {
                    let name = CString::new(cover.name.as_encoded_bytes()).map_err(|_| SandboxError::NulByte("mount target"))?;
                    let parent = cover.parent.try_clone().map_err(at("keep open", target))?;
                    self.secrets.push(PlacedSecret { parent, name, file: file.into(), length: bytes.len() as u64 });
                }
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
        let around = self.covers.iter().filter(|cover| inside != cover.path && inside.starts_with(&cover.path));
        for (_, file) in around.filter_map(|cover| cover.home.as_ref()) {
            // If brik is killed, the cache is not rescued: what is placed in it, a secret perhaps, would stay there.
            unmark_cache(&opened(file)).map_err(at("take the mark off what is around", &path))?;
        }
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
        self.secrets.drain(..).for_each(|secret| secret.empty());
        let mut restored: Vec<PathBuf> = Vec::new();
        let mut parents = Vec::new();
        for (path, (directory, placed)) in self.parents.drain() {
            // Otherwise it is the RUN that did something there.
            if directory.changed() == Some(placed) && is_at(&directory, &self.spec.root.join(&path)) {
                restored.push(path);
            }
            parents.extend(directory.times().ok().map(|times| (directory, times)));
        }
        for cover in self.covers.drain(..).rev() {
            cover.take_away(&self.spec.root);
            // Where the RUN has moved the directory away, what has its path now is the RUN's.
            if is_at(&cover.parent, &self.spec.root.join(cover.path.parent().unwrap_or(Path::new("")))) {
                restored.push(cover.path);
            }
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
                let moved = found_in(root, file).is_some_and(|(parent, name)| renameat(&parent, &name, CWD, home).is_ok());
                moved && self.parent.lookup(&self.name).is_none()
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

/// Whether no RUN has moved a directory away from `path`, which is free of links.
fn is_at(directory: &Directory, path: &Path) -> bool {
    fs::read_link(opened(directory)).is_ok_and(|now| now == path)
}

/// Where in `root` an open file is by now. For one that was removed the kernel answers with a path at which a RUN may have put anything,
/// and to which links may lead: only what is that file counts.
fn found_in(root: &Path, file: &OwnedFd) -> Option<(Directory, OsString)> {
    let path = fs::read_link(opened(file)).ok().filter(|path| path.starts_with(root))?;
    let (parent, name) = (Directory::open(path.parent()?).ok()?, path.file_name()?.to_owned());
    parent.holds(&name, file).then_some((parent, name))
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

fn at(action: &'static str, path: &Path) -> impl FnOnce(io::Error) -> SandboxError {
    let path = path.to_owned();
    move |source| SandboxError::Mount { action, path, source }
}

#[cfg(test)]
mod tests {
    use rustix::mount::{MountFlags, UnmountFlags, mount, unmount};

    use super::super::harness::{in_sandbox, temporary};
    use super::super::{Rung, resolve_user};
    use super::*;

    #[test]
    fn what_is_done_to_a_directory_at_once_shows_though_times_are_coarse() {
        in_sandbox("build::sandbox::covers::tests::what_is_done_to_a_directory_at_once_shows_though_times_are_coarse", |rung| {
            if rung != Rung::Root {
                return println!("skipped: the covers have device files, which only root may make");
            }
            let room = temporary();
            // Its times are those of the ticks.
            mount(c"ramfs", room.path(), c"ramfs", MountFlags::empty(), None).unwrap();
            let root = room.path().join("root");
            for directory in ["proc", "sys", "dev", "etc"] {
                fs::create_dir_all(root.join(directory)).unwrap();
            }
            for file in ["etc/hosts", "etc/resolv.conf"] {
                fs::write(root.join(file), "").unwrap();
            }
            let spec = RunSpec::new(root.clone(), Rung::Chroot, resolve_user(&root, "").unwrap(), Vec::new());
            for mode in 0o700..0o720 {
                let mut covers = Covers::place(&spec).unwrap();
                fs::set_permissions(root.join("etc"), Permissions::from_mode(mode)).unwrap();
                let restored = covers.take_away();
                assert!(!restored.contains(&"etc".into()), "{mode:o}: {restored:?}");
                assert!(restored.contains(&"etc/hosts".into()) && restored.contains(&"".into()), "{mode:o}: {restored:?}");
            }
            unmount(room.path(), UnmountFlags::DETACH).unwrap();
        });
    }
}
