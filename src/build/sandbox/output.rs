//! Reading what a command writes, until all of it is over.

use std::io;
use std::os::fd::{AsFd, OwnedFd};

use rustix::event::{PollFd, PollFlags};
use rustix::io::Errno;
use rustix::process::Signal;

use super::cancel::CancelFlag;
use super::report::Record;
use super::spec::Stream;

/// brik's ends of the pipes.
pub(super) struct Pipes {
    pub stdout: OwnedFd,
    pub stderr: OwnedFd,
    pub report: OwnedFd,
}

/// Hands output on until every pipe is closed, and kills the `guard`, if one is given, as soon as `cancel` is raised. Returns the report.
pub(super) fn pump(
    pipes: Pipes,
    guard: Option<&OwnedFd>,
    cancel: &CancelFlag,
    output: &mut dyn FnMut(Stream, &[u8]),
) -> io::Result<Vec<Record>> {
    let mut open = [Some(pipes.stdout), Some(pipes.stderr), Some(pipes.report)];
    let mut report = Vec::new();
    let mut buffer = vec![0; 64 << 10];
    let mut killed = false;
    while open.iter().any(Option::is_some) {
        let mut polled: Vec<usize> = (0..open.len()).filter(|index| open[*index].is_some()).collect();
        let mut fds: Vec<_> = open.iter().flatten().map(|fd| PollFd::new(fd, PollFlags::IN)).collect();
        if !killed {
            polled.push(open.len());
            fds.push(PollFd::from_borrowed_fd(cancel.as_fd(), PollFlags::IN));
        }
        match rustix::event::poll(&mut fds, None) {
            Err(Errno::INTR) => continue,
            other => other?,
        };
        let ready: Vec<usize> = polled.iter().zip(&fds).filter(|(_, fd)| !fd.revents().is_empty()).map(|(index, _)| *index).collect();
        for index in ready {
            let Some(pipe) = open.get_mut(index) else {
                killed = true;
                // The guard may be gone already.
                let _ = guard.map(|guard| rustix::process::pidfd_send_signal(guard, Signal::KILL));
                continue;
            };
            let Some(fd) = pipe else { continue };
            match (rustix::io::read(fd, &mut buffer), index) {
                (Err(Errno::INTR), _) => {}
                (Ok(0), _) => *pipe = None,
                (Ok(length), 0) => output(Stream::Stdout, &buffer[..length]),
                (Ok(length), 1) => output(Stream::Stderr, &buffer[..length]),
                (Ok(length), _) => report.extend_from_slice(&buffer[..length]),
                (Err(errno), _) => return Err(errno.into()),
            }
        }
    }
    Ok(Record::read_all(&report))
}
