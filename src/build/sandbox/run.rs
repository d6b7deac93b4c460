//! One RUN from the first mount point to the exit code.
//!
//! A launcher thread leaves the process's mount, ipc, uts (and network) namespaces, mounts everything, forks the guard and waits for
//! it; meanwhile the calling thread reads the output. When `run` returns, no process and no mount of the RUN is left.

use std::ffi::CString;
use std::fs::File;
use std::io::{self, Seek, Write};
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};
use std::path::Path;
use std::sync::mpsc;
use std::thread;

use rustix::fs::MemfdFlags;
use rustix::pipe::PipeFlags;
use rustix::thread::{Gid, Uid, UnshareFlags};

use super::apart::Turn;
use super::cancel::CancelFlag;
use super::cgroup::ControlGroup;
use super::child::{self, Isolation, Plan};
use super::command::Command;
use super::covers::Covers;
use super::dev::Streams;
use super::error::SandboxError;
use super::last_words::LastWords;
use super::limits::{self, Limits};
use super::mounts::{self, Agent, Mounted};
use super::network::OwnNetwork;
use super::output::{self, Pipes};
use super::placed_secret::PlacedSecret;
use super::report::{Record, Step};
use super::rung::Rung;
use super::spec::{Network, Outcome, RunSpec, Stream};
use super::stubs::Stubs;
use super::{agent, confine, respawn, seccomp, sys};

/// Runs a command inside (see [`super::inside`]) and gives its output to `output` as it comes: in order within a stream, without any
/// between the two. Raising `cancel` kills all of it and gives [`SandboxError::Cancelled`].
pub fn run(spec: &RunSpec, output: &mut dyn FnMut(Stream, &[u8]), cancel: &CancelFlag) -> Result<Outcome, SandboxError> {
    if cancel.is_cancelled() {
        return Err(SandboxError::Cancelled);
    }
    match spec.network {
        Network::None if spec.rung == Rung::Chroot => return Err(SandboxError::NetworkNone),
        Network::Private if spec.rung == Rung::Chroot => return Err(SandboxError::NetworkPrivate),
        _ => {}
    }
    let turn = Turn::wait(spec.rung, spec.network)?;
    if cancel.is_cancelled() {
        return Err(SandboxError::Cancelled);
    }
    let alone = turn.is_alone();
    let command = Command::prepare(spec)?;
    let targets = mounts::targets(spec)?;
    let stubs = Stubs::make(&spec.root, targets.iter().map(|(path, kind)| (path.as_path(), *kind)))?;
    let mut covers = if spec.rung == Rung::Chroot { Some(Covers::place(spec)?) } else { None };

    let (null, (stdout, stdout_writer), (stderr, stderr_writer)) = match covers.as_mut().and_then(Covers::streams) {
        Some(Streams { null, stdout, stderr }) => (Some(null), stdout, stderr),
        None => (None, pipe()?, pipe()?),
    };
    let (report, report_writer) = pipe()?;
    let report_reader = report.as_raw_fd();
    let stdin = spec.stdin.as_deref().map(stdin).transpose().map_err(failed("prepare standard input"))?;
    let ends = ChildEnds { stdin, stdout: stdout_writer, stderr: stderr_writer, report: report_writer, report_reader };
    let covered = match covers.as_mut().zip(null) {
        Some((covers, null)) => Some(Covered { agents: covers.agents(), secrets: covers.secrets()?, null, cancel }),
        None => None,
    };
    let has_pids = covered.is_none();
    // Before the launcher is in a cgroup namespace. Dropped when all of the RUN is dead.
    let group = ControlGroup::make(limits::for_group(spec.rung, spec.processes, spec.memory));
    let doors = group.as_ref().map_or_else(|| Ok(Vec::new()), ControlGroup::doors).map_err(failed("open the control group"))?;
    let finished = CancelFlag::new().map_err(failed("make an event"))?;
    let network = OwnNetwork::make(spec.network, cancel)?;

    let mut last_words = LastWords::default();
    let mut heard = |stream: Stream, bytes: &[u8]| {
        last_words.hear(bytes);
        output(stream, bytes);
    };
    let records = thread::scope(|scope| {
        let (sender, started) = mpsc::channel();
        let (command, network) = (&command, network.as_ref());
        let launcher = scope.spawn(move || launch(Launch { spec, command, network, alone }, ends, doors, covered, &sender));
        let mut pumped = Ok(Vec::new());
        if let Ok(Started { pidfd, agents }) = started.recv() {
            for served in agents {
                let finished = &finished;
                scope.spawn(move || agent::serve(&served, finished));
            }
            // A guard without namespaces hears of the cancellation itself, and ends all that it guards.
            pumped = output::pump(Pipes { stdout, stderr, report }, has_pids.then_some(&pidfd), cancel, &mut heard)
                .map_err(failed("read the output"));
        }
        // The guard is dead or dying whatever happened: its output has ended, or it has been killed.
        let launched = launcher.join().unwrap_or_else(|_| Err(failed("start")(io::ErrorKind::Other.into())));
        finished.cancel();
        launched.and(pumped)
    })?;
    if cancel.is_cancelled() && !records.iter().any(|record| matches!(record, Record::Ended(_))) {
        return Err(SandboxError::Cancelled);
    }
    let mut outcome = outcome(spec, &command, &records)?;
    outcome.exhausted = group.as_ref().and_then(ControlGroup::exhausted);
    let uncounted = Limits::of(spec.rung, spec.processes).count_processes();
    outcome.no_process = uncounted && outcome.exhausted.is_none() && last_words.tell_of_no_process();
    outcome.alone = alone;
    outcome.memory_unlimited = spec.memory.is_some() && group.is_none();
    if let Some(covers) = &mut covers {
        outcome.restored = covers.take_away();
        outcome.restored.retain(|path| !stubs.touched(&spec.root.join(path)));
    }
    Ok(outcome)
}

