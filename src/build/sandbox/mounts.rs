//! The mounts of a RUN, made by its launcher thread in the thread's own mount namespace, on a root that nobody uses yet.

use std::ffi::{CString, OsStr};
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::{CWD, FileType, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MountPropagationFlags, MoveMountFlags, OpenTreeFlags};
use rustix::thread::UnshareFlags;

use super::error::SandboxError;
use super::rung::Rung;
use super::spec::{Access, RunSpec, SandboxMount};
use super::staging::Staging;
use super::stubs::{self, Kind};
use super::{certificates, confine, dev, etc, rootfs, sys, tmpfs};

/// An agent's socket inside, and the socket outside that its connections go to.
pub(super) struct Agent {
    pub listener: UnixListener,
    pub upstream: PathBuf,
}

/// What is needed of the mounts when all are made.
pub(super) struct Mounted {
    pub agents: Vec<Agent>,
    /// The null device, opened before the RUN's own mounts can cover it.
    pub null: OwnedFd,
}

/// Directories of every root, which must not be links.
const SYSTEM: [&str; 3] = ["proc", "sys", "dev"];

/// Every path that gets a mount, so that the missing ones can be made before and removed after.
pub(super) fn targets(spec: &RunSpec) -> Result<Vec<(PathBuf, Kind)>, SandboxError> {
    let mut targets = Vec::new();
    for name in SYSTEM {
        // Or the covers over /proc and /sys would lie somewhere else; runc refuses such images, too.
        if rootfs::resolve(&spec.root, Path::new(name))? != Path::new(name) {
            return Err(SandboxError::Mount {
                action: "mount on",
                path: spec.root.join(name),
                source: io::ErrorKind::NotADirectory.into(),
            });
        }
        targets.push((PathBuf::from(name), Kind::Directory));
    }
    targets.extend(["/etc/resolv.conf", "/etc/hosts"].map(|path| (path.into(), Kind::File)));
    if spec.ca_certs.is_some() {
        targets.extend(certificates::bundles(&spec.root)?.into_iter().map(|path| (path, Kind::File)));
    }
    for mount in &spec.mounts {
        outside_proc(&below(&spec.root, mount.target())?, mount.target())?;
        targets.push((mount.target().clone(), kind(mount)));
    }
    Ok(targets)
}

/// Mounts everything but /proc, which needs the new process namespace.
pub(super) fn mount_all(spec: &RunSpec) -> Result<Mounted, SandboxError> {
    let root = spec.root.as_path();
    let own_mounts = MountPropagationFlags::PRIVATE | MountPropagationFlags::REC;
    rustix::mount::mount_change("/", own_mounts).map_err(at("make private", Path::new("/")))?;
    // pivot_root(2) wants a mount point. Without a device cgroup, `nodev` is what keeps a RUN of real root from the host's disks.
    let whole = tree(root, false).map_err(at("bind", root))?;
    attach(whole, root, libc::MOUNT_ATTR_NODEV)?;

    let dev = root.join("dev");
    let mut staging = Staging::mount(dev.clone()).map_err(at("mount ramfs on", &dev))?;
    let readable = Access { mode: 0o644, uid: 0, gid: 0 };
    let owners = spec.rung != Rung::SingleUid;
    let failed = |action| move |source| SandboxError::Setup { action, source };
    let resolv_conf = staging.file(&etc::resolv_conf(spec.network), readable, owners).map_err(failed("write resolv.conf"))?;
    let hosts = staging.file(etc::hosts(&spec.hostname, &spec.extra_hosts).as_bytes(), readable, owners).map_err(failed("write hosts"))?;
    let mut agents = Vec::new();
    let mut sources = Vec::new();
    for mount in &spec.mounts {
        sources.push(match mount {
            SandboxMount::Tmpfs { .. } => None,
            SandboxMount::Bind { source, .. } => Some(own_tree(source).map_err(at("open the mount source", source))?),
            SandboxMount::Secret { bytes, access, .. } => Some(staging.file(bytes, *access, owners).map_err(failed("write a secret"))?),
            SandboxMount::SshAgent { agent, access, .. } => {
                let (listener, socket) = staging.socket(*access, owners).map_err(failed("make the agent's socket"))?;
                agents.push(Agent { listener, upstream: agent.clone() });
                Some(socket)
            }
        });
    }
    let mut bundles = Vec::new();
    if let Some(path) = &spec.ca_certs {
        for bundle in certificates::bundles(root)? {
            bundles.push((tree(path, false).map_err(at("open the certificates", path))?, bundle));
        }
    }

    // As in BuildKit, a mount on a path takes the place of the standard one there.
    let own_shm = spec.mounts.iter().any(|mount| mount.target() == Path::new("/dev/shm"));
    dev::mount(&dev, (!own_shm).then_some(spec.shm_size))?;
    let null = dev.join("null");
    let null = rustix::fs::open(&null, OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC, Mode::empty()).map_err(at("open", &null))?;
    mount_sys(root)?;
    place(root, resolv_conf, Path::new("/etc/resolv.conf"), Kind::File, true)?;
    place(root, hosts, Path::new("/etc/hosts"), Kind::File, true)?;
    for (certificates, bundle) in bundles {
        place(root, certificates, &bundle, Kind::File, true)?;
    }
    for (mount, source) in spec.mounts.iter().zip(sources) {
        // A RUN could fill memory with a secret's file, which has no limit of its own.
        let read_only = matches!(mount, SandboxMount::Bind { read_only: true, .. } | SandboxMount::Secret { .. });
        match (mount, source) {
            (SandboxMount::Tmpfs { target, size, mode }, _) => mount_tmpfs(root, target, *size, *mode)?,
            (mount, Some(source)) => place(root, source, mount.target(), kind(mount), read_only)?,
            (_, None) => {}
        }
    }
    Ok(Mounted { agents, null })
}

