//! Paths inside a root file system, resolved without ever leaving it.

use std::collections::VecDeque;
use std::ffi::OsString;
use std::fs;
use std::path::{Component, Path, PathBuf};

use super::error::SandboxError;

/// The kernel's own limit is 40 (MAXSYMLINKS); BuildKit's is 255.
const MAX_LINKS: usize = 255;

/// Where `path` leads inside `root`: links are followed with `root` as `/`, `..` stops there, and components that do not exist are
/// taken as they are. The result is relative to `root` and free of links, as long as nobody changes the tree meanwhile.
pub(super) fn resolve(root: &Path, path: &Path) -> Result<PathBuf, SandboxError> {
    let mut resolved = PathBuf::new();
    let mut links = 0;
    let mut rest: VecDeque<OsString> = VecDeque::new();
    let push_front = |rest: &mut VecDeque<OsString>, path: &Path| {
        for component in path.components().rev() {
            match component {
                Component::Normal(name) => rest.push_front(name.to_owned()),
                Component::ParentDir => rest.push_front("..".into()),
                Component::RootDir => rest.push_front("/".into()),
                Component::CurDir | Component::Prefix(_) => {}
            }
        }
    };
    push_front(&mut rest, path);
    while let Some(name) = rest.pop_front() {
        if name == "/" {
            resolved.clear();
        } else if name == ".." {
            resolved.pop();
        } else {
            resolved.push(name);
            if let Ok(target) = fs::read_link(root.join(&resolved)) {
                links += 1;
                if links > MAX_LINKS {
                    return Err(SandboxError::SymlinkLoop(path.to_owned()));
                }
                resolved.pop();
                push_front(&mut rest, &target);
            }
        }
    }
    Ok(resolved)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::symlink;

    #[test]
    fn links_never_lead_out_of_the_root() -> Result<(), Box<dyn std::error::Error>> {
        let room = tempfile::tempdir()?;
        let root = room.path();
        fs::create_dir_all(root.join("a/b"))?;
        symlink("/etc/hostname", root.join("absolute"))?;
        symlink("../../../../x", root.join("a/b/up"))?;
        symlink("b", root.join("a/link"))?;
        symlink("loop", root.join("loop"))?;
        for (path, expected) in [
            ("/a/link/file", "a/b/file"),
            ("absolute", "etc/hostname"),
            ("/a/b/up/y", "x/y"),
            ("/../../a/./missing/../b", "a/b"),
            ("/", ""),
            ("new/deep", "new/deep"),
        ] {
            assert_eq!(resolve(root, Path::new(path))?, Path::new(expected), "{path}");
        }
        assert!(matches!(resolve(root, Path::new("loop")), Err(SandboxError::SymlinkLoop(_))));
        Ok(())
    }
}
