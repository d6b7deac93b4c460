//! Paths inside the root, as BuildKit resolves them (continuity's `fs.RootPath`): links are followed as if the root were `/`, and what does
//! not exist is kept as it is written, so that the missing part, even behind a dangling link, can be made.

use std::collections::VecDeque;
use std::os::fd::BorrowedFd;

use rustix::fs::{FileType, readlinkat};

use super::CopyError;
use super::directory::{Directory, file_type};

/// As many as Go's `EvalSymlinks` and BuildKit follow.
const MAX_LINKS: usize = 255;
/// The kernel takes no longer path (PATH_MAX), so that nobody could use what such a one leads to.
const LONGEST: usize = 4095;

/// Where a path leads.
pub(super) struct Place {
    /// The deepest directory on the way that exists.
    pub(super) directory: Directory,
    /// What follows it: nothing if the path is that directory; one name if it is a file there; else names of which none exists.
    pub(super) rest: Vec<Vec<u8>>,
    /// `rest` is one name, and something other than a directory has it.
    pub(super) is_file: bool,
}

/// Follows `path` (absolute, cleaned lexically first as BuildKit does, so `/link/../x` is `/x`) with all its links, the last one too.
///
/// # Errors
/// Where a file stands in the way of further components, links go round, or the path is too long for the kernel.
pub(super) fn resolve(root: BorrowedFd<'_>, path: &[u8]) -> Result<Place, CopyError> {
    if path.len() > LONGEST {
        return Err(CopyError::LongPath { start: path[..100].to_vec().into(), limit: LONGEST });
    }
    let mut parents: Vec<Directory> = Vec::new();
    let mut here = Directory::root(root)?;
    let mut rest: Vec<Vec<u8>> = Vec::new();
    let mut pending: VecDeque<Vec<u8>> = clean(path).into();
    let mut links = 0;
    while let Some(name) = pending.pop_front() {
        if name == b".." {
            // The parent of the root is the root.
            if rest.pop().is_none()
                && let Some(parent) = parents.pop()
            {
                here = parent;
            }
            continue;
        }
        let found = if rest.is_empty() { here.lookup(&name)? } else { None };
        match found.as_ref().map(file_type) {
            None => rest.push(name),
            Some(FileType::Directory) => {
                let next = here.open(&name)?;
                parents.push(std::mem::replace(&mut here, next));
            }
            Some(FileType::Symlink) => {
                links += 1;
                if links > MAX_LINKS {
                    return Err(CopyError::TooManyLinks { path: path.to_vec().into() });
                }
                let target = readlinkat(&here, &name[..], Vec::new()).map_err(|e| CopyError::write("read link", here.path_of(&name), e))?;
                let target = target.as_bytes();
                if target.starts_with(b"/") {
                    parents.clear();
                    here = Directory::root(root)?;
                }
                for part in components(target).rev() {
                    pending.push_front(part.to_vec());
                }
            }
            Some(_) if pending.is_empty() => {
                return Ok(Place { directory: here, rest: vec![name], is_file: true });
            }
            Some(_) => return Err(CopyError::NotADirectory { path: here.path_of(&name).into() }),
        }
    }
    Ok(Place { directory: here, rest, is_file: false })
}

impl Place {
    /// The place as a directory: what is missing is made, and every directory made is handed to `made`, parents first.
    pub(super) fn into_directory(self, mut made: impl FnMut(&Directory) -> Result<(), CopyError>) -> Result<Directory, CopyError> {
        let mut directory = self.directory;
        for name in &self.rest {
            let (next, new) = directory.open_or_make(name)?;
            if new {
                made(&next)?;
            }
            directory = next;
        }
        Ok(directory)
    }

    /// The directory that the place lies in, made where it is missing, and its name there; the name is `None` if the place is a directory.
    pub(super) fn into_entry(
        mut self,
        made: impl FnMut(&Directory) -> Result<(), CopyError>,
    ) -> Result<(Directory, Option<Vec<u8>>), CopyError> {
        let name = self.rest.pop();
        Ok((self.into_directory(made)?, name))
    }
}

/// The components without empty ones and `.`.
fn components(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&b| b == b'/').filter(|part| !matches!(*part, b"" | b"."))
}

/// Lexical cleaning of an absolute path.
fn clean(path: &[u8]) -> Vec<Vec<u8>> {
    let mut out: Vec<Vec<u8>> = Vec::new();
    for part in components(path) {
        if part == b".." {
            out.pop();
        } else {
            out.push(part.to_vec());
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::build::copy::testing::Destination;

    fn where_to(root: &Destination, path: &str) -> String {
        let place = resolve(root.fd(), path.as_bytes()).unwrap();
        let mut out = place.directory.path().to_vec();
        for name in &place.rest {
            out.extend_from_slice(b"/");
            out.extend_from_slice(name);
        }
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn links_are_followed_as_if_the_root_were_slash() {
        let root = Destination::new();
        root.directory("real/deep");
        root.file("real/file", "x");
        root.link("/real", "absolute");
        root.link("real", "relative");
        root.link("../../../../real/deep", "climbing");
        root.link("/../../../etc", "outside");
        root.link("missing/there", "dangling");
        root.link("/absolute/deep", "chain");
        root.link("../file", "real/deep/up");
        root.link("/real/file", "to-file");
        for (path, expected) in [
            ("/", ""),
            ("/absolute/y", "/real/y"),
            ("/relative/deep", "/real/deep"),
            ("/climbing/y", "/real/deep/y"),
            ("/outside/passwd", "/etc/passwd"),
            ("/dangling/y", "/missing/there/y"),
            ("/chain/../y", "/y"),
            ("/chain/z", "/real/deep/z"),
            ("/real/deep/up", "/real/file"),
            ("/to-file", "/real/file"),
            ("/../../x", "/x"),
            ("//a/./b/", "/a/b"),
        ] {
            assert_eq!(where_to(&root, path), expected, "{path}");
        }
    }

    #[test]
    fn a_path_through_a_file_is_an_error() {
        let root = Destination::new();
        root.file("file", "x");
        assert!(matches!(resolve(root.fd(), b"/file/x"), Err(CopyError::NotADirectory { .. })));
    }

    #[test]
    fn links_that_go_round_are_an_error() {
        let root = Destination::new();
        root.link("b", "a");
        root.link("a", "b");
        assert!(matches!(resolve(root.fd(), b"/a"), Err(CopyError::TooManyLinks { .. })));
    }
}
