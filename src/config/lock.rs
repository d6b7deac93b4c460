//! brik.lock: what the tags of base images are held to. A file that people commit, compare and merge, and that brik writes.
//!
//! ```toml
//! version = 1
//!
//! [base."docker.io/library/alpine:3.20"]
//! digest = "sha256:…"
//! resolved = "2026-11-22"
//! platform."linux/amd64" = "sha256:…"
//! platform."linux/arm64" = "sha256:…"
//! ```
//!
//! Bases stand in the order of their names, one value a line. `digest` is that of the index, or of the manifest where there is none;
//! `resolved` is the day on which the tag was first seen to lead there (UTC).

use std::collections::BTreeMap;
use std::fmt::Write;
use std::ops::Range;
use std::path::{Path, PathBuf};

use jiff::civil::Date;

use super::document::{self, Entry, Node, Table, Value};
use super::finding::{Finding, Findings, Location, Source};
use super::place;
use crate::oci::{Digest, Pin, Pins, Platform, Reference};
use crate::source::Files;

/// What is written, and all that is read.
const VERSION: i64 = 1;

const HEAD: &str = "# The base images of this repository, pinned. `brik lock` and `brik update` write it; commit it.\n";

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LockedBase {
    pub pin: Pin,
    pub resolved: Date,
}

#[derive(Debug, Clone, Default)]
pub struct Lock {
    /// By names with their tags written out.
    pub bases: BTreeMap<Reference, LockedBase>,
    /// Where each was read.
    places: BTreeMap<Reference, Location>,
}

impl Lock {
    /// The lock that belongs to a brik.toml: beside it, and called like it.
    pub fn path(config_file: &Path) -> PathBuf {
        config_file.with_extension("lock")
    }

    /// Reads a lock; `None` where there is none.
    ///
    /// # Errors
    /// All that is wrong with it, each on its bytes.
    pub fn read(path: &Path, files: &dyn Files) -> Result<Option<Self>, Findings> {
        match files.canonicalize(path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(None),
            _ => {
                let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy();
                Self::parse(&place::read(files, path, &name)?).map(Some)
            }
        }
    }

    pub fn pins(&self) -> Pins {
        self.bases.iter().map(|(name, base)| (name.clone(), base.pin.clone())).collect()
    }

    /// Where a base stands in the file that was read.
    pub fn place(&self, name: &Reference) -> Option<&Location> {
        self.places.get(name)
    }

    pub fn parse(source: &Source) -> Result<Self, Findings> {
        let table = document::parse(&source.text).map_err(|error| unreadable(source, error))?;
        let mut reader = Reader { source, findings: Vec::new() };
        let lock = reader.lock(&table);
        let Reader { mut findings, .. } = reader;
        findings.sort_by_key(|finding| finding.location.as_ref().map(|location| location.span.start));
        if findings.is_empty() { Ok(lock) } else { Err(Findings(findings)) }
    }

    /// The file's content: the same for the same bases.
    pub fn to_text(&self) -> String {
        let mut text = format!("{HEAD}version = {VERSION}\n");
        for (name, LockedBase { pin, resolved }) in &self.bases {
            // Nothing in names, platforms and digests has to be escaped: their grammars have neither quotes nor backslashes.
            let _ = write!(text, "\n[base.\"{name}\"]\ndigest = \"{}\"\nresolved = \"{resolved}\"\n", pin.digest);
            for (platform, digest) in &pin.platforms {
                let _ = writeln!(text, "platform.\"{platform}\" = \"{digest}\"");
            }
        }
        text
    }
}

/// Bytes that are no TOML: most often those of a merge that was left half done.
fn unreadable(source: &Source, error: document::SyntaxError) -> Finding {
    let lines = source.text.split_inclusive('\n').scan(0, |at, line| {
        *at += line.len();
        Some((*at - line.len(), line.trim_end()))
    });
    match lines.into_iter().find(|(_, line)| line.starts_with("<<<<<<<")) {
        Some((at, line)) => Finding::error("brik::lock::conflict", "a merge conflict is not resolved")
            .help("take one side of each conflict and run `brik lock`")
            .at(source.at(at..at + line.len())),
        None => Finding::error("brik::lock::syntax", error.message).help(FIX).at(source.at(error.span)),
    }
}

/// What helps where a file that brik writes is not as brik writes it.
const FIX: &str = "restore the file, or remove it and run `brik lock`";

struct Reader<'a> {
    source: &'a Source,
    findings: Vec<Finding>,
}

