//! What stands in a cache repository, where others write, too.

use std::collections::BTreeMap;
use std::fmt::Debug;

use brik::cache::{Carried, Content, Entry, Reach, Stored, empty_blob, may_be_entry, open, write};
use brik::oci::{Descriptor, Digest, Reference};
use brik::plan::{KeyInputs, MissReason};
use brik::source::{FileChange, FileList, FileLists};
use serde_json::{Value, json};

/// `input` is a whole manifest; or a kind of entry on a line of its own and its record, whose manifest is made here; or `files` and lists
/// of files, before they are compressed.
pub fn check(input: &[u8]) {
    let at = input.iter().position(|byte| *byte == b'\n').unwrap_or(input.len());
    let (kind, rest) = (&input[..at], input.get(at + 1..).unwrap_or_default());
    match kind {
        b"files" => lists(rest),
        b"step" | b"image" | b"toc" | b"trail" | b"mount" => {
            let kind = String::from_utf8_lossy(kind);
            if let Ok(record) = serde_json::from_slice::<Value>(rest) {
                manifest(&wrapped(&kind, mended(record)));
            }
        }
        _ => manifest(input),
    }
}

/// A manifest that an image's record names has the digest and size that it names: no mutation would hit them.
fn mended(mut record: Value) -> Value {
    if let Some(text) = record.get("manifest").and_then(Value::as_str).map(str::to_owned)
        && let Some(named) = record.pointer_mut("/record/manifest").and_then(Value::as_object_mut)
    {
        named.insert("digest".to_owned(), Digest::of(text.as_bytes()).to_string().into());
        named.insert("size".to_owned(), text.len().into());
    }
    record
}

fn wrapped(kind: &str, record: Value) -> Vec<u8> {
    let (config, _) = empty_blob();
    let manifest = json!({
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "artifactType": format!("application/vnd.brik.{kind}.v1"),
        "config": config,
        "layers": [],
        "annotations": {"dev.brik.record": record.to_string()},
    });
    serde_json::to_vec(&manifest).unwrap()
}

fn manifest(bytes: &[u8]) {
    let place: Reference = "r.example/app-cache".parse().unwrap();
    let Some(opened) = open(bytes, &place) else { return };
    let blobs = opened.blobs;
    // An entry is written with its layers alone; its configuration comes by itself.
    let (_config, layers) = blobs.split_last().unwrap();
    match &opened.content {
        Content::Step(entry) => {
            same_again(entry, layers);
            inputs(&entry.record.inputs);
            carried(&entry.carried);
            assert!(entry.keys.iter().all(|key| open(bytes, &under('s', &key.0)).is_some_and(|again| again.content.kind() == "step")));
        }
        Content::Image(entry) => {
            same_again(entry, layers);
            assert!(open(bytes, &under('i', &entry.key.0)).is_some_and(|again| again.content.kind() == "image"));
        }
        Content::Toc(entry) => same_again(entry, layers),
        Content::Trail(entry) => {
            same_again(&**entry, layers);
            inputs(&entry.trail.inputs);
            carried(&entry.carried);
            entry.inputs.values().for_each(inputs);
            entry.trail.steps.iter().for_each(|step| assert!(step.position.starts_with(step.stage())));
            entry.trail.reasons.iter().chain(entry.trail.steps.iter().flat_map(|step| &step.reasons)).for_each(reason);
        }
        Content::Mount(entry) => {
            same_again(entry, layers);
            assert!(entry.tar_size() <= 128 << 30 && entry.is_same(entry));
            assert!(entry.packed_size() <= 256 << 30 && entry.place() == Some(&place));
        }
        Content::Other(kind) => assert!(!kind.is_empty() || !bytes.is_empty()),
        Content::Broken(why) => assert!(!why.is_empty()),
        Content::Foreign => panic!("an entry is brik's"),
    }
    reached(opened.content, blobs, &place);
}

/// The name of what stands under a key.
fn under(letter: char, key: &Digest) -> Reference {
    format!("r.example/app-cache:{letter}-{}", key.hex()).parse().unwrap()
}

