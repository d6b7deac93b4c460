//! Every `unsafe` block and raw system call of the project: what rustix has no safe form for. Nothing here decides anything.

use std::ffi::{CStr, CString, c_char, c_int, c_long, c_uint, c_void};
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsRawFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::ptr;
use std::sync::atomic::{AtomicI32, Ordering};

use rustix::fs::{Mode, OFlags};
use rustix::io::Errno;
use rustix::process::{Pid, Signal};
use rustix::thread::UnshareFlags;
use seccompiler::sock_filter;

/// A child process that was made by [`fork`] or [`vfork`] and has not been reaped.
#[derive(Debug)]
pub(super) struct Child {
    pub pid: Pid,
    pub pidfd: OwnedFd,
}

/// Whoever unwinds in a child would go on as a second brik.
struct ExitOnUnwind;

impl Drop for ExitOnUnwind {
    fn drop(&mut self) {
        exit(70);
    }
}

/// Makes ended children wait for being reaped: an ignored SIGCHLD, which execve(2) passes on, would reap them before anybody asks.
pub fn keep_ended_children() {
    // SAFETY: SIG_DFL is no handler that could be called.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_DFL) };
}

/// Forks into the given new namespaces (`CLONE_NEW*`). The child runs `body` and exits with its value.
///
/// Contract: the process may have other threads, whose locks (the allocator's too) stay taken for ever in the child. `body` must
/// therefore only make system calls on data prepared before, and neither allocate nor panic; a panic ends the child.
pub(super) fn fork(namespaces: UnshareFlags, body: impl FnOnce() -> i32) -> io::Result<Child> {
    let flags = c_long::from(namespaces.bits()) | c_long::from(libc::CLONE_PIDFD) | c_long::from(libc::SIGCHLD);
    let mut pidfd: c_int = -1;
    // SAFETY: without CLONE_VM and with no stack this is fork(2): the child continues on its own copy of this stack. The kernel
    // writes a file descriptor to `pidfd`, which outlives the call. The last two arguments are zero on every architecture.
    let pid = unsafe { libc::syscall(libc::SYS_clone, flags, 0usize, &raw mut pidfd, 0usize, 0usize) };
    match pid {
        0 => {
            let _guard = ExitOnUnwind;
            exit(body())
        }
        // SAFETY: the kernel wrote `pidfd`.
        pid => unsafe { made(i32::try_from(pid).unwrap_or(-1), pidfd) },
    }
}

/// [`fork`] as vfork(2) does it, for a process without other threads: the child borrows the memory instead of getting a copy, which is most
/// of a fork's cost, and this process stands still until the child executes a program or ends. `body` keeps to the contract of `fork`.
pub(super) fn vfork<F: FnOnce() -> i32>(namespaces: UnshareFlags, body: F) -> io::Result<Child> {
    extern "C" fn start<F: FnOnce() -> i32>(body: *mut c_void) -> c_int {
        let _guard = ExitOnUnwind;
        // SAFETY: this is the `body` of `vfork`, which does not move or touch it while it stands still.
        let body = unsafe { (*body.cast::<Option<F>>()).take() };
        exit(body.map_or(70, |body| body()))
    }

    const STACK: usize = 64 << 10;
    #[repr(align(16))]
    struct Stack([MaybeUninit<u8>; STACK]);

    let flags = namespaces.bits().cast_signed() | libc::CLONE_VM | libc::CLONE_VFORK | libc::CLONE_PIDFD | libc::SIGCHLD;
    let mut pidfd: c_int = -1;
    let mut body = Some(body);
    let mut stack = Stack([MaybeUninit::uninit(); STACK]);
    // SAFETY: clone(2) gets the end of a stack of the child's own, which nobody uses but the child. That, `body` and `pidfd` outlive the
    // call, which returns only when the child has left this memory: `start` never returns.
    let pid = unsafe {
        let top = stack.0.as_mut_ptr_range().end.cast::<c_void>();
        libc::clone(start::<F>, top, flags, (&raw mut body).cast(), &raw mut pidfd)
    };
    // SAFETY: the kernel wrote `pidfd`.
    unsafe { made(pid, pidfd) }
}

/// What clone(2) with CLONE_PIDFD has answered.
///
/// # Safety
/// If `pid` is one, `pidfd` is a new descriptor that nobody else owns.
unsafe fn made(pid: i32, pidfd: c_int) -> io::Result<Child> {
    match Some(pid).filter(|pid| *pid > 0).and_then(Pid::from_raw) {
        // SAFETY: by contract.
        Some(pid) => Ok(Child { pid, pidfd: unsafe { OwnedFd::from_raw_fd(pidfd) } }),
        None => Err(io::Error::last_os_error()),
    }
}