/// What the launcher starts, and where.
struct Launch<'a> {
    spec: &'a RunSpec,
    command: &'a Command,
    network: Option<&'a OwnNetwork>,
    /// No other RUN of this process runs meanwhile.
    alone: bool,
}

/// What was placed in a root without mounts, as far as the launcher needs it.
struct Covered<'a> {
    agents: Vec<Agent>,
    secrets: Vec<PlacedSecret>,
    null: OwnedFd,
    cancel: &'a CancelFlag,
}

/// The descriptors that the command gets.
struct ChildEnds {
    stdin: Option<OwnedFd>,
    stdout: OwnedFd,
    stderr: OwnedFd,
    report: OwnedFd,
    report_reader: RawFd,
}

/// What the launcher hands over once the guard runs.
struct Started {
    pidfd: OwnedFd,
    agents: Vec<Agent>,
}

/// The launcher thread: it has to outlive the guard, whose death signal is tied to it.
fn launch(
    Launch { spec, command, network, alone }: Launch<'_>,
    ends: ChildEnds,
    doors: Vec<File>,
    covered: Option<Covered<'_>>,
    started: &mpsc::Sender<Started>,
) -> Result<(), SandboxError> {
    let null;
    let (agents, isolation, namespaces) = match covered {
        Some(Covered { agents, secrets, null: of_the_root, cancel }) => {
            null = of_the_root;
            (agents, Isolation::Chroot { cancel: cancel.as_fd(), secrets }, UnshareFlags::empty())
        }
        None => {
            let mounted = enter_namespaces(spec, network)?;
            null = mounted.null;
            (mounted.agents, Isolation::Namespaces { null: null.as_fd() }, UnshareFlags::NEWPID)
        }
    };
    if spec.rung != Rung::SingleUid {
        // As runc does, so that a user that is not root may open /dev/stdout.
        let owner = Some(Uid::from_raw_unchecked(spec.user.uid));
        for end in [&ends.stdout, &ends.stderr] {
            rustix::fs::fchown(end, owner, None).map_err(|errno| failed("give the output to the user")(errno.into()))?;
        }
    }
    let plan = Plan {
        command,
        root: c_path(&spec.root)?,
        cwd: c_path(&spec.cwd)?,
        uid: Uid::from_raw_unchecked(spec.user.uid),
        gid: Gid::from_raw_unchecked(spec.user.gid),
        groups: spec.user.groups.iter().copied().map(Gid::from_raw_unchecked).collect(),
        single_uid: spec.rung == Rung::SingleUid,
        isolation,
        alone,
        filters: seccomp::filters(spec.rung)?,
        capabilities: confine::capabilities(spec.network),
        limits: Limits::of(spec.rung, spec.processes),
        doors: doors.iter().map(AsFd::as_fd).collect(),
        // Not the host's null device, whose mode a RUN of real root could change through /dev/stdin.
        stdin: ends.stdin.as_ref().map_or(null.as_fd(), AsFd::as_fd),
        stdout: ends.stdout.as_fd(),
        stderr: ends.stderr.as_fd(),
        report: ends.report.as_fd(),
        report_reader: ends.report_reader,
    };
    let guard = sys::fork(namespaces, || child::guard(&plan)).map_err(failed("fork"))?;
    drop(plan);
    drop(ends);
    let pidfd = guard.pidfd.try_clone();
    let handed_over = pidfd.map(|pidfd| started.send(Started { pidfd, agents }));
    if handed_over.is_err() {
        let _ = rustix::process::pidfd_send_signal(&guard.pidfd, rustix::process::Signal::KILL);
    }
    respawn::wait(&guard)?;
    handed_over.map(drop).map_err(failed("watch the command"))
}

