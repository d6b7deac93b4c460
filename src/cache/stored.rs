//! A cache repository looked at from outside of a build: what stands in it, whether that is whole, and how it is taken out.

use super::artifact::{self, Entry, ImageEntry, Opened, StepEntry, TocEntry, TrailEntry};
use super::mount::MountEntry;
use super::shared::{IMAGE, LAST, MOUNT, STEP, TOC};
use crate::oci::{Descriptor, Digest, Reference};
use crate::registry::{Client, Error};

pub struct Repository<'c> {
    pub client: &'c Client,
    pub name: Reference,
}

/// What stands under a tag that may be an entry's.
#[derive(Debug)]
pub struct Stored {
    pub tag: String,
    /// Of the manifest; `None` where the registry does not know even that.
    pub digest: Option<Digest>,
    /// Bytes of the manifest.
    pub size: u64,
    pub content: Content,
    /// What the manifest names: the registry keeps it for this entry.
    pub blobs: Vec<Descriptor>,
}

#[derive(Debug)]
pub enum Content {
    Step(StepEntry),
    Image(ImageEntry),
    Trail(Box<TrailEntry>),
    Toc(TocEntry),
    Mount(MountEntry),
    /// Of a kind that this brik only knows the name of.
    Other(String),
    /// An entry that cannot be read, and so counts as absent; and why.
    Broken(String),
    /// Not brik's.
    Foreign,
}

impl Content {
    /// `step`, `image`, `trail`, `toc`, `mount`.
    pub fn kind(&self) -> &str {
        match self {
            Self::Step(_) => "step",
            Self::Image(_) => "image",
            Self::Trail(_) => "trail",
            Self::Toc(_) => "toc",
            Self::Mount(_) => "mount",
            Self::Other(kind) => kind,
            Self::Broken(_) => "broken",
            Self::Foreign => "foreign",
        }
    }

    /// The blobs that a build may ask for because of it, and where each may be.
    fn needs(&self) -> Vec<(&Descriptor, &[Reference])> {
        let (blobs, places): (Vec<&Descriptor>, &[Reference]) = match self {
            Self::Step(entry) => (entry.blobs(), &entry.places),
            // Of the layers that the manifest does not name, the base's are wherever the base is. The configuration may be carried.
            Self::Image(entry) => (entry.blobs().into_iter().filter(|blob| **blob == entry.record.config).collect(), &entry.places),
            Self::Toc(entry) => (entry.blobs(), &entry.places),
            // The manifest names all chunks.
            Self::Mount(_) | Self::Trail(_) | Self::Other(_) | Self::Broken(_) | Self::Foreign => Default::default(),
        };
        blobs.into_iter().map(|blob| (blob, places)).collect()
    }
}

impl Stored {
    /// Every blob that it is of use with, and the repositories that should have it: any of them will do.
    pub fn needs(&self, own: &Reference) -> Vec<(Descriptor, Vec<Reference>)> {
        let named = self.blobs.iter().map(|blob| (blob.clone(), vec![own.clone()]));
        let elsewhere = self.content.needs().into_iter().filter(|(blob, _)| !self.blobs.iter().any(|named| named.digest == blob.digest));
        named.chain(elsewhere.map(|(blob, places)| (blob.clone(), places.to_vec()))).collect()
    }
}

/// Whether a tag has the form of an entry's: a letter and 64 hexadecimal digits, or `last-` and a platform.
pub fn may_be_entry(tag: &str) -> bool {
    let keyed = |(letter, key): (&str, &str)| {
        let hex = key.len() == 64 && key.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'));
        hex && letter.len() == 1 && letter.bytes().all(|byte| byte.is_ascii_lowercase())
    };
    tag.starts_with(LAST) || tag.split_once('-').is_some_and(keyed)
}

/// Whether this brik writes tags of this form.
fn is_own(tag: &str) -> bool {
    tag.starts_with(LAST) || tag.starts_with([STEP, IMAGE, TOC, MOUNT])
}