/// Ends the process at once, without destructors or exit handlers.
pub(super) fn exit(code: i32) -> ! {
    // SAFETY: _exit(2) has no precondition and does not return.
    unsafe { libc::_exit(code) }
}

/// Strings as execve(2) takes them: made before a fork, used after it.
#[derive(Debug)]
pub(super) struct ExecStrings {
    pointers: Vec<*const c_char>,
    _owner: Vec<CString>,
}

// SAFETY: the pointers point into the heap buffers of `_owner`, which moves with them and is never changed.
unsafe impl Send for ExecStrings {}
// SAFETY: as above; shared access only reads.
unsafe impl Sync for ExecStrings {}

impl ExecStrings {
    pub fn new(strings: Vec<CString>) -> Self {
        let pointers = strings.iter().map(|string| string.as_ptr()).chain([ptr::null()]).collect();
        Self { pointers, _owner: strings }
    }
}

/// Makes the program that `command` starts end (SIGTERM) when the calling thread does, however brik ends. Only for a thread that waits
/// for the program: the kernel watches the thread, not the process (PR_SET_PDEATHSIG(2const)).
pub fn ends_with_us(command: &mut Command) -> &mut Command {
    let brik = rustix::process::getpid();
    let watch = move || {
        rustix::process::set_parent_process_death_signal(Some(Signal::TERM))?;
        // Who ended before that line is not told of.
        if rustix::process::getppid() == Some(brik) { Ok(()) } else { Err(io::ErrorKind::Interrupted.into()) }
    };
    // SAFETY: between fork and exec, system calls only; nothing is allocated and no lock is taken.
    unsafe { command.pre_exec(watch) }
}

/// execve(2): returns only if it failed.
pub(super) fn execve(path: &CStr, argv: &ExecStrings, envp: &ExecStrings) -> Errno {
    // SAFETY: the path is NUL-terminated and both arrays are null-terminated arrays of NUL-terminated strings.
    unsafe { libc::execve(path.as_ptr(), argv.pointers.as_ptr(), envp.pointers.as_ptr()) };
    last_errno()
}

/// unshare(2) for the calling thread.
pub(super) fn unshare(flags: UnshareFlags) -> rustix::io::Result<()> {
    debug_assert!(!flags.contains(UnshareFlags::FILES));
    // SAFETY: only CLONE_FILES endangers descriptors that other threads use, and no caller passes it.
    unsafe { rustix::thread::unshare_unsafe(flags) }
}

/// mount_setattr(2): adds `MOUNT_ATTR_*` to the mount that `mount` stands for, and to those below if `recursive`.
pub(super) fn add_mount_attributes(mount: BorrowedFd<'_>, attributes: u64, recursive: bool) -> rustix::io::Result<()> {
    let attributes = libc::mount_attr { attr_set: attributes, attr_clr: 0, propagation: 0, userns_fd: 0 };
    let flags = libc::AT_EMPTY_PATH | if recursive { libc::AT_RECURSIVE } else { 0 };
    // SAFETY: the path is an empty string, the structure is of the size that is passed, and both outlive the call.
    check(unsafe {
        libc::syscall(libc::SYS_mount_setattr, mount.as_raw_fd(), c"".as_ptr(), flags, &raw const attributes, size_of::<libc::mount_attr>())
    })
}

/// Installs a seccomp filter on the calling thread; without `no_new_privs` this needs CAP_SYS_ADMIN in the user namespace.
pub(super) fn install_seccomp_filter(program: &[sock_filter]) -> rustix::io::Result<()> {
    #[repr(C)]
    struct Program {
        len: u16,
        filter: *const sock_filter,
    }
    let Ok(len) = u16::try_from(program.len()) else { return Err(Errno::INVAL) };
    let program = Program { len, filter: program.as_ptr() };
    // SAFETY: `Program` has the layout of struct sock_fprog and describes a live slice; the kernel copies it.
    check(unsafe { libc::syscall(libc::SYS_seccomp, libc::SECCOMP_SET_MODE_FILTER, 0usize, &raw const program) })
}

