//! A secret where nothing can be mounted (rung 3): a file of the root, to be emptied wherever the RUN has moved or linked it, and removed
//! where it was placed. Its path may lead out of the root by then: the RUN may have put links in it.
//!
//! The guard does that, and so neither allocates nor panics (see [`super::sys::fork`]).

use std::ffi::CString;
use std::io;
use std::os::fd::{AsFd, AsRawFd, OwnedFd, RawFd};

use rustix::fs::{AtFlags, fdatasync, fstat, ftruncate, unlinkat};

use super::directory::Directory;

pub(super) struct PlacedSecret {
    pub parent: Directory,
    pub name: CString,
    /// Open for writing.
    pub file: OwnedFd,
    /// In bytes, as it was placed. The RUN may have made the file as long as it likes.
    pub length: u64,
}

impl PlacedSecret {
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self { parent: self.parent.try_clone()?, name: self.name.clone(), file: self.file.try_clone()?, length: self.length })
    }

    pub fn descriptors(&self) -> [RawFd; 2] {
        [self.parent.as_fd().as_raw_fd(), self.file.as_raw_fd()]
    }

    /// Nothing else that has its place by now is removed.
    pub fn remove(&self) {
        self.empty();
        if self.parent.holds(self.name.as_c_str(), &self.file) {
            let _ = unlinkat(&self.parent, self.name.as_c_str(), AtFlags::empty());
        }
    }

    /// Under whatever name the file is reached, nothing is in it afterwards.
    pub fn empty(&self) {
        self.overwrite();
        let _ = fdatasync(&self.file);
        let _ = ftruncate(&self.file, 0);
    }

    fn overwrite(&self) {
        let zeros = [0; 4096];
        let length = fstat(&self.file).map_or(0, |stat| stat.st_size.unsigned_abs()).min(self.length);
        for position in (0..length).step_by(zeros.len()) {
            let rest = usize::try_from(length - position).unwrap_or(zeros.len()).min(zeros.len());
            let _ = rustix::io::pwrite(&self.file, &zeros[..rest], position);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::{self, File};

    #[test]
    fn a_secret_is_emptied_and_removed_and_nothing_in_its_place_is() {
        let room = tempfile::tempdir().unwrap();
        let (inside, outside) = (room.path().join("inside"), room.path().join("outside"));
        fs::create_dir(&outside).unwrap();
        fs::write(outside.join("token"), "of others").unwrap();
        let place = || {
            fs::create_dir(&inside).unwrap();
            fs::write(inside.join("token"), "s3cret").unwrap();
            let file = File::options().write(true).open(inside.join("token")).unwrap();
            PlacedSecret { parent: Directory::open(&inside).unwrap(), name: CString::from(c"token"), file: file.into(), length: 6 }
        };
        let secret = place();
        fs::hard_link(inside.join("token"), inside.join("linked")).unwrap();
        fs::rename(&inside, room.path().join("moved")).unwrap();
        std::os::unix::fs::symlink(&outside, &inside).unwrap();
        secret.try_clone().unwrap().remove();
        let moved = room.path().join("moved");
        assert!(!moved.join("token").exists() && fs::read(moved.join("linked")).unwrap().is_empty());
        assert_eq!(fs::read_to_string(outside.join("token")).unwrap(), "of others");

        fs::remove_file(&inside).unwrap();
        let secret = place();
        fs::rename(inside.join("token"), inside.join("elsewhere")).unwrap();
        fs::write(inside.join("token"), "of the RUN").unwrap();
        secret.remove();
        assert_eq!(fs::read_to_string(inside.join("token")).unwrap(), "of the RUN");
        assert!(fs::read(inside.join("elsewhere")).unwrap().is_empty());
    }

    #[test]
    fn a_file_that_the_run_made_longer_takes_no_more_of_the_disk() {
        let room = tempfile::tempdir().unwrap();
        let file = File::create(room.path().join("token")).unwrap();
        let secret =
            PlacedSecret { parent: Directory::open(room.path()).unwrap(), name: CString::from(c"token"), file: file.into(), length: 6 };
        ftruncate(&secret.file, 64 << 20).unwrap();
        secret.overwrite();
        assert!(fstat(&secret.file).unwrap().st_blocks * 512 < 64 << 10);
        secret.remove();
        assert_eq!(fstat(&secret.file).map(|stat| (stat.st_size, stat.st_nlink)), Ok((0, 0)));
    }
}
