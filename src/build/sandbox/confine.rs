//! What a RUN may not do as root, and the paths of /proc and /sys that it may not read or write: Docker's defaults (moby
//! `oci/defaults.go`), relative to the root.
//!
//! These run in a forked child and neither allocate nor panic.

use std::ffi::CStr;
use std::os::fd::{AsFd, BorrowedFd};

use rustix::fs::CWD;
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags};
use rustix::thread::CapabilitySet;

use super::seccomp::CAPABILITIES;
use super::spec::Network;
use super::sys;

/// What is kept of root's capabilities: Docker's, but on a network that leads out, as with buildah, no packets other than its own sockets'.
/// On a private one they would reach the machine's loopback, which slirp4netns keeps away from the routes of the kernel only.
pub(super) fn capabilities(network: Network) -> CapabilitySet {
    let all = CAPABILITIES.iter().fold(CapabilitySet::empty(), |set, (_, number)| set | CapabilitySet::from_bits_retain(1 << number));
    match network {
        Network::Host | Network::Private => all - CapabilitySet::NET_RAW,
        Network::None => all,
    }
}

pub(super) const MASKED_FILES: [&CStr; 7] =
    [c"proc/interrupts", c"proc/kcore", c"proc/keys", c"proc/latency_stats", c"proc/timer_list", c"proc/timer_stats", c"proc/sched_debug"];
pub(super) const MASKED_DIRECTORIES: [&CStr; 3] = [c"proc/acpi", c"proc/asound", c"proc/scsi"];
pub(super) const MASKED_IN_SYS: [&CStr; 2] = [c"sys/firmware", c"sys/devices/virtual/powercap"];
pub(super) const READ_ONLY: [&CStr; 5] = [c"proc/bus", c"proc/fs", c"proc/irq", c"proc/sys", c"proc/sysrq-trigger"];

/// Covers a file with a null device, given as an open mount: the name /dev/null is that of whatever the RUN mounts there.
pub(super) fn mask_file(path: &CStr, null: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_EMPTY_PATH;
    let cover = rustix::mount::open_tree(null, c"", flags)?;
    sys::add_mount_attributes(cover.as_fd(), libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NOEXEC, false)?;
    if_there(rustix::mount::move_mount(&cover, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH))
}

/// Covers a directory with an empty one.
pub(super) fn mask_directory(path: &CStr) -> rustix::io::Result<()> {
    if_there(rustix::mount::mount(c"tmpfs", path, c"tmpfs", MountFlags::RDONLY, c"size=0"))
}

/// Covers a path with a read-only view of itself.
pub(super) fn make_read_only(path: &CStr) -> rustix::io::Result<()> {
    let flags = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
    let tree = match rustix::mount::open_tree(CWD, path, flags) {
        Err(Errno::NOENT) => return Ok(()),
        other => other?,
    };
    let attributes = libc::MOUNT_ATTR_RDONLY | libc::MOUNT_ATTR_NOSUID | libc::MOUNT_ATTR_NODEV | libc::MOUNT_ATTR_NOEXEC;
    sys::add_mount_attributes(tree.as_fd(), attributes, true)?;
    rustix::mount::move_mount(&tree, c"", CWD, path, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// What this kernel does not have needs no cover.
fn if_there(result: rustix::io::Result<()>) -> rustix::io::Result<()> {
    match result {
        Err(Errno::NOENT | Errno::NOTDIR) => Ok(()),
        other => other,
    }
}