/// The version of Landlock, where the kernel has it and lets this process use it.
pub(super) fn landlock_version() -> Option<i32> {
    const LANDLOCK_CREATE_RULESET_VERSION: c_int = 1;
    // SAFETY: no memory is passed.
    let version =
        unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, ptr::null::<c_void>(), 0usize, LANDLOCK_CREATE_RULESET_VERSION) };
    i32::try_from(version).ok().filter(|version| *version > 0)
}

/// Keeps the calling thread, and what it will execute, from abstract sockets of other processes, which a shared network namespace
/// leaves open, and from the memory and files of processes that are no descendants of it (Landlock's scopes, Linux 6.12); without `no_new_privs` this needs CAP_SYS_ADMIN.
pub(super) fn scope_abstract_sockets() -> rustix::io::Result<()> {
    /// struct landlock_ruleset_attr of linux/landlock.h.
    #[repr(C)]
    struct Ruleset {
        handled_access_fs: u64,
        handled_access_net: u64,
        scoped: u64,
    }
    const ABSTRACT_UNIX_SOCKET: u64 = 1;
    let rules = Ruleset { handled_access_fs: 0, handled_access_net: 0, scoped: ABSTRACT_UNIX_SOCKET };
    // SAFETY: the structure is of the size that is passed and outlives the call.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const rules, size_of::<Ruleset>(), 0) };
    restrict_self(&own_ruleset(ruleset)?)
}

/// The same for memory, files and environments alone, from Linux 5.19 on: ptrace(2) leads out of no domain, whatever that restricts. This one
/// restricts links and renames between directories, and allows them below the root directory.
pub(super) fn scope_ptrace() -> rustix::io::Result<()> {
    const REFER: u64 = 1 << 13;
    const PATH_BENEATH: c_int = 1;
    /// struct landlock_path_beneath_attr of linux/landlock.h.
    #[repr(C, packed)]
    struct PathBeneath {
        allowed_access: u64,
        parent_fd: c_int,
    }
    let handled_access_fs: u64 = REFER;
    // SAFETY: that alone is the first version of the structure; it outlives the call.
    let ruleset = unsafe { libc::syscall(libc::SYS_landlock_create_ruleset, &raw const handled_access_fs, size_of::<u64>(), 0) };
    let ruleset = own_ruleset(ruleset)?;
    let root = rustix::fs::open(c"/", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
    let rule = PathBeneath { allowed_access: REFER, parent_fd: root.as_raw_fd() };
    // SAFETY: the structure is the one of this kind of rule, and outlives the call.
    check(unsafe { libc::syscall(libc::SYS_landlock_add_rule, ruleset.as_raw_fd(), PATH_BENEATH, &raw const rule, 0) })?;
    restrict_self(&ruleset)
}

fn own_ruleset(created: libc::c_long) -> rustix::io::Result<OwnedFd> {
    check(created)?;
    let Ok(ruleset) = c_int::try_from(created) else { return Err(Errno::BADF) };
    // SAFETY: by its only callers, a new descriptor that nobody else owns.
    Ok(unsafe { OwnedFd::from_raw_fd(ruleset) })
}

fn restrict_self(ruleset: &OwnedFd) -> rustix::io::Result<()> {
    // SAFETY: no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_landlock_restrict_self, ruleset.as_raw_fd(), 0) })
}

/// Gives the calling process a new, empty session keyring, as runc does: kernel keys are not namespaced.
pub(super) fn join_new_session_keyring() -> rustix::io::Result<()> {
    const KEYCTL_JOIN_SESSION_KEYRING: c_int = 1;
    // SAFETY: a null name asks for an anonymous keyring; no memory is passed.
    check(unsafe { libc::syscall(libc::SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, ptr::null::<c_char>()) })
}

/// Refuses (ENOENT) a working directory that no path from the root directory leads to: getcwd(2) then answers with "(unreachable)".
pub(super) fn check_working_directory() -> rustix::io::Result<()> {
    let mut path = [0u8; libc::PATH_MAX as usize];
    // SAFETY: the kernel writes at most as many bytes as it is told, to an array that outlives the call.
    check(unsafe { libc::syscall(libc::SYS_getcwd, path.as_mut_ptr(), path.len()) })?;
    if path[0] == b'/' { Ok(()) } else { Err(Errno::NOENT) }
}

/// Closes the descriptors `first..=last`. Only where nothing owns them any more (in a forked child that never returns to the code which
/// does) or ever did (inherited from the program before).
pub(super) fn close_range(first: c_uint, last: c_uint) -> rustix::io::Result<()> {
    // SAFETY: by contract no code that runs in this process owns these descriptors.
    check(unsafe { libc::syscall(libc::SYS_close_range, first, last, 0) })
}

/// Whether execve(2) closes a descriptor from now on; whether it did.
pub(super) fn set_close_on_exec(descriptor: c_int, close: bool) -> io::Result<bool> {
    // SAFETY: fcntl(2) with these commands takes no memory, and a number that is none answers EBADF.
    let flags = unsafe { libc::fcntl(descriptor, libc::F_GETFD) };
    let new = if close { flags | libc::FD_CLOEXEC } else { flags & !libc::FD_CLOEXEC };
    // SAFETY: as above.
    if flags < 0 || unsafe { libc::fcntl(descriptor, libc::F_SETFD, new) } < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(flags & libc::FD_CLOEXEC != 0)
}

/// Default dispositions and an empty mask, as a fresh process has (Rust ignores SIGPIPE, and so would its children).
pub(super) fn reset_signals() {
    for signal in 1..=64 {
        // SAFETY: SIG_DFL is a valid disposition; the signals that cannot be changed answer EINVAL.
        unsafe { libc::signal(signal, libc::SIG_DFL) };
    }
    // SAFETY: all-zero is a valid sigset_t that sigemptyset then fills in; both pointers are live.
    unsafe {
        let mut none: libc::sigset_t = std::mem::zeroed();
        libc::sigemptyset(&raw mut none);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const none, ptr::null_mut());
    }
}

