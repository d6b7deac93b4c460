//! The two processes of a RUN, from fork to exec.
//!
//! The *guard* is pid 1 of a pid namespace of its own and dies with brik (PR_SET_PDEATHSIG); it never changes its identity, so that
//! no set-uid program can shake that off. It forks the *command*, which is pid 1 of a second, nested pid namespace, as under runc: it
//! sees nothing of the guard (a copy of brik's memory), and when either ends, the kernel kills all that is left inside.
//!
//! Without namespaces (rung 3) the guard outlives brik for as long as it takes to kill what it guards, see [`descendants`].
//!
//! Both run between fork and exec of a multi-threaded program: system calls on prepared data, no allocation (see [`sys::fork`]).

use std::ffi::CString;
use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{CWD, Mode};
use rustix::io::Errno;
use rustix::mount::{MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::process::{DumpableBehavior, Signal, WaitId, WaitIdOptions};
use rustix::thread::{CapabilitySet, CapabilitySets, Gid, Uid, UnshareFlags};
use seccompiler::sock_filter;

use super::command::Command;
use super::confine::{self, MASKED_DIRECTORIES, MASKED_FILES, READ_ONLY};
use super::core_dump::forbid_core_dumps;
use super::limits::Limits;
use super::placed_secret::PlacedSecret;
use super::report::{Record, Step};
use super::{descendants, sys};

/// All that the two processes need.
pub(super) struct Plan<'a> {
    pub command: &'a Command,
    /// The root with everything but /proc mounted.
    pub root: CString,
    pub cwd: CString,
    pub uid: Uid,
    pub gid: Gid,
    pub groups: Vec<Gid>,
    /// Only one id is mapped: the identity stays root's.
    pub single_uid: bool,
    pub isolation: Isolation<'a>,
    /// No other RUN of this brik runs meanwhile.
    pub alone: bool,
    pub filters: Vec<&'static [sock_filter]>,
    pub capabilities: CapabilitySet,
    pub limits: Limits,
    /// Of the control group, if there is one.
    pub doors: Vec<BorrowedFd<'a>>,
    pub stdin: BorrowedFd<'a>,
    pub stdout: BorrowedFd<'a>,
    pub stderr: BorrowedFd<'a>,
    pub report: BorrowedFd<'a>,
    /// brik's end of the report, to be closed here.
    pub report_reader: RawFd,
}

/// What keeps the command apart from everything else.
pub(super) enum Isolation<'a> {
    /// `null`: the null device of brik's own /dev.
    Namespaces { null: BorrowedFd<'a> },
    /// Nothing but its root directory. `secrets` are removed by the guard: brik may be gone.
    Chroot { cancel: BorrowedFd<'a>, secrets: Vec<PlacedSecret> },
}

type Failure = (Step, Errno);

/// The guard's life; its exit code means nothing.
pub(super) fn guard(plan: &Plan<'_>) -> i32 {
    match start_command(plan) {
        Ok(child) => {
            match &plan.isolation {
                Isolation::Namespaces { .. } => {
                    close_all_but([plan.report.as_raw_fd()].into_iter());
                    Record::Ended(wait(child.pid)).write(plan.report);
                }
                Isolation::Chroot { cancel, secrets } => {
                    let own = [plan.report.as_raw_fd(), cancel.as_raw_fd(), child.pidfd.as_raw_fd()];
                    close_all_but(own.into_iter().chain(secrets.iter().flat_map(PlacedSecret::descriptors)));
                    let code = descendants::wait(&child.pidfd, *cancel, plan.report).then(|| wait(child.pid));
                    descendants::end_all();
                    secrets.iter().for_each(PlacedSecret::remove);
                    if let Some(code) = code {
                        Record::Ended(code).write(plan.report);
                    }
                }
            }
            // Its descriptor may be closed already.
            std::mem::forget(child);
        }
        Err((step, errno)) => Record::Failed(step, errno).write(plan.report),
    }
    0
}

/// Whoever waits for the end of the command's output must not wait for the guard.
fn close_all_but(kept: impl Iterator<Item = RawFd> + Clone) {
    let mut next = 0;
    while let Some(fd) = kept.clone().map(RawFd::unsigned_abs).filter(|fd| *fd >= next).min() {
        if fd > next {
            let _ = sys::close_range(next, fd - 1);
        }
        next = fd + 1;
    }
    let _ = sys::close_range(next, u32::MAX);
}

fn start_command(plan: &Plan<'_>) -> Result<sys::Child, Failure> {
    // Out of the terminal's reach: Ctrl-C is for brik, which decides.
    rustix::process::setsid().map_err(at(Step::Session))?;
    // For the command, too.
    sys::reset_signals();
    rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable).map_err(at(Step::Guard))?;
    let namespaces = match plan.isolation {
        Isolation::Namespaces { .. } => {
            rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(Step::Guard))?;
            UnshareFlags::NEWPID
        }
        Isolation::Chroot { .. } => {
            rustix::process::set_child_subreaper(Some(rustix::process::getpid())).map_err(at(Step::Guard))?;
            UnshareFlags::empty()
        }
    };
    // If brik died before that call, nobody reads the report any more.
    let reader = plan.report_reader.unsigned_abs();
    sys::close_range(reader, reader).map_err(at(Step::Guard))?;
    let mut fds = [PollFd::new(&plan.report, PollFlags::empty())];
    rustix::event::poll(&mut fds, Some(&Timespec::default())).map_err(at(Step::Guard))?;
    if fds[0].revents().contains(PollFlags::ERR) {
        return Err((Step::Guard, Errno::PIPE));
    }
    for door in &plan.doors {
        // The guard and all below it, from now on.
        rustix::io::write(door, b"0").map_err(at(Step::Limits))?;
    }
    sys::vfork(namespaces, || {
        if let Err((step, errno)) = become_command(plan) {
            Record::Failed(step, errno).write(plan.report);
        }
        127
    })
    .map_err(|error| (Step::Fork, Errno::from_io_error(&error).unwrap_or(Errno::AGAIN)))
}

