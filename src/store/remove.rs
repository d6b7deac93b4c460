//! Removing trees that strangers have made: whatever their directories permit, and however deep they are. No recursion and few
//! descriptors: a RUN can make a directory within a directory as often as it likes.

use std::ffi::CString;
use std::fs;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::path::Path;

use rustix::fs::{AtFlags, CWD, Dir, Mode, OFlags, RenameFlags, chmodat, openat, renameat_with, unlinkat};
use rustix::io::Errno;

/// Levels that are open at the same time. What lies deeper is moved to the top, and removed from there.
const DEEPEST: usize = 64;

/// Removes a tree, or what else is at `path`. What cannot be removed stays.
pub fn remove_tree(path: &Path) {
    let Ok(meta) = fs::symlink_metadata(path) else { return };
    if !meta.is_dir() {
        let _ = fs::remove_file(path);
        return;
    }
    let Ok(name) = CString::new(path.as_os_str().as_encoded_bytes()) else { return };
    if let Ok(top) = open(CWD, &name) {
        empty(top);
    }
    let _ = fs::remove_dir(path);
}

/// A directory that is being emptied, and those of its names that nobody has looked at.
struct Level {
    directory: OwnedFd,
    names: Vec<CString>,
}

impl Level {
    fn new(directory: OwnedFd) -> Self {
        let entries = Dir::read_from(&directory).into_iter().flatten().flatten();
        let names = entries.map(|entry| entry.file_name().to_owned()).filter(|name| !matches!(name.to_bytes(), b"." | b".."));
        Self { names: names.collect(), directory }
    }
}

fn empty(top: OwnedFd) {
    let mut open_levels = vec![Level::new(top)];
    // The name of each level but the top's, in the one above.
    let mut path: Vec<CString> = Vec::new();
    let mut moved = 0u64;
    while let Some(level) = open_levels.last_mut() {
        let Some(name) = level.names.pop() else {
            open_levels.pop();
            if let (Some(above), Some(name)) = (open_levels.last(), path.pop()) {
                let _ = unlinkat(&above.directory, &name, AtFlags::REMOVEDIR);
            }
            continue;
        };
        match unlinkat(&level.directory, &name, AtFlags::empty()) {
            // unlink(2): EISDIR on Linux, EPERM in POSIX and for immutable files.
            Err(Errno::ISDIR | Errno::PERM) => {}
            _ => continue,
        }
        let Ok(directory) = open(level.directory.as_fd(), &name) else { continue };
        if open_levels.len() < DEEPEST {
            open_levels.push(Level::new(directory));
            path.push(name);
        } else if let [top, .., level] = &mut open_levels[..] {
            top.names.extend(lift(level.directory.as_fd(), &name, top.directory.as_fd(), &mut moved));
        }
    }
}

/// Opens a directory, having made it its owner's.
fn open(above: BorrowedFd<'_>, name: &CString) -> rustix::io::Result<OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let directory = match openat(above, name, flags, Mode::empty()) {
        Err(Errno::ACCESS) => {
            // What stands under the name may be a link by now: the mode is that of what was found.
            let found = openat(above, name, flags.union(OFlags::PATH), Mode::empty())?;
            chmodat(CWD, format!("/proc/self/fd/{}", found.as_raw_fd()), Mode::RWXU, AtFlags::empty())?;
            openat(above, name, flags, Mode::empty())?
        }
        opened => opened?,
    };
    let mode = Mode::from_raw_mode(rustix::fs::fstat(&directory)?.st_mode);
    if !mode.contains(Mode::RWXU) {
        let _ = rustix::fs::fchmod(&directory, Mode::RWXU);
    }
    Ok(directory)
}

/// Moves a directory to the top, under a name that is free there.
fn lift(above: BorrowedFd<'_>, name: &CString, top: BorrowedFd<'_>, moved: &mut u64) -> Option<CString> {
    loop {
        let free = CString::new(format!("deep-{moved}")).ok()?;
        *moved += 1;
        match renameat_with(above, name, top, &free, RenameFlags::NOREPLACE) {
            Ok(()) => return Some(free),
            Err(Errno::EXIST) => {}
            Err(_) => return None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn whatever_its_directories_permit_a_tree_goes() {
        let room = tempfile::tempdir().unwrap();
        let (tree, outside) = (room.path().join("tree"), room.path().join("outside"));
        fs::create_dir_all(tree.join("closed/below")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("kept"), "").unwrap();
        fs::write(tree.join("closed/below/file"), "").unwrap();
        std::os::unix::fs::symlink(&outside, tree.join("closed/link")).unwrap();
        for closed in ["closed/below", "closed"] {
            fs::set_permissions(tree.join(closed), fs::Permissions::from_mode(0o000)).unwrap();
        }
        remove_tree(&tree);
        assert!(!tree.exists() && outside.join("kept").exists());
    }

    #[test]
    fn the_depth_of_a_tree_costs_neither_stack_nor_descriptors() {
        let room = tempfile::tempdir().unwrap();
        let tree = room.path().join("tree");
        fs::create_dir(&tree).unwrap();
        fs::create_dir(tree.join("deep-0")).unwrap();
        fs::write(tree.join("deep-0/file"), "").unwrap();
        let mut here = OwnedFd::from(fs::File::open(&tree).unwrap());
        for _ in 0..30_000 {
            rustix::fs::mkdirat(&here, "d", Mode::RWXU).unwrap();
            here = openat(&here, "d", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty()).unwrap();
        }
        drop(here);
        let removing = std::thread::Builder::new().stack_size(256 << 10).spawn(move || {
            remove_tree(&tree);
            assert!(!tree.exists());
        });
        removing.unwrap().join().unwrap();
    }
}
