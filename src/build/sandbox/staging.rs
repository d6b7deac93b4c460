//! Files that exist for one RUN only: on a ramfs that is never swapped, has no name outside of the RUN's mount namespace and is covered
//! by /dev before the command starts.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::mount::{MountFlags, OpenTreeFlags};

use super::spec::Access;

/// The mounted ramfs.
pub(super) struct Staging {
    directory: PathBuf,
    next: u32,
}

impl Staging {
    /// Mounts it on `directory`.
    pub fn mount(directory: PathBuf) -> rustix::io::Result<Self> {
        let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
        rustix::mount::mount("ramfs", &directory, "ramfs", flags, c"mode=0700")?;
        Ok(Self { directory, next: 0 })
    }

    /// A file with these bytes, as a detached mount. `owner` is off where only one id is mapped.
    pub fn file(&mut self, bytes: &[u8], access: Access, owner: bool) -> io::Result<OwnedFd> {
        let path = self.new_path();
        let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path)?;
        file.write_all(bytes)?;
        drop(file);
        grant(&path, access, owner)?;
        detached(&path)
    }

    /// A listening socket, as a detached mount.
    pub fn socket(&mut self, access: Access, owner: bool) -> io::Result<(UnixListener, OwnedFd)> {
        let path = self.new_path();
        // A socket's address has 108 bytes, too few for the way to a root file system.
        let directory = File::open(&self.directory)?;
        let name = path.file_name().unwrap_or_default();
        let short = Path::new("/proc/self/fd").join(std::os::fd::AsRawFd::as_raw_fd(&directory).to_string()).join(name);
        let listener = UnixListener::bind(short)?;
        grant(&path, access, owner)?;
        Ok((listener, detached(&path)?))
    }

    fn new_path(&mut self) -> PathBuf {
        self.next += 1;
        self.directory.join(self.next.to_string())
    }
}

/// Gives a file to those who may use it.
pub(super) fn grant(path: &Path, access: Access, owner: bool) -> io::Result<()> {
    fs::set_permissions(path, Permissions::from_mode(access.mode & 0o7777))?;
    if owner { std::os::unix::fs::chown(path, Some(access.uid), Some(access.gid)) } else { Ok(()) }
}

fn detached(path: &Path) -> io::Result<OwnedFd> {
    Ok(rustix::mount::open_tree(CWD, path, OpenTreeFlags::OPEN_TREE_CLONE | OpenTreeFlags::OPEN_TREE_CLOEXEC)?)
}