/// The exit code as a shell has it.
fn wait(pid: rustix::process::Pid) -> i32 {
    loop {
        match rustix::process::waitid(WaitId::Pid(pid), WaitIdOptions::EXITED) {
            Err(Errno::INTR) => {}
            Ok(Some(status)) => match (status.exit_status(), status.terminating_signal()) {
                (Some(code), _) => return code,
                (None, Some(signal)) => return Record::SIGNALLED + signal,
                (None, None) => return 1,
            },
            _ => return 1,
        }
    }
}

/// Returns only if something went wrong.
fn become_command(plan: &Plan<'_>) -> Result<(), Failure> {
    // Before /proc is another one.
    plan.limits.offer_to_the_oom_killer();
    connect(plan).map_err(at(Step::Stdio))?;
    rustix::process::chdir(&plan.root).map_err(at(Step::Root))?;
    let mut sees_others = false;
    match &plan.isolation {
        Isolation::Namespaces { null } => {
            if mount_proc(plan)? {
                plan.limits.limit_process_ids().map_err(at(Step::Limits))?;
            } else {
                sees_others = true;
            }
            confine_proc(*null).map_err(at(Step::ConfineProc))?;
            let null = null.as_raw_fd().unsigned_abs();
            sys::close_range(null, null).map_err(at(Step::Stdio))?;
            // pivot_root(2), "pivot_root(".", ".")": the old root ends up on top of the new one, and is detached there.
            rustix::process::pivot_root(c".", c".").map_err(at(Step::Root))?;
            rustix::mount::unmount(c".", UnmountFlags::DETACH).map_err(at(Step::Root))?;
        }
        Isolation::Chroot { .. } => {
            sees_others = true;
            rustix::process::chroot(c".").map_err(at(Step::Root))?;
        }
    }
    rustix::process::chdir(c"/").map_err(at(Step::Root))?;

    // Without a keyring of its own (no quota left) the command still cannot reach brik's: the filter refuses keyctl.
    let _ = sys::join_new_session_keyring();
    rustix::process::setsid().map_err(at(Step::Session))?;
    rustix::process::umask(Mode::from_raw_mode(0o022));
    forbid_core_dumps().map_err(at(Step::Limits))?;

    let entered = rustix::process::chdir(&plan.cwd);
    confine_privileges(plan, sees_others)?;
    // A directory that only the user may enter, or that only root may.
    if entered.is_err() {
        rustix::process::chdir(&plan.cwd).map_err(at(Step::WorkingDirectory))?;
    }
    // A link of /proc (CVE-2024-21626) leads where no path does.
    sys::check_working_directory().map_err(at(Step::WorkingDirectory))?;
    Err((Step::Exec, exec(plan.command)))
}

/// Standard input and output, and no descriptor besides but the report's, which execve(2) closes, and one that is closed before any name
/// of the root is looked up: whatever leads there to /proc/self/fd would else lead to the host.
fn connect(plan: &Plan<'_>) -> rustix::io::Result<()> {
    rustix::stdio::dup2_stdin(plan.stdin)?;
    rustix::stdio::dup2_stdout(plan.stdout)?;
    rustix::stdio::dup2_stderr(plan.stderr)?;
    let null = match &plan.isolation {
        Isolation::Namespaces { null } => null.as_raw_fd(),
        Isolation::Chroot { .. } => 0,
    };
    close_all_but([0, 1, 2, plan.report.as_raw_fd(), null].into_iter());
    Ok(())
}

