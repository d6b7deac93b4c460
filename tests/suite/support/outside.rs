//! What lies beside a build and is none of its business: a tree that has to be the same afterwards, with content that must show up nowhere.

use std::fs;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::{Project, Run};

/// In every file of the outside.
pub const CANARY: &str = "canary-of-the-outside-5f1d0c";

/// Names, kinds and content of the tree.
const FILES: [(&str, u32); 3] = [("secret", 0o600), ("open", 0o666), ("below/secret", 0o644)];
const DIRECTORIES: [&str; 2] = ["", "below"];

#[must_use]
pub struct Outside {
    root: PathBuf,
    before: Vec<State>,
}

/// What tells that a file was changed, replaced, linked or read: path, inode and links, mode and owner, size, times of access and
/// modification.
type State = (PathBuf, (u64, u64), (u32, u32, u32), u64, [(i64, i64); 2]);

impl Outside {
    pub fn beside(project: &Project) -> Self {
        let root = project.beside("outside");
        fs::create_dir_all(root.join("below")).expect("directories can be made");
        for (name, mode) in FILES {
            fs::write(root.join(name), CANARY).expect("files can be written");
            fs::set_permissions(root.join(name), fs::Permissions::from_mode(mode)).expect("files have modes");
        }
        fs::set_permissions(root.join("below"), fs::Permissions::from_mode(0o777)).expect("directories have modes");
        symlink("secret", root.join("link")).expect("links can be made");
        let before = states(&root);
        Self { root, before }
    }

    pub fn path(&self) -> &Path {
        &self.root
    }

    pub fn text(&self) -> &str {
        self.root.to_str().expect("paths of tests are text")
    }

    /// Up to the root and from there, however deep it begins.
    pub fn climbing(&self) -> String {
        format!("{}{}", "../".repeat(30), self.text().trim_start_matches('/'))
    }

    /// Nothing of it was changed or read, nothing was added, and no run has said anything of what is in it.
    #[track_caller]
    pub fn is_untouched(&self, what: &str, runs: &[&Run]) {
        assert_eq!(states(&self.root), self.before, "{what}: the outside was touched");
        let names = |directory: &str| {
            let entries = fs::read_dir(self.root.join(directory)).expect("it is there");
            let mut names: Vec<String> = entries.map(|entry| entry.unwrap().file_name().to_string_lossy().into_owned()).collect();
            names.sort();
            names
        };
        assert_eq!((names(""), names("below").len()), (["below", "link", "open", "secret"].map(str::to_owned).to_vec(), 1), "{what}");
        for (name, _) in FILES {
            assert_eq!(fs::read_to_string(self.root.join(name)).unwrap(), CANARY, "{what}: {name}");
        }
        self.reset();
        for run in runs {
            assert!(!run.stdout.contains(CANARY) && !run.stderr.contains(CANARY), "{what}: what lies outside was told: {run:?}");
        }
    }

    /// No blob of an OCI layout holds what lies outside.
    #[track_caller]
    pub fn is_not_in(&self, layout: &Path) {
        for blob in fs::read_dir(layout.join("blobs/sha256")).into_iter().flatten().flatten() {
            let bytes = fs::read(blob.path()).expect("blobs can be read");
            let mut decoded = Vec::new();
            if bytes.starts_with(&[0x1f, 0x8b]) {
                flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut decoded).expect("a whole stream");
            }
            let found = [&bytes, &decoded].iter().any(|bytes| bytes.windows(CANARY.len()).any(|window| window == CANARY.as_bytes()));
            assert!(!found, "{} holds what lies outside", blob.path().display());
        }
    }

    /// Takes back what looking at it has done to its times of access.
    fn reset(&self) {
        use rustix::fs::{AtFlags, CWD, Timespec, Timestamps, UTIME_OMIT, utimensat};
        for (path, .., [accessed, _]) in &self.before {
            let last_access = Timespec { tv_sec: accessed.0, tv_nsec: accessed.1 };
            let times = Timestamps { last_access, last_modification: Timespec { tv_sec: 0, tv_nsec: UTIME_OMIT } };
            utimensat(CWD, path, &times, AtFlags::SYMLINK_NOFOLLOW).expect("times can be set");
        }
    }
}

fn states(root: &Path) -> Vec<State> {
    let names = DIRECTORIES.into_iter().chain(FILES.into_iter().map(|(name, _)| name)).chain(["link"]);
    let state = |name| {
        let path = root.join(name);
        let stat = fs::symlink_metadata(&path).expect("it is there");
        let times = [(stat.atime(), stat.atime_nsec()), (stat.mtime(), stat.mtime_nsec())];
        (path, (stat.ino(), stat.nlink()), (stat.mode(), stat.uid(), stat.gid()), stat.len(), times)
    };
    names.map(state).collect()
}
