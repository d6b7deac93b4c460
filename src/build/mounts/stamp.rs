//! Whether a directory is as it was, by one walk over its stat records.

use std::collections::{BTreeMap, HashSet};
use std::path::Path;

use rustix::fs::FileType;

use crate::image::{self, walk};
use crate::oci::{Digest, Hasher};
use crate::store::{IdMapping, Store};

/// A directory as stat(2) shows it. Equal ones have held the same, as far as a ctime can tell.
pub(super) struct Stamp {
    digest: Digest,
    /// Files of any kind below it.
    pub files: u64,
    /// Of the regular ones, each once.
    pub bytes: u64,
    /// Mode, uid and gid of the directory itself.
    pub root: (u32, u32, u32),
}

/// The stamps under which a directory is in repositories, by their names. Kept in the store, beside the directory.
pub(super) struct Stamps(BTreeMap<String, Digest>);

impl Stamp {
    pub fn of(directory: &Path) -> Result<Self, image::Error> {
        let (mut hasher, mut linked) = (Hasher::new(), HashSet::new());
        let (mut files, mut bytes, mut root) = (0, 0, (0, 0, 0));
        walk::<image::Error>(directory, |found| {
            let stat = &found.stat;
            let described = (stat.st_mode, stat.st_uid, stat.st_gid);
            if found.path.is_empty() {
                // Its times change when it is moved.
                root = (stat.st_mode & 0o7777, stat.st_uid, stat.st_gid);
                hasher.update(format!("{described:?}\0").as_bytes());
                return Ok(());
            }
            files += 1;
            if found.file_type() == FileType::RegularFile && (stat.st_nlink == 1 || linked.insert((stat.st_dev, stat.st_ino))) {
                bytes += u64::try_from(stat.st_size).unwrap_or(0);
            }
            let times = (stat.st_mtime, stat.st_mtime_nsec, stat.st_ctime, stat.st_ctime_nsec);
            hasher.update(found.path);
            hasher.update(format!("\0{described:?}{}{:?}{}\0", stat.st_size, times, stat.st_ino).as_bytes());
            Ok(())
        })?;
        Ok(Self { digest: hasher.finish(), files, bytes, root })
    }
}

impl Stamps {
    /// None at all where nothing can be read.
    pub fn load(store: &Store, ids: IdMapping, id: &Digest) -> Self {
        let note = store.cache_note(ids, id);
        Self(note.and_then(|note| serde_json::from_slice(&note).ok()).unwrap_or_default())
    }

    /// Whether a repository has the directory as it is now.
    pub fn holds(&self, repository: &str, stamp: &Stamp) -> bool {
        self.0.get(repository) == Some(&stamp.digest)
    }

    /// Notes that a repository has it as it is now. One that is not noted is only asked again.
    pub fn note(&mut self, store: &Store, ids: IdMapping, id: &Digest, repository: String, stamp: &Stamp) {
        self.0.insert(repository, stamp.digest);
        let _ = serde_json::to_vec(&self.0).map(|note| store.note_cache(ids, id, &note));
    }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, Permissions};
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_stamp_changes_with_what_is_in_the_directory_and_not_with_its_place() {
        let work = tempfile::tempdir().unwrap();
        let (here, there) = (work.path().join("here"), work.path().join("there"));
        fs::create_dir_all(here.join("d")).unwrap();
        fs::write(here.join("d/f"), "12345").unwrap();
        fs::hard_link(here.join("d/f"), here.join("g")).unwrap();
        let first = Stamp::of(&here).unwrap();
        assert_eq!((first.files, first.bytes), (3, 5));
        fs::rename(&here, &there).unwrap();
        assert_eq!(Stamp::of(&there).unwrap().digest, first.digest);

        let mut met = HashSet::from([first.digest]);
        let mode = |mode| Permissions::from_mode(mode);
        let changes: [&dyn Fn(); 4] = [
            &|| fs::set_permissions(&there, mode(0o700)).unwrap(),
            &|| fs::set_permissions(there.join("d/f"), mode(0o600)).unwrap(),
            &|| fs::rename(there.join("g"), there.join("h")).unwrap(),
            &|| fs::write(there.join("h"), "54321").unwrap(),
        ];
        for change in changes {
            change();
            assert!(met.insert(Stamp::of(&there).unwrap().digest));
        }
    }

    #[test]
    fn what_was_noted_is_known_to_the_next_run_and_by_repository() {
        let work = tempfile::tempdir().unwrap();
        let store = Store::open(&work.path().join("store")).unwrap();
        let (ids, id, stamp) = (IdMapping::Root, Digest::of(b"id"), Stamp::of(work.path()).unwrap());
        let load = || Stamps::load(&store, ids, &id);
        assert!(!load().holds("a", &stamp));
        load().note(&store, ids, &id, "a".to_owned(), &stamp);
        load().note(&store, ids, &id, "b".to_owned(), &stamp);
        assert!(load().holds("a", &stamp) && load().holds("b", &stamp) && !load().holds("c", &stamp));
        assert!(!Stamps::load(&store, IdMapping::SingleUid, &id).holds("a", &stamp));
    }
}
