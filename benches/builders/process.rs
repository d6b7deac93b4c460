//! Programs that the bench starts: none of them outlives it.

use std::ffi::OsStr;
use std::fs::File;
use std::io::{Read, Seek};
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

/// Process groups of what is being measured.
static RUNNING: Mutex<Vec<Pid>> = Mutex::new(Vec::new());
static INTERRUPTED: AtomicBool = AtomicBool::new(false);

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A signal ends what is being measured. Its end is an error, and an error stops servers and removes what was written.
pub fn end_on_signals() -> Result<(), String> {
    let mut signals = signal_hook::iterator::Signals::new([SIGINT, SIGTERM, SIGHUP]).map_err(|error| error.to_string())?;
    std::thread::spawn(move || {
        for _ in signals.forever() {
            INTERRUPTED.store(true, Ordering::SeqCst);
            kill_running();
        }
    });
    Ok(())
}

pub fn interrupted() -> bool {
    INTERRUPTED.load(Ordering::SeqCst)
}

fn kill_running() {
    for group in lock(&RUNNING).iter() {
        let _ = kill_process_group(*group, Signal::TERM);
    }
}

/// A server, which the kernel ends with `signal` when the thread ends that starts it, however it ends.
pub fn server(program: impl AsRef<OsStr>, signal: &str) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", signal, "--"]).arg(program);
    // Not reached by the terminal's Ctrl-C: the bench stops its servers in order.
    command.process_group(0).stdin(Stdio::null()).stdout(Stdio::null());
    command
}

/// Runs a command to its end; what went wrong, with what it said.
pub fn run(command: &mut Command) -> Result<(), String> {
    if interrupted() {
        return Err("interrupted".to_owned());
    }
    let failed = |error: std::io::Error| format!("cannot run {command:?}: {error}");
    let mut said = tempfile::tempfile().map_err(failed)?;
    let text = format!("{command:?}");
    let failed = |error: std::io::Error| format!("cannot run {text}: {error}");
    let stderr = said.try_clone().map_err(failed)?;
    let mut child = start(command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(stderr)).map_err(failed)?;
    let status = child.wait();
    lock(&RUNNING).retain(|group| Some(*group) != Pid::from_raw(child.id() as i32));
    match status.map_err(failed)? {
        status if status.success() => Ok(()),
        _ if interrupted() => Err("interrupted".to_owned()),
        status => Err(format!("{text}: {status}\n{}", tail(&mut said))),
    }
}

fn start(command: &mut Command) -> std::io::Result<Child> {
    let mut running = lock(&RUNNING);
    let child = command.process_group(0).spawn()?;
    running.extend(Pid::from_raw(child.id() as i32));
    Ok(child)
}

fn tail(said: &mut File) -> String {
    let mut bytes = Vec::new();
    let _ = said.rewind().and_then(|()| said.read_to_end(&mut bytes));
    String::from_utf8_lossy(&bytes[bytes.len().saturating_sub(2000)..]).into_owned()
}

/// Runs commands, so many at a time. The first error ends those that are still running.
pub fn run_all(commands: Vec<Command>, at_once: usize) -> Result<(), String> {
    let queue = Mutex::new(commands.into_iter());
    let failure = Mutex::new(None);
    std::thread::scope(|scope| {
        for _ in 0..at_once {
            scope.spawn(|| {
                while lock(&failure).is_none() {
                    let Some(mut command) = lock(&queue).next() else { return };
                    if let Err(error) = run(&mut command) {
                        lock(&failure).get_or_insert(error);
                        kill_running();
                    }
                }
            });
        }
    });
    lock(&failure).take().map_or(Ok(()), Err)
}

/// Whether a program is there. Says so if not.
pub fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).any(|directory| directory.join(program).is_file());
    if !found {
        println!("{program} is not installed: left out");
    }
    found
}

pub fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub fn first_line(command: &mut Command) -> String {
    let text = command.output().map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    text.lines().next().unwrap_or("?").to_owned()
}

pub fn shell(script: &str) -> Command {
    let mut shell = Command::new("sh");
    shell.args(["-c", script]);
    shell
}

/// Removes a builder's state, with the overlays that it has left mounted.
pub fn remove(directory: &Path) -> Result<(), String> {
    let unmount = format!("grep -o ' {}/[^ ]*' /proc/mounts | sort -r | xargs -r umount -l", directory.display());
    let _ = shell(&unmount).stdin(Stdio::null()).output();
    match std::fs::remove_dir_all(directory) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(format!("cannot remove {}: {error}", directory.display())),
        _ => Ok(()),
    }
}
