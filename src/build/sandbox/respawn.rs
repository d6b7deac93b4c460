//! Entering the namespaces: one respawn a brik process, and only if a Step has to run. Where they are refused, root stays where it is.
//!
//! The outer process starts its own program again in a new mount namespace (and user namespace, unless it is root), waits for it and
//! hands on its exit code. The inner one is an ordinary multi-threaded process that may mount overlays and change owners.

use std::ffi::{CString, OsString};
use std::fs::File;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::sync::OnceLock;

use rustix::fs::{MemfdFlags, SealFlags};
use rustix::io::{Errno, FdFlags};
use rustix::mount::MountPropagationFlags;
use rustix::pipe::PipeFlags;
use rustix::process::{DumpableBehavior, Pid, Signal, WaitId, WaitIdOptions};
use rustix::thread::{CapabilitySet, Gid, Uid, UnshareFlags};

use super::error::SandboxError;
use super::program::Program;
use super::refusal::Refusal;
use super::rung::Rung;
use super::sys::{self, ExecStrings};
use super::{idmap, inherited, refusal};

/// The number of an inherited descriptor: a line that says where the inner process is, and then what the outer one hands over. It lies
/// in memory and is sealed, for what is handed over can hold what must not reach a disk.
const MARKER: &str = "BRIK_SANDBOX";
const MARKER_FILE: &str = "brik-sandbox";

/// Where this process is: `None` is outside. The first call, which belongs at the program's start, takes the marker out of the
/// environment. A variable of that name that a user has set means nothing without the descriptor and the right parent.
pub fn inside() -> Option<Rung> {
    marked().map(|(rung, _)| *rung)
}

/// What the outer process gave to [`enter`]; nothing outside.
pub fn handed_over() -> &'static [u8] {
    marked().map_or(&[], |(_, handed_over)| handed_over)
}

fn marked() -> Option<&'static (Rung, Vec<u8>)> {
    static MARKED: OnceLock<Option<(Rung, Vec<u8>)>> = OnceLock::new();
    let read = || {
        let marker = std::env::var(MARKER).ok()?;
        sys::remove_from_environment(MARKER);
        let number = u32::from(marker.parse::<u16>().ok()?);
        let path = format!("/proc/self/fd/{number}");
        if !std::fs::read_link(&path).ok()?.to_str()?.starts_with(&format!("/memfd:{MARKER_FILE}")) {
            return None;
        }
        let mut content = BufReader::new(File::open(path).ok()?);
        let mut place = String::new();
        content.read_line(&mut place).ok()?;
        let (rung, parent) = place.trim_end().split_once(' ')?;
        let rung = Rung::from_name(rung).filter(|_| rustix::process::getppid() == parent.parse().ok().and_then(Pid::from_raw))?;
        let mut handed_over = Vec::new();
        content.read_to_end(&mut handed_over).ok()?;
        // No process that this one starts has any business with it.
        sys::close_range(number, number).ok()?;
        // It is named after the path that it was executed by: a descriptor's number.
        let _ = rustix::thread::set_name(c"brik");
        Some((rung, handed_over))
    };
    MARKED.get_or_init(read).as_ref()
}

/// What [`enter`] came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Entry {
    /// A copy of this process ran inside and ended with this exit code.
    Ran(i32),
    /// This process is where it can work.
    Here(Rung),
}

/// Brings this program to where it can work: it runs again inside of namespaces, or stays where only chroot(2) is allowed. Inside,
/// [`handed_over`] is `hand_over`, which passes through no file.
///
/// # Errors
/// [`SandboxError::Refused`] with the missing right and the fix.
pub fn enter(hand_over: &[u8]) -> Result<Entry, SandboxError> {
    if let Some(rung) = inside() {
        return Ok(Entry::Here(rung));
    }
    match respawn(hand_over) {
        Err(SandboxError::Refused(reason)) => {
            chroot_instead(reason)?;
            // RUNs are processes of the same user, and what brik holds in its memory is none of their business.
            rustix::process::set_dumpable_behavior(DumpableBehavior::NotDumpable)
                .map_err(|errno| SandboxError::Respawn { action: "prctl", source: errno.into() })?;
            Ok(Entry::Here(Rung::Chroot))
        }
        other => other.map(Entry::Ran),
    }
}

