//! A network namespace of a RUN's own: with loopback alone, or with slirp4netns(1) as its way out, which carries what a RUN sends from
//! sockets of brik's own network. A RUN then reaches what brik can reach, but neither the loopback of the machine nor link-local
//! addresses, where clouds give credentials away.

use std::fs::File;
use std::io::{self, Read, Seek};
use std::net::Ipv4Addr;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::net::UnixStream;
use std::process::{Child, Command};
use std::thread;

use rustix::event::{PollFd, PollFlags, Timespec};
use rustix::fs::{MemfdFlags, Mode, OFlags};
use rustix::pipe::PipeFlags;
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use super::cancel::CancelFlag;
use super::error::SandboxError;
use super::spec::Network;
use super::{routes, sys};

/// The program, as it is named in `$PATH` and by packages.
const SLIRP: &str = "slirp4netns";
/// Where slirp4netns answers for the resolver of the machine.
pub(super) const NAMESERVER: Ipv4Addr = Ipv4Addr::new(10, 0, 2, 3);
/// Loopback, which slirp4netns takes for the machine's own if a socket is bound to its device, and link-local addresses.
const CLOSED: [(Ipv4Addr, u8); 2] = [(Ipv4Addr::new(127, 0, 0, 0), 8), (Ipv4Addr::new(169, 254, 0, 0), 16)];
/// Longer than this, slirp4netns does not take on a loaded machine.
const PATIENCE: Timespec = Timespec { tv_sec: 30, tv_nsec: 0 };

/// The namespace lives as long as this or a process in it.
pub(super) struct OwnNetwork {
    namespace: OwnedFd,
    _uplink: Option<Uplink>,
}

impl OwnNetwork {
    /// `None` where the RUN shares brik's network.
    pub fn make(network: Network, cancel: &CancelFlag) -> Result<Option<Self>, SandboxError> {
        if network == Network::Host {
            return Ok(None);
        }
        let made = thread::scope(|scope| scope.spawn(|| namespace(network)).join());
        let namespace = made
            .unwrap_or_else(|_| Err(io::ErrorKind::Other.into()))
            .map_err(|source| SandboxError::Setup { action: "make a network", source })?;
        let uplink = if network == Network::Private { Some(Uplink::start(&namespace, cancel)?) } else { None };
        Ok(Some(Self { namespace, _uplink: uplink }))
    }

    /// For the calling thread.
    pub fn enter(&self) -> io::Result<()> {
        Ok(move_into_link_name_space(self.namespace.as_fd(), Some(LinkNameSpaceType::Network))?)
    }
}

/// Takes the calling thread into a new one, which it must not outlive.
fn namespace(network: Network) -> io::Result<OwnedFd> {
    sys::unshare(UnshareFlags::NEWNET)?;
    sys::bring_loopback_up()?;
    if network == Network::Private {
        CLOSED.iter().try_for_each(|(address, length)| routes::refuse(*address, *length))?;
    }
    Ok(rustix::fs::open("/proc/thread-self/ns/net", OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())?)
}

/// slirp4netns at work; ended when this is dropped, and ends by itself when brik does.
struct Uplink {
    program: Child,
    /// Its other end is slirp4netns's `--exit-fd`.
    _lifeline: UnixStream,
}

impl Uplink {
    fn start(namespace: &OwnedFd, cancel: &CancelFlag) -> Result<Self, SandboxError> {
        let failed = |action| move |source: io::Error| SandboxError::Setup { action, source };
        let (ready, tell_ready) = rustix::pipe::pipe_with(PipeFlags::CLOEXEC).map_err(|errno| failed("make a pipe")(errno.into()))?;
        let (lifeline, other_end) = UnixStream::pair().map_err(failed("make a pair of sockets"))?;
        let log = rustix::fs::memfd_create(SLIRP, MemfdFlags::CLOEXEC).map_err(|errno| failed("make a log")(errno.into()))?;
        let mut log = File::from(log);
        let mut command = Command::new(SLIRP);
        // What brik's environment holds is none of its business.
        command.env_clear().envs(std::env::var_os("PATH").map(|path| ("PATH", path)));
        command.args(["--configure", "--mtu=65520", "--disable-host-loopback", "--enable-sandbox", "--enable-seccomp"]);
        // A child inherits no other descriptors than its first three.
        command.args(["--ready-fd=0", "--exit-fd=1", "--netns-type=path"]);
        command.arg(format!("/proc/{}/fd/{}", std::process::id(), namespace.as_raw_fd())).arg("tap0");
        command.stdin(tell_ready).stdout(OwnedFd::from(other_end));
        command.stderr(log.try_clone().map_err(failed("make a log"))?);
        let program = command.spawn().map_err(SandboxError::Slirp)?;
        // Its ends of the pipe and the lifeline are its own alone.
        drop(command);
        let uplink = Self { program, _lifeline: lifeline };
        if said_ready(&ready, cancel) {
            return Ok(uplink);
        }
        if cancel.is_cancelled() {
            return Err(SandboxError::Cancelled);
        }
        drop(uplink);
        let mut said = String::new();
        let _ = log.rewind().and_then(|()| log.read_to_string(&mut said));
        Err(SandboxError::Uplink(reason(&said)))
    }
}

impl Drop for Uplink {
    fn drop(&mut self) {
        let _ = self.program.kill();
        let _ = self.program.wait();
    }
}

/// Whether slirp4netns has set the device up, before it ended, the time was over or `cancel` was raised.
fn said_ready(ready: &OwnedFd, cancel: &CancelFlag) -> bool {
    let mut fds = [PollFd::new(ready, PollFlags::IN), PollFd::new(cancel, PollFlags::IN)];
    loop {
        match rustix::event::poll(&mut fds, Some(&PATIENCE)) {
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
            Ok(_) => break,
        }
    }
    let told = !fds[0].revents().is_empty() && fds[1].revents().is_empty();
    told && rustix::io::read(ready, &mut [0; 1]) == Ok(1)
}

/// The lines of its log that complain, as one.
fn reason(log: &str) -> String {
    let complaints = log.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with("WARNING: Support for"));
    let said = complaints.collect::<Vec<_>>().join("; ");
    if said.is_empty() { "it does not answer".to_owned() } else { said }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_slirp_complains_of_is_told_without_its_usual_words() {
        let log = "WARNING: Support for seccomp is experimental\nopen(\"/dev/net/tun\"): Permission denied\nchild failed(1)\n";
        assert_eq!(reason(log), "open(\"/dev/net/tun\"): Permission denied; child failed(1)");
        assert_eq!(reason("WARNING: Support for seccomp is experimental\n"), "it does not answer");
    }
}
