//! Connections of a RUN to an SSH agent of the host, carried over one by one: so the socket inside has the owner and mode that
//! `RUN --mount=type=ssh` asks for, whatever those of the agent's own socket are.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::thread;
use std::time::Duration;

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

/// Longer than this, an end that does not read what it is sent is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Copies both ways until an end closes.
fn carry(mut inside: UnixStream, mut outside: UnixStream, stop: &CancelFlag) {
    if inside.set_write_timeout(Some(PATIENCE)).and_then(|()| outside.set_write_timeout(Some(PATIENCE))).is_err() {
        return;
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::UnixListener;

    #[test]
    fn connections_are_carried_both_ways_until_the_stop() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        let (inside, outside) = (room.path().join("inside"), room.path().join("outside"));
        let upstream = UnixListener::bind(&outside)?;
        let agent = Agent { listener: UnixListener::bind(&inside)?, upstream: outside };
        let stop = CancelFlag::new()?;
        thread::scope(|scope| {
            let served = scope.spawn(|| serve(&agent, &stop));
            for question in ["list", "sign"] {
                let mut client = UnixStream::connect(&inside)?;
                client.write_all(question.as_bytes())?;
                let (mut server, _) = upstream.accept()?;
                let mut heard = [0; 4];
                server.read_exact(&mut heard)?;
                server.write_all(b"answer")?;
                drop(server);
                let mut answer = String::new();
                client.read_to_string(&mut answer)?;
                assert_eq!((&heard[..], answer.as_str()), (question.as_bytes(), "answer"));
            }
            let _idle = UnixStream::connect(&inside)?;
            stop.cancel();
            assert!(served.join().is_ok());
            Ok(())
        })
    }
}
