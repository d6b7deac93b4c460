//! Sparse files: which pieces of a file's content an archive holds. Old GNU headers, and GNU tar's PAX formats 0.0, 0.1 and 1.0
//! (its manual, "Storing Sparse Files").

use std::collections::VecDeque;

use tar::{GnuExtSparseHeader, GnuHeader};

use super::{Error, lossy};

const BLOCK: usize = 512;
/// Pieces of one sparse file.
const SEGMENTS_MAX: usize = 100_000;

/// Fills a buffer from the stream, or fails.
pub(super) type Blocks<'a> = &'a mut dyn FnMut(&mut [u8]) -> Result<(), Error>;

pub(super) struct Segment {
    pub offset: u64,
    pub length: u64,
}

/// The pieces of a file of `size` bytes, in order.
pub(super) struct SparseMap {
    pub size: u64,
    pub pieces: VecDeque<Segment>,
}

/// What the PAX records of a member say of its holes.
pub(super) struct PaxSparse {
    /// The name of the file, where the member's own is made up.
    pub name: Option<Vec<u8>>,
    size: u64,
    /// Offsets and lengths; `None` where they stand before the content.
    map: Option<Vec<u64>>,
}

impl SparseMap {
    fn new(size: u64) -> Self {
        Self { size, pieces: VecDeque::new() }
    }

    /// A file without holes.
    pub fn whole(size: u64) -> Self {
        Self { size, pieces: VecDeque::from([Segment { offset: 0, length: size }]) }
    }

    /// `None` for a piece that overlaps the one before, or that is beyond the file's end.
    fn add(&mut self, offset: u64, length: u64) -> Option<()> {
        let end = self.pieces.back().map_or(0, |last| last.offset + last.length);
        let fits = offset >= end && offset.checked_add(length)? <= self.size && self.pieces.len() < SEGMENTS_MAX;
        fits.then(|| self.pieces.push_back(Segment { offset, length }))
    }

    fn of(size: u64, numbers: &[u64]) -> Option<Self> {
        let mut map = Self::new(size);
        let (pairs, rest) = numbers.as_chunks();
        pairs.iter().try_for_each(|[offset, length]| map.add(*offset, *length))?;
        rest.is_empty().then_some(map)
    }

    /// Bytes of content in the archive.
    pub fn stored(&self) -> u64 {
        self.pieces.iter().map(|piece| piece.length).sum()
    }

    /// Reads the map in an old GNU header, and in those that follow it.
    pub fn old_gnu(gnu: &GnuHeader, name: &[u8], blocks: Blocks<'_>) -> Result<Self, Error> {
        let mut map = Self::new(gnu.real_size().map_err(|_| bad_map(name))?);
        let mut add = |block: &tar::GnuSparseHeader| {
            if block.is_empty() { Some(()) } else { map.add(block.offset().ok()?, block.length().ok()?) }
        };
        gnu.sparse.iter().try_for_each(&mut add).ok_or_else(|| bad_map(name))?;
        let mut more = gnu.is_extended();
        while more {
            let mut next = GnuExtSparseHeader::new();
            blocks(next.as_mut_bytes())?;
            next.sparse().iter().try_for_each(&mut add).ok_or_else(|| bad_map(name))?;
            more = next.is_extended();
        }
        Ok(map)
    }
}

impl PaxSparse {
    /// `None` for a member without holes. A version that is not known is taken for one, as by Go's reader.
    pub fn of(records: &[(Vec<u8>, Vec<u8>)], name: &[u8]) -> Result<Option<Self>, Error> {
        let record = |key: &str| records.iter().rev().find(|(name, _)| name == key.as_bytes()).map(|(_, value)| value.as_slice());
        let number = |text: &[u8]| decimal(text).ok_or_else(|| bad_map(name));
        let in_content = match (record("GNU.sparse.major"), record("GNU.sparse.minor")) {
            (Some(b"1"), Some(b"0")) => true,
            (None, None) | (Some(b"0"), Some(b"0" | b"1")) => false,
            _ => return Ok(None),
        };
        let map = if in_content {
            None
        } else if let Some(text) = record("GNU.sparse.map") {
            Some(text.split(|&byte| byte == b',').filter(|text| !text.is_empty()).map(number).collect::<Result<_, _>>()?)
        } else {
            // Format 0.0 has a record for every number, in order.
            let piece = |key: &[u8]| matches!(key, b"GNU.sparse.offset" | b"GNU.sparse.numbytes");
            let numbers = records.iter().filter(|(key, _)| piece(key)).map(|(_, value)| number(value)).collect::<Result<Vec<_>, _>>()?;
            if numbers.is_empty() {
                return Ok(None);
            }
            Some(numbers)
        };
        let size = record("GNU.sparse.size").or_else(|| record("GNU.sparse.realsize")).ok_or_else(|| bad_map(name))?;
        Ok(Some(Self { name: record("GNU.sparse.name").map(<[u8]>::to_vec), size: number(size)?, map }))
    }

    /// The map, and how many bytes of the `stored` ones it took.
    pub fn map(self, stored: u64, name: &[u8], blocks: Blocks<'_>) -> Result<(SparseMap, u64), Error> {
        let (numbers, taken) = match self.map {
            Some(numbers) => (numbers, 0),
            None => numbers_before_content(stored, name, blocks)?,
        };
        Ok((SparseMap::of(self.size, &numbers).ok_or_else(|| bad_map(name))?, taken))
    }
}

/// Format 1.0: a count of pieces and their numbers, a line each, filled up to whole blocks.
fn numbers_before_content(stored: u64, name: &[u8], blocks: Blocks<'_>) -> Result<(Vec<u64>, u64), Error> {
    let (mut numbers, mut taken, mut line) = (Vec::new(), 0, Vec::new());
    loop {
        let mut block = [0; BLOCK];
        taken += BLOCK as u64;
        if taken > stored {
            return Err(bad_map(name));
        }
        blocks(&mut block)?;
        for byte in block {
            if byte != b'\n' {
                line.push(byte);
                // No number of 64 bits is longer.
                if line.len() > 20 {
                    return Err(bad_map(name));
                }
                continue;
            }
            numbers.push(decimal(&line).ok_or_else(|| bad_map(name))?);
            line.clear();
            let pieces = numbers[0];
            if pieces > SEGMENTS_MAX as u64 {
                return Err(bad_map(name));
            }
            if numbers.len() as u64 == 1 + 2 * pieces {
                numbers.remove(0);
                return Ok((numbers, taken));
            }
        }
    }
}

fn decimal(text: &[u8]) -> Option<u64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) fn bad_map(name: &[u8]) -> Error {
    Error::Malformed { member: lossy(name), reason: "a bad map of a sparse file" }
}