/// The rung that [`enter`] would reach, or [`SandboxError::Refused`] with the fix. Makes the namespaces once and throws them away.
pub fn probe() -> Result<Rung, SandboxError> {
    probe_ladder().map(|(rung, _)| rung)
}

/// The same, and why there are no namespaces on rung 3.
pub fn probe_ladder() -> Result<(Rung, Option<Refusal>), SandboxError> {
    match fork_inside(|_| Ok(()), || sys::exit(0)) {
        Ok((child, rung)) => wait(&child).map(|_| (rung, None)),
        Err(SandboxError::Refused(reason)) => chroot_instead(reason.clone()).map(|()| (Rung::Chroot, Some(reason))),
        Err(error) => Err(error),
    }
}

/// Runs this program inside, with the same arguments, only to hear what it says: its exit code and its output, of which 64 KiB are read.
/// [`handed_over`] is `hand_over` there.
pub fn ask_inside(hand_over: &[u8]) -> Result<(i32, String), SandboxError> {
    const MOST: u64 = 64 << 10;
    let failed = |action| move |source: io::Error| SandboxError::Respawn { action, source };
    let (read, write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("pipe")(errno.into()))?;
    let child = start(std::env::args_os().collect(), Some(write), hand_over)?;
    let mut said = Vec::new();
    let read = File::from(read).take(MOST).read_to_end(&mut said);
    let code = wait(&child)?;
    read.map_err(failed("read"))?;
    Ok((code, String::from_utf8_lossy(&said).into_owned()))
}

/// Whether root can do without namespaces; else what it lacks, or for others the `reason` why there are none.
fn chroot_instead(reason: Refusal) -> Result<(), SandboxError> {
    // A root whose user namespace has only its own id could not give files their owners.
    if !rustix::process::geteuid().is_root() || idmap::rung_of_root() == Rung::SingleUid {
        return Err(SandboxError::Refused(reason));
    }
    let granted = rustix::thread::capabilities(None).map(|sets| sets.effective).unwrap_or(CapabilitySet::empty());
    let missing: Vec<_> = NEEDED_FOR_CHROOT.iter().filter(|(_, needed)| !granted.contains(*needed)).map(|(name, _)| *name).collect();
    if missing.is_empty() { Ok(()) } else { Err(SandboxError::Refused(Refusal::Capabilities(missing))) }
}

/// All of them are among those that Docker and Podman give to a container.
const NEEDED_FOR_CHROOT: [(&str, CapabilitySet); 6] = [
    ("CHOWN", CapabilitySet::CHOWN),
    ("DAC_OVERRIDE", CapabilitySet::DAC_OVERRIDE),
    ("FOWNER", CapabilitySet::FOWNER),
    ("SETGID", CapabilitySet::SETGID),
    ("SETUID", CapabilitySet::SETUID),
    ("SYS_CHROOT", CapabilitySet::SYS_CHROOT),
];

/// Runs this program again inside, with the same arguments and environment, and returns its exit code (128 + n after signal n).
/// Signals that others send to this process reach the inner one, which dies with this thread.
fn respawn(hand_over: &[u8]) -> Result<i32, SandboxError> {
    let child = start(std::env::args_os().collect(), None, hand_over)?;
    sys::forward_signals_to(Some(child.pid));
    let exited = wait_without_reaping(&child);
    sys::forward_signals_to(None);
    exited?;
    wait(&child)
}

