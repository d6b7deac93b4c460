//! Files that were fetched, made the same on every machine: modes and times.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, utimensat};

/// Sets the modification time, of a link itself (seconds since 1970).
pub(super) fn set_time(path: &Path, seconds: i64) -> io::Result<()> {
    let time = Timespec { tv_sec: seconds, tv_nsec: 0 };
    Ok(utimensat(CWD, path, &Timestamps { last_access: time, last_modification: time }, AtFlags::SYMLINK_NOFOLLOW)?)
}

/// Gives everything in `directory`, itself included, the modes that git knows (0755 for directories and executables, 0644 else; below
/// `.git`, objects stay read-only), whatever the umask was, and one time. Without `keep_git`, whatever is named `.git` is removed: git has no such name
/// in a tree, so it is the repository or what links a submodule to it.
pub(super) fn settle(directory: &Path, seconds: i64, keep_git: bool) -> io::Result<()> {
    settle_below(directory, seconds, keep_git, false)
}

/// `inside`: below `.git`.
fn settle_below(directory: &Path, seconds: i64, keep_git: bool, inside: bool) -> io::Result<()> {
    for entry in fs::read_dir(directory)? {
        let entry = entry?;
        let (path, kind) = (entry.path(), entry.file_type()?);
        let is_git = entry.file_name() == ".git";
        if !keep_git && is_git {
            if kind.is_dir() {
                fs::remove_dir_all(&path)?
            } else {
                fs::remove_file(&path)?
            }
            continue;
        }
        if kind.is_dir() {
            settle_below(&path, seconds, keep_git, inside || is_git)?;
            continue;
        }
        if kind.is_file() {
            let mode = entry.metadata()?.permissions().mode();
            // A umask may take anything from the owner. Whoever it leaves the right to execute, it is an executable.
            let owner = match (inside, mode & 0o111) {
                (true, _) => mode & 0o700,
                (false, 0) => 0o600,
                (false, _) => 0o700,
            };
            fs::set_permissions(&path, fs::Permissions::from_mode(owner | (owner & 0o500) >> 3 | (owner & 0o500) >> 6))?;
        }
        set_time(&path, seconds)?;
    }
    fs::set_permissions(directory, fs::Permissions::from_mode(0o755))?;
    set_time(directory, seconds)
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::{MetadataExt, symlink};

    use super::*;

    #[test]
    fn modes_and_times_do_not_depend_on_who_fetched() {
        let root = tempfile::tempdir().unwrap();
        let path = |name: &str| root.path().join(name);
        fs::create_dir_all(path("sub/.git")).unwrap();
        for (name, mode) in [
            ("plain", 0o600),
            ("masked", 0o400),
            ("program", 0o700),
            ("masked program", 0o477),
            ("sub/.git/object", 0o400),
            ("sub/.git/config", 0o600),
        ] {
            fs::write(path(name), "").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
        fs::set_permissions(path("sub"), fs::Permissions::from_mode(0o700)).unwrap();
        symlink("/nowhere", path("link")).unwrap();
        settle(root.path(), 7, true).unwrap();
        for (name, mode) in [
            ("", 0o755),
            ("plain", 0o644),
            ("masked", 0o644),
            ("program", 0o755),
            ("masked program", 0o755),
            ("sub", 0o755),
            ("sub/.git/object", 0o444),
            ("sub/.git/config", 0o644),
            ("link", 0o777),
        ] {
            let metadata = fs::symlink_metadata(path(name)).unwrap();
            assert_eq!((metadata.mode() & 0o7777, metadata.mtime()), (mode, 7), "{name:?}");
        }
        settle(root.path(), 7, false).unwrap();
        assert!(!path("sub/.git").exists() && path("sub").exists());
    }
}
