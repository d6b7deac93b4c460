//! What to run and what it may see.

use std::fmt;
use std::net::IpAddr;
use std::path::PathBuf;

use super::rung::Rung;
use super::user::User;

/// One RUN.
#[derive(Debug)]
pub struct RunSpec {
    /// The root file system, which nobody else changes meanwhile: a mounted overlay, or on [`Rung::Chroot`] a directory in a directory
    /// of its own, where there is room for what is covered.
    pub root: PathBuf,
    /// How this process got its rights: [`super::inside`].
    pub rung: Rung,
    pub argv: Vec<Vec<u8>>,
    /// The whole environment of the command; only `HOME` is added where it is missing.
    pub env: Vec<(Vec<u8>, Vec<u8>)>,
    /// Must exist in `root`.
    pub cwd: PathBuf,
    pub user: User,
    pub hostname: String,
    pub network: Network,
    /// Lines of /etc/hosts besides the standard ones.
    pub extra_hosts: Vec<(String, IpAddr)>,
    /// Bytes that /dev/shm may hold.
    pub shm_size: u64,
    /// Processes and threads at the same time.
    pub processes: u32,
    /// Bytes of memory that all of them have together, where there is a limit.
    pub memory: Option<u64>,
    /// Mounted in this order.
    pub mounts: Vec<SandboxMount>,
    /// A bundle of certificates of the host that covers those of the image.
    pub ca_certs: Option<PathBuf>,
    /// Bytes on standard input; else it is /dev/null.
    pub stdin: Option<Vec<u8>>,
}

impl RunSpec {
    /// BuildKit's name for every sandbox.
    pub const HOSTNAME: &'static str = "buildkitsandbox";
    /// 64 MiB, as everywhere.
    pub const SHM_SIZE: u64 = 64 << 20;

    /// More than a build has, and what a machine bears.
    pub const PROCESSES: u32 = 4096;

    /// A command with everything else as BuildKit has it by default.
    pub fn new(root: PathBuf, rung: Rung, user: User, argv: Vec<Vec<u8>>) -> Self {
        Self {
            root,
            rung,
            argv,
            env: Vec::new(),
            cwd: "/".into(),
            user,
            hostname: Self::HOSTNAME.to_owned(),
            network: Network::Host,
            extra_hosts: Vec::new(),
            shm_size: Self::SHM_SIZE,
            processes: Self::PROCESSES,
            memory: None,
            mounts: Vec::new(),
            ca_certs: None,
            stdin: None,
        }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Network {
    /// The network that brik itself has.
    Host,
    /// One of its own, from which slirp4netns(1) leads out.
    Private,
    /// Loopback only.
    None,
}

/// A mount of one RUN. Targets are absolute and made if they are missing; nothing of that stays in the image.
pub enum SandboxMount {
    /// A directory or file of the host.
    Bind { source: PathBuf, target: PathBuf, read_only: bool },
    /// `size` in bytes; `mode` is 1777 if not given.
    Tmpfs { target: PathBuf, size: Option<u64>, mode: Option<u32> },
    /// A file that only this RUN sees and that never reaches a disk.
    Secret { bytes: Vec<u8>, target: PathBuf, access: Access },
    /// A socket in the sandbox whose connections go on to the agent at `agent`.
    SshAgent { agent: PathBuf, target: PathBuf, access: Access },
}

impl SandboxMount {
    pub fn target(&self) -> &PathBuf {
        match self {
            Self::Bind { target, .. } | Self::Tmpfs { target, .. } | Self::Secret { target, .. } | Self::SshAgent { target, .. } => target,
        }
    }
}

/// The bytes of a secret stay out of every log.
impl fmt::Debug for SandboxMount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bind { source, target, read_only } => write!(f, "Bind({source:?} on {target:?}, read_only: {read_only})"),
            Self::Tmpfs { target, size, mode } => write!(f, "Tmpfs({target:?}, {size:?}, {mode:?})"),
            Self::Secret { target, access, .. } => write!(f, "Secret({target:?}, {access:?})"),
            Self::SshAgent { target, access, .. } => write!(f, "SshAgent({target:?}, {access:?})"),
        }
    }
}

/// Who may use a secret or an agent's socket.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Access {
    pub mode: u32,
    pub uid: u32,
    pub gid: u32,
}

impl Access {
    /// A secret's default: root may read it.
    pub const SECRET: Self = Self { mode: 0o400, uid: 0, gid: 0 };
    /// An agent's default: root may use it.
    pub const AGENT: Self = Self { mode: 0o600, uid: 0, gid: 0 };
}

/// Which of the command's outputs a chunk comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    Stdout,
    Stderr,
}

/// What a RUN has only so much of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    Processes,
    Memory,
}

impl fmt::Display for Limit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Processes => "processes",
            Self::Memory => "memory",
        })
    }
}

/// How a command ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// As a shell has it: 128 + n after signal n.
    pub code: i32,
    /// The signal that ended it.
    pub signal: Option<i32>,
    /// A fresh /proc was refused (brik runs in a container whose /proc is partly covered): the RUN saw brik's own, and its process
    /// ids there differ from those it has.
    pub shared_proc: bool,
    /// Nothing else kept it apart from other RUNs of this brik: none ran meanwhile.
    pub alone: bool,
    /// The limit that it ran into, where the kernel tells.
    pub exhausted: Option<Limit>,
    /// Where the kernel does not tell of a limit of processes, the command does: what it wrote last is that it could not start one.
    pub no_process: bool,
    /// A limit of memory was asked for, and brik may make no control group.
    pub memory_unlimited: bool,
    /// Paths, relative to the root, that are as they were but for their ctimes: what stood there was put aside for the time of the RUN.
    pub restored: Vec<PathBuf>,
}
