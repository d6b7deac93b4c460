//! The stat cache's file: a header (magic, number of records, crc32 of the records), then 88-byte little-endian records sorted by
//! (device, inode). A file that is damaged or of another version counts as empty.

use std::cmp::Ordering;
use std::fs::{self, File};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::OFlags;

use super::content_hash::ContentHash;
use super::stamp::Stamp;

const MAGIC: &[u8; 8] = b"brikst\x00\x03";
const HEADER: usize = 8 + 8 + 4;
const RECORD: usize = 88;

/// What is remembered of one file.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Record {
    pub stamp: Stamp,
    pub content: ContentHash,
    /// The run that last found it.
    pub used: u32,
}

/// The records of a file as they lie on disk, header included: they are decoded one by one, where they are needed.
#[derive(Debug, Default)]
pub(super) struct Records(Vec<u8>);

impl Records {
    pub fn read(path: &Path) -> Self {
        // A FIFO in its place is read to its end, not waited for.
        let file = File::options().read(true).custom_flags(OFlags::NONBLOCK.bits() as i32).open(path);
        let mut bytes = Vec::new();
        let read = file.and_then(|mut file| file.read_to_end(&mut bytes));
        read.ok().filter(|_| whole(&bytes)).map(|_| Self(bytes)).unwrap_or_default()
    }

    pub fn len(&self) -> usize {
        self.0.len().saturating_sub(HEADER) / RECORD
    }

    pub fn get(&self, at: usize) -> Record {
        decode(self.bytes(at))
    }

    pub fn iter(&self) -> impl Iterator<Item = Record> {
        (0..self.len()).map(|at| self.get(at))
    }

    /// The latest run that any record was found by.
    pub fn latest_run(&self) -> Option<u32> {
        (0..self.len()).map(|at| u32_at(self.bytes(at), 52)).max()
    }

    /// Where the record of `key` is. It is searched for around `near`, in ever larger steps: files of one directory mostly lie
    /// near one another.
    pub fn position(&self, key: (u64, u64), near: usize) -> Option<usize> {
        let near = near.min(self.len().checked_sub(1)?);
        let (mut low, mut high, mut step) = (near, near, 1);
        match self.key(near).cmp(&key) {
            Ordering::Equal => return Some(near),
            Ordering::Less => {
                while high < self.len() && self.key(high) < key {
                    (low, high, step) = (high + 1, high + step, step * 2);
                }
                high = (high + 1).min(self.len());
            }
            Ordering::Greater => {
                while low > 0 && self.key(low) > key {
                    (high, low, step) = (low, low.saturating_sub(step), step * 2);
                }
            }
        }
        while low < high {
            let middle = (low + high) / 2;
            match self.key(middle).cmp(&key) {
                Ordering::Less => low = middle + 1,
                Ordering::Equal => return Some(middle),
                Ordering::Greater => high = middle,
            }
        }
        None
    }

    fn bytes(&self, at: usize) -> &[u8] {
        &self.0[HEADER + at * RECORD..][..RECORD]
    }

    fn key(&self, at: usize) -> (u64, u64) {
        let record = self.bytes(at);
        (u64_at(record, 0), u64_at(record, 8))
    }
}

/// Replaces the file by one of `records`, which are sorted, through the file `temporary` and a rename.
pub(super) fn write(path: &Path, records: &[Record], temporary: &Path) -> io::Result<()> {
    let mut file = Vec::with_capacity(HEADER + records.len() * RECORD);
    file.extend_from_slice(MAGIC);
    file.extend_from_slice(&(records.len() as u64).to_le_bytes());
    file.extend_from_slice(&[0; 4]);
    records.iter().for_each(|record| encode(record, &mut file));
    let checksum = libdeflater::crc32(&file[HEADER..]);
    file[HEADER - 4..HEADER].copy_from_slice(&checksum.to_le_bytes());

    let written = fs::File::create(temporary).and_then(|mut to| to.write_all(&file));
    let renamed = written.and_then(|()| fs::rename(temporary, path));
    if renamed.is_err() {
        let _ = fs::remove_file(temporary);
    }
    renamed
}

