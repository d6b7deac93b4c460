//! Namespaces, AppArmor, subordinate ids and overlayfs: what the sandbox needs of this machine.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use super::check::{Check, Remedy};
use crate::build::sandbox::{
    APPARMOR_FILE, Refusal, Rung, SandboxError, ask_inside, limits_memory, own_user, probe_ladder, subordinate_ids,
};

/// Whose rights are asked about: those of this process, but under sudo those of the user who called it.
pub struct Subject {
    pub name: Option<String>,
    pub uid: u32,
    /// Called by somebody else, through sudo.
    pub through_sudo: bool,
}

impl Subject {
    pub fn new(env: &std::collections::BTreeMap<String, String>) -> Self {
        let caller = env.get("SUDO_USER").zip(env.get("SUDO_UID").and_then(|uid| uid.parse().ok())).filter(|(_, uid)| *uid != 0);
        let is_root = rustix::process::geteuid().is_root();
        match caller.filter(|_| is_root) {
            Some((name, uid)) => Self { name: Some(name.clone()), uid, through_sudo: true },
            None => {
                let (name, uid) = own_user();
                Self { name, uid, through_sudo: false }
            }
        }
    }

    fn is_root(&self) -> bool {
        self.uid == 0
    }
}

/// `directory` is one on the file system of the store that may be written to; `memory`: whether brik.toml limits that of a RUN.
pub fn checks(subject: &Subject, directory: Option<&Path>, path: &str, memory: bool) -> Vec<Check> {
    let probed = probe_ladder();
    let rung = probed.as_ref().ok().map(|(rung, _)| *rung);
    let mut checks = vec![namespaces(&probed)];
    checks.extend(apparmor(subject, probed.as_ref().err(), |path| std::fs::read_to_string(path).ok()));
    checks.push(ids(subject, rung, path));
    checks.push(overlay(rung, directory));
    // What root may do says nothing of the user who called it.
    let limited = rung.filter(|_| memory && !subject.through_sudo).map(limits_memory);
    checks.extend(limited.map(memory_limit));
    checks
}

type Probed = Result<(Rung, Option<Refusal>), SandboxError>;

fn namespaces(probed: &Probed) -> Check {
    const NAME: &str = "namespaces";
    match probed {
        Ok((rung @ (Rung::Root | Rung::UserNamespace), _)) => Check::ok(NAME, rung.to_string()),
        Ok((rung @ Rung::SingleUid, _)) => {
            Check::warning(NAME, format!("{rung}: file owners are not kept and USER is ignored, see subordinate ids"))
        }
        Ok((rung @ Rung::Chroot, reason)) => {
            let check =
                Check::warning(NAME, format!("{rung}: a RUN is kept apart by its root directory alone{}", because(reason.as_ref())));
            reason.iter().fold(check, |check, reason| check.fix(reason.fix()))
        }
        Err(SandboxError::Refused(reason)) => {
            let check = Check::failed(NAME, reason.reason()).fix(reason.fix());
            match reason {
                Refusal::AppArmor { program } => check.remedy(Remedy::AllowNamespaces(program.clone())),
                _ => check,
            }
        }
        Err(error) => Check::failed(NAME, error.to_string()),
    }
}

fn because(reason: Option<&Refusal>) -> String {
    reason.map(|reason| format!("; {}", reason.reason())).unwrap_or_default()
}

const RESTRICTION: &str = "/proc/sys/kernel/apparmor_restrict_unprivileged_userns";

/// `None` where the kernel knows no such restriction.
fn apparmor(subject: &Subject, refused: Option<&SandboxError>, read: impl Fn(&Path) -> Option<String>) -> Option<Check> {
    const NAME: &str = "AppArmor";
    let restricted = read(Path::new(RESTRICTION))?.trim() == "1";
    let program = std::env::current_exe().unwrap_or_else(|_| PathBuf::from("/usr/local/bin/brik"));
    let profiled = || read(Path::new(APPARMOR_FILE)).is_some_and(|text| text.contains(&program.display().to_string()));
    Some(match refused {
        _ if !restricted => Check::ok(NAME, "does not restrict user namespaces"),
        // Told by the check of namespaces.
        Some(_) => Check::failed(NAME, "keeps brik from using user namespaces, see namespaces"),
        None if subject.through_sudo && !profiled() => {
            let found = format!(
                "keeps brik from using user namespaces where it is not root, as {} is not",
                subject.name.as_deref().unwrap_or("it")
            );
            let fix = Refusal::AppArmor { program: program.clone() }.fix();
            Check::warning(NAME, found).fix(fix).remedy(Remedy::AllowNamespaces(program))
        }
        None if subject.is_root() => Check::ok(NAME, "restricts user namespaces, which root does not need"),
        None => Check::ok(NAME, "restricts user namespaces, and lets brik have them"),
    })
}