impl Repository<'_> {
    /// What stands under a tag; `None` where that has gone.
    pub fn stored(&self, tag: &str) -> Result<Option<Stored>, Error> {
        let reference = self.name.with_tag(tag);
        let broken = |digest, reason: String| {
            let content = if is_own(tag) { Content::Broken(reason) } else { Content::Foreign };
            Ok(Some(Stored { tag: tag.to_owned(), digest, size: 0, content, blobs: Vec::new() }))
        };
        match self.client.get_manifest(&reference) {
            Ok(Some((manifest, bytes))) => {
                let Opened { content, blobs } = self.open(tag, &bytes);
                Ok(Some(Stored { tag: tag.to_owned(), digest: Some(manifest.digest), size: manifest.size, content, blobs }))
            }
            Ok(None) => broken(None, "its manifest is not there".to_owned()),
            Err(error) if is_damage(&error) => broken(self.digest(tag).unwrap_or_default(), error.to_string()),
            Err(error) => Err(error),
        }
    }

    fn open(&self, tag: &str, manifest: &[u8]) -> Opened {
        let Some(opened) = artifact::open(manifest, &self.name) else { return Opened { content: Content::Foreign, blobs: Vec::new() } };
        let fits = match &opened.content {
            Content::Step(_) => tag.starts_with(STEP),
            Content::Image(_) => tag.starts_with(IMAGE),
            Content::Trail(_) => tag.starts_with(LAST),
            Content::Toc(_) => tag.starts_with(TOC),
            Content::Mount(_) => tag.starts_with(MOUNT),
            _ => true,
        };
        match fits {
            true => opened,
            false => Opened { content: Content::Broken(format!("it is the entry of another kind: {}", opened.content.kind())), ..opened },
        }
    }

    /// What a tag leads to, whatever that is.
    pub fn digest(&self, tag: &str) -> Result<Option<Digest>, Error> {
        Ok(self.client.head_manifest(&self.name.with_tag(tag))?.map(|manifest| manifest.digest))
    }

    /// What is wrong with a blob that one of `places` should have; `deep`: as far as reading it tells.
    pub fn check_blob(&self, blob: &Descriptor, places: &[Reference], deep: bool) -> Result<Option<String>, Error> {
        let mut wrong = None;
        for place in places {
            let checked = match deep {
                true => self.client.pull_blob(place, blob, &mut std::io::sink()).map(|_| true),
                false => self.client.blob_is_there(place, blob),
            };
            match checked {
                Ok(true) => return Ok(None),
                Ok(false) => {}
                Err(error) if error.is_not_found() => {}
                Err(error) if is_damage(&error) => wrong = Some(format!("blob {} is damaged: {error}", blob.digest.short())),
                Err(error) => return Err(error),
            }
        }
        Ok(Some(wrong.unwrap_or_else(|| format!("blob {} is not there", blob.digest.short()))))
    }
}

/// Whether what the registry has is wrong, rather than that it cannot be asked.
fn is_damage(error: &Error) -> bool {
    match error {
        Error::WrongDigest { .. } | Error::WrongSize { .. } | Error::Garbage { .. } | Error::TooLarge { .. } | Error::Schema1 { .. } => {
            true
        }
        Error::Mirror { origin, .. } => is_damage(origin),
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_of_people_are_not_taken_for_entries() {
        let key = "0123456789abcdef".repeat(4);
        for (tag, expected) in [
            (format!("s-{key}"), true),
            (format!("t-{key}"), true),
            ("last-linux-amd64".to_owned(), true),
            (format!("sha-{key}"), false),
            (format!("s-{}", key.to_uppercase()), false),
            (format!("s-{}", &key[1..]), false),
            (format!("1-{key}"), false),
            ("latest".to_owned(), false),
            ("s-1".to_owned(), false),
        ] {
            assert_eq!(may_be_entry(&tag), expected, "{tag}");
        }
    }
}
