//! This program as a RUN may find it (`/proc/<pid>/exe`): on a mount that nobody can write through. What keeps a file that is executed from
//! being written to ends with the last process that executes it, and a RUN could wait for that (CVE-2019-5736).

use std::ffi::{CStr, CString};
use std::fs::{self, File};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::MetadataExt;

use rustix::fs::CWD;
use rustix::io::{DupFlags, dup3};
use rustix::mount::{OpenTreeFlags, open_tree};

use super::sys;

pub(super) struct Program {
    path: CString,
    /// Closed when the program is executed. `door` leads through it.
    place: OwnedFd,
    door: CString,
}

impl Program {
    /// `None` where its path leads elsewhere by now.
    pub fn find() -> Option<Self> {
        let path = fs::read_link("/proc/self/exe").ok()?;
        let (running, found) = (fs::metadata("/proc/self/exe").ok()?, fs::metadata(&path).ok()?);
        let place = OwnedFd::from(File::open("/dev/null").ok()?);
        let door = CString::new(format!("/proc/self/fd/{}", place.as_raw_fd())).ok()?;
        let path = CString::new(path.into_os_string().into_vec()).ok()?;
        ((running.dev(), running.ino()) == (found.dev(), found.ino())).then_some(Self { path, place, door })
    }

    /// The path to execute, in a mount namespace of one's own.
    ///
    /// For a forked child: it neither allocates nor panics.
    pub fn read_only(&mut self) -> rustix::io::Result<&CStr> {
        let tree = open_tree(CWD, &self.path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
        sys::add_mount_attributes(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
        dup3(&tree, &mut self.place, DupFlags::CLOEXEC)?;
        Ok(&self.door)
    }
}
