//! Opening paths below a directory so that no symbolic link, `..` or mount trick leads out of it.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use rustix::fs::{Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// Opens `path` (a tree path; empty for `root` itself). A symbolic link in any component is `ELOOP`; with `O_PATH` in
/// `flags` a link in the last place is opened itself.
pub(super) fn open_beneath(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let flags = flags | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let path = if path.is_empty() { b"." } else { path };
    loop {
        match openat2(root, path, flags, Mode::empty(), ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS) {
            // EAGAIN: a rename elsewhere raced with the resolution (openat2(2)).
            Err(Errno::AGAIN | Errno::INTR) => {}
            // Before Linux 5.6, or under a seccomp profile that does not know the call.
            Err(Errno::NOSYS | Errno::PERM) => return open_step_by_step(root, path, flags),
            other => return Ok(other?),
        }
    }
}

fn open_step_by_step(root: BorrowedFd<'_>, path: &[u8], flags: OFlags) -> io::Result<OwnedFd> {
    let directory = OFlags::PATH | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let (parents, last) = match path.iter().rposition(|&b| b == b'/') {
        Some(slash) => (&path[..slash], &path[slash + 1..]),
        None => (&b""[..], path),
    };
    if path.split(|&b| b == b'/').any(|component| component == b"..") {
        return Err(Errno::XDEV.into());
    }
    let mut at: Option<OwnedFd> = None;
    for component in parents.split(|&b| b == b'/').filter(|component| !component.is_empty()) {
        at = Some(openat(at.as_ref().map_or(root, AsFd::as_fd), component, directory, Mode::empty())?);
    }
    Ok(openat(at.as_ref().map_or(root, AsFd::as_fd), last, flags, Mode::empty())?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    #[test]
    fn no_link_is_followed_and_nothing_above_is_reached() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path();
        fs::create_dir_all(root.join("in/a")).unwrap();
        fs::write(root.join("in/a/file"), "").unwrap();
        fs::write(root.join("secret"), "").unwrap();
        symlink("a", root.join("in/link")).unwrap();
        symlink("../secret", root.join("in/out")).unwrap();
        let fd = OwnedFd::from(fs::File::open(root.join("in")).unwrap());
        for open in [open_beneath, open_step_by_step] {
            let opens = |path: &str| open(fd.as_fd(), path.as_bytes(), OFlags::RDONLY | OFlags::NOFOLLOW).is_ok();
            assert!(opens("a/file"));
            for path in ["link/file", "out", "../secret", "a/../../secret", "missing"] {
                assert!(!opens(path), "{path}");
            }
            assert!(open(fd.as_fd(), b"out", OFlags::PATH | OFlags::NOFOLLOW).is_ok());
        }
    }
}
