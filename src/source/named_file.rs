//! A file that is named long before it is read: where its path leads may have changed by then.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::fd::AsRawFd;
use std::path::PathBuf;

use rustix::fs::{CWD, FileType, Mode, OFlags, fstat, openat};

/// Bytes, far more than any bundle of certificates has.
const LARGEST: u64 = 64 << 20;

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedFile {
    /// Absolute.
    pub path: PathBuf,
    /// The canonical directory that no link may lead out of, if there is one.
    pub within: Option<PathBuf>,
}

impl NamedFile {
    /// What it holds now.
    ///
    /// # Errors
    /// Where it is no regular file, or lies elsewhere than it may: then it is not even opened.
    pub fn read(&self) -> io::Result<Vec<u8>> {
        let place = openat(CWD, &self.path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        if FileType::from_raw_mode(fstat(&place)?.st_mode) != FileType::RegularFile {
            return Err(io::Error::other("it is no regular file"));
        }
        let opened = format!("/proc/self/fd/{}", place.as_raw_fd());
        if let Some(within) = &self.within
            && !fs::read_link(&opened)?.starts_with(within)
        {
            return Err(io::Error::other("it is a link that leads out of the repository"));
        }
        let (mut file, mut bytes) = (File::open(opened)?, Vec::new());
        match file.by_ref().take(LARGEST + 1).read_to_end(&mut bytes)? as u64 > LARGEST {
            true => Err(io::Error::new(io::ErrorKind::FileTooLarge, format!("it is larger than {LARGEST} bytes"))),
            false => Ok(bytes),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    #[test]
    fn it_is_read_where_it_may_lie_and_only_if_it_is_a_file() {
        let directory = tempfile::tempdir().unwrap();
        let root = directory.path().canonicalize().unwrap();
        let within = root.join("in");
        fs::create_dir(&within).unwrap();
        for file in ["in/file", "secret", "in-not"] {
            fs::write(root.join(file), file).unwrap();
        }
        symlink("file", within.join("link")).unwrap();
        symlink("../secret", within.join("out")).unwrap();
        symlink("..", within.join("up")).unwrap();
        rustix::fs::mknodat(CWD, within.join("fifo"), FileType::Fifo, Mode::from_raw_mode(0o600), 0).unwrap();
        let read = |path: &str, confined: bool| {
            NamedFile { path: within.join(path), within: confined.then(|| within.clone()) }.read().map_err(|error| error.to_string())
        };
        for path in ["file", "link"] {
            assert_eq!(read(path, true).as_deref(), Ok(&b"in/file"[..]), "{path}");
        }
        for path in ["out", "up/secret", "up/in-not", "../secret"] {
            assert!(read(path, true).unwrap_err().contains("leads out"), "{path}");
            assert!(read(path, false).is_ok(), "{path}");
        }
        for path in ["fifo", "."] {
            assert!(read(path, false).unwrap_err().contains("no regular file"), "{path}");
        }
    }
}