pub(super) fn kind(mount: &SandboxMount) -> Kind {
    match mount {
        SandboxMount::Tmpfs { .. } => Kind::Directory,
        SandboxMount::Bind { source, .. } if source.is_dir() => Kind::Directory,
        SandboxMount::Bind { .. } | SandboxMount::Secret { .. } | SandboxMount::SshAgent { .. } => Kind::File,
    }
}

/// Attaches a detached mount to `target` inside `root`, without device files.
fn place(root: &Path, mount: OwnedFd, target: &Path, kind: Kind, read_only: bool) -> Result<(), SandboxError> {
    let point = open_mount_point(root, target, kind)?;
    let attributes = libc::MOUNT_ATTR_NODEV | if read_only { libc::MOUNT_ATTR_RDONLY } else { 0 };
    sys::add_mount_attributes(mount.as_fd(), attributes, true).map_err(at("restrict the mount on", target))?;
    let both_open = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", &point, "", both_open).map_err(at("mount on", target))
}

/// Attaches a detached mount with more `MOUNT_ATTR_*`.
fn attach(mount: OwnedFd, target: &Path, attributes: u64) -> Result<(), SandboxError> {
    sys::add_mount_attributes(mount.as_fd(), attributes, true).map_err(at("restrict the mount on", target))?;
    rustix::mount::move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH).map_err(at("mount on", target))
}

fn mount_tmpfs(root: &Path, target: &Path, size: Option<u64>, mode: Option<u32>) -> Result<(), SandboxError> {
    let point = open_mount_point(root, target, Kind::Directory)?;
    tmpfs::mount(point.as_fd(), size, mode).map_err(at("mount tmpfs on", target))
}

/// A mount point, made if it is missing inside an earlier mount; those of the root are there, by [`stubs::Stubs`]. In a mount another RUN,
/// which has the same cache, may put links in the place of directories at any time (CVE-2024-23651): so none is followed from here on.
fn open_mount_point(root: &Path, target: &Path, kind: Kind) -> Result<OwnedFd, SandboxError> {
    let device = |file: &OwnedFd| rustix::fs::fstat(file).map(|stat| stat.st_dev).ok();
    let of_the_root = rustix::fs::stat(root).map(|stat| stat.st_dev).ok();
    open_or_make(root, target, kind, |parent| device(parent) == of_the_root)
}

