//! Rung 4: why this machine refuses namespaces, and the fix.

use std::fmt;
use std::fs;
use std::path::{Path, PathBuf};

use rustix::io::Errno;

/// The right that is missing, as far as the machine tells.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// Ubuntu 23.10 and later: `kernel.apparmor_restrict_unprivileged_userns`.
    AppArmor {
        program: PathBuf,
    },
    /// `user.max_user_namespaces` is 0 or used up.
    NamespaceLimit,
    /// Debian's older `kernel.unprivileged_userns_clone`.
    UnprivilegedClone,
    /// A seccomp filter or missing capability of the container that brik runs in.
    Container,
    /// Root without namespaces, and without what it takes to do without (rung 3).
    Capabilities(Vec<&'static str>),
    Unknown(Errno),
}

/// What the kernel's settings say about a refused namespace.
pub(super) fn diagnose(errno: Errno) -> Refusal {
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/brik"));
    diagnose_with(errno, program, |path| fs::read_to_string(path).ok())
}

fn diagnose_with(errno: Errno, program: PathBuf, read: impl Fn(&Path) -> Option<String>) -> Refusal {
    let setting = |name: &str| read(&Path::new("/proc/sys").join(name)).map(|text| text.trim().to_owned());
    let filtered = || read(Path::new("/proc/self/status")).is_some_and(|status| status.lines().any(|line| line == "Seccomp:\t2"));
    match errno {
        Errno::NOSPC | Errno::USERS => Refusal::NamespaceLimit,
        Errno::PERM | Errno::ACCESS if setting("kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") => {
            Refusal::AppArmor { program }
        }
        Errno::PERM | Errno::ACCESS if setting("kernel/unprivileged_userns_clone").as_deref() == Some("0") => Refusal::UnprivilegedClone,
        Errno::PERM | Errno::ACCESS | Errno::NOSYS if setting("user/max_user_namespaces").as_deref() == Some("0") => {
            Refusal::NamespaceLimit
        }
        Errno::PERM | Errno::ACCESS | Errno::NOSYS if filtered() => Refusal::Container,
        other => Refusal::Unknown(other),
    }
}

impl Refusal {
    /// What is missing.
    pub fn reason(&self) -> String {
        match self {
            Self::AppArmor { .. } => "AppArmor keeps unprivileged programs from using user namespaces (Ubuntu's default)".to_owned(),
            Self::NamespaceLimit => "the limit of user namespaces is reached (user.max_user_namespaces)".to_owned(),
            Self::UnprivilegedClone => "the kernel allows user namespaces to root only".to_owned(),
            Self::Container => "the container that brik runs in filters unshare and mount".to_owned(),
            Self::Capabilities(missing) => format!(
                "the container that brik runs in refuses them, and to do without, root needs the capabilities {}",
                missing.join(", ")
            ),
            Self::Unknown(errno) => format!("{errno} (no known setting explains it)"),
        }
    }

    /// What grants it: a command, where brik's own machine can.
    pub fn fix(&self) -> String {
        match self {
            Self::AppArmor { program } => {
                let profile = apparmor_profile(program).replace('\n', "\\n");
                let file = APPARMOR_FILE;
                format!("printf '{profile}' | sudo tee {file} && sudo apparmor_parser -r {file}")
            }
            Self::NamespaceLimit => "sudo sysctl -w user.max_user_namespaces=15000".to_owned(),
            Self::UnprivilegedClone => "sudo sysctl -w kernel.unprivileged_userns_clone=1".to_owned(),
            Self::Container => "start it with `--security-opt seccomp=unconfined --security-opt apparmor=unconfined` (Kubernetes: \
                                `seccompProfile: {type: Unconfined}`), or run brik outside of it"
                .to_owned(),
            Self::Capabilities(missing) => {
                let flags: Vec<String> = missing.iter().map(|name| format!("`--cap-add={name}`")).collect();
                format!("start the container with {}", flags.join(" "))
            }
            Self::Unknown(_) => "does `unshare --user --mount true` work for this user?".to_owned(),
        }
    }
}

/// Where the profile of brik belongs.
pub const APPARMOR_FILE: &str = "/etc/apparmor.d/brik";

/// A profile that allows user namespaces to one program, and else restricts nothing.
pub fn apparmor_profile(program: &Path) -> String {
    let program = program.display();
    format!("abi <abi/4.0>,\ninclude <tunables/global>\nprofile brik {program} flags=(unconfined) {{\n  userns,\n}}\n")
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (reason, fix) = (self.reason(), self.fix());
        match self {
            Self::AppArmor { .. } => write!(
                f,
                "{reason}. Either allow brik alone:\n  {fix}\nor everybody:\n  sudo sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"
            ),
            _ => write!(f, "{reason}: {fix}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_names_the_setting_that_causes_it() {
        type Files = &'static [(&'static str, &'static str)];
        let cases: [(Errno, Files, &str); 6] = [
            (
                Errno::PERM,
                &[("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")],
                "profile brik /opt/brik flags=(unconfined)",
            ),
            (
                Errno::ACCESS,
                &[("/proc/sys/kernel/apparmor_restrict_unprivileged_userns", "1\n")],
                "apparmor_restrict_unprivileged_userns=0",
            ),
            (Errno::NOSPC, &[], "user.max_user_namespaces=15000"),
            (Errno::PERM, &[("/proc/sys/kernel/unprivileged_userns_clone", "0\n")], "unprivileged_userns_clone=1"),
            (Errno::PERM, &[("/proc/self/status", "Name:\tbrik\nSeccomp:\t2\n")], "seccomp=unconfined"),
            (Errno::NOMEM, &[("/proc/self/status", "Seccomp:\t2\n")], "no known setting"),
        ];
        for (errno, files, expected) in cases {
            let read = |path: &Path| files.iter().find(|(name, _)| Path::new(name) == path).map(|(_, text)| (*text).to_owned());
            let text = diagnose_with(errno, "/opt/brik".into(), read).to_string();
            assert!(text.contains(expected), "{errno:?} {files:?}: {text}");
        }
    }
}