/// Brings the loopback interface of the calling thread's network namespace up.
pub(super) fn bring_loopback_up() -> io::Result<()> {
    // SAFETY: socket(2) takes no memory; the result is checked before it is owned.
    let socket = unsafe { libc::socket(libc::AF_INET, libc::SOCK_DGRAM | libc::SOCK_CLOEXEC, 0) };
    if socket < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: a new descriptor that nobody else owns.
    let socket = unsafe { OwnedFd::from_raw_fd(socket) };
    // SAFETY: all-zero is a valid ifreq; the name is shorter than its field; the ioctl reads the flags that are set here.
    let result = unsafe {
        let mut request: libc::ifreq = std::mem::zeroed();
        for (to, from) in request.ifr_name.iter_mut().zip(b"lo") {
            *to = c_char::from_ne_bytes([*from]);
        }
        request.ifr_ifru.ifru_flags = (libc::IFF_UP | libc::IFF_RUNNING) as _;
        libc::ioctl(socket.as_raw_fd(), libc::SIOCSIFFLAGS as _, &raw const request)
    };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(()) }
}

static SIGNAL_TARGET: AtomicI32 = AtomicI32::new(0);

/// From now on SIGINT, SIGTERM and SIGHUP that a process sends to this one go on to `target`; those that the terminal sends
/// have already reached the whole group, and are ignored. `None` ends the forwarding, and must come before the target is reaped.
pub(super) fn forward_signals_to(target: Option<Pid>) {
    extern "C" fn forward(signal: c_int, info: *mut libc::siginfo_t, _: *mut libc::c_void) {
        let target = SIGNAL_TARGET.load(Ordering::SeqCst);
        // SAFETY: the kernel passes a valid siginfo to an SA_SIGINFO handler; kill(2) is async-signal-safe.
        unsafe {
            if target > 0 && (*info).si_code != libc::SI_KERNEL {
                libc::kill(target, signal);
            }
        }
    }

    SIGNAL_TARGET.store(target.map_or(0, |pid| pid.as_raw_nonzero().get()), Ordering::SeqCst);
    if target.is_some() {
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP] {
            // SAFETY: the handler only touches an atomic and calls kill(2); all-zero is a valid sigaction that is then filled in.
            unsafe {
                let mut action: libc::sigaction = std::mem::zeroed();
                action.sa_sigaction = forward as *const () as usize;
                action.sa_flags = libc::SA_SIGINFO | libc::SA_RESTART;
                libc::sigaction(signal, &raw const action, ptr::null_mut());
            }
        }
    }
}

/// Removes a variable from this process's environment.
pub(super) fn remove_from_environment(name: &str) {
    // SAFETY: called once at the program's start; Rust's own readers are behind std's lock, and no C code reads the environment yet.
    unsafe { std::env::remove_var(name) };
}

fn check(result: c_long) -> rustix::io::Result<()> {
    if result < 0 { Err(last_errno()) } else { Ok(()) }
}

fn last_errno() -> Errno {
    Errno::from_raw_os_error(io::Error::last_os_error().raw_os_error().unwrap_or(libc::EIO))
}
