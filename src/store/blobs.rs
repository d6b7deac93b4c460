//! Blobs: write to a temporary file, rename, fsync in the background. Size is checked on every use, the digest when bytes are served.

use std::fs::{self, File, Metadata};
use std::io::{self, Read, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::PathBuf;

use super::writeback::{Blob, DURABLE, UNSYNCED};
use super::{Error, NO_WAIT, Store, at, note_use};
use crate::oci::{Digest, Hasher};

/// Takes the bytes of a blob and names it when they are complete. Dropped without [`commit`](Self::commit) it leaves nothing.
pub struct BlobWriter<'a> {
    store: &'a Store,
    path: PathBuf,
    file: Option<File>,
    hasher: Hasher,
    size: u64,
}

impl Write for BlobWriter<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let file = self.file.as_ref().ok_or_else(|| io::Error::other("the blob is complete"))?;
        let n = self.store.disk().write(file, bytes)?;
        self.hasher.update(&bytes[..n]);
        self.size += n as u64;
        Ok(n)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl BlobWriter<'_> {
    /// Makes the blob visible, and durable by and by ([`Store::settle`]): its digest and its size in bytes.
    pub fn commit(mut self) -> Result<(Digest, u64), Error> {
        let digest = std::mem::take(&mut self.hasher).finish();
        let target = self.store.blob_path(&digest);
        let (file, replaces) = if self.store.is_made(&digest, self.size) && note_use(&target) {
            // It may be another process's, which is still to be synced.
            (File::open(&target).map_err(at("open", &target))?, false)
        } else {
            let replaces = self.store.blob_size(&digest) == Some(self.size);
            self.store.disk().rename(&self.path, &target).map_err(at("write", &target))?;
            (self.file.take().ok_or_else(|| at("write", &target)(io::ErrorKind::InvalidInput.into()))?, replaces)
        };
        self.store.writeback.blob(Blob { digest, path: target, file, replaces })?;
        Ok((digest, self.size))
    }
}

impl Drop for BlobWriter<'_> {
    fn drop(&mut self) {
        if self.file.is_some() {
            let _ = self.store.disk().remove_file(&self.path);
        }
    }
}

impl Store {
    pub fn blob_path(&self, digest: &Digest) -> PathBuf {
        self.root.join("blobs/sha256").join(digest.hex())
    }

    /// The size in bytes of a blob that is here: durable, or known to this process to be whole.
    pub fn blob_size(&self, digest: &Digest) -> Option<u64> {
        let metadata = fs::metadata(self.blob_path(digest)).ok().filter(Metadata::is_file)?;
        self.writeback.is_whole(digest, mode(&metadata) != UNSYNCED).then_some(metadata.len())
    }

    /// Whether a blob was made here, by this process or durably. One that was pulled in an earlier boot may be torn, and cannot stand for
    /// one that was made.
    pub(super) fn is_made(&self, digest: &Digest, size: u64) -> bool {
        let made = |metadata: Metadata| match mode(&metadata) {
            DURABLE => true,
            UNSYNCED => self.writeback.is_whole(digest, false),
            _ => false,
        };
        fs::metadata(self.blob_path(digest)).is_ok_and(|metadata| metadata.len() == size && made(metadata))
    }

    /// Whether a blob is here, whole, for one who is going to use it and has no record that names it: its mtime notes the use.
    pub fn take_up(&self, digest: &Digest, size: u64) -> bool {
        self.blob_size(digest) == Some(size) && note_use(&self.blob_path(digest))
    }

    pub fn open_blob(&self, digest: &Digest) -> Result<File, Error> {
        let path = self.blob_path(digest);
        // What else may be in its place is not waited for.
        File::options().read(true).custom_flags(NO_WAIT).open(&path).map_err(|e| match e.kind() {
            io::ErrorKind::NotFound => Error::Missing { digest: *digest },
            _ => at("open", &path)(e),
        })
    }

    /// The bytes of a small blob, verified.
    pub fn read_blob(&self, digest: &Digest) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        let path = self.blob_path(digest);
        self.open_blob(digest)?.read_to_end(&mut bytes).map_err(at("read", &path))?;
        self.verified(digest, Digest::of(&bytes))?;
        Ok(bytes)
    }

    /// Reads a blob through and checks it against its name; a damaged one is removed.
    pub fn verify_blob(&self, digest: &Digest) -> Result<(), Error> {
        self.verified(digest, self.hash_blob(digest)?)
    }

    /// Reads a blob through: what its name should be. What is in its place and no file has no bytes.
    pub(super) fn hash_blob(&self, digest: &Digest) -> Result<Digest, Error> {
        let mut hasher = Hasher::new();
        let mut file = self.open_blob(digest)?;
        if file.metadata().is_ok_and(|metadata| metadata.is_file()) {
            io::copy(&mut file, &mut hasher).map_err(at("read", &self.blob_path(digest)))?;
        }
        Ok(hasher.finish())
    }

    fn verified(&self, digest: &Digest, found: Digest) -> Result<(), Error> {
        if found == *digest {
            return Ok(());
        }
        let _ = self.disk().remove_file(&self.blob_path(digest));
        Err(Error::Damaged { digest: *digest, found })
    }

    pub fn blob_writer(&self) -> Result<BlobWriter<'_>, Error> {
        let (path, file) = self.temp.file(UNSYNCED)?;
        Ok(BlobWriter { store: self, path, file: Some(file), hasher: Hasher::new(), size: 0 })
    }

    pub fn put_blob(&self, bytes: &[u8]) -> Result<(Digest, u64), Error> {
        let mut writer = self.blob_writer()?;
        writer.write_all(bytes).map_err(at("write", &self.root))?;
        writer.commit()
    }
}

fn mode(metadata: &Metadata) -> u32 {
    metadata.mode() & 0o7777
}

#[cfg(test)]
mod tests {
    use super::*;

    fn store() -> (tempfile::TempDir, Store) {
        let dir = tempfile::tempdir().unwrap();
        let store = Store::open(dir.path()).unwrap();
        (dir, store)
    }

    #[test]
    fn a_committed_blob_reads_back() {
        let (_dir, store) = store();
        let (digest, size) = store.put_blob(b"hello").unwrap();
        assert_eq!((digest, size), (Digest::of(b"hello"), 5));
        assert_eq!(store.read_blob(&digest).unwrap(), b"hello");
    }

    #[test]
    fn a_writer_that_is_dropped_leaves_nothing() {
        let (_dir, store) = store();
        store.blob_writer().unwrap().write_all(b"half").unwrap();
        assert_eq!(store.blob_size(&Digest::of(b"half")), None);
        let left =
            fs::read_dir(store.root().join("tmp")).unwrap().flatten().filter(|e| !e.path().to_string_lossy().ends_with(".lease")).count();
        assert_eq!(left, 0);
    }

    #[test]
    fn a_damaged_blob_is_told_and_removed() {
        let (_dir, store) = store();
        let (digest, _) = store.put_blob(b"hello").unwrap();
        fs::write(store.blob_path(&digest), b"jello").unwrap();
        assert!(matches!(store.read_blob(&digest), Err(Error::Damaged { .. })));
        assert!(matches!(store.open_blob(&digest), Err(Error::Missing { .. })));
    }
}
