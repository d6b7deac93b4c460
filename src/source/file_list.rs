//! What a selection brought into an image, file by file: kept beside a result, so that a later build can name the file that changed.
//!
//! A list is its own encoding: entries one after the other, each
//!
//! | bytes | what |
//! |---|---|
//! | 1 | kind: `f`ile, `d`irectory, `l`ink, `p`ipe, `s`ocket, `c`haracter or `b`lock device |
//! | 2 | permission bits, little endian |
//! | 8 | of the content's hash, enough to see a change; zero where there is no content |
//! | 4 | length of the path, little endian |
//! | n | path in the context |

use std::collections::HashMap;
use std::io::{self, Read};

use super::content_hash::ContentHash;

/// The entries of one selection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct FileList(Vec<u8>);

/// One entry of a [`FileList`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct ListedFile<'l> {
    pub path: &'l [u8],
    pub kind: u8,
    /// Permission bits.
    pub mode: u16,
    /// The beginning of the content's hash.
    pub content: [u8; 8],
}

/// What differs between two lists.
#[derive(Debug, PartialEq, Eq)]
pub enum FileChange<'l> {
    Added(&'l [u8]),
    Removed(&'l [u8]),
    /// Another content, or another kind of file.
    Content {
        path: &'l [u8],
        old: [u8; 8],
        new: [u8; 8],
    },
    Mode {
        path: &'l [u8],
        old: u16,
        new: u16,
    },
}

impl FileList {
    /// `path` is made of its directory and its name.
    pub(super) fn push(&mut self, kind: u8, mode: u32, content: [u8; 8], (directory, name): (&[u8], &[u8])) {
        let slash: &[u8] = if directory.is_empty() { b"" } else { b"/" };
        let length = (directory.len() + slash.len() + name.len()) as u32;
        self.0.push(kind);
        self.0.extend_from_slice(&((mode & 0o7777) as u16).to_le_bytes());
        self.0.extend_from_slice(&content);
        self.0.extend_from_slice(&length.to_le_bytes());
        [directory, slash, name].into_iter().for_each(|part| self.0.extend_from_slice(part));
    }

    pub fn files(&self) -> impl Iterator<Item = ListedFile<'_>> {
        let mut rest = &self.0[..];
        std::iter::from_fn(move || {
            let (file, after) = first(rest)?;
            rest = after;
            Some(file)
        })
    }

    /// What became of the files of this list, in the order of `new`; what was removed comes last.
    pub fn changes<'l>(&'l self, new: &'l Self) -> Vec<FileChange<'l>> {
        let mut before: HashMap<&[u8], ListedFile> = self.files().map(|file| (file.path, file)).collect();
        let mut changes = Vec::new();
        for file in new.files() {
            let path = file.path;
            let Some(old) = before.remove(path) else {
                changes.push(FileChange::Added(path));
                continue;
            };
            if (old.kind, old.content) != (file.kind, file.content) {
                changes.push(FileChange::Content { path, old: old.content, new: file.content });
            }
            if old.kind == file.kind && old.mode != file.mode {
                changes.push(FileChange::Mode { path, old: old.mode, new: file.mode });
            }
        }
        changes.extend(self.files().filter(|file| before.contains_key(file.path)).map(|file| FileChange::Removed(file.path)));
        changes
    }
}

/// The first entry and the bytes after it; none if they are no entry.
fn first(bytes: &[u8]) -> Option<(ListedFile<'_>, &[u8])> {
    let (&kind, rest) = bytes.split_first()?;
    let (mode, rest) = rest.split_first_chunk::<2>()?;
    let (content, rest) = rest.split_first_chunk::<8>()?;
    let (length, rest) = rest.split_first_chunk::<4>()?;
    let (path, rest) = rest.split_at_checked(u32::from_le_bytes(*length) as usize)?;
    Some((ListedFile { path, kind, mode: u16::from_le_bytes(*mode), content: *content }, rest))
}

/// The lists of all selections of a Step, each under the hash of its selection.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct FileLists(Vec<(ContentHash, FileList)>);

/// The first bytes of the document, before it is compressed.
const FORMAT: &[u8] = b"brik files 1\n";
/// A document that would be longer is not made, and one that is longer is not read. A file takes about 60 bytes.
const MOST_BYTES: u64 = 64 << 20;