fn ids(subject: &Subject, rung: Option<Rung>, path: &str) -> Check {
    const NAME: &str = "subordinate ids";
    match rung {
        Some(Rung::SingleUid) if subject.is_root() => {
            return Check::warning(NAME, "this root is alone in its user namespace: files get no other owners")
                .fix("run brik outside of it, or give its namespace more ids");
        }
        _ if subject.is_root() => return Check::ok(NAME, "root needs none"),
        _ => {}
    }
    let name = subject.name.clone();
    let (uids, gids) = subordinate_ids(subject.uid, name.as_deref().unwrap_or_default());
    let shown = name.clone().unwrap_or_else(|| format!("uid {}", subject.uid));
    let range = |fix: Check| match &name {
        Some(name) => fix
            .fix(format!("sudo usermod --add-subuids 200000-265535 --add-subgids 200000-265535 {name}"))
            .remedy(Remedy::GiveSubordinateIds(name.clone())),
        None => fix.fix(format!("echo {0}:200000:65536 | sudo tee -a /etc/subuid /etc/subgid", subject.uid)),
    };
    let helpless = ["newuidmap", "newgidmap"].into_iter().find_map(|program| helper(program, path));
    match (uids, gids, helpless) {
        (0, _, _) | (_, 0, _) => {
            range(Check::warning(NAME, format!("{shown} has {uids} in /etc/subuid and {gids} in /etc/subgid: a single id is used")))
        }
        (_, _, Some((found, fix))) => Check::warning(NAME, found).fix(fix),
        _ if rung == Some(Rung::SingleUid) => Check::warning(
            NAME,
            format!("{shown} has {uids}, and newuidmap may not give them here: is this a container, or `no_new_privs` set?"),
        ),
        // Docker's and Debian's own; less is enough for most images, and not for those with high ids.
        (..65_536, _, _) | (_, ..65_536, _) => {
            range(Check::warning(NAME, format!("{shown} has {uids} and {gids}: images with higher ids fail")))
        }
        _ => Check::ok(NAME, format!("{shown} has {uids} uids and {gids} gids, and newuidmap gives them")),
    }
}

/// What is wrong with a program that maps ids, and the fix.
fn helper(program: &str, path: &str) -> Option<(String, String)> {
    let Some(file) = std::env::split_paths(path).map(|directory| directory.join(program)).find(|file| file.is_file()) else {
        let release = std::fs::read_to_string("/etc/os-release").unwrap_or_default();
        return Some((format!("{program} is not installed: a single id is used"), install(&release)));
    };
    let mode = std::fs::metadata(&file).map(|metadata| metadata.permissions().mode()).unwrap_or_default();
    let capable = rustix::fs::getxattr(&file, "security.capability", &mut [0u8; 64][..]).is_ok_and(|length| length > 0);
    let shown = file.display();
    (mode & 0o4000 == 0 && !capable)
        .then(|| (format!("{shown} is neither setuid nor has capabilities: a single id is used"), format!("sudo chmod u+s {shown}")))
}

/// The package that has newuidmap, by os-release(5).
fn install(release: &str) -> String {
    let field =
        |name: &str| release.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('=')).map(|value| value.trim_matches('"'));
    let ids = format!("{} {}", field("ID").unwrap_or_default(), field("ID_LIKE").unwrap_or_default());
    let is = |name: &str| ids.split(' ').any(|id| id == name);
    let command = match () {
        () if is("alpine") => "apk add shadow-uidmap",
        () if is("fedora") || is("rhel") => "dnf install shadow-utils",
        () if is("arch") => "pacman -S shadow",
        () if is("suse") || is("opensuse") => "zypper install shadow",
        () => "apt-get install uidmap",
    };
    format!("sudo {command}")
}

