//! What the two processes of a RUN tell brik, over a pipe, in records of eight bytes.

use std::os::fd::BorrowedFd;

use rustix::io::Errno;

/// The steps between fork and exec.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step {
    Session,
    Guard,
    Fork,
    Root,
    MountProc,
    ConfineProc,
    Limits,
    Stdio,
    Capabilities,
    KeepApart,
    Filter,
    Identity,
    WorkingDirectory,
    Exec,
}

impl Step {
    const ALL: [Self; 14] = [
        Self::Session,
        Self::Guard,
        Self::Fork,
        Self::Root,
        Self::MountProc,
        Self::ConfineProc,
        Self::Limits,
        Self::Stdio,
        Self::Capabilities,
        Self::KeepApart,
        Self::Filter,
        Self::Identity,
        Self::WorkingDirectory,
        Self::Exec,
    ];

    pub const fn describe(self) -> &'static str {
        match self {
            Self::Session => "start a session",
            Self::Guard => "tie the command's life to brik's",
            Self::Fork => "fork into a process id namespace",
            Self::Root => "change the root directory",
            Self::MountProc => "mount /proc",
            Self::ConfineProc => "cover parts of /proc",
            Self::Limits => "set its limits",
            Self::Stdio => "connect standard input and output",
            Self::Capabilities => "drop capabilities",
            Self::KeepApart => "keep it apart from other RUNs",
            Self::Filter => "install the system call filter",
            Self::Identity => "change to the user",
            Self::WorkingDirectory => "change the working directory",
            Self::Exec => "execute the command",
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Record {
    Failed(Step, Errno),
    /// The exit code, or [`Record::SIGNALLED`] + signal.
    Ended(i32),
    SharedProc,
}

impl Record {
    /// No exit code is as high.
    pub const SIGNALLED: i32 = 1000;
    const ENDED: u32 = 1000;
    const SHARED_PROC: u32 = 1001;

    /// Writes at once (less than PIPE_BUF), and without allocating. If brik is gone there is nobody to tell.
    pub fn write(self, pipe: BorrowedFd<'_>) {
        let (kind, value) = match self {
            Self::Failed(step, errno) => (step as u32, errno.raw_os_error()),
            Self::Ended(code) => (Self::ENDED, code),
            Self::SharedProc => (Self::SHARED_PROC, 0),
        };
        let mut bytes = [0; 8];
        bytes[..4].copy_from_slice(&kind.to_ne_bytes());
        bytes[4..].copy_from_slice(&value.to_ne_bytes());
        let _ = rustix::io::write(pipe, &bytes);
    }

    /// All whole records of `bytes`.
    pub fn read_all(bytes: &[u8]) -> Vec<Self> {
        let (records, _) = bytes.as_chunks::<8>();
        let parse = |[a, b, c, d, e, f, g, h]: &[u8; 8]| {
            let (kind, value) = (u32::from_ne_bytes([*a, *b, *c, *d]), i32::from_ne_bytes([*e, *f, *g, *h]));
            match kind {
                Self::ENDED => Some(Self::Ended(value)),
                Self::SHARED_PROC => Some(Self::SharedProc),
                step => Step::ALL.get(step as usize).map(|step| Self::Failed(*step, Errno::from_raw_os_error(value))),
            }
        };
        records.iter().filter_map(parse).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_survive_the_pipe_in_order() -> Result<(), Box<dyn std::error::Error>> {
        use std::io::Read;
        use std::os::fd::AsFd;

        let failures = Step::ALL.map(|step| Record::Failed(step, Errno::PERM));
        let sent: Vec<_> = failures.into_iter().chain([Record::SharedProc, Record::Ended(7), Record::Ended(1009)]).collect();
        let (mut reader, writer) = std::io::pipe()?;
        sent.iter().for_each(|record| record.write(writer.as_fd()));
        drop(writer);
        let mut bytes = Vec::new();
        reader.read_to_end(&mut bytes)?;
        assert_eq!(Record::read_all(&bytes), sent);
        Ok(())
    }
}
