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
    format!("{}\nThis is a fault of brik's; please report it.\n", redactor.redact(panic))
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
}
