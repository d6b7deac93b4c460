//! Snapshots stacked with overlayfs.
//!
//! A lower is a snapshot directory: whiteouts are character devices 0:0, opaque directories have `user.overlay.opaque=y`. Every mount
//! has `userxattr`, as root too, so that one store serves root and rootless; that excludes `metacopy` and `redirect_dir`, which an
//! upper that becomes a layer must not have anyway.

use std::ffi::{CString, OsString};
use std::fmt::Write as _;
use std::fs::File;
use std::os::fd::{AsFd, AsRawFd, OwnedFd};
use std::os::unix::ffi::OsStringExt;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::fs::{CWD, Mode, OFlags};
use rustix::io::Errno;
use rustix::mount::{FsMountFlags, FsOpenFlags, MountAttrFlags, MountFlags, MoveMountFlags, OpenTreeFlags, UnmountFlags};
use rustix::thread::UnshareFlags;

use super::error::SandboxError;
use super::sys;

/// The kernel's limit of lower directories (OVL_MAX_STACK).
const MAX_LOWERS: usize = 500;
/// How long the last files that were open for writing may take to be closed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A mounted stack of snapshots; unmounted when dropped, as soon as nobody uses it any more.
#[derive(Debug)]
pub struct Overlay {
    target: PathBuf,
}

impl Overlay {
    /// Mounts `lowers` (top first) on the existing directory `target`: writable with an `upper` and an empty `work` directory on the
    /// same file system, else read-only. A `work` directory serves one mount only (the mount is `volatile`: it never syncs).
    pub fn mount(lowers: &[PathBuf], upper: Option<&Path>, work: Option<&Path>, target: &Path) -> Result<Self, SandboxError> {
        if lowers.len() > MAX_LOWERS {
            return Err(SandboxError::TooManyLayers(lowers.len()));
        }
        let mounted = match (lowers, upper.zip(work)) {
            ([], None) => empty(target),
            // The upper directory alone would show a RUN what overlayfs notes in it, and let it write such notes.
            ([], Some((upper, work))) => nothing(work).and_then(|nothing| any_stack(&[nothing], Some((upper, work)), target)),
            ([only], None) => bind(only, target),
            (lowers, writable) => any_stack(lowers, writable, target),
        };
        mounted.map(|()| Self { target: target.to_owned() }).map_err(|errno| SandboxError::Overlay {
            target: target.to_owned(),
            lowers: lowers.len(),
            source: errno.into(),
            hint: hint(errno),
        })
    }

    /// Where the stack is mounted.
    pub fn path(&self) -> &Path {
        &self.target
    }

    /// Ends all writing to the stack, by whatever mount or descriptor of it: a RUN may have handed one to another RUN, which outlives it.
    ///
    /// # Errors
    /// Where a file of it stays open for writing.
    pub fn seal(&self) -> Result<(), SandboxError> {
        let (begun, mut pause) = (Instant::now(), Duration::from_millis(1));
        loop {
            // Without MS_BIND it is the file system itself that becomes read-only, which the kernel refuses while anybody writes to it.
            match rustix::mount::mount_remount(&self.target, MountFlags::RDONLY, c"") {
                // What lies in a socket that nobody has any more is closed a moment later; so is what a process has inherited that is being started.
                Err(Errno::BUSY) if begun.elapsed() < PATIENCE => {
                    std::thread::sleep(pause);
                    pause = (2 * pause).min(Duration::from_millis(50));
                }
                Err(Errno::BUSY) => return Err(SandboxError::StillWritten),
                other => {
                    let failed =
                        |errno: Errno| SandboxError::Mount { action: "make read-only", path: self.target.clone(), source: errno.into() };
                    return other.map_err(failed);
                }
            }
        }
    }
}

impl Drop for Overlay {
    fn drop(&mut self) {
        // A RUN that has failed, or one that may write to what it mounts, could have handed it on: nobody makes files in what is being removed.
        let _ = rustix::mount::mount_remount(&self.target, MountFlags::RDONLY, c"");
        // Nothing is left to do if it fails: the mount dies with the namespace.
        let _ = rustix::mount::unmount(&self.target, UnmountFlags::DETACH);
    }
}

