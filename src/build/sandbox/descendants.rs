//! The end of a RUN without a process id namespace: its guard, to which every orphan below it falls (PR_SET_CHILD_SUBREAPER), kills until
//! nobody is left.
//!
//! All of this runs in a forked child and neither allocates nor panics (see [`super::sys::fork`]).

use std::ffi::CStr;
use std::mem::MaybeUninit;
use std::os::fd::{BorrowedFd, OwnedFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode, OFlags, RawDir};
use rustix::io::Errno;
use rustix::process::{Pid, Signal, WaitId, WaitIdOptions};

/// Passes over the processes before those that may not be killed are left to themselves: brik lacks CAP_KILL.
const PASSES: u32 = 2000;

/// Waits until the command ends, `cancel` is raised or brik is gone (nobody reads `report` any more). Whether the command ended.
pub(super) fn wait(command: &OwnedFd, cancel: BorrowedFd<'_>, report: BorrowedFd<'_>) -> bool {
    loop {
        let mut fds = [
            PollFd::new(command, PollFlags::IN),
            PollFd::from_borrowed_fd(cancel, PollFlags::IN),
            PollFd::new(&report, PollFlags::empty()),
        ];
        match rustix::event::poll(&mut fds, None) {
            Err(Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => return !fds[0].revents().is_empty(),
        }
    }
}

/// Kills and reaps all descendants of this process.
pub(super) fn end_all() {
    for _ in 0..PASSES {
        kill_children();
        loop {
            match rustix::process::waitid(WaitId::All, WaitIdOptions::EXITED | WaitIdOptions::NOHANG) {
                Ok(Some(_)) | Err(Errno::INTR) => {}
                Ok(None) => break,
                // ECHILD: whoever was orphaned by the killing has come here, and nobody did.
                Err(_) => return,
            }
        }
        let _ = rustix::thread::nanosleep(&Timespec { tv_sec: 0, tv_nsec: 1_000_000 });
    }
}

fn kill_children() {
    let own = rustix::process::getpid();
    let Ok(proc) = rustix::fs::openat(CWD, c"/proc", OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()) else { return };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&proc, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let Some(pid) = number(entry.file_name().to_bytes()).and_then(Pid::from_raw) else { continue };
        if parent(&proc, entry.file_name()) == Some(own.as_raw_nonzero().get()) {
            let _ = rustix::process::kill_process(pid, Signal::KILL);
        }
    }
}

/// The parent of the process whose directory of /proc is `name` (proc_pid_stat(5): the fourth field; the second, in parentheses, may
/// hold anything).
fn parent(proc: &OwnedFd, name: &CStr) -> Option<i32> {
    let directory = rustix::fs::openat(proc, name, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let stat = rustix::fs::openat(&directory, c"stat", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let mut text = [0; 512];
    let length = rustix::io::read(&stat, &mut text).ok()?;
    let text = text.get(..length)?;
    let after_name = text.get(text.iter().rposition(|&b| b == b')')? + 1..)?;
    number(after_name.split(|&b| b == b' ').filter(|field| !field.is_empty()).nth(1)?)
}

fn number(digits: &[u8]) -> Option<i32> {
    if digits.is_empty() {
        return None;
    }
    digits.iter().try_fold(0i32, |sum, digit| {
        let digit = digit.checked_sub(b'0').filter(|digit| *digit < 10)?;
        sum.checked_mul(10)?.checked_add(i32::from(digit))
    })
}
