//! OCI image layouts that others wrote (OCI image spec, "Image Layout"): found by name, read no further than asked, every blob verified.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags};

use super::Error;
use super::oci_layout::{IMAGE_NAME, REF_NAME};
use crate::oci::{Descriptor, Digest, Document, Hasher, Index, Manifest, Platform};

/// An index or manifest larger than this is refused (bytes).
const MAX_DOCUMENT: u64 = 4 << 20;

#[derive(Debug)]
pub struct OciLayout {
    path: PathBuf,
    index: Index,
}

impl OciLayout {
    /// Reads the index of the layout at `path`.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let file = path.join("index.json");
        let shown = || file.to_string_lossy().into_owned();
        let bytes = open_file(&file).and_then(|file| read_at_most(file, MAX_DOCUMENT));
        let bytes = bytes.map_err(|source| Error::Read { path: shown(), source })?;
        let index = serde_json::from_slice(&bytes).map_err(|source| Error::Index { path: shown(), source })?;
        Ok(Self { path: path.to_owned(), index })
    }

    /// The image for `platform` under a tag or a digest; without either, `latest`, else the only one (buildx's rule). A manifest that
    /// stands without an index is taken as it is.
    pub fn resolve(&self, tag_or_digest: Option<&str>, platform: &Platform) -> Result<(Digest, Manifest), Error> {
        let named = self.entry(tag_or_digest).ok_or_else(|| self.not_found(tag_or_digest))?;
        let manifest = |descriptor: &Descriptor| {
            let bytes = self.read_blob(descriptor, MAX_DOCUMENT)?;
            Document::parse(&bytes).map_err(Error::from)
        };
        let index = match manifest(named)? {
            Document::Manifest(found) => return Ok((named.digest, found)),
            Document::Index(index) => index,
        };
        let fits = |entry: &&Descriptor| entry.platform.as_ref().is_some_and(|found| found.os != "unknown" && platform.accepts(found));
        let Some(entry) = index.manifests.iter().find(fits) else {
            let available = index.manifests.iter().filter_map(|entry| entry.platform.as_ref()).filter(|found| found.os != "unknown");
            let available = available.map(Platform::to_string).collect::<Vec<_>>().join(", ");
            return Err(Error::LayoutPlatform { path: self.shown(), wanted: platform.clone(), available });
        };
        match manifest(entry)? {
            Document::Manifest(found) => Ok((entry.digest, found)),
            Document::Index(_) => Err(Error::LayoutNested { path: self.shown(), digest: entry.digest }),
        }
    }

    fn entry(&self, tag_or_digest: Option<&str>) -> Option<&Descriptor> {
        let entries = &self.index.manifests;
        if let Some(digest) = tag_or_digest.and_then(|text| text.parse::<Digest>().ok()) {
            return entries.iter().find(|entry| entry.digest == digest);
        }
        let wanted = tag_or_digest.unwrap_or("latest");
        let tagged = |entry: &&Descriptor| {
            let annotation = |name: &str| entry.annotations.get(name).map(String::as_str);
            // Some write the whole name where the tag belongs.
            annotation(REF_NAME).is_some_and(|name| name == wanted || name.ends_with(&format!(":{wanted}")))
                || annotation(IMAGE_NAME).is_some_and(|name| name == wanted)
        };
        entries.iter().find(tagged).or(match &entries[..] {
            [only] if tag_or_digest.is_none() => Some(only),
            _ => None,
        })
    }

    fn not_found(&self, wanted: Option<&str>) -> Error {
        let names = self
            .index
            .manifests
            .iter()
            .map(|entry| entry.annotations.get(REF_NAME).map_or_else(|| entry.digest.to_string(), String::clone));
        Error::NotInLayout { path: self.shown(), wanted: wanted.unwrap_or("latest").to_owned(), names: names.take(20).collect() }
    }

    fn shown(&self) -> String {
        self.path.to_string_lossy().into_owned()
    }

    fn open_blob(&self, descriptor: &Descriptor) -> Result<File, Error> {
        let path = self.path.join("blobs/sha256").join(descriptor.digest.hex());
        open_file(&path).map_err(|source| Error::Blob { digest: descriptor.digest, source })
    }

    /// A small blob.
    pub fn read_blob(&self, descriptor: &Descriptor, limit: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        if descriptor.size > limit {
            return Err(Error::Blob { digest: descriptor.digest, source: too_large(limit) });
        }
        self.copy_blob(descriptor, &mut bytes)?;
        Ok(bytes)
    }

    /// Copies a blob to `out`. On an error what was written is to be thrown away.
    pub fn copy_blob(&self, descriptor: &Descriptor, out: &mut dyn Write) -> Result<(), Error> {
        let (digest, mut hasher, mut size) = (descriptor.digest, Hasher::new(), 0);
        // A byte more than promised is enough to know.
        let mut file = self.open_blob(descriptor)?.take(descriptor.size.saturating_add(1));
        let mut buffer = vec![0; 1 << 18];
        loop {
            let n = file.read(&mut buffer).map_err(|source| Error::Blob { digest, source })?;
            if n == 0 {
                break;
            }
            hasher.update(&buffer[..n]);
            size += n as u64;
            out.write_all(&buffer[..n]).map_err(|source| Error::Blob { digest, source })?;
        }
        let actual = hasher.finish();
        match actual == digest && size == descriptor.size {
            true => Ok(()),
            false => Err(Error::BlobDamaged { digest, actual, size }),
        }
    }
}