/// For the calling thread, with everything mounted.
fn enter_namespaces(spec: &RunSpec, network: Option<&OwnNetwork>) -> Result<Mounted, SandboxError> {
    let namespaces = UnshareFlags::FS | UnshareFlags::NEWNS | UnshareFlags::NEWIPC | UnshareFlags::NEWUTS;
    sys::unshare(namespaces).map_err(|errno| failed("make namespaces")(errno.into()))?;
    rustix::system::sethostname(spec.hostname.as_bytes()).map_err(|errno| failed("set the host name")(errno.into()))?;
    network.map_or(Ok(()), OwnNetwork::enter).map_err(failed("enter the network"))?;
    mounts::mount_all(spec)
}

fn outcome(spec: &RunSpec, command: &Command, records: &[Record]) -> Result<Outcome, SandboxError> {
    let mut outcome = Outcome {
        code: 128 + libc::SIGKILL,
        signal: Some(libc::SIGKILL),
        shared_proc: false,
        alone: false,
        exhausted: None,
        no_process: false,
        memory_unlimited: false,
        restored: Vec::new(),
    };
    for record in records {
        match *record {
            Record::Failed(Step::Exec, errno) => return Err(command.failure(&spec.root, &spec.cwd, errno)),
            Record::Failed(Step::WorkingDirectory, source) => {
                return Err(SandboxError::WorkingDirectory { path: spec.cwd.clone(), source });
            }
            Record::Failed(step, source) => return Err(SandboxError::Child { step: step.describe(), source }),
            Record::Ended(code) if code >= Record::SIGNALLED => {
                let signal = code - Record::SIGNALLED;
                outcome = Outcome { code: 128 + signal, signal: Some(signal), ..outcome };
            }
            Record::Ended(code) => outcome = Outcome { code, signal: None, ..outcome },
            Record::SharedProc => outcome.shared_proc = true,
        }
    }
    Ok(outcome)
}

fn pipe() -> Result<(OwnedFd, OwnedFd), SandboxError> {
    rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("make a pipe")(errno.into()))
}

fn stdin(bytes: &[u8]) -> io::Result<OwnedFd> {
    let mut file = File::from(rustix::fs::memfd_create("stdin", MemfdFlags::CLOEXEC)?);
    file.write_all(bytes)?;
    file.rewind()?;
    // The command gets a description of its own that cannot write.
    let read_only = File::open(format!("/proc/self/fd/{}", file.as_raw_fd()))?;
    Ok(read_only.into())
}

fn c_path(path: &Path) -> Result<CString, SandboxError> {
    CString::new(path.as_os_str().as_encoded_bytes()).map_err(|_| SandboxError::NulByte("directory"))
}

fn failed(action: &'static str) -> impl Fn(io::Error) -> SandboxError {
    move |source| SandboxError::Setup { action, source }
}
