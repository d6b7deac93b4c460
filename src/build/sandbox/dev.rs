//! /dev of a RUN: private, with the devices that runc gives. Root makes nodes of its own, so that a `chmod` in a RUN never reaches the
//! host's; a user namespace may not make any and is given the host's, whose owner it cannot act for.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

use rustix::fs::{CWD, FileType, Mode, OFlags, makedev};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};

use super::error::SandboxError;
use super::stubs::{self, Kind};

/// Name, major, minor (Linux `Documentation/admin-guide/devices.txt`).
const DEVICES: [(&str, u32, u32); 6] = [("null", 1, 3), ("zero", 1, 5), ("full", 1, 7), ("random", 1, 8), ("urandom", 1, 9), ("tty", 5, 0)];
const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Mounts it on `dev`; /dev/shm holds up to `shm_size` bytes, and is left to the RUN's own mounts without any.
pub(super) fn mount(dev: &Path, shm_size: Option<u64>) -> Result<(), SandboxError> {
    let failed = |action: &'static str, name: &str| {
        let path = dev.join(name);
        move |source: io::Error| SandboxError::Mount { action, path, source }
    };
    let file_system = |name: &str, kind: &'static str, flags: MountFlags, options: &str| -> rustix::io::Result<()> {
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        // What mount(8) shows before "on": the kind, but for /dev/shm, as under runc.
        let source = if name == "shm" { name } else { kind };
        rustix::mount::mount(source, dev.join(name), kind, flags, options.as_c_str())
    };
    let closed = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;

    let devices = devices(dev)?;
    // The devices are mounts of their own: `nodev` concerns what a RUN would make here.
    file_system("", "tmpfs", closed | MountFlags::STRICTATIME, "mode=755,size=65536k")
        .map_err(|errno| failed("mount tmpfs on", "")(errno.into()))?;
    for (name, device) in devices {
        let target = dev.join(name);
        stubs::create(&target, Kind::File).map_err(failed("create", name))?;
        rustix::mount::move_mount(device, "", CWD, &target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
            .map_err(|errno| failed("mount the device", name)(errno.into()))?;
    }
    let there = |target: &str| target != "/proc/kcore" || Path::new(target).exists();
    for (name, target) in LINKS.into_iter().filter(|(_, target)| there(target)) {
        symlink(target, dev.join(name)).map_err(failed("link", name))?;
    }
    for name in ["pts", "shm", "mqueue"] {
        fs::create_dir(dev.join(name)).map_err(failed("create", name))?;
    }
    // Group 5 is tty; with a single mapped id there is none.
    let terminals = MountFlags::NOSUID | MountFlags::NOEXEC;
    file_system("pts", "devpts", terminals, "newinstance,ptmxmode=0666,mode=0620,gid=5")
        .or_else(|_| file_system("pts", "devpts", terminals, "newinstance,ptmxmode=0666,mode=0620"))
        .map_err(|errno| failed("mount devpts on", "pts")(errno.into()))?;
    if let Some(size) = shm_size {
        file_system("shm", "tmpfs", closed, &format!("mode=1777,size={size}"))
            .map_err(|errno| failed("mount tmpfs on", "shm")(errno.into()))?;
    }
    match file_system("mqueue", "mqueue", closed, "") {
        // A kernel without POSIX message queues.
        Err(Errno::NODEV) => Ok(()),
        other => other.map_err(|errno| failed("mount mqueue on", "mqueue")(errno.into())),
    }
}

/// What a RUN is connected to by a /dev that is filled: pipes with names, by which others can open their writing ends, too.
pub(super) struct Streams {
    pub null: OwnedFd,
    pub stdout: (OwnedFd, OwnedFd),
    pub stderr: (OwnedFd, OwnedFd),
}

/// Fills an ordinary directory (rung 3). Without /proc, `stdin` can only be what nearly every RUN has there.
pub(super) fn fill(dev: &Path) -> Result<Streams, SandboxError> {
    let failed = |name: &str| {
        let path = dev.join(name);
        move |source: io::Error| SandboxError::Mount { action: "create", path, source }
    };
    for (name, major, minor) in DEVICES {
        let node = dev.join(name);
        let made = rustix::fs::mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor));
        made.and_then(|()| rustix::fs::chmod(&node, Mode::from_raw_mode(0o666))).map_err(SandboxError::Devices)?;
    }
    // Where the file system is mounted with `nodev`. A regular file in this place would make wrong images without a word.
    let null =
        fs::File::open(dev.join("null")).map_err(|error| SandboxError::Devices(Errno::from_io_error(&error).unwrap_or(Errno::IO)))?;
    symlink("null", dev.join("stdin")).map_err(failed("stdin"))?;
    for (name, mode) in [("pts", 0o755), ("shm", 0o1777), ("mqueue", 0o1777)] {
        let path = dev.join(name);
        fs::create_dir(&path).and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(mode))).map_err(failed(name))?;
    }
    let pipe = |name| pipe(&dev.join(name)).map_err(failed(name));
    Ok(Streams { null: null.into(), stdout: pipe("stdout")?, stderr: pipe("stderr")? })
}

/// A pipe with a name.
fn pipe(path: &Path) -> io::Result<(OwnedFd, OwnedFd)> {
    let mode = Mode::from_raw_mode(0o600);
    rustix::fs::mknodat(CWD, path, FileType::Fifo, mode, 0)?;
    // So that opening it waits for nobody; reading from it shall (fifo(7)).
    let reader = rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?;
    let writer = rustix::fs::open(path, OFlags::WRONLY | OFlags::CLOEXEC, Mode::empty())?;
    rustix::fs::fcntl_setfl(&reader, OFlags::empty())?;
    Ok((reader, writer))
}

/// The devices as detached mounts: nodes on a tmpfs that nothing else reaches, or the host's where nodes cannot be made.
fn devices(dev: &Path) -> Result<Vec<(&'static str, OwnedFd)>, SandboxError> {
    let failed = |action: &'static str, path: &Path| {
        let path = path.to_owned();
        move |errno: Errno| SandboxError::Mount { action, path, source: errno.into() }
    };
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC;
    rustix::mount::mount("tmpfs", dev, "tmpfs", flags, c"mode=755,size=64k").map_err(failed("mount tmpfs on", dev))?;
    let mut devices = Vec::new();
    for (name, major, minor) in DEVICES {
        let (node, host) = (dev.join(name), Path::new("/dev").join(name));
        let made = rustix::fs::mknodat(CWD, &node, FileType::CharacterDevice, Mode::from_raw_mode(0o666), makedev(major, minor));
        let made = made.and_then(|()| rustix::fs::chmod(&node, Mode::from_raw_mode(0o666)));
        // In a user namespace the node is refused, or made and of no use: `nodev` is forced on its mounts.
        // (/dev/tty answers ENXIO to a process without a terminal.)
        let opened = fs::File::open(&node).map_or_else(|error| error.raw_os_error() == Some(Errno::NXIO.raw_os_error()), |_| true);
        let usable = made.is_ok() && opened;
        let source = if usable { node } else { host };
        if !source.exists() {
            continue;
        }
        let open = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC;
        devices.push((name, rustix::mount::open_tree(CWD, &source, open).map_err(failed("open the device", &source))?));
    }
    rustix::mount::unmount(dev, UnmountFlags::DETACH).map_err(failed("unmount", dev))?;
    Ok(devices)
}