/// Opens a regular file, or a link to one, and waits for nobody: a FIFO may have nobody at its other end.
fn open_file(path: &Path) -> io::Result<File> {
    let file = File::from(rustix::fs::open(path, OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC, Mode::empty())?);
    if file.metadata()?.is_file() { Ok(file) } else { Err(io::Error::other("it is no regular file")) }
}

fn read_at_most(file: File, limit: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(limit + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > limit { Err(too_large(limit)) } else { Ok(bytes) }
}

fn too_large(limit: u64) -> io::Error {
    io::Error::other(format!("larger than {limit} bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;
    use crate::oci::media_type;

    struct Made(tempfile::TempDir);

    impl Made {
        fn blob(&self, content: &str) -> Descriptor {
            let digest = Digest::of(content.as_bytes());
            fs::create_dir_all(self.0.path().join("blobs/sha256")).unwrap();
            fs::write(self.0.path().join("blobs/sha256").join(digest.hex()), content).unwrap();
            Descriptor::new(media_type::OCI_MANIFEST, digest, content.len() as u64)
        }

        fn image(&self, name: &str) -> Descriptor {
            let manifest = Manifest::oci(self.blob(&format!("config of {name}")), vec![]);
            self.blob(&serde_json::to_string(&manifest).unwrap())
        }

        fn index(&self, entries: Vec<Descriptor>) -> OciLayout {
            fs::write(self.0.path().join("index.json"), serde_json::to_vec(&Index::oci(entries)).unwrap()).unwrap();
            OciLayout::open(self.0.path()).unwrap()
        }
    }

    fn tagged(mut descriptor: Descriptor, name: &str) -> Descriptor {
        descriptor.annotations.insert(REF_NAME.to_owned(), name.to_owned());
        descriptor
    }

    fn amd64() -> Platform {
        "linux/amd64".parse().unwrap()
    }

    #[test]
    fn an_image_is_found_by_tag_by_digest_or_because_it_is_the_only_one() {
        let made = Made(tempfile::tempdir().unwrap());
        let (one, two) = (made.image("one"), made.image("two"));
        let layout = made.index(vec![tagged(one.clone(), "v1"), tagged(two.clone(), "localhost/app:latest")]);
        let digest = two.digest.to_string();
        for (name, expected) in [(Some("v1"), Some(&one)), (None, Some(&two)), (Some(digest.as_str()), Some(&two)), (Some("v2"), None)] {
            let found = layout.resolve(name, &amd64()).ok().map(|(digest, _)| digest);
            assert_eq!(found, expected.map(|descriptor| descriptor.digest), "{name:?}");
        }
        let message = layout.resolve(Some("v2"), &amd64()).unwrap_err().to_string();
        assert!(message.contains("v1") && message.contains("\"v2\""), "{message}");
        assert_eq!(made.index(vec![one.clone()]).resolve(None, &amd64()).unwrap().0, one.digest);
        assert!(made.index(vec![one]).resolve(Some("v1"), &amd64()).is_err(), "a name that was written is not guessed away");
    }

    #[test]
    fn an_index_is_followed_to_the_platform() {
        let made = Made(tempfile::tempdir().unwrap());
        let at = |platform: &str, image: Descriptor| Descriptor { platform: Some(platform.parse().unwrap()), ..image };
        let (arm, amd) = (at("linux/arm64", made.image("arm")), at("linux/amd64", made.image("amd")));
        let index = made.blob(&serde_json::to_string(&Index::oci(vec![arm, amd.clone()])).unwrap());
        let layout = made.index(vec![index]);
        assert_eq!(layout.resolve(None, &amd64()).unwrap().0, amd.digest);
        let error = layout.resolve(None, &"linux/s390x".parse().unwrap()).unwrap_err().to_string();
        assert!(error.contains("linux/s390x") && error.contains("linux/amd64"), "{error}");
    }

    #[test]
    fn a_blob_that_is_not_what_it_is_called_is_refused() {
        let made = Made(tempfile::tempdir().unwrap());
        let image = made.image("one");
        fs::write(made.0.path().join("blobs/sha256").join(image.digest.hex()), "{}").unwrap();
        let error = made.index(vec![image]).resolve(None, &amd64()).unwrap_err();
        assert!(matches!(error, Error::BlobDamaged { .. }), "{error}");
    }

    #[test]
    fn what_is_no_regular_file_is_refused_and_not_waited_for() {
        let fifo = |path: &Path| {
            fs::remove_file(path).unwrap();
            rustix::fs::mknodat(rustix::fs::CWD, path, rustix::fs::FileType::Fifo, Mode::RWXU, 0).unwrap();
        };
        let made = Made(tempfile::tempdir().unwrap());
        let image = made.image("one");
        let layout = made.index(vec![image.clone()]);
        fifo(&made.0.path().join("blobs/sha256").join(image.digest.hex()));
        assert!(matches!(layout.resolve(None, &amd64()), Err(Error::Blob { .. })));
        fifo(&made.0.path().join("index.json"));
        assert!(matches!(OciLayout::open(made.0.path()), Err(Error::Read { .. })));
    }
}