fn whole(file: &[u8]) -> bool {
    let Some((header, records)) = file.split_at_checked(HEADER) else { return false };
    header.starts_with(MAGIC)
        && usize::try_from(u64_at(header, 8)).ok().and_then(|count| count.checked_mul(RECORD)) == Some(records.len())
        && u32_at(header, 16) == libdeflater::crc32(records)
}

fn encode(Record { stamp, content, used }: &Record, out: &mut Vec<u8>) {
    for word in [stamp.device, stamp.inode, stamp.size, stamp.mtime.0 as u64, stamp.ctime.0 as u64] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    for word in [stamp.mtime.1, stamp.ctime.1, stamp.mode, *used] {
        out.extend_from_slice(&word.to_le_bytes());
    }
    out.extend_from_slice(content.as_bytes());
}

fn decode(record: &[u8]) -> Record {
    let stamp = Stamp {
        device: u64_at(record, 0),
        inode: u64_at(record, 8),
        size: u64_at(record, 16),
        mtime: (u64_at(record, 24) as i64, u32_at(record, 40)),
        ctime: (u64_at(record, 32) as i64, u32_at(record, 44)),
        mode: u32_at(record, 48),
    };
    let mut content = [0; 32];
    content.copy_from_slice(&record[56..RECORD]);
    Record { stamp, content: ContentHash::from_bytes(content), used: u32_at(record, 52) }
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    let mut word = [0; 8];
    word.copy_from_slice(&bytes[at..at + 8]);
    u64::from_le_bytes(word)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    let mut word = [0; 4];
    word.copy_from_slice(&bytes[at..at + 4]);
    u32::from_le_bytes(word)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(inode: u64) -> Record {
        let stamp = Stamp { device: 1, inode, size: 3, mtime: (-100, 5), ctime: (100, 7), mode: 0o100644 };
        Record { stamp, content: ContentHash::of(&inode.to_le_bytes()), used: inode as u32 }
    }

    #[test]
    fn records_are_read_as_they_were_written() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stat");
        let written: Vec<_> = [3, 5, 9].map(record).into();
        write(&path, &written, &directory.path().join("new")).unwrap();
        let records = Records::read(&path);
        assert_eq!(records.iter().collect::<Vec<_>>(), written);
        assert_eq!(records.latest_run(), Some(9));
        assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_record_is_found_from_wherever_the_search_begins() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stat");
        for count in [0, 1, 2, 3, 7, 20] {
            write(&path, &(0..count).map(|at| record(2 * at + 1)).collect::<Vec<_>>(), &directory.path().join("new")).unwrap();
            let records = Records::read(&path);
            for (near, inode) in (0..=count as usize).flat_map(|near| (0..2 * count + 2).map(move |inode| (near, inode))) {
                let expected = (inode % 2 == 1 && inode / 2 < count).then_some(inode as usize / 2);
                assert_eq!(records.position((1, inode), near), expected, "{inode} of {count} from {near}");
            }
            assert_eq!(records.position((2, 1), 0), None);
        }
    }

    #[test]
    fn a_damaged_file_counts_as_empty() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("stat");
        rustix::fs::mknodat(rustix::fs::CWD, &path, rustix::fs::FileType::Fifo, 0o600.into(), 0).unwrap();
        assert_eq!(Records::read(&path).len(), 0);
        fs::remove_file(&path).unwrap();
        write(&path, &[3, 5, 9].map(record), &directory.path().join("new")).unwrap();
        let good = fs::read(&path).unwrap();
        for at in [0, 7, 9, 17, HEADER, good.len() - 1] {
            let mut bad = good.clone();
            bad[at] ^= 0x10;
            fs::write(&path, bad).unwrap();
            assert_eq!(Records::read(&path).len(), 0, "byte {at}");
        }
        for length in [0, 7, HEADER, good.len() - 1] {
            fs::write(&path, &good[..length]).unwrap();
            assert_eq!(Records::read(&path).len(), 0, "{length} bytes");
        }
    }
}