/// Takes away all mounts of this process's namespace below `directory`, the last one first: what an [`Overlay`] that was never dropped has left.
pub fn unmount_below(directory: &Path) {
    let Ok(mounts) = std::fs::read_to_string("/proc/self/mountinfo") else { return };
    // proc_pid_mountinfo(5): the fifth field is the mount point, with blanks and backslashes as octal numbers.
    let places = mounts.lines().rev().filter_map(|line| Some(unescaped(line.split(' ').nth(4)?)));
    for place in places.filter(|place| place.starts_with(directory) && place != directory) {
        let _ = rustix::mount::unmount(&place, UnmountFlags::DETACH);
    }
}

fn unescaped(field: &str) -> PathBuf {
    let (mut bytes, mut rest) = (Vec::new(), field.as_bytes());
    while let Some((&first, behind)) = rest.split_first() {
        let octal = behind.get(..3).and_then(|digits| u8::from_str_radix(std::str::from_utf8(digits).ok()?, 8).ok());
        let (byte, behind) = octal.filter(|_| first == b'\\').map_or((first, behind), |byte| (byte, &behind[3..]));
        bytes.push(byte);
        rest = behind;
    }
    OsString::from_vec(bytes).into()
}

fn hint(errno: Errno) -> &'static str {
    match errno {
        Errno::NODEV => " (this kernel has no overlayfs: `sudo modprobe overlay`)",
        Errno::INVAL | Errno::NOTSUP | Errno::PERM => {
            " (the store must be on a file system with user extended attributes, such as ext4, xfs, btrfs, or tmpfs since Linux 6.6, \
             but not on another overlay; and Linux must be 5.11 or newer: choose a place with `--store`)"
        }
        _ => "",
    }
}

fn empty(target: &Path) -> rustix::io::Result<()> {
    rustix::mount::mount("none", target, "tmpfs", MountFlags::RDONLY, c"mode=755")
}

/// An empty directory beside `work`.
fn nothing(work: &Path) -> rustix::io::Result<PathBuf> {
    let nothing = work.with_extension("nothing");
    rustix::fs::mkdir(&nothing, Mode::from_raw_mode(0o755))?;
    Ok(nothing)
}