/// A fresh /proc for the new pid namespace, and whether it is one; where the kernel refuses it because brik's own is partly covered (mount_too_revealing),
/// brik's own with the same covers.
fn mount_proc(plan: &Plan<'_>) -> Result<bool, Failure> {
    let flags = MountFlags::NOSUID | MountFlags::NOEXEC | MountFlags::NODEV;
    match rustix::mount::mount(c"proc", c"proc", c"proc", flags, None) {
        Err(Errno::PERM) => {
            let tree = OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC | OpenTreeFlags::AT_RECURSIVE;
            let shared = rustix::mount::open_tree(CWD, c"/proc", tree).map_err(at(Step::MountProc))?;
            let moved = rustix::mount::move_mount(&shared, c"", CWD, c"proc", MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH);
            Record::SharedProc.write(plan.report);
            moved.map(|()| false).map_err(at(Step::MountProc))
        }
        other => other.map(|()| true).map_err(at(Step::MountProc)),
    }
}

fn confine_proc(null: BorrowedFd<'_>) -> rustix::io::Result<()> {
    for path in MASKED_FILES {
        confine::mask_file(path, null)?;
    }
    for path in MASKED_DIRECTORIES {
        confine::mask_directory(path)?;
    }
    for path in READ_ONLY {
        confine::make_read_only(path)?;
    }
    Ok(())
}

/// The capabilities, the filters, the user, in the order that needs no `no_new_privs` (set-uid programs work in a RUN, as under
/// BuildKit): a filter is installed while CAP_SYS_ADMIN is there, and a user that is not root loses the rest by execve(2).
/// `sees_others`: only Landlock keeps it from other RUNs (see `apart`), and from whatever else runs in a container.
fn confine_privileges(plan: &Plan<'_>, sees_others: bool) -> Result<(), Failure> {
    let mut kept = plan.capabilities;
    let chroot = matches!(plan.isolation, Isolation::Chroot { .. });
    if chroot {
        // A container may have fewer.
        kept &= rustix::thread::capabilities(None).map_err(at(Step::Capabilities))?.permitted;
    }
    for number in 0..=63 {
        let capability = CapabilitySet::from_bits_retain(1 << number);
        if kept.contains(capability) {
            continue;
        }
        match rustix::thread::remove_capability_from_bounding_set(capability) {
            Ok(()) => {}
            // Above the kernel's last capability.
            Err(Errno::INVAL) => break,
            // Without CAP_SETPCAP the container's bounding set stays.
            Err(Errno::PERM) if chroot => break,
            Err(errno) => return Err((Step::Capabilities, errno)),
        }
    }
    rustix::thread::clear_ambient_capability_set().map_err(at(Step::Capabilities))?;
    plan.limits.limit_processes().map_err(at(Step::Limits))?;
    // Where the kernel does not know that, or a container refuses it, they are what they are under `docker build --network=host`.
    if let Err(errno) = sys::scope_abstract_sockets()
        && sees_others
    {
        let _ = sys::scope_ptrace();
        if !plan.alone {
            return Err((Step::KeepApart, errno));
        }
    }
    for filter in &plan.filters {
        sys::install_seccomp_filter(filter).map_err(at(Step::Filter))?;
    }
    if !plan.single_uid {
        rustix::thread::set_thread_groups(&plan.groups).map_err(at(Step::Identity))?;
        rustix::thread::set_thread_res_gid(plan.gid, plan.gid, plan.gid).map_err(at(Step::Identity))?;
        rustix::thread::set_thread_res_uid(plan.uid, plan.uid, plan.uid).map_err(at(Step::Identity))?;
    }
    if plan.single_uid || plan.uid.is_root() {
        let sets = CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
        rustix::thread::set_capabilities(None, sets).map_err(at(Step::Capabilities))?;
    }
    Ok(())
}

/// execvp(3): the first candidate that is there; one that may not be executed is remembered.
fn exec(command: &Command) -> Errno {
    let mut remembered = Errno::NOENT;
    for candidate in &command.candidates {
        match sys::execve(candidate, &command.argv, &command.env) {
            Errno::NOENT | Errno::NOTDIR if command.candidates.len() > 1 => {}
            Errno::ACCESS => remembered = Errno::ACCESS,
            errno => return errno,
        }
    }
    remembered
}

fn at(step: Step) -> impl Fn(Errno) -> Failure {
    move |errno| (step, errno)
}