/// Starts this program inside, with its output to `output` if given.
pub(super) fn start(args: Vec<OsString>, output: Option<OwnedFd>, hand_over: &[u8]) -> Result<sys::Child, SandboxError> {
    let failed = |action| move |source: io::Error| SandboxError::Respawn { action, source };
    let marker = rustix::fs::memfd_create(MARKER_FILE, MemfdFlags::CLOEXEC | MemfdFlags::ALLOW_SEALING)
        .map_err(|errno| failed("memfd_create")(errno.into()))?;

    let argv = args.into_iter().map(c_string).collect::<Result<Vec<_>, _>>()?;
    let mut env = vec![CString::new(format!("{MARKER}={}", marker.as_raw_fd())).map_err(|_| SandboxError::NulByte("environment"))?];
    for (name, value) in std::env::vars_os().filter(|(name, _)| name != MARKER) {
        let mut variable = name;
        variable.push("=");
        variable.push(value);
        env.push(c_string(variable)?);
    }
    let (argv, env) = (ExecStrings::new(argv), ExecStrings::new(env));

    let mut marker_file = File::from(marker.try_clone().map_err(failed("dup"))?);
    let outer = rustix::process::getpid();
    let say_where = |rung: Rung| {
        writeln!(marker_file, "{} {}", rung.name(), outer.as_raw_nonzero())?;
        marker_file.write_all(hand_over)?;
        Ok(rustix::fs::fcntl_add_seals(&marker_file, SealFlags::WRITE | SealFlags::GROW | SealFlags::SHRINK | SealFlags::SEAL)?)
    };
    let mut program = Program::find();
    let exec = || {
        let prepared = || {
            if let Some(output) = &output {
                rustix::stdio::dup2_stdout(output)?;
                rustix::stdio::dup2_stderr(output)?;
            }
            inherited::hand_on();
            rustix::io::fcntl_setfd(&marker, FdFlags::empty())
        };
        match prepared() {
            Ok(()) => {
                let read_only = program.as_mut().and_then(|program| program.read_only().ok());
                sys::execve(read_only.unwrap_or(c"/proc/self/exe"), &argv, &env)
            }
            Err(errno) => errno,
        }
    };
    Ok(fork_inside(say_where, exec)?.0)
}

/// The steps of the child between fork and exec, as its error pipe names them.
const STEPS: [&str; 6] = [
    "drop supplementary groups",
    "become root",
    "tie its life to brik's",
    "make mounts private",
    "execute /proc/self/exe",
    "wait for the id maps",
];

