//! Records as OCI artifacts, and back.

use std::collections::BTreeMap;

use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};

use super::carried::Carried;
use super::mount::MountEntry;
use super::records::{Claims, ImageRecord, StepRecord};
use super::stored::Content;
use crate::oci::{Descriptor, DiffId, Digest, Manifest, Reference, media_type};
use crate::plan::{CacheKey, KeyInputs, Trail};

/// The annotation that holds the record, as JSON.
const RECORD: &str = "dev.brik.record";
/// The configuration of an artifact that has none (image spec 1.1, "Guidance for an Empty Descriptor").
pub const EMPTY: &[u8] = b"{}";
const EMPTY_TYPE: &str = "application/vnd.oci.empty.v1+json";

/// Places that an entry may name.
const MOST_PLACES: usize = 64;

/// What stands under `s-<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StepEntry {
    /// Those that it is found under.
    pub keys: Vec<CacheKey>,
    pub record: StepRecord,
    /// The table of contents of the layer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub toc: Option<Descriptor>,
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub carried: Carried,
    /// Where the blobs that are not carried can be had from besides the entry's own repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Reference>,
}

/// What stands under `i-<key>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageEntry {
    pub key: CacheKey,
    pub record: ImageRecord,
    /// The manifest that the record names.
    pub manifest: String,
    /// The configuration, unless it is long.
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub carried: Carried,
    /// Where its blobs can be had from besides the entry's own repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Reference>,
}

/// What stands under `t-<DiffId>`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TocEntry {
    /// The layer whose table of contents it is.
    pub layer: DiffId,
    pub toc: Descriptor,
    #[serde(default, skip_serializing_if = "Claims::is_empty")]
    pub claimed_by: Claims,
    /// Where it can be had from besides the entry's own repository.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Reference>,
}

/// What stands under `last-<platform>`: what the image that was given last was made of.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TrailEntry {
    pub trail: Trail,
    /// What went into its Steps, by their keys.
    pub inputs: BTreeMap<CacheKey, KeyInputs>,
    /// The blobs of the files that they took from contexts.
    pub files: BTreeMap<CacheKey, Descriptor>,
    #[serde(default, skip_serializing_if = "Carried::is_empty")]
    pub carried: Carried,
    /// The repository that it stands in.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub places: Vec<Reference>,
}

/// Something that stands in a cache repository.
pub trait Entry: Serialize + DeserializeOwned + Send {
    const ARTIFACT_TYPE: &'static str;

    /// Where its blobs can be had from, its own repository included once it is read.
    fn places(&self) -> &[Reference];

    fn places_mut(&mut self) -> &mut Vec<Reference>;

    /// The blobs that it is of use with.
    fn blobs(&self) -> Vec<&Descriptor>;

    /// The layer that it calls one of them.
    fn diff_id(&self, _blob: &Digest) -> Option<DiffId> {
        None
    }

    /// On whose word it rests that it is true, where anything rests on that: whoever gave it names others than its own repository.
    fn claimed_by(&self) -> Option<&Claims> {
        None
    }

    /// Adds its own repository.
    fn claim(&mut self, _repository: String) {}

    /// Whether its parts agree.
    fn is_sound(&self) -> bool {
        true
    }

    /// Whether it is what stands under a tag that ends in `hex`.
    fn is_under(&self, _hex: &str) -> bool {
        true
    }
}

impl Entry for StepEntry {
    const ARTIFACT_TYPE: &'static str = "application/vnd.brik.step.v1";

    fn places(&self) -> &[Reference] {
        &self.places
    }

    fn places_mut(&mut self) -> &mut Vec<Reference> {
        &mut self.places
    }

    fn claimed_by(&self) -> Option<&Claims> {
        Some(&self.record.claimed_by)
    }

    fn claim(&mut self, repository: String) {
        self.record.claimed_by.insert(repository);
    }

    fn blobs(&self) -> Vec<&Descriptor> {
        vec![&self.record.layer]
    }

    fn diff_id(&self, blob: &Digest) -> Option<DiffId> {
        (*blob == self.record.layer.digest).then_some(self.record.diff_id)
    }