impl Reader<'_> {
    fn report(&mut self, span: &Range<usize>, message: impl Into<String>) {
        self.findings.push(Finding::error("brik::lock::invalid", message).help(FIX).at(self.source.at(span.clone())));
    }

    fn lock(&mut self, table: &Table) -> Lock {
        let mut lock = Lock::default();
        match table.get("version").map(|entry| (&entry.node.value, &entry.node.span)) {
            Some((Value::Integer(VERSION), _)) => {}
            Some((Value::Integer(newer), span)) if *newer > VERSION => {
                let finding =
                    Finding::error("brik::lock::version", format!("this is a lock of version {newer}; this brik knows {VERSION}"));
                self.findings.push(finding.help("use a newer brik").at(self.source.at(span.clone())));
                // What else it says has a meaning that is not known here.
                return lock;
            }
            Some((_, span)) => self.report(span, format!("`version` must be {VERSION}")),
            None => self.report(&(0..0), "the key `version` is missing"),
        }
        self.unknown(table, &["version", "base"]);
        for (name, entry) in self.table(table.get("base")) {
            let reference = name.parse::<Reference>().ok();
            let Some(reference) = reference.filter(|read| read.tagged().as_ref() == Some(read) && read.to_string() == *name) else {
                self.report(
                    &entry.key,
                    format!("{name:?} is not the whole name of an image with its tag, as in docker.io/library/alpine:3.20"),
                );
                continue;
            };
            if let Some(base) = self.base(entry) {
                lock.places.insert(reference.clone(), self.source.at(entry.key.clone()));
                lock.bases.insert(reference, base);
            }
        }
        lock
    }

    fn base(&mut self, entry: &Entry) -> Option<LockedBase> {
        let table = self.table(Some(entry));
        self.unknown(table, &["digest", "resolved", "platform"]);
        let digest = self.value(entry, "digest", |text| text.parse::<Digest>().map_err(|error| error.to_string()));
        let date = |text: &str| text.parse::<Date>().map_err(|_| format!("{text:?} is not a date, as in 2026-11-22"));
        let resolved = self.value(entry, "resolved", date);
        let mut platforms = BTreeMap::new();
        for (name, entry) in self.table(table.get("platform")) {
            let platform = name.parse::<Platform>().ok().filter(|platform| platform.to_string() == *name);
            match (platform, self.text(&entry.node, |text| text.parse::<Digest>().map_err(|error| error.to_string()))) {
                (Some(platform), Some(digest)) => drop(platforms.insert(platform, digest)),
                (None, _) => self.report(&entry.key, format!("{name:?} is not a platform, as in linux/amd64")),
                (_, None) => {}
            }
        }
        Some(LockedBase { pin: Pin { digest: digest?, platforms }, resolved: resolved? })
    }

    /// The table at an entry; an empty one where there is none.
    fn table<'t>(&mut self, entry: Option<&'t Entry>) -> &'t Table {
        static NOTHING: Table = Table::new();
        match entry.map(|entry| &entry.node.value) {
            Some(Value::Table(table)) => table,
            Some(_) => {
                self.findings.extend(entry.map(|entry| self.wrong_type(&entry.node, "a table")));
                &NOTHING
            }
            None => &NOTHING,
        }
    }

    fn value<T>(&mut self, entry: &Entry, key: &str, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        match entry.node.get(key) {
            Some(entry) => self.text(&entry.node, read),
            None => {
                self.report(&entry.key, format!("the key `{key}` is missing"));
                None
            }
        }
    }

    fn text<T>(&mut self, node: &Node, read: impl Fn(&str) -> Result<T, String>) -> Option<T> {
        let Some(text) = node.as_str() else {
            let finding = self.wrong_type(node, "a string");
            self.findings.push(finding);
            return None;
        };
        read(text).map_err(|message| self.report(&node.span, message)).ok()
    }

    fn wrong_type(&self, node: &Node, wanted: &str) -> Finding {
        let message = format!("this must be {wanted}, not {}", node.type_name());
        Finding::error("brik::lock::invalid", message).help(FIX).at(self.source.at(node.span.clone()))
    }

    fn unknown(&mut self, table: &Table, known: &[&str]) {
        for (key, entry) in table.iter().filter(|(key, _)| !known.contains(&key.as_str())) {
            self.report(&entry.key, format!("unknown key `{key}`"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::Disk;

    fn digest(seed: &str) -> Digest {
        Digest::of(seed.as_bytes())
    }

    fn lock() -> Lock {
        let mut lock = Lock::default();
        for (name, platforms) in [("ghcr.io/org/tool:1", &[][..]), ("docker.io/library/alpine:3.20", &["linux/arm64", "linux/amd64"])] {
            let platforms = platforms.iter().map(|text| (text.parse().unwrap(), digest(text))).collect();
            let base = LockedBase { pin: Pin { digest: digest(name), platforms }, resolved: Date::constant(2026, 11, 22) };
            lock.bases.insert(name.parse().unwrap(), base);
        }
        lock
    }

    fn parse(text: &str) -> Result<Lock, Findings> {
        Lock::parse(&Source::new("brik.lock", text))
    }

    #[test]
    fn a_lock_reads_what_it_writes_and_stands_in_order() {
        let text = lock().to_text();
        let read = parse(&text).unwrap();
        assert_eq!(read.bases, lock().bases);
        assert_eq!(read.to_text(), text);
        let (amd64, arm64, index) = (digest("linux/amd64"), digest("linux/arm64"), digest("docker.io/library/alpine:3.20"));
        let expected = format!(
            "{HEAD}version = 1\n\n[base.\"docker.io/library/alpine:3.20\"]\ndigest = \"{index}\"\nresolved = \"2026-11-22\"\n\
             platform.\"linux/amd64\" = \"{amd64}\"\nplatform.\"linux/arm64\" = \"{arm64}\"\n\n[base.\"ghcr.io/org/tool:1\"]\n"
        );
        assert!(text.starts_with(&expected), "{text}");
        let place = read.place(&"docker.io/library/alpine:3.20".parse().unwrap()).unwrap();
        assert_eq!(&text[place.span.clone()], "\"docker.io/library/alpine:3.20\"");
        assert_eq!(parse("version = 1\n").unwrap().bases.len(), 0);
    }

    #[test]
    fn what_is_wrong_is_told_on_its_bytes() {
        let good = lock().to_text();
        let replaced = |from: &str, to: &str| good.replacen(from, to, 1);
        let index = digest("docker.io/library/alpine:3.20").to_string();
        for (text, at, says) in [
            (replaced("version = 1", "version = 2"), "2", "a lock of version 2"),
            (replaced("version = 1", "version = \"1\""), "\"1\"", "must be 1"),
            (replaced("version = 1\n", ""), "", "`version` is missing"),
            (replaced("version = 1", "version = 1\nmore = 2"), "more", "unknown key `more`"),
            (replaced(&index, "sha256:0"), "\"sha256:0\"", "invalid digest"),
            (replaced("digest = ", "digets = "), "digets", "unknown key `digets`"),
            (replaced("2026-11-22", "yesterday"), "\"yesterday\"", "is not a date"),
            (replaced("\"2026-11-22\"", "7"), "7", "must be a string, not an integer"),
            (replaced("linux/amd64", "amd64"), "\"amd64\"", "is not a platform"),
            (replaced("linux/amd64", "linux/x86_64"), "\"linux/x86_64\"", "is not a platform"),
            (replaced("docker.io/library/alpine:3.20", "alpine:3.20"), "\"alpine:3.20\"", "is not the whole name"),
            (replaced("ghcr.io/org/tool:1", "ghcr.io/org/tool"), "\"ghcr.io/org/tool\"", "is not the whole name"),
            (replaced("[base.\"ghcr.io/org/tool:1\"]", "[base.\"docker.io/library/alpine:3.20\"]"), "", "duplicate key"),
            ("version = 1\nbase = 3\n".to_owned(), "3", "must be a table, not an integer"),
            ("version = 1\n[base]\n\"a.io/b:1\" = []\n".to_owned(), "[]", "must be a table, not a list"),
            (replaced("resolved", "<<<<<<< HEAD\nresolved"), "<<<<<<< HEAD", "a merge conflict is not resolved"),
            (replaced("digest = \"", "digest = \"\u{1}"), "", "invalid"),
        ] {
            let Findings(findings) = parse(&text).unwrap_err();
            let found = findings.iter().find(|finding| finding.message.contains(says));
            let finding = found.unwrap_or_else(|| panic!("{says:?} is not in {findings:?}"));
            assert!(finding.help.is_some(), "{says}");
            let span = finding.location.clone().unwrap().span;
            assert!(at.is_empty() || text[span.clone()] == *at, "{says}: {:?}", &text[span]);
        }
    }

    #[test]
    fn whatever_was_done_to_a_lock_is_told_on_bytes_that_it_has() {
        let good = lock().to_text();
        for at in 0..good.len() {
            for put in ["", "é", "\"", "[", "\n", "="] {
                let text = format!("{}{put}{}", &good[..at], &good[at + 1..]);
                for finding in parse(&text).map_or_else(|Findings(findings)| findings, |_| Vec::new()) {
                    let span = finding.location.expect("a place").span;
                    assert!(text.get(span.clone()).is_some(), "{at} {put:?}: {} at {span:?}", finding.message);
                }
            }
        }
    }

    #[test]
    fn a_lock_stands_beside_its_brik_toml_and_may_be_missing() {
        assert_eq!(Lock::path(Path::new("/a/brik.toml")), Path::new("/a/brik.lock"));
        assert_eq!(Lock::path(Path::new("/a/ci.toml")), Path::new("/a/ci.lock"));
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("brik.lock");
        assert!(Lock::read(&path, &Disk).unwrap().is_none());
        std::fs::write(&path, lock().to_text()).unwrap();
        assert_eq!(Lock::read(&path, &Disk).unwrap().unwrap().bases.len(), 2);
        std::fs::write(&path, "no").unwrap();
        assert!(Lock::read(&path, &Disk).unwrap_err().to_string().starts_with("brik.lock:1:"));
    }
}
