//! What there is on the host for a RUN to reach.

use std::fs;
use std::net::TcpListener;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::{SocketAddr, UnixListener};
use std::path::{Path, PathBuf};

use crate::support::tools;

/// How the canary file begins.
pub const CANARY: &str = "canary of the host";
/// The content of the secret that another RUN has, and the same as no redactor knows it (rot13).
pub const SECRET: &str = "frperg-bs-nabgure";
pub const SECRET_ROT13: &str = "secret-of-another";

pub struct Host {
    directory: tempfile::TempDir,
    abstract_name: String,
    /// What an orphan of a RUN sleeps.
    pub orphan: String,
    _abstract: UnixListener,
    tcp: TcpListener,
}

impl Host {
    /// `None`, and a printed reason, where C programs cannot be made.
    pub fn prepare() -> Option<Self> {
        let directory = tempfile::Builder::new().prefix("brik-escapes-").tempdir().expect("a temporary directory");
        if !tools::made_static("escapes/escape.c", &directory.path().join("escape")) {
            return None;
        }
        let abstract_name = format!("brik-escapes-{}-{}", std::process::id(), fastrand::u64(..));
        let address = SocketAddr::from_abstract_name(&abstract_name).expect("an abstract address");
        let host = Self {
            directory,
            abstract_name,
            orphan: fastrand::u32(100_000..).to_string(),
            _abstract: UnixListener::bind_addr(&address).expect("an abstract socket"),
            tcp: TcpListener::bind("127.0.0.1:0").expect("a port"),
        };
        host.restore();
        fs::write(host.secret(), SECRET).expect("a file");
        Some(host)
    }

    /// Makes what nobody may change what it was.
    pub fn restore(&self) {
        let _ = fs::remove_dir_all(self.treasury());
        fs::create_dir_all(self.treasury()).expect("a directory");
        fs::write(self.canary(), format!("{CANARY}\n")).expect("a file");
    }

    pub fn program(&self) -> PathBuf {
        self.directory.path().join("escape")
    }

    /// The directory that nobody may write to.
    pub fn treasury(&self) -> PathBuf {
        self.directory.path().join("treasury")
    }

    pub fn canary(&self) -> PathBuf {
        self.treasury().join("canary")
    }

    pub fn secret(&self) -> PathBuf {
        self.directory.path().join("secret")
    }

    /// The arguments of `escape`.
    pub fn arguments(&self) -> String {
        let port = self.tcp.local_addr().expect("an address").port();
        format!("{} {} {port}", self.canary().display(), self.abstract_name)
    }

    /// Whether anybody has connected to the service on loopback since it was asked last, even one that never heard of its answer.
    pub fn has_visitor(&self) -> bool {
        self.tcp.set_nonblocking(true).expect("a socket");
        std::iter::from_fn(|| self.tcp.accept().ok()).count() > 0
    }

    /// Everything that a RUN may not change.
    pub fn state(&self) -> String {
        let null = fs::metadata("/dev/null").expect("/dev/null");
        let names = |directory: &Path| -> Vec<String> {
            fs::read_dir(directory).expect("a directory").map(|entry| entry.expect("an entry").path().display().to_string()).collect()
        };
        let canary = fs::read_to_string(self.canary());
        format!("{:o} {}.{} {:?} {canary:?}", null.mode(), null.ctime(), null.ctime_nsec(), names(&self.treasury()))
    }

    /// Whether a process of a RUN is still there; it is killed.
    pub fn has_orphan(&self) -> bool {
        let mut found = false;
        for process in fs::read_dir("/proc").expect("/proc").flatten() {
            let words = fs::read(process.path().join("cmdline")).unwrap_or_default();
            if words.split(|b| *b == 0).any(|word| word == self.orphan.as_bytes()) {
                found = true;
                let pid = process.file_name().to_string_lossy().parse().ok().and_then(rustix::process::Pid::from_raw);
                let _ = pid.map(|pid| rustix::process::kill_process(pid, rustix::process::Signal::KILL));
            }
        }
        found
    }
}
