//! SIGINT, SIGTERM and SIGHUP: what runs is ended, what was finished is kept and told, and nothing else is left behind.
//!
//! RUNs end at once, and a build that can end by itself does: its main thread removes what it worked on and tells. One that waits, for a
//! network or a lock, is not waited for. It becomes another program, the reclaimer: that ends all its threads, and what they worked on,
//! now nobody's, is removed under the rights and in the namespaces in which it was made.

use std::fs;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::{Arc, Mutex, PoisonError, mpsc};
use std::time::Duration;

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::failure::{Code, Failure, Voice};
use super::print;
use crate::build::sandbox::{CancelFlag, unmount_below};
use crate::report::{Reporter, Tally};
use crate::store::Store;

/// How long a cancelled run may take to end by itself.
const GRACE: Duration = Duration::from_millis(1500);
/// How long a terminal that nobody reads is waited for.
const PATIENCE: Duration = Duration::from_millis(500);

/// The watch over a command that builds.
pub struct Interrupts(Arc<Mutex<Option<Heard>>>);

/// A build under way, which hears the flag.
#[derive(Clone)]
struct Heard {
    cancel: CancelFlag,
    reporter: Reporter,
}

impl Interrupts {
    /// Begins to watch, for a process that works with the store at `store`.
    pub fn watch(store: &Path, voice: Voice) -> Result<Self, Failure> {
        let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
        // SIGINT is heard in any case: shells have what they start in the background ignore it, and scripts end that by it.
        let watched = [SIGINT, SIGTERM].into_iter().chain(Some(SIGHUP).filter(|signal| !is_ignored(&status, *signal)));
        let mut signals = signal_hook::iterator::Signals::new(watched).map_err(unwatched)?;
        let heard: Arc<Mutex<Option<Heard>>> = Arc::default();
        let (build, store) = (Arc::clone(&heard), store.to_owned());
        std::thread::spawn(move || {
            if signals.forever().next().is_none() {
                return;
            }
            let build = build.lock().unwrap_or_else(PoisonError::into_inner).clone();
            if let Some(build) = &build {
                build.cancel.cancel();
                std::thread::sleep(GRACE);
            }
            tell(build.map(|build| build.reporter), voice);
            become_reclaimer(&store);
        });
        Ok(Self(heard))
    }

    /// A flag that a signal raises, for the build that now begins and reports to `reporter`.
    pub fn cancel(&self, reporter: &Reporter) -> Result<CancelFlag, Failure> {
        let cancel = CancelFlag::new().map_err(unwatched)?;
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Heard { cancel: cancel.clone(), reporter: reporter.clone() });
        Ok(cancel)
    }
}

/// Whether whoever started this process has it ignore a signal, as nohup does: that holds. `status` is that of proc(5).
fn is_ignored(status: &str, signal: i32) -> bool {
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:")).map(str::trim);
    mask.and_then(|mask| u64::from_str_radix(mask, 16).ok()).is_some_and(|mask| mask >> (signal - 1) & 1 == 1)
}

fn unwatched(error: std::io::Error) -> Failure {
    Failure::failed(format!("signals cannot be handled: {error}"))
}

/// What an interrupted build has brought, in words.
pub fn kept(tally: &Tally) -> String {
    let count = |number: usize, what: &str| format!("{number} {what}{}", if number == 1 { "" } else { "s" });
    let (steps, services) = (tally.built(), tally.services());
    let steps = (steps > 0).then(|| format!("{} that ran", count(steps, "step")));
    let services = (!services.is_empty()).then(|| format!("{} ({})", count(services.len(), "service"), services.join(", ")));
    match steps.into_iter().chain(services).collect::<Vec<_>>().join(" and ") {
        nothing if nothing.is_empty() => "nothing was finished yet, nothing is left behind".to_owned(),
        kept => format!("kept for the next run: {kept}; nothing else is left behind"),
    }
}

/// Takes the live view away and says what was kept.
fn tell(reporter: Option<Reporter>, voice: Voice) {
    let (done, waits) = mpsc::channel();
    std::thread::spawn(move || {
        let kept = reporter.as_ref().map_or_else(|| "nothing has run yet".to_owned(), |reporter| kept(reporter.tally()));
        let failure = Failure::interrupted(&kept);
        match reporter {
            Some(reporter) if voice.is_json() => {
                voice.tell_to(&reporter, &failure);
                reporter.finish();
            }
            begun => {
                begun.iter().for_each(Reporter::finish);
                let _ = voice.tell(failure);
            }
        }
        let _ = done.send(());
    });
    let _ = waits.recv_timeout(PATIENCE);
}

/// The name by which a brik is started that is to do this and nothing else.
const RECLAIMER: &str = "brik-reclaim";

/// Does not come back: not even without `/proc`, where what is left is removed by the next run.
fn become_reclaimer(store: &Path) {
    let error = Command::new("/proc/self/exe").arg0(RECLAIMER).arg(store).exec();
    print::err(&format!("warning: what is left in the store is removed by the next run ({error})\n"));
    std::process::exit(Code::Interrupted as i32);
}

/// What an interrupted brik has become: removes what is left of work in progress, and of mounts that it has inherited. `None` in any other.
pub fn reclaim() -> Option<ExitCode> {
    let mut words = std::env::args_os();
    let store = words.next().filter(|name| name == RECLAIMER).and(words.next())?;
    if let Ok(store) = Store::open(Path::new(&store)) {
        unmount_below(store.work_area());
        store.reclaim();
    }
    Some(ExitCode::from(Code::Interrupted as u8))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_ignored_from_the_start_is_known() {
        let status = "Name:\tbrik\nSigBlk:\t0000000000000000\nSigIgn:\t0000000000001001\nSigCgt:\t0000000000004002\n";
        assert_eq!([SIGHUP, SIGINT, SIGTERM].map(|signal| is_ignored(status, signal)), [true, false, false]);
        for bad in ["", "SigIgn:\n", "SigIgn:\tx\n"] {
            assert!(!is_ignored(bad, SIGHUP), "{bad:?}");
        }
    }
}