/// Forks into the namespaces, maps the ids, tells `mapped` the rung, and lets the child, now root there, do `last`: that returns only
/// what went wrong.
fn fork_inside(mapped: impl FnOnce(Rung) -> io::Result<()>, last: impl FnOnce() -> Errno) -> Result<(sys::Child, Rung), SandboxError> {
    let failed = |action| move |source: Errno| SandboxError::Respawn { action, source: source.into() };
    let (error_read, error_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe"))?;
    let (go_read, go_write) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(failed("pipe"))?;
    let root = is_root();
    let namespaces = if root { UnshareFlags::NEWNS } else { UnshareFlags::NEWNS | UnshareFlags::NEWUSER };
    let outer = rustix::process::getpid();

    let child = sys::fork(namespaces, || {
        let (step, errno) = become_root(go_read.as_fd(), go_write.as_fd(), outer).err().unwrap_or_else(|| (4, last()));
        let mut message = [0; 8];
        message[..4].copy_from_slice(&u32::to_ne_bytes(step));
        message[4..].copy_from_slice(&errno.raw_os_error().to_ne_bytes());
        let _ = rustix::io::write(&error_write, &message);
        71
    })
    .map_err(|error| SandboxError::Refused(refusal::diagnose(Errno::from_io_error(&error).unwrap_or(Errno::PERM))))?;
    drop((error_write, go_read));

    let rung = if root { Ok(idmap::rung_of_root()) } else { idmap::write_maps(child.pid) };
    let said = rung.and_then(|rung| mapped(rung).map(|()| rung));
    let rung = match said {
        Ok(rung) => rung,
        Err(error) => {
            let _ = rustix::process::pidfd_send_signal(&child.pidfd, Signal::KILL);
            wait(&child)?;
            return Err(SandboxError::Refused(refusal::diagnose(Errno::from_io_error(&error).unwrap_or(Errno::PERM))));
        }
    };
    rustix::io::write(&go_write, &[u8::from(rung == Rung::SingleUid)]).map_err(failed("write"))?;
    drop(go_write);

    let mut message = Vec::new();
    let read = File::from(error_read).take(8).read_to_end(&mut message);
    read.map_err(|source| SandboxError::Respawn { action: "read", source })?;
    let Ok([step, errno]) = <[u8; 8]>::try_from(message).map(|m| [[m[0], m[1], m[2], m[3]], [m[4], m[5], m[6], m[7]]]) else {
        return Ok((child, rung));
    };
    wait(&child)?;
    let (step, errno) = (u32::from_ne_bytes(step), Errno::from_raw_os_error(i32::from_ne_bytes(errno)));
    let action = STEPS.get(step as usize).copied().unwrap_or_default();
    match errno {
        // With the namespaces made but powerless, it is a security module that says no.
        Errno::PERM | Errno::ACCESS if step <= 3 => Err(SandboxError::Refused(refusal::diagnose(errno))),
        errno => Err(SandboxError::Respawn { action, source: errno.into() }),
    }
}

/// Runs in the forked child: no allocation, system calls only.
fn become_root(go: std::os::fd::BorrowedFd<'_>, own_go_write: std::os::fd::BorrowedFd<'_>, outer: Pid) -> Result<(), (u32, Errno)> {
    let at = |step| move |errno| (step, errno);
    // Or the end of the outer process would never be read as one.
    let own_end = own_go_write.as_raw_fd().unsigned_abs();
    sys::close_range(own_end, own_end).map_err(at(5))?;
    let mut single = [0];
    if rustix::io::read(go, &mut single).map_err(at(5))? == 0 {
        return Err((5, Errno::PIPE));
    }
    if single == [0] {
        rustix::thread::set_thread_groups(&[]).map_err(at(0))?;
    }
    rustix::thread::set_thread_res_gid(Gid::ROOT, Gid::ROOT, Gid::ROOT).map_err(at(1))?;
    rustix::thread::set_thread_res_uid(Uid::ROOT, Uid::ROOT, Uid::ROOT).map_err(at(1))?;
    // After the change of ids, which clears it (prctl(2)); and if the outer process is gone by now, nobody would send it.
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL)).map_err(at(2))?;
    if rustix::process::getppid() != Some(outer) {
        return Err((2, Errno::SRCH));
    }
    rustix::mount::mount_change(c"/", MountPropagationFlags::PRIVATE | MountPropagationFlags::REC).map_err(at(3))
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
        && rustix::thread::capabilities(None).is_ok_and(|sets| sets.effective.contains(CapabilitySet::SYS_ADMIN))
}

fn wait_without_reaping(child: &sys::Child) -> Result<(), SandboxError> {
    wait_for(child, WaitIdOptions::EXITED | WaitIdOptions::NOWAIT).map(drop)
}

/// Reaps the child; its exit code as a shell would see it.
pub(super) fn wait(child: &sys::Child) -> Result<i32, SandboxError> {
    let status = wait_for(child, WaitIdOptions::EXITED)?;
    let code = status.and_then(|status| status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal)));
    Ok(code.unwrap_or(1))
}

fn wait_for(child: &sys::Child, options: WaitIdOptions) -> Result<Option<rustix::process::WaitIdStatus>, SandboxError> {
    loop {
        match rustix::process::waitid(WaitId::PidFd(child.pidfd.as_fd()), options) {
            Err(Errno::INTR) => {}
            other => return other.map_err(|errno| SandboxError::Respawn { action: "waitid", source: errno.into() }),
        }
    }
}

fn c_string(string: OsString) -> Result<CString, SandboxError> {
    CString::new(string.into_vec()).map_err(|_| SandboxError::NulByte("environment"))
}

#[cfg(test)]
mod tests {
    use super::super::harness::{Room, temporary};
    use super::super::{CancelFlag, SandboxMount, run};
    use super::*;
    use std::fs;
    use std::path::PathBuf;
    use std::process::{Child, Command, Stdio};
    use std::time::Duration;

