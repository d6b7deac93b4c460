//! A flag that ends every RUN at once when it is raised, without polling.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::sync::Arc;

use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec};

/// Shared by everybody who may cancel and everybody who must stop; once raised it stays so.
#[derive(Debug, Clone)]
pub struct CancelFlag(Arc<OwnedFd>);

impl CancelFlag {
    /// Fails only if the process has no file descriptor left.
    pub fn new() -> io::Result<Self> {
        Ok(Self(Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?)))
    }

    /// Raises the flag. Async-signal-safe.
    pub fn cancel(&self) {
        // The only error is a full counter, which is as raised as can be.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    pub fn is_cancelled(&self) -> bool {
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        rustix::event::poll(&mut fds, Some(&Timespec::default())).is_ok_and(|ready| ready > 0)
    }
}

impl AsFd for CancelFlag {
    /// Readable once the flag is raised; must never be read from.
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_raised_flag_stays_raised_for_every_clone() -> io::Result<()> {
        let flag = CancelFlag::new()?;
        let other = flag.clone();
        assert!(!other.is_cancelled());
        flag.cancel();
        assert!(other.is_cancelled() && other.is_cancelled() && flag.is_cancelled());
        Ok(())
    }
}