/// What is written of it reads as the same, though its places are one more, and another repository says so.
fn same_again<E: Entry + Clone + PartialEq + Debug>(entry: &E, blobs: &[Descriptor]) {
    let bytes = write(entry, blobs.to_vec()).unwrap();
    let place: Reference = "r.example/other".parse().unwrap();
    let again = brik::cache::read::<E>(&bytes, &place).unwrap_or_else(|| panic!("{entry:?}"));
    let homeless = |entry: &E| {
        let mut entry = entry.clone();
        entry.places_mut().clear();
        entry.claim(place.name());
        entry
    };
    assert_eq!(homeless(&again), homeless(entry));
}

/// What is carried is what it is called.
fn carried(carried: &Carried) {
    for (digest, blob) in carried.blobs() {
        assert_eq!(Digest::of(&blob), digest);
        assert_eq!(carried.get(&digest), Some(blob));
    }
}

fn inputs(inputs: &KeyInputs) {
    let short = inputs.abridged();
    assert_eq!(short.parts().len(), inputs.parts().len());
    assert!(inputs.text().contains(' ') && inputs.states().is_empty());
    let again: KeyInputs = serde_json::from_str(&serde_json::to_string(inputs).unwrap()).unwrap();
    assert_eq!(again.key(), inputs.key());
}

/// A line for people.
fn reason(reason: &MissReason) {
    for line in [reason.to_string(), format!("{reason:#}")] {
        assert!(!line.is_empty() && line.chars().count() < 2_000, "{line}");
        assert!(!line.contains(char::is_control), "{line:?}");
    }
    let hidden = reason.clone().map_texts(&|text| "*".repeat(text.len()));
    assert_eq!(hidden.is_consequence(), reason.is_consequence());
}

/// Pruning sees it.
fn reached(content: Content, blobs: Vec<Descriptor>, place: &Reference) {
    let tag = format!("s-{}", Digest::of(b"").hex());
    assert!(may_be_entry(&tag));
    let stored = [Stored { tag, digest: Some(Digest::of(b"")), size: 0, content, blobs }];
    for (blob, places) in stored[0].needs(place) {
        assert!(!blob.media_type.contains('\n') || !places.is_empty() || !blob.media_type.is_empty());
    }
    let mut reach = Reach::default();
    reach.add_trails(stored.iter());
    assert_eq!(reach.kept(&stored).len(), 1);
}

/// Two documents with a NUL line between are two builds of one Step.
fn lists(input: &[u8]) {
    let at = input.windows(3).position(|three| three == b"\n\0\n");
    let (document, new) = at.map_or((input, input), |at| (&input[..at], &input[at + 3..]));
    let read = |bytes: &[u8]| FileLists::from_bytes(&zstd::bulk::compress(bytes, 1).unwrap());
    drop(FileLists::from_bytes(input));
    let Some(old) = read(document) else { return };
    let written = old.to_bytes().unwrap();
    assert_eq!(FileLists::from_bytes(&written).as_ref(), Some(&old));
    let Some(new) = read(new) else { return };
    // The hash of the first selection stands behind the name of the format.
    let Some(hash) = document.strip_prefix(b"brik files 1\n").and_then(|rest| rest.first_chunk::<32>()) else { return };
    let hash: String = hash.iter().fold("blake3:".to_owned(), |text, byte| text + &format!("{byte:02x}"));
    if let (Some(old), Some(new)) = (old.of(&hash), new.of(&hash)) {
        changes(old, new);
    }
}

fn changes(old: &FileList, new: &FileList) {
    let paths = |list: &FileList| list.files().map(|file| (file.path.to_vec(), file.kind)).collect::<BTreeMap<_, _>>();
    let (before, now) = (paths(old), paths(new));
    for change in old.changes(new) {
        match change {
            FileChange::Added(path) => assert!(now.contains_key(path)),
            FileChange::Removed(path) => assert!(before.contains_key(path)),
            FileChange::Content { path, .. } | FileChange::Mode { path, .. } => {
                assert!(before.contains_key(path) && now.contains_key(path))
            }
        }
    }
}
