//! Connections of a RUN to an SSH agent of the host, carried over one by one: so the socket inside has the owner and mode that
//! `RUN --mount=type=ssh` asks for, whatever those of the agent's own socket are.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;

use rustix::event::{PollFd, PollFlags};

use super::cancel::CancelFlag;
use super::mounts::Agent;

/// Serves until `stop` is raised.
pub(super) fn serve(agent: &Agent, stop: &CancelFlag) {
    thread::scope(|scope| {
        while wait(&[&agent.listener, stop]).is_some_and(|ready| ready == 0) {
            let Ok((inside, _)) = agent.listener.accept() else { return };
            scope.spawn(move || {
                if let Ok(outside) = UnixStream::connect(&agent.upstream) {
                    carry(inside, outside, stop);
                }
            });
        }
    });
}

/// Copies both ways until an end closes.
fn carry(mut inside: UnixStream, mut outside: UnixStream, stop: &CancelFlag) {
    let mut buffer = [0; 16 << 10];
    while let Some(ready @ 1..) = wait(&[stop, &inside, &outside]) {
        let (from, to) = if ready == 1 { (&mut inside, &mut outside) } else { (&mut outside, &mut inside) };
        match from.read(&mut buffer) {
            Ok(length @ 1..) if to.write_all(&buffer[..length]).is_ok() => {}
            _ => break,
        }
    }
    let _ = inside.shutdown(Shutdown::Both);
    let _ = outside.shutdown(Shutdown::Both);
}

/// The index of the first that is readable or closed.
fn wait(fds: &[&dyn AsFd]) -> Option<usize> {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    loop {
        match rustix::event::poll(&mut fds, None) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return None,
            Ok(_) => return fds.iter().position(|fd| !fd.revents().is_empty()),
        }
    }
}