impl FileLists {
    pub fn push(&mut self, selection: ContentHash, list: FileList) {
        self.0.push((selection, list));
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The list of the selection with this hash, as text.
    pub fn of(&self, selection: &str) -> Option<&FileList> {
        self.0.iter().find(|(hash, _)| hash.to_string() == selection).map(|(_, list)| list)
    }

    /// As a document: zstd over the name of the format and, for each list, the hash of its selection, its length and its entries.
    ///
    /// # Errors
    /// There is too much of it.
    pub fn to_bytes(&self) -> io::Result<Vec<u8>> {
        let length: usize = self.0.iter().map(|(_, list)| 40 + list.0.len()).sum();
        if (FORMAT.len() + length) as u64 > MOST_BYTES {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let mut bytes = FORMAT.to_vec();
        for (hash, list) in &self.0 {
            bytes.extend_from_slice(hash.as_bytes());
            bytes.extend_from_slice(&(list.0.len() as u64).to_le_bytes());
            bytes.extend_from_slice(&list.0);
        }
        zstd::bulk::compress(&bytes, zstd::DEFAULT_COMPRESSION_LEVEL)
    }

    /// Reads such a document; none if it is not one.
    pub fn from_bytes(document: &[u8]) -> Option<Self> {
        let mut bytes = Vec::new();
        zstd::Decoder::new(document).ok()?.take(MOST_BYTES + 1).read_to_end(&mut bytes).ok()?;
        let mut rest = bytes.strip_prefix(FORMAT).filter(|_| bytes.len() as u64 <= MOST_BYTES)?;
        let mut lists = Self::default();
        while !rest.is_empty() {
            let (hash, after) = rest.split_first_chunk::<32>()?;
            let (length, after) = after.split_first_chunk::<8>()?;
            let (list, after) = after.split_at_checked(usize::try_from(u64::from_le_bytes(*length)).ok()?)?;
            lists.push(ContentHash::from_bytes(*hash), FileList(list.to_vec()));
            rest = after;
        }
        Some(lists)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(files: &[(&str, u32, u8)]) -> FileList {
        let mut list = FileList::default();
        files.iter().for_each(|(path, mode, content)| list.push(b'f', *mode, [*content; 8], (b"d", path.as_bytes())));
        list
    }

    #[test]
    fn changes_name_the_files_that_differ() {
        let old = list(&[("same", 0o644, 1), ("gone", 0o644, 1), ("mode", 0o644, 1), ("text", 0o644, 1)]);
        let new = list(&[("new", 0o644, 1), ("text", 0o755, 2), ("mode", 0o755, 1), ("same", 0o644, 1)]);
        let expected = [
            FileChange::Added(b"d/new"),
            FileChange::Content { path: b"d/text", old: [1; 8], new: [2; 8] },
            FileChange::Mode { path: b"d/text", old: 0o644, new: 0o755 },
            FileChange::Mode { path: b"d/mode", old: 0o644, new: 0o755 },
            FileChange::Removed(b"d/gone"),
        ];
        assert_eq!(old.changes(&new), expected);
        assert_eq!(old.changes(&old), []);
    }

    #[test]
    fn a_document_reads_back_and_a_damaged_one_is_none() {
        let mut lists = FileLists::default();
        let (one, other) = (ContentHash::of(b"one"), ContentHash::of(b"other"));
        lists.push(one, list(&[("a", 0o644, 1)]));
        lists.push(other, list(&[("b", 0o600, 2), ("c\nd", 0o600, 3)]));
        let document = lists.to_bytes().unwrap();
        let read = FileLists::from_bytes(&document).unwrap();
        assert_eq!(read, lists);
        assert_eq!(read.of(&other.to_string()).unwrap().files().count(), 2);
        let plain = zstd::decode_all(&document[..]).unwrap();
        for length in FORMAT.len() + 1..FORMAT.len() + 40 {
            assert_eq!(FileLists::from_bytes(&zstd::bulk::compress(&plain[..length], 1).unwrap()), None, "{length}");
        }
        assert_eq!(FileLists::from_bytes(b"no zstd"), None);
        assert_eq!(FileLists::from_bytes(&zstd::bulk::compress(b"brik files 9\n", 1).unwrap()), None);
    }

    #[test]
    fn entries_that_are_cut_off_end_the_list() {
        let FileList(whole) = list(&[("a", 0o644, 1), ("b", 0o644, 1)]);
        for length in 0..whole.len() {
            let expected = usize::from(length >= whole.len() / 2);
            assert_eq!(FileList(whole[..length].to_vec()).files().count(), expected, "{length}");
        }
    }
}