    fn is_sound(&self) -> bool {
        let layers = [media_type::OCI_LAYER, media_type::OCI_LAYER_GZIP, media_type::OCI_LAYER_ZSTD];
        layers.contains(&self.record.layer.media_type.as_str())
    }

    fn is_under(&self, hex: &str) -> bool {
        self.keys.iter().any(|key| key.0.hex() == hex)
    }
}

impl Entry for ImageEntry {
    const ARTIFACT_TYPE: &'static str = "application/vnd.brik.image.v1";

    fn places(&self) -> &[Reference] {
        &self.places
    }

    fn places_mut(&mut self) -> &mut Vec<Reference> {
        &mut self.places
    }

    fn claimed_by(&self) -> Option<&Claims> {
        Some(&self.record.claimed_by)
    }

    fn claim(&mut self, repository: String) {
        self.record.claimed_by.insert(repository);
    }

    fn blobs(&self) -> Vec<&Descriptor> {
        let config = Some(&self.record.config).filter(|config| self.carried.get(&config.digest).is_none());
        self.record.layers.iter().map(|layer| &layer.descriptor).chain(config).collect()
    }

    fn diff_id(&self, blob: &Digest) -> Option<DiffId> {
        self.record.layers.iter().find(|layer| layer.descriptor.digest == *blob).map(|layer| layer.diff_id)
    }

    fn is_sound(&self) -> bool {
        let ImageRecord { manifest: descriptor, config, layers, .. } = &self.record;
        let Ok(manifest) = serde_json::from_str::<Manifest>(&self.manifest) else { return false };
        Digest::of(self.manifest.as_bytes()) == descriptor.digest
            && manifest.media_type == descriptor.media_type
            && self.manifest.len() as u64 == descriptor.size
            && manifest.config == *config
            // An image may call the encoding of a layer by another name than its base.
            && manifest.layers.iter().map(|layer| (layer.digest, layer.size)).eq(layers.iter().map(|l| (l.descriptor.digest, l.descriptor.size)))
    }

    fn is_under(&self, hex: &str) -> bool {
        self.key.0.hex() == hex
    }
}

impl Entry for TocEntry {
    const ARTIFACT_TYPE: &'static str = "application/vnd.brik.toc.v1";

    fn places(&self) -> &[Reference] {
        &self.places
    }

    fn places_mut(&mut self) -> &mut Vec<Reference> {
        &mut self.places
    }

    fn claimed_by(&self) -> Option<&Claims> {
        Some(&self.claimed_by)
    }

    fn claim(&mut self, repository: String) {
        self.claimed_by.insert(repository);
    }

    fn blobs(&self) -> Vec<&Descriptor> {
        vec![&self.toc]
    }

    fn is_under(&self, hex: &str) -> bool {
        self.layer.0.hex() == hex
    }
}

impl Entry for TrailEntry {
    const ARTIFACT_TYPE: &'static str = "application/vnd.brik.trail.v1";

    fn places(&self) -> &[Reference] {
        &self.places
    }

    fn places_mut(&mut self) -> &mut Vec<Reference> {
        &mut self.places
    }