    /// Set for the copies of this program that play brik.
    const DIRECTORY: &str = "BRIK_TEST_DIRECTORY";

    /// The program that the tests below start: outside it respawns, inside it does what its directory's name says.
    #[test]
    #[ignore = "a program for the other tests"]
    fn play_brik() {
        let Some(directory) = std::env::var_os(DIRECTORY).map(PathBuf::from) else { return };
        let Some(rung) = inside() else {
            match respawn(b"handed\nover") {
                Ok(code) => std::process::exit(code),
                Err(SandboxError::Refused(_)) => std::process::exit(99),
                Err(error) => panic!("{error}"),
            }
        };
        assert!(std::env::var_os(MARKER).is_none(), "the marker is gone");
        assert_eq!(handed_over(), b"handed\nover");
        match directory.file_name().and_then(|name| name.to_str()) {
            Some("exit") => std::process::exit(42),
            Some("run") => {
                let Some(room) = Room::new(rung) else { std::process::exit(99) };
                let mut spec = room.shell("while true; do echo x >> /shared/beat; sleep 0.02; done");
                spec.mounts = vec![SandboxMount::Bind { source: directory, target: "/shared".into(), read_only: false }];
                let _ = run(&spec, &mut |_, _| {}, &CancelFlag::new().unwrap());
            }
            _ => {
                fs::write(directory.join("beat"), "here").unwrap();
                std::thread::sleep(Duration::from_secs(60));
            }
        }
    }

    fn start_brik(room: &tempfile::TempDir, name: &str) -> (Child, PathBuf) {
        let directory = room.path().join(name);
        fs::create_dir(&directory).unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["build::sandbox::respawn::tests::play_brik", "--exact", "--include-ignored", "--nocapture"]);
        // What a user may have set by accident or on purpose means nothing.
        command.env(MARKER, "1").env(DIRECTORY, &directory).env("TMPDIR", room.path()).stdout(Stdio::null()).stderr(Stdio::null());
        (command.spawn().unwrap(), directory)
    }

    /// Waits for the first sign of life; `false`, and a printed reason, if the machine gives no rung.
    fn beats(brik: &mut Child, directory: &std::path::Path) -> bool {
        while !directory.join("beat").exists() {
            if let Some(status) = brik.try_wait().unwrap() {
                assert_eq!(status.code(), Some(99));
                println!("skipped: no namespaces, or no busybox");
                return false;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        true
    }

    fn kill(brik: &Child, signal: Signal) {
        rustix::process::kill_process(Pid::from_child(brik), signal).unwrap();
    }

    #[test]
    fn the_inner_exit_code_is_the_outer_one_whatever_the_environment_claims() {
        let room = temporary();
        let code = start_brik(&room, "exit").0.wait().unwrap().code();
        assert!(matches!(code, Some(42 | 99)), "{code:?}");
    }

    #[test]
    fn a_signal_to_the_outer_process_ends_the_inner_one() {
        let room = temporary();
        let (mut brik, directory) = start_brik(&room, "sleep");
        if beats(&mut brik, &directory) {
            kill(&brik, Signal::TERM);
            assert_eq!(brik.wait().unwrap().code(), Some(143));
        }
    }

    #[test]
    fn a_run_dies_with_a_brik_that_is_killed_outright() {
        let room = temporary();
        let (mut brik, directory) = start_brik(&room, "run");
        if !beats(&mut brik, &directory) {
            return;
        }
        kill(&brik, Signal::KILL);
        brik.wait().unwrap();
        std::thread::sleep(Duration::from_millis(300));
        let size = || fs::metadata(directory.join("beat")).unwrap().len();
        let before = size();
        std::thread::sleep(Duration::from_millis(300));
        assert_eq!(size(), before);
    }

    #[test]
    fn the_probe_finds_a_rung_or_a_reason() {
        match probe() {
            Ok(rung) => assert!(!rung.to_string().is_empty()),
            Err(SandboxError::Refused(reason)) => println!("skipped: {reason}"),
            Err(error) => panic!("{error}"),
        }
    }
}