/// What would be made in a directory that is `kept` would stay in the image.
fn open_or_make(root: &Path, target: &Path, kind: Kind, kept: impl Fn(&OwnedFd) -> bool) -> Result<OwnedFd, SandboxError> {
    let inside = below(root, target)?;
    outside_proc(&inside, target)?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let mut point = rustix::fs::open(root, flags, Mode::empty()).map_err(at("open", root))?;
    let mut names = inside.iter().peekable();
    while let Some(name) = names.next() {
        let kind = if names.peek().is_some() { Kind::Directory } else { kind };
        point = match rustix::fs::openat(&point, name, flags, Mode::empty()) {
            Err(Errno::NOENT) if kept(&point) => {
                return Err(SandboxError::MountElsewhere { target: target.to_owned(), place: Path::new("/").join(inside) });
            }
            Err(Errno::NOENT) => create(point.as_fd(), name, kind).and_then(|()| rustix::fs::openat(&point, name, flags, Mode::empty())),
            other => other,
        }
        .map_err(at("create mount point", target))?;
    }
    let is_directory = rustix::fs::fstat(&point).is_ok_and(|stat| FileType::from_raw_mode(stat.st_mode).is_dir());
    if is_directory == (kind == Kind::Directory) { Ok(point) } else { Err(wrong_kind(target, is_directory)) }
}

/// Where a mount goes, which is not the root itself: /proc and /dev, which are brik's, would be found in what covers it.
fn below(root: &Path, target: &Path) -> Result<PathBuf, SandboxError> {
    let inside = rootfs::resolve(root, target)?;
    if inside.as_os_str().is_empty() { Err(SandboxError::MountRoot(target.to_owned())) } else { Ok(inside) }
}

/// /proc is mounted when all else is, over whatever is in its place; nothing in it can be covered, as with runc.
fn outside_proc(inside: &Path, target: &Path) -> Result<(), SandboxError> {
    if inside.starts_with("proc") { Err(SandboxError::MountInProc(target.to_owned())) } else { Ok(()) }
}

/// Makes an empty mount point, with the usual modes whatever the umask is.
fn create(parent: BorrowedFd<'_>, name: &OsStr, kind: Kind) -> rustix::io::Result<()> {
    let open = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (made, mode) = match kind {
        Kind::Directory => {
            rustix::fs::mkdirat(parent, name, Mode::from_raw_mode(0o755))?;
            (rustix::fs::openat(parent, name, open | OFlags::DIRECTORY, Mode::empty())?, 0o755)
        }
        Kind::File => (rustix::fs::openat(parent, name, open | OFlags::CREATE | OFlags::EXCL, Mode::from_raw_mode(0o644))?, 0o644),
    };
    rustix::fs::fchmod(made, Mode::from_raw_mode(mode))
}

fn wrong_kind(target: &Path, is_directory: bool) -> SandboxError {
    let (is, needs) = if is_directory { ("directory", "file") } else { ("file", "directory") };
    SandboxError::MountTarget { target: target.to_owned(), is, needs }
}

/// The path of a mount point where nothing is mounted (rung 3), and caches are one RUN's at a time; made if it is missing in what is
/// `covered`.
pub(super) fn mount_point(root: &Path, target: &Path, kind: Kind, covered: impl Fn(&Path) -> bool) -> Result<PathBuf, SandboxError> {
    let inside = below(root, target)?;
    let path = root.join(&inside);
    let mut missing: Vec<&Path> = path.ancestors().take_while(|path| std::fs::symlink_metadata(path).is_err()).collect();
    if !missing.is_empty() && !covered(&inside) {
        return Err(SandboxError::MountElsewhere { target: target.to_owned(), place: Path::new("/").join(inside) });
    }
    while let Some(next) = missing.pop() {
        let kind = if missing.is_empty() { kind } else { Kind::Directory };
        stubs::create(next, kind).map_err(|source| SandboxError::Mount { action: "create mount point", path: next.to_owned(), source })?;
    }
    if path.is_dir() == (kind == Kind::Directory) { Ok(path) } else { Err(wrong_kind(target, path.is_dir())) }
}

/// sysfs shows the network namespace that it was mounted in, which must belong to the user namespace: where it does not, brik's own
/// /sys is shown. Read-only either way.
fn mount_sys(root: &Path) -> Result<(), SandboxError> {
    let sys = root.join("sys");
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    match rustix::mount::mount("sysfs", &sys, "sysfs", flags, None) {
        Ok(()) => mount_cgroup(&sys.join("fs/cgroup"))?,
        Err(_) => {
            let whole = tree(Path::new("/sys"), true).map_err(at("open", Path::new("/sys")))?;
            attach(whole, &sys, libc::MOUNT_ATTR_RDONLY)?;
        }
    }
    for path in confine::MASKED_IN_SYS {
        let path = root.join(path.to_string_lossy().as_ref());
        let name = CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| SandboxError::NulByte("root"))?;
        confine::mask_directory(&name).map_err(at("cover", &path))?;
    }
    Ok(())
}