    fn blobs(&self) -> Vec<&Descriptor> {
        Vec::new()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Artifact {
    schema_version: u8,
    media_type: String,
    artifact_type: String,
    config: Descriptor,
    layers: Vec<Descriptor>,
    annotations: BTreeMap<String, String>,
}

/// The descriptor of [`EMPTY`].
pub fn empty() -> Descriptor {
    Descriptor::new(EMPTY_TYPE, Digest::of(EMPTY), EMPTY.len() as u64)
}

/// The manifest of an entry; `blobs` are those of its blobs that its repository has.
pub fn write<E: Entry>(entry: &E, blobs: Vec<Descriptor>) -> Result<Vec<u8>, serde_json::Error> {
    let artifact = Artifact {
        schema_version: 2,
        media_type: media_type::OCI_MANIFEST.to_owned(),
        artifact_type: E::ARTIFACT_TYPE.to_owned(),
        config: empty(),
        layers: blobs,
        annotations: BTreeMap::from([(RECORD.to_owned(), serde_json::to_string(entry)?)]),
    };
    serde_json::to_vec(&artifact)
}

/// The entry in a manifest of the repository `place`, which then is the first place where its blobs can be had from if it has them;
/// `None` for what is no entry of this kind, or not that of the tag of `place`, if it has one.
pub fn read<E: Entry>(manifest: &[u8], place: &Reference) -> Option<E> {
    let artifact: Artifact = serde_json::from_slice(manifest).ok()?;
    if artifact.artifact_type != E::ARTIFACT_TYPE {
        return None;
    }
    let mut entry: E = serde_json::from_str(artifact.annotations.get(RECORD)?).ok()?;
    let hex = place.tag.as_deref().and_then(|tag| Some(tag.split_once('-')?.1));
    let as_named = |blob: &&Descriptor| artifact.layers.iter().all(|named| named.digest != blob.digest || named == *blob);
    if hex.is_some_and(|hex| !entry.is_under(hex)) || !entry.blobs().iter().all(as_named) {
        return None;
    }
    // The others name no blob.
    if !artifact.layers.is_empty() || entry.blobs().is_empty() {
        entry.places_mut().insert(0, Reference { tag: None, digest: None, ..place.clone() });
    }
    entry.places_mut().truncate(MOST_PLACES);
    entry.claim(place.name());
    entry.is_sound().then_some(entry)
}

/// What a manifest is, and the blobs that it names.
pub struct Opened {
    pub content: Content,
    pub blobs: Vec<Descriptor>,
}

/// The same for whatever brik may have written; `None` for what it has not.
pub fn open(manifest: &[u8], place: &Reference) -> Option<Opened> {
    let artifact: Artifact = serde_json::from_slice(manifest).ok()?;
    let (kind, _version) = artifact.artifact_type.strip_prefix("application/vnd.brik.")?.rsplit_once(".v")?;
    let content = match artifact.artifact_type.as_str() {
        StepEntry::ARTIFACT_TYPE => read(manifest, place).map(Content::Step),
        ImageEntry::ARTIFACT_TYPE => read(manifest, place).map(Content::Image),
        TrailEntry::ARTIFACT_TYPE => read(manifest, place).map(|entry| Content::Trail(Box::new(entry))),
        TocEntry::ARTIFACT_TYPE => read(manifest, place).map(Content::Toc),
        MountEntry::ARTIFACT_TYPE => read(manifest, place).map(Content::Mount),
        _ => Some(Content::Other(kind.to_owned())),
    };
    let content = content.unwrap_or_else(|| Content::Broken(format!("its record of a {kind} is not sound")));
    Some(Opened { content, blobs: artifact.layers.into_iter().chain([artifact.config]).collect() })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::Layer;

    fn step() -> StepEntry {
        let record = StepRecord {
            diff_id: DiffId(Digest::of(b"tar")),
            layer: Descriptor::new(media_type::OCI_LAYER_GZIP, Digest::of(b"blob"), 4),
            inputs: KeyInputs::new("run"),
            files: None,
            took: 7,
            single_uid: false,
            claimed_by: Claims::new(),
        };
        StepEntry {
            keys: vec![key("1"), key("2")],
            record,
            toc: None,
            carried: Carried::default(),
            places: vec!["r.example/app".parse().unwrap()],
        }
    }

    fn key(name: &str) -> CacheKey {
        CacheKey(Digest::of(name.as_bytes()))
    }

    /// The name of an entry under the key `name`.
    fn under(letter: char, name: &str) -> Reference {
        format!("r.example/app-cache:{letter}-{}", key(name).0.hex()).parse().unwrap()
    }

    #[test]
    fn an_entry_reads_back_with_its_own_repository_first_if_that_has_the_blobs() {
        let place = under('s', "1");
        let names = |entry: StepEntry| entry.places.iter().map(Reference::name).collect::<Vec<_>>();
        let complete = write(&step(), vec![step().record.layer]).unwrap();
        let read_back: StepEntry = read(&complete, &place).unwrap();
        assert_eq!(read_back.record, StepRecord { claimed_by: Claims::from(["r.example/app-cache".to_owned()]), ..step().record });
        assert_eq!(names(read_back), ["r.example/app-cache", "r.example/app"]);
        let elsewhere = write(&step(), Vec::new()).unwrap();
        assert_eq!(names(read(&elsewhere, &place).unwrap()), ["r.example/app"]);
    }

    #[test]
    fn what_is_no_entry_is_none() {
        let place = under('s', "1");
        let bytes = write(&step(), Vec::new()).unwrap();
        assert_eq!(read::<ImageEntry>(&bytes, &place), None, "another kind");
        assert_eq!(read::<StepEntry>(&bytes[..bytes.len() / 2], &place), None, "cut");
        assert_eq!(read::<StepEntry>(b"{}", &place), None, "something else");
    }

    #[test]
    fn what_brik_wrote_is_told_from_what_it_did_not() {
        let place = under('s', "1");
        let bytes = write(&step(), vec![step().record.layer]).unwrap();
        let text = String::from_utf8(bytes).unwrap();
        let kind = |text: &str| open(text.as_bytes(), &place).map(|opened| opened.content.kind().to_owned());
        assert_eq!(kind(&text).as_deref(), Some("step"));
        assert_eq!(kind(&text.replace("brik.step.v1", "brik.step.v2")).as_deref(), Some("step"), "of a newer brik");
        assert_eq!(kind(&text.replace("brik.step.v1", "brik.chunk.v1")).as_deref(), Some("chunk"));
        assert_eq!(kind(&text.replace("diff_id", "nothing")).as_deref(), Some("broken"));
        assert_eq!(kind(&text.replace("vnd.brik.step", "vnd.other.step")), None);
        assert_eq!(open(text.as_bytes(), &place).unwrap().blobs, [step().record.layer, empty()]);
    }

    #[test]
    fn an_entry_under_another_key_or_with_another_layer_than_its_manifest_names_is_none() {
        let bytes = write(&step(), vec![step().record.layer]).unwrap();
        assert!(read::<StepEntry>(&bytes, &under('s', "2")).is_some(), "its second key");
        assert_eq!(read::<StepEntry>(&bytes, &under('s', "3")), None);
        let mut changed = step();
        changed.record.layer.size = 5;
        assert_eq!(read::<StepEntry>(&write(&changed, vec![step().record.layer]).unwrap(), &under('s', "1")), None);
        changed.record.layer.media_type = "text/html".to_owned();
        assert_eq!(read::<StepEntry>(&write(&changed, Vec::new()).unwrap(), &under('s', "1")), None);
    }

    #[test]
    fn an_image_whose_manifest_is_another_one_is_none() {
        let place = under('i', "1");
        let config = Descriptor::new(media_type::OCI_CONFIG, Digest::of(b"config"), 6);
        let layer = Layer { diff_id: DiffId(Digest::of(b"tar")), descriptor: step().record.layer };
        let text = serde_json::to_string(&Manifest::oci(config.clone(), vec![layer.descriptor.clone()])).unwrap();
        let manifest = Descriptor::new(media_type::OCI_MANIFEST, Digest::of(text.as_bytes()), text.len() as u64);
        let record =
            ImageRecord { manifest, config, layers: vec![layer], single_uid: false, took: BTreeMap::new(), claimed_by: Claims::new() };
        let whole = ImageEntry { key: key("1"), record, manifest: text, carried: Carried::default(), places: Vec::new() };
        let is_read = |entry: &ImageEntry, place: &Reference| read::<ImageEntry>(&write(entry, Vec::new()).unwrap(), place).is_some();
        assert!(is_read(&whole, &place) && !is_read(&whole, &under('i', "2")));
        assert!(!is_read(&ImageEntry { manifest: whole.manifest.replace("tar", "rat"), ..whole.clone() }, &place));
        let mut changed = whole.clone();
        changed.record.layers.clear();
        assert!(!is_read(&changed, &place));
        changed = whole;
        changed.record.manifest.media_type = "text/html".to_owned();
        assert!(!is_read(&changed, &place));
    }
}
