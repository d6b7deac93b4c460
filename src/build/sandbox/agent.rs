//! Connections of a RUN to an SSH agent of the host, carried over one by one: so the socket inside has the owner and mode that
//! `RUN --mount=type=ssh` asks for, whatever those of the agent's own socket are.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::os::fd::AsFd;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketAddrUnix, SocketFlags, SocketType};

use super::cancel::CancelFlag;
use super::mounts::Agent;

/// So many connections are carried at a time: each takes a thread and two descriptors of brik's. Further ones are closed.
const MOST: usize = 64;
/// Longer than this, an end that does not read what it is sent is given up.
const PATIENCE: Duration = Duration::from_secs(10);
/// How often an agent that has no room for another connection is asked again.
const PAUSE: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// Serves until `stop` is raised.
pub(super) fn serve(agent: &Agent, stop: &CancelFlag) {
    let open = AtomicUsize::new(0);
    thread::scope(|scope| {
        while wait(&[&agent.listener, stop], None) == Some(0) {
            let Ok((inside, _)) = agent.listener.accept() else { return };
            if open.load(Ordering::Acquire) >= MOST {
                continue;
            }
            open.fetch_add(1, Ordering::AcqRel);
            let carried = thread::Builder::new().spawn_scoped(scope, || {
                if let Some(outside) = connect(&agent.upstream, stop) {
                    carry(inside, outside, stop);
                }
                open.fetch_sub(1, Ordering::AcqRel);
            });
            if carried.is_err() {
                open.fetch_sub(1, Ordering::AcqRel);
            }
        }
    });
}

/// Waits for an agent that does not accept, but not beyond the stop.
fn connect(upstream: &Path, stop: &CancelFlag) -> Option<UnixStream> {
    let address = SocketAddrUnix::new(upstream).ok()?;
    loop {
        let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
        let socket = rustix::net::socket_with(AddressFamily::UNIX, SocketType::STREAM, flags, None).ok()?;
        match rustix::net::connect(&socket, &address) {
            Ok(()) => {
                let stream = UnixStream::from(socket);
                return stream.set_nonblocking(false).is_ok().then_some(stream);
            }
            Err(Errno::AGAIN) if wait(&[stop], Some(&PAUSE)).is_none() => {}
            Err(_) => return None,
        }
    }
}

/// Copies both ways until an end closes.
fn carry(mut inside: UnixStream, mut outside: UnixStream, stop: &CancelFlag) {
    if inside.set_write_timeout(Some(PATIENCE)).and_then(|()| outside.set_write_timeout(Some(PATIENCE))).is_err() {
        return;
    }
    let mut buffer = [0; 16 << 10];
    while let Some(ready @ 1..) = wait(&[stop, &inside, &outside], None) {
        let (from, to) = if ready == 1 { (&mut inside, &mut outside) } else { (&mut outside, &mut inside) };
        match from.read(&mut buffer) {
            Ok(length @ 1..) if to.write_all(&buffer[..length]).is_ok() => {}
            _ => break,
        }
    }
    let _ = inside.shutdown(Shutdown::Both);
    let _ = outside.shutdown(Shutdown::Both);
}

/// The index of the first that is readable or closed; `None` when the time is over.
fn wait(fds: &[&dyn AsFd], time: Option<&Timespec>) -> Option<usize> {
    let mut fds: Vec<_> = fds.iter().map(|fd| PollFd::from_borrowed_fd(fd.as_fd(), PollFlags::IN)).collect();
    loop {
        match rustix::event::poll(&mut fds, time) {
            Err(Errno::INTR) => {}
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

    #[test]
    fn an_agent_that_accepts_nothing_and_a_flood_of_connections_end_with_the_stop() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        let (inside, outside) = (room.path().join("inside"), room.path().join("outside"));
        let socket = rustix::net::socket(AddressFamily::UNIX, SocketType::STREAM, None)?;
        rustix::net::bind(&socket, &SocketAddrUnix::new(&outside)?)?;
        rustix::net::listen(&socket, 0)?;
        let agent = Agent { listener: UnixListener::bind(&inside)?, upstream: outside };
        let stop = CancelFlag::new()?;
        thread::scope(|scope| {
            let served = scope.spawn(|| serve(&agent, &stop));
            let flood = (0..3 * MOST).map(|_| UnixStream::connect(&inside)).collect::<Result<Vec<_>, _>>()?;
            // Those that are too many are closed at once, whatever the agent does.
            let last = flood.last().map(|mut last| last.read(&mut [0]).map_err(|error| error.kind()));
            assert!(matches!(last, Some(Ok(0) | Err(std::io::ErrorKind::ConnectionReset))), "{last:?}");
            stop.cancel();
            assert!(served.join().is_ok());
            Ok(())
        })
    }
}
