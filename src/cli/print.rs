//! Text for stdout and stderr. A reader that has gone away or a full disk behind stderr is no failure of a build.

use std::io::{ErrorKind, Write};

use super::failure::Failure;

/// Results. A reader that has seen enough is no failure; another error is.
pub fn out(text: &str) -> Result<(), Failure> {
    let mut stdout = std::io::stdout();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::failed(format!("stdout cannot be written: {error}"))),
        _ => Ok(()),
    }
}

/// What is told besides.
pub fn err(text: &str) {
    let _ = std::io::stderr().write_all(text.as_bytes());
}