/// Read-only.
fn bind(source: &Path, target: &Path) -> rustix::io::Result<()> {
    let tree = rustix::mount::open_tree(CWD, source, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?;
    sys::add_mount_attributes(tree.as_fd(), libc::MOUNT_ATTR_RDONLY, false)?;
    rustix::mount::move_mount(&tree, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

fn any_stack(lowers: &[PathBuf], writable: Option<(&Path, &Path)>, target: &Path) -> rustix::io::Result<()> {
    match stack(lowers, writable, target) {
        // Linux before 6.7 has no `lowerdir+`, before 5.2 no fsopen.
        Err(Errno::INVAL | Errno::NOSYS) => stack_by_mount(lowers, writable, target),
        other => other,
    }
}

/// fsconfig(2) takes strings of at most 255 bytes, therefore directories go by the number of an open descriptor.
fn stack(lowers: &[PathBuf], writable: Option<(&Path, &Path)>, target: &Path) -> rustix::io::Result<()> {
    let overlay = rustix::mount::fsopen("overlay", FsOpenFlags::FSOPEN_CLOEXEC)?;
    let set_directory = |key: &str, directory: &Path| {
        let opened = open_directory(directory)?;
        rustix::mount::fsconfig_set_string(&overlay, key, format!("/proc/self/fd/{}", opened.as_raw_fd()))
    };
    for lower in lowers {
        set_directory("lowerdir+", lower)?;
    }
    let mut attributes = MountAttrFlags::MOUNT_ATTR_RDONLY;
    if let Some((upper, work)) = writable {
        set_directory("upperdir", upper)?;
        set_directory("workdir", work)?;
        rustix::mount::fsconfig_set_flag(&overlay, "volatile")?;
        attributes = MountAttrFlags::empty();
    }
    rustix::mount::fsconfig_set_flag(&overlay, "userxattr")?;
    rustix::mount::fsconfig_create(&overlay)?;
    let mount = rustix::mount::fsmount(&overlay, FsMountFlags::FSMOUNT_CLOEXEC, attributes)?;
    rustix::mount::move_mount(&mount, "", CWD, target, MoveMountFlags::MOVE_MOUNT_F_EMPTY_PATH)
}

/// mount(2) takes one page of options: the directories are named relative to /proc/self/fd, which a thread of its own enters so that
/// the process keeps its working directory.
fn stack_by_mount(lowers: &[PathBuf], writable: Option<(&Path, &Path)>, target: &Path) -> rustix::io::Result<()> {
    let open = |directory: &PathBuf| open_directory(directory);
    let opened = lowers.iter().map(open).collect::<Result<Vec<_>, _>>()?;
    let mut options = String::from("userxattr,lowerdir=");
    for (index, directory) in opened.iter().enumerate() {
        let separator = if index == 0 { "" } else { ":" };
        let _ = write!(options, "{separator}{}", directory.as_raw_fd());
    }
    let mut flags = MountFlags::RDONLY;
    let mut kept = Vec::new();
    if let Some((upper, work)) = writable {
        kept = vec![open_directory(upper)?, open_directory(work)?];
        let _ = write!(options, ",upperdir={},workdir={},volatile", kept[0].as_raw_fd(), kept[1].as_raw_fd());
        flags = MountFlags::empty();
    }
    let options = CString::new(options).map_err(|_| Errno::INVAL)?;
    let target = File::open(target).map_err(|error| Errno::from_io_error(&error).unwrap_or(Errno::IO))?;
    let mounted = std::thread::scope(|scope| {
        let enter_and_mount = || {
            sys::unshare(UnshareFlags::FS)?;
            rustix::process::chdir("/proc/self/fd")?;
            rustix::mount::mount("overlay", target.as_raw_fd().to_string(), "overlay", flags, options.as_c_str())
        };
        scope.spawn(enter_and_mount).join()
    });
    drop(kept);
    mounted.unwrap_or(Err(Errno::IO))
}

fn open_directory(path: &Path) -> rustix::io::Result<OwnedFd> {
    rustix::fs::open(path, OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())
}

#[cfg(test)]
mod tests {
    use super::super::harness::{in_sandbox, temporary};
    use super::*;
    use rustix::fs::{FileType, XattrFlags};
    use std::fs;

    /// Snapshots `low` and `high`: `high` hides `gone` and replaces the directory `opaque`.
    fn snapshots(root: &Path) -> Vec<PathBuf> {
        let (low, high) = (root.join("low"), root.join("high"));
        for directory in [low.join("opaque"), high.join("opaque")] {
            fs::create_dir_all(directory).unwrap();
        }
        for (path, text) in [("gone", "1"), ("kept", "2"), ("opaque/old", "3")] {
            fs::write(low.join(path), text).unwrap();
        }
        fs::write(high.join("opaque/new"), "4").unwrap();
        rustix::fs::mknodat(CWD, high.join("gone"), FileType::CharacterDevice, Mode::empty(), 0).unwrap();
        rustix::fs::setxattr(high.join("opaque"), "user.overlay.opaque", b"y", XattrFlags::empty()).unwrap();
        vec![high, low]
    }

    fn check_stack(mounted: &Path) {
        assert!(!mounted.join("gone").exists() && !mounted.join("opaque/old").exists());
        assert_eq!(fs::read_to_string(mounted.join("kept")).unwrap(), "2");
        assert_eq!(fs::read_to_string(mounted.join("opaque/new")).unwrap(), "4");
    }

    fn directories<const N: usize>(root: &Path, names: [&str; N]) -> [PathBuf; N] {
        names.map(|name| {
            let path = root.join(name);
            fs::create_dir(&path).unwrap();
            path
        })
    }

    #[test]
    fn whiteouts_and_opaque_directories_of_the_store_are_honoured_and_written() {
        in_sandbox("build::sandbox::overlay::tests::whiteouts_and_opaque_directories_of_the_store_are_honoured_and_written", |_| {
            let room = temporary();
            let lowers = snapshots(room.path());
            let [upper, work, target] = directories(room.path(), ["upper", "work", "target"]);
            let overlay = Overlay::mount(&lowers, Some(&upper), Some(&work), &target).unwrap();
            check_stack(overlay.path());
            fs::remove_file(target.join("kept")).unwrap();
            fs::remove_dir_all(target.join("opaque")).unwrap();
            fs::create_dir(target.join("opaque")).unwrap();
            drop(overlay);
            assert_eq!(fs::read_dir(&target).unwrap().count(), 0, "unmounted");
            assert_eq!(rustix::fs::lstat(upper.join("kept")).unwrap().st_rdev, 0);
            let mut mark = [0; 8];
            let length = rustix::fs::getxattr(upper.join("opaque"), "user.overlay.opaque", &mut mark).unwrap();
            assert_eq!(&mark[..length], b"y");
        });
    }

    #[test]
    fn the_old_mount_call_gives_the_same_stack_even_of_500_layers_with_long_names() {
        in_sandbox("build::sandbox::overlay::tests::the_old_mount_call_gives_the_same_stack_even_of_500_layers_with_long_names", |_| {
            let room = temporary();
            let deep = room.path().join("n".repeat(200)).join("m".repeat(200));
            fs::create_dir_all(&deep).unwrap();
            let mut lowers = snapshots(&deep);
            for number in 2..MAX_LOWERS {
                let layer = deep.join(number.to_string());
                fs::create_dir(&layer).unwrap();
                lowers.push(layer);
            }
            let [upper, work, target] = directories(room.path(), ["upper", "work", "target"]);
            stack_by_mount(&lowers, Some((&upper, &work)), &target).unwrap();
            check_stack(&target);
            rustix::mount::unmount(&target, UnmountFlags::DETACH).unwrap();
            let overlay = Overlay::mount(&lowers, None, None, &target).unwrap();
            check_stack(overlay.path());
            lowers.push(deep);
            assert!(matches!(Overlay::mount(&lowers, None, None, &target), Err(SandboxError::TooManyLayers(501))));
        });
    }

    #[test]
    fn what_is_sealed_is_changed_through_no_descriptor_and_only_sealed_when_nobody_writes() {
        in_sandbox(
            "build::sandbox::overlay::tests::what_is_sealed_is_changed_through_no_descriptor_and_only_sealed_when_nobody_writes",
            |_| {
                for mount in [any_stack, stack_by_mount] {
                    let room = temporary();
                    let [upper, work, target] = directories(room.path(), ["upper", "work", "target"]);
                    mount(&snapshots(room.path()), Some((&upper, &work)), &target).unwrap();
                    let overlay = Overlay { target: target.clone() };
                    let directory = File::open(&target).unwrap();
                    let place = open_directory(&target).unwrap();
                    let writer = File::create(target.join("open")).unwrap();
                    assert!(matches!(overlay.seal(), Err(SandboxError::StillWritten)));
                    drop(writer);
                    overlay.seal().unwrap();
                    drop(overlay);
                    let make =
                        |at: &dyn AsFd| rustix::fs::openat(at.as_fd(), "new", OFlags::WRONLY | OFlags::CREATE, Mode::from_raw_mode(0o644));
                    for refused in
                        [make(&directory).map(drop), make(&place).map(drop), rustix::fs::fchmod(&directory, Mode::from_raw_mode(0o700))]
                    {
                        assert_eq!(refused, Err(Errno::ROFS));
                    }
                    assert!(upper.join("open").exists() && !upper.join("new").exists());
                }
            },
        );
    }

    #[test]
    fn a_stack_without_upper_is_read_only_whatever_its_height() {
        in_sandbox("build::sandbox::overlay::tests::a_stack_without_upper_is_read_only_whatever_its_height", |_| {
            let room = temporary();
            let lowers = snapshots(room.path());
            let [target] = directories(room.path(), ["target"]);
            for height in 0..=2 {
                let overlay = Overlay::mount(&lowers[..height], None, None, &target).unwrap();
                let error = fs::write(overlay.path().join("x"), "").unwrap_err();
                assert_eq!(error.kind(), std::io::ErrorKind::ReadOnlyFilesystem, "{height} lowers");
            }
        });
    }
}
