//! Wherever brik may have written: all of it is searched for all canaries.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Read;
use std::path::Path;

use super::forms::Canaries;

/// What was searched, and what was found.
pub struct Sinks<'c> {
    canaries: &'c Canaries,
    found: RefCell<Vec<String>>,
    kinds: RefCell<BTreeMap<&'static str, usize>>,
    bytes: RefCell<u64>,
}

impl<'c> Sinks<'c> {
    pub fn new(canaries: &'c Canaries) -> Self {
        Self { canaries, found: RefCell::default(), kinds: RefCell::default(), bytes: RefCell::default() }
    }

    /// Something else that is not as it should be.
    pub fn wrong(&self, what: String) {
        self.found.borrow_mut().push(what);
    }

    /// Texts or files that were searched, by kind of sink; and their bytes.
    pub fn searched(&self) -> (BTreeMap<&'static str, usize>, u64) {
        (self.kinds.borrow().clone(), *self.bytes.borrow())
    }

    pub fn found(self) -> Vec<String> {
        self.found.into_inner()
    }

    pub fn text(&self, sink: &'static str, text: impl AsRef<[u8]>) {
        self.but(sink, &[], text);
    }

    /// Where some canaries are at home.
    pub fn but(&self, sink: &'static str, allowed: &[&str], text: impl AsRef<[u8]>) {
        *self.kinds.borrow_mut().entry(sink).or_default() += 1;
        self.look(sink, allowed, text.as_ref());
    }

    fn look(&self, place: &str, allowed: &[&str], text: &[u8]) {
        *self.bytes.borrow_mut() += text.len() as u64;
        let found = self.canaries.found_in(text).into_iter().filter(|(what, _)| !allowed.contains(what));
        self.found.borrow_mut().extend(found.map(|(what, form)| format!("{what} is in {place}, as {form:?}")));
    }

    /// Every file below `directory`, its name, and what it holds uncompressed; but for `inputs`, where canaries were put.
    pub fn files(&self, sink: &'static str, directory: &Path, inputs: &BTreeSet<std::path::PathBuf>) {
        for entry in fs::read_dir(directory).into_iter().flatten().flatten() {
            let path = entry.path();
            let Ok(kind) = entry.file_type() else { continue };
            if inputs.contains(&path) {
                continue;
            }
            self.look(&format!("a name in {sink}"), &[], path.as_os_str().as_encoded_bytes());
            if kind.is_dir() {
                self.files(sink, &path, inputs);
            } else if kind.is_symlink() {
                let target = fs::read_link(&path).unwrap_or_default();
                self.look(&format!("a link in {sink}"), &[], target.as_os_str().as_encoded_bytes());
            } else if kind.is_file() {
                self.file(sink, &path);
            }
        }
    }

    /// One file, if it is there. What is larger than any test writes is of a base image.
    pub fn file(&self, sink: &'static str, path: &Path) {
        const LARGEST: u64 = 1 << 20;
        let mut bytes = Vec::new();
        let Ok(file) = fs::File::open(path) else { return };
        if file.metadata().is_ok_and(|metadata| metadata.len() > LARGEST) || file.take(LARGEST).read_to_end(&mut bytes).is_err() {
            return;
        }
        *self.kinds.borrow_mut().entry(sink).or_default() += 1;
        let place = format!("{sink}: {}", path.display());
        self.look(&place, &[], &bytes);
        let mut plain = Vec::new();
        if bytes.starts_with(&[0x1f, 0x8b]) {
            let _ = flate2::read::MultiGzDecoder::new(&bytes[..]).take(LARGEST).read_to_end(&mut plain);
        } else if bytes.starts_with(&[0x28, 0xb5, 0x2f, 0xfd]) {
            let _ = zstd::Decoder::new(&bytes[..]).and_then(|decoder| decoder.take(LARGEST).read_to_end(&mut plain));
        }
        self.look(&format!("{place} (uncompressed)"), &[], &plain);
    }
}
