//! /dev of a RUN: private, with the devices that runc gives, taken from the host since a user namespace may not make its own.

use std::ffi::CString;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::Path;

use rustix::io::Errno;
use rustix::mount::MountFlags;

use super::error::SandboxError;
use super::stubs::{self, Kind};

const DEVICES: [&str; 6] = ["null", "zero", "full", "random", "urandom", "tty"];
const LINKS: [(&str, &str); 6] = [
    ("ptmx", "pts/ptmx"),
    ("fd", "/proc/self/fd"),
    ("stdin", "/proc/self/fd/0"),
    ("stdout", "/proc/self/fd/1"),
    ("stderr", "/proc/self/fd/2"),
    ("core", "/proc/kcore"),
];

/// Mounts it on `dev`; /dev/shm holds up to `shm_size` bytes.
pub(super) fn mount(dev: &Path, shm_size: u64) -> Result<(), SandboxError> {
    let failed = |action: &'static str, name: &str| {
        let path = dev.join(name);
        move |source: io::Error| SandboxError::Mount { action, path, source }
    };
    let file_system = |name: &str, kind: &'static str, flags: MountFlags, options: &str| -> rustix::io::Result<()> {
        let options = CString::new(options).map_err(|_| Errno::INVAL)?;
        rustix::mount::mount(kind, dev.join(name), kind, flags, options.as_c_str())
    };
    let closed = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;

    // The devices are mounts of their own: `nodev` concerns what a RUN would make here.
    file_system("", "tmpfs", closed | MountFlags::STRICTATIME, "mode=755,size=65536k")
        .map_err(|errno| failed("mount tmpfs on", "")(errno.into()))?;
    for name in DEVICES {
        let (device, host) = (dev.join(name), Path::new("/dev").join(name));
        if !host.exists() {
            continue;
        }
        stubs::create(&device, Kind::File).map_err(failed("create", name))?;
        rustix::mount::mount_bind(host, device).map_err(|errno| failed("bind the host's device on", name)(errno.into()))?;
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
    file_system("shm", "tmpfs", closed, &format!("mode=1777,size={shm_size}"))
        .map_err(|errno| failed("mount tmpfs on", "shm")(errno.into()))?;
    match file_system("mqueue", "mqueue", closed, "") {
        // A kernel without POSIX message queues.
        Err(Errno::NODEV) => Ok(()),
        other => other.map_err(|errno| failed("mount mqueue on", "mqueue")(errno.into())),
    }
}