/// The unified hierarchy seen from this cgroup, or brik's view of whatever the host has, so that programs find their limits.
fn mount_cgroup(target: &Path) -> Result<(), SandboxError> {
    let host = Path::new("/sys/fs/cgroup");
    let unified = rustix::fs::statfs(host).is_ok_and(|stat| stat.f_type as u64 == libc::CGROUP2_SUPER_MAGIC as u64);
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC | MountFlags::RDONLY;
    if unified && sys::unshare(UnshareFlags::NEWCGROUP).is_ok() && rustix::mount::mount("cgroup2", target, "cgroup2", flags, None).is_ok() {
        return Ok(());
    }
    match tree(host, true) {
        Ok(view) => attach(view, target, libc::MOUNT_ATTR_RDONLY),
        Err(Errno::NOENT) => Ok(()),
        Err(errno) => Err(at("open", host)(errno)),
    }
}

/// A detached copy of what brik itself has put at `path`, with the mounts below it: a link there is somebody else's.
fn own_tree(path: &Path) -> rustix::io::Result<OwnedFd> {
    let nofollow = OpenTreeFlags::AT_RECURSIVE | OpenTreeFlags::AT_SYMLINK_NOFOLLOW;
    rustix::mount::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | nofollow)
}

/// A detached copy of the mount at `path`, with those below it if `recursive`.
fn tree(path: &Path, recursive: bool) -> rustix::io::Result<OwnedFd> {
    let mut flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
    if recursive {
        flags |= OpenTreeFlags::AT_RECURSIVE;
    }
    rustix::mount::open_tree(CWD, path, flags)
}

fn at(action: &'static str, path: &Path) -> impl FnOnce(Errno) -> SandboxError {
    let path = path.to_owned();
    move |errno| SandboxError::Mount { action, path, source: io::Error::from(errno) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::sync::atomic::{AtomicBool, Ordering};

    #[test]
    fn a_link_that_another_run_puts_in_the_way_is_never_followed() {
        let room = tempfile::tempdir().unwrap();
        let (root, outside) = (room.path().join("root"), room.path().join("outside"));
        fs::create_dir_all(root.join("cache/there")).unwrap();
        fs::create_dir_all(&outside).unwrap();
        symlink(&outside, root.join("cache/link")).unwrap();
        let (there, link) = (root.join("cache/there"), root.join("cache/link"));
        let over = AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !over.load(Ordering::Relaxed) {
                    rustix::fs::renameat_with(CWD, &there, CWD, &link, rustix::fs::RenameFlags::EXCHANGE).unwrap();
                }
            });
            let mut opened = 0;
            for number in 0..3000 {
                for kind in [Kind::Directory, Kind::File] {
                    let target = format!("/cache/there/{number}/{kind:?}");
                    opened += usize::from(open_or_make(&root, Path::new(&target), kind, |_| false).is_ok());
                }
            }
            over.store(true, Ordering::Relaxed);
            assert!(opened > 0, "no mount point was made at all");
        });
        assert_eq!(fs::read_dir(&outside).unwrap().count(), 0, "made outside of the root");
    }

    #[test]
    fn a_mount_point_is_made_inside_of_the_root_and_has_the_kind_that_is_needed() {
        let room = tempfile::tempdir().unwrap();
        fs::create_dir_all(room.path().join("a")).unwrap();
        symlink("/a", room.path().join("link")).unwrap();
        fs::write(room.path().join("a/file"), "").unwrap();
        let error = open_mount_point(room.path(), Path::new("/link/b/c"), Kind::File).unwrap_err();
        assert!(matches!(&error, SandboxError::MountElsewhere { place, .. } if place == Path::new("/a/b/c")), "{error}");
        open_or_make(room.path(), Path::new("/link/b/c"), Kind::File, |_| false).unwrap();
        assert!(room.path().join("a/b/c").is_file());
        for (target, kind) in [("/a/file", Kind::Directory), ("/a", Kind::File)] {
            let error = open_mount_point(room.path(), Path::new(target), kind).unwrap_err();
            assert!(matches!(error, SandboxError::MountTarget { .. }), "{target}: {error}");
        }
    }
}