fn overlay(rung: Option<Rung>, directory: Option<&Path>) -> Check {
    const NAME: &str = "overlayfs";
    match (rung, directory) {
        (None, _) => Check::failed(NAME, "not tried: there are no namespaces to mount it in"),
        (_, None) => Check::failed(NAME, "not tried: the store cannot be written to"),
        (Some(Rung::Chroot), Some(directory)) => devices(directory),
        (Some(_), Some(directory)) => {
            let asked = ask_inside(directory.as_os_str().as_bytes());
            let wrong = |found: String| {
                let fix = "choose a file system such as ext4, xfs or btrfs for the store: export BRIK_STORE=/var/tmp/brik";
                let fix = if found.contains("modprobe") { "sudo modprobe overlay" } else { fix };
                Check::failed(NAME, found).fix(fix)
            };
            match asked {
                Ok((0, _)) => Check::ok(NAME, "mounted, written to and read back where the store is"),
                Ok((_, said)) => wrong(said.trim().to_owned()),
                Err(error) => wrong(error.to_string()),
            }
        }
    }
}

/// Without namespaces nothing is mounted, and the devices of a RUN are made in its root.
fn devices(directory: &Path) -> Check {
    const NAME: &str = "devices";
    let device = directory.join("null");
    let mode = rustix::fs::Mode::from_raw_mode(0o666);
    let made = rustix::fs::mknodat(rustix::fs::CWD, &device, rustix::fs::FileType::CharacterDevice, mode, rustix::fs::makedev(1, 3));
    let used = made.map_err(std::io::Error::from).and_then(|()| std::fs::write(&device, "x"));
    match used {
        Ok(()) => Check::ok(NAME, "can be made where the store is; overlayfs is not used without namespaces"),
        Err(error) => Check::failed(NAME, format!("the device files of a RUN cannot be made: {error}"))
            .fix("start the container with `--cap-add=MKNOD`, and put the store on a file system without `nodev`"),
    }
}

/// Whether `memory` in `[build]` does what it says.
fn memory_limit(limited: bool) -> Check {
    const NAME: &str = "memory limit";
    match limited {
        true => Check::ok(NAME, "brik may make control groups, which hold a RUN to `memory` in [build]"),
        false => Check::warning(NAME, "`memory` in [build] has no effect: brik has no right to make a control group here")
            .fix("start brik in a control group that it may write to (cgroups(7), \"delegation\"), or remove `memory`"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cli::doctor::check::Status;

    fn subject(uid: u32, through_sudo: bool) -> Subject {
        Subject { name: Some("ann".to_owned()), uid, through_sudo }
    }

    #[test]
    fn a_restriction_matters_to_who_is_kept_out_by_it() {
        let program = std::env::current_exe().unwrap().display().to_string();
        let refused = SandboxError::Refused(Refusal::NamespaceLimit);
        for (setting, profile, subject, error, expected) in [
            (None, "", subject(1000, false), None, None),
            (Some("0\n"), "", subject(1000, false), None, Some(Status::Ok)),
            (Some("1\n"), "", subject(1000, false), Some(&refused), Some(Status::Failed)),
            (Some("1\n"), "", subject(0, false), None, Some(Status::Ok)),
            (Some("1\n"), "", subject(1000, true), None, Some(Status::Warning)),
            (Some("1\n"), program.as_str(), subject(1000, true), None, Some(Status::Ok)),
        ] {
            let read = |path: &Path| if path == Path::new(RESTRICTION) { setting.map(str::to_owned) } else { Some(profile.to_owned()) };
            assert_eq!(apparmor(&subject, error, read).map(|check| check.status), expected, "{setting:?} {profile:?}");
        }
    }

    #[test]
    fn every_rung_says_what_it_lacks() {
        let chroot = namespaces(&Ok((Rung::Chroot, Some(Refusal::Container))));
        assert!(chroot.status == Status::Warning && chroot.fix.unwrap().contains("seccomp=unconfined"));
        let program = PathBuf::from("/opt/brik");
        let refused = namespaces(&Err(SandboxError::Refused(Refusal::AppArmor { program: program.clone() })));
        assert_eq!((refused.status, &refused.remedy), (Status::Failed, &Some(Remedy::AllowNamespaces(program))));
        assert!(refused.fix.unwrap().contains("profile brik /opt/brik flags=(unconfined)"));
        assert_eq!(namespaces(&Ok((Rung::UserNamespace, None))).status, Status::Ok);
    }

    #[test]
    fn the_package_of_newuidmap_goes_by_the_distribution() {
        for (release, word) in [
            ("ID=ubuntu\nID_LIKE=debian\n", "apt-get install uidmap"),
            ("ID=\"alpine\"\n", "apk add shadow-uidmap"),
            ("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n", "dnf"),
            ("", "apt-get"),
        ] {
            assert!(install(release).contains(word), "{release:?}");
        }
    }
}
