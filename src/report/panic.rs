//! A panic is a fault of brik's own, and told like everything else: without secrets.

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::Write;

use super::Redactor;

/// From now on, whatever thread panics. With `RUST_BACKTRACE`, the way there is told, too.
pub fn redact_panics(redactor: &Redactor) {
    let redactor = redactor.clone();
    std::panic::set_hook(Box::new(move |panic| {
        let backtrace = Backtrace::capture();
        let way = if backtrace.status() == BacktraceStatus::Captured { format!("\n{backtrace}") } else { String::new() };
        let thread = std::thread::current().name().unwrap_or("unnamed").to_owned();
        let _ = std::io::stderr().write_all(told(&redactor, &format!("thread {thread:?} {panic}{way}")).as_bytes());
    }));
}

fn told(redactor: &Redactor, panic: &str) -> String {
    format!("{}\n{}\n", redactor.redact(panic), advice(panic))
}

/// The standard library and C libraries panic, too, where the system gives them no thread and no memory.
fn advice(panic: &str) -> &'static str {
    match panic {
        _ if panic.contains("failed to spawn thread") || panic.contains("Resource temporarily unavailable") => {
            "No thread can be started: raise `ulimit -u`, or the pids limit of the container."
        }
        _ if panic.contains("out of memory") => "There is no more memory: raise `ulimit -v`, or the memory limit of the container.",
        _ => "This is a fault of brik's; please report it.",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_tells_no_secret() {
        let redactor = Redactor::new();
        redactor.add(b"hunter2-hunter2").unwrap();
        let panic = "panicked at src/x.rs:1:2:\ncalled `Option::unwrap()` on \"hunter2-hunter2\"";
        assert_eq!(
            told(&redactor, panic),
            "panicked at src/x.rs:1:2:\ncalled `Option::unwrap()` on \"***\"\nThis is a fault of brik's; please report it.\n"
        );
    }

    #[test]
    fn what_the_system_refused_is_no_fault_of_brik() {
        let panic = "failed to spawn thread: Os { code: 11, kind: WouldBlock, message: \"Resource temporarily unavailable\" }";
        assert!(told(&Redactor::new(), panic).ends_with("raise `ulimit -u`, or the pids limit of the container.\n"));
    }
}
