//! WORKDIR's directory.

use std::os::fd::{AsFd, BorrowedFd};

use super::CopyError;
use super::metadata::Metadata;
use super::resolve::resolve;

/// Makes the absolute `path` and its missing parents, 0755 and owned by `owner`; a directory that is there stays as it is. Links are
/// followed inside the root, dangling ones too.
///
/// # Errors
/// `NotADirectory` where a file is in the way, `LongPath` where no program could go there.
pub fn make_directory(root: BorrowedFd<'_>, path: &[u8], owner: (u32, u32), record_owner: bool) -> Result<(), CopyError> {
    let metadata = Metadata { owner, mode: 0o755, mtime: None, xattrs: Vec::new(), record_owner };
    resolve(root, path)?.into_directory(|made| metadata.set(made.as_fd(), made.path()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::copy::testing::{Destination, me};

    #[test]
    fn missing_directories_are_made_0755_and_others_stay() {
        let root = Destination::new();
        root.directory("srv");
        root.chmod("srv", 0o700);
        make_directory(root.fd(), b"/srv/a/b/", me(), false).unwrap();
        make_directory(root.fd(), b"/srv", me(), false).unwrap();
        make_directory(root.fd(), b"/", me(), false).unwrap();
        assert_eq!(root.list(), ["srv d700", "srv/a d755", "srv/a/b d755"]);
    }

    #[test]
    fn links_lead_to_directories_inside_the_root() {
        let root = Destination::new();
        root.link("/real/here", "dangling");
        root.link("../../..", "up");
        make_directory(root.fd(), b"/dangling/x", me(), false).unwrap();
        make_directory(root.fd(), b"/up/y", me(), false).unwrap();
        assert_eq!(root.list(), ["dangling -> /real/here", "real d755", "real/here d755", "real/here/x d755", "up -> ../../..", "y d755"]);
    }

    #[test]
    fn nothing_is_made_of_what_is_too_long_for_the_kernel() {
        let root = Destination::new();
        let [longest, longer] = [2047, 2048].map(|depth| "/d".repeat(depth));
        let error = make_directory(root.fd(), longer.as_bytes(), me(), false).unwrap_err();
        assert!(matches!(&error, CopyError::LongPath { limit: 4095, .. }) && error.to_string().len() < 200, "{error}");
        assert!(root.list().is_empty());
        make_directory(root.fd(), longest.as_bytes(), me(), false).unwrap();
    }

    #[test]
    fn a_file_in_the_way_is_an_error() {
        let root = Destination::new();
        root.file("file", "");
        for path in ["/file", "/file/x"] {
            let error = make_directory(root.fd(), path.as_bytes(), me(), false).unwrap_err();
            assert!(matches!(error, CopyError::NotADirectory { path } if path.0 == b"/file"), "{path}");
        }
    }
}
