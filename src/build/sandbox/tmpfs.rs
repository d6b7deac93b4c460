//! tmpfs on which device files are dead, although no `nodev` says so, as BuildKit's RUNs see it.
//!
//! RUN has CAP_MKNOD, and no device cgroup confines it. But the kernel opens no device on a file system of a user namespace
//! (SB_I_NODEV), whoever makes the device there, and nothing takes that back. Below a user namespace every tmpfs is of that kind; for
//! real root a process in a namespace of its own opens the file system, and ends.

use std::fs;
use std::io::{self, IoSlice, IoSliceMut};
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::pause;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MoveMountFlags, fsconfig_create, fsconfig_set_string, fsmount, fsopen};
use rustix::net::{
    AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, ReturnFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
    SocketFlags, SocketType, recvmsg, sendmsg, socketpair,
};
use rustix::process::{Signal, getpid, getppid, pidfd_send_signal, set_parent_process_death_signal};
use rustix::thread::UnshareFlags;

use super::{respawn, sys};

/// The map of the initial user namespace (user_namespaces(7)), and of one that changes no id.
const EVERY_ID: &str = "0 0 4294967295";

/// Mounts it on an opened mount point: `size` in bytes, mode 1777 if none is given. Where no namespace can be had, `nodev` has to do.
pub(super) fn mount(point: BorrowedFd<'_>, size: Option<u64>, mode: Option<u32>) -> rustix::io::Result<()> {
    let flags = MountAttrFlags::MOUNT_ATTR_NOSUID | MountAttrFlags::MOUNT_ATTR_RELATIME;
    let (context, flags) = match deviceless() {
        Ok(context) => (context, flags),
        Err(_) => (open()?, flags | MountAttrFlags::MOUNT_ATTR_NODEV),
    };
    fsconfig_set_string(&context, "source", "tmpfs")?;
    if let Some(mode) = mode {
        fsconfig_set_string(&context, "mode", format!("{:o}", mode & 0o7777))?;
    }
    if let Some(size) = size {
        fsconfig_set_string(&context, "size", size.to_string())?;
    }
    fsconfig_create(&context)?;
    let mount = fsmount(&context, FsMountFlags::FSMOUNT_CLOEXEC, flags)?;
    let both_open = MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH | MoveMountFlags::MOVE_MOUNT_T_EMPTY_PATH;
    rustix::mount::move_mount(&mount, "", point, "", both_open)
}

fn open() -> rustix::io::Result<OwnedFd> {
    fsopen("tmpfs", FsOpenFlags::FSOPEN_CLOEXEC)
}

/// A tmpfs to be made that belongs to a user namespace.
fn deviceless() -> io::Result<OwnedFd> {
    let map = fs::read_to_string("/proc/self/uid_map")?;
    if map.split_ascii_whitespace().ne(EVERY_ID.split(' ')) {
        return Ok(open()?);
    }
    let (ours, theirs) = socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, SocketFlags::CLOEXEC, None)?;
    let parent = getpid();
    let child = sys::fork(UnshareFlags::NEWUSER | UnshareFlags::NEWNS, || {
        let handed_over = set_parent_process_death_signal(Some(Signal::KILL))
            .and_then(|()| fsopen(c"tmpfs", FsOpenFlags::FSOPEN_CLOEXEC))
            .and_then(|context| send(&theirs, std::os::fd::AsFd::as_fd(&context)));
        // The namespace has to last until its ids are mapped.
        while handed_over.is_ok() && getppid() == Some(parent) {
            pause();
        }
        1
    })?;
    drop(theirs);
    let context = receive(&ours).and_then(|context| {
        let process = format!("/proc/{}", child.pid.as_raw_nonzero());
        fs::write(format!("{process}/gid_map"), EVERY_ID)?;
        fs::write(format!("{process}/uid_map"), EVERY_ID)?;
        Ok(context)
    });
    let _ = pidfd_send_signal(&child.pidfd, Signal::KILL);
    respawn::wait(&child).map_err(io::Error::other)?;
    context
}

/// Neither allocates nor panics: see [`sys::fork`].
fn send(socket: &OwnedFd, descriptor: BorrowedFd<'_>) -> rustix::io::Result<()> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = SendAncillaryBuffer::new(&mut space);
    let descriptors = [descriptor];
    message.push(SendAncillaryMessage::ScmRights(&descriptors));
    sendmsg(socket, &[IoSlice::new(b"!")], &mut message, SendFlags::NOSIGNAL).map(drop)
}

fn receive(socket: &OwnedFd) -> io::Result<OwnedFd> {
    let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
    let mut message = RecvAncillaryBuffer::new(&mut space);
    let received = recvmsg(socket, &mut [IoSliceMut::new(&mut [0])], &mut message, RecvFlags::CMSG_CLOEXEC)?;
    let descriptor = message.drain().find_map(|message| match message {
        RecvAncillaryMessage::ScmRights(mut descriptors) => descriptors.next(),
        _ => None,
    });
    descriptor.filter(|_| !received.flags.contains(ReturnFlags::CTRUNC)).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
}
