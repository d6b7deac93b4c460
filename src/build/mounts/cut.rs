//! A directory as a tar, cut into chunks where its content says so (FastCDC): what is added or removed changes the chunks around it, and
//! no others.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Receiver, sync_channel};
use std::sync::{Mutex, PoisonError};

use fastcdc::v2020::FastCDC;

use super::super::error::Error;
use super::lock;
use crate::cache::{Chunk, LARGEST_CHUNK};
use crate::image::{self, write_tree};
use crate::oci::Digest;

/// Bytes. A smaller average would send less for a small change, at the price of more requests for everything.
const SMALLEST: usize = 1 << 20;
const AVERAGE: usize = 4 << 20;
const LARGEST: usize = LARGEST_CHUNK as usize;

const LEVEL: i32 = 3;
/// A chunk each: 16 MiB at most, and what becomes of it.
const MOST_WORKERS: usize = 4;

/// A directory in chunks.
pub(super) struct Cut {
    /// In the order of the tar: the blake3 and the size of each.
    pub pieces: Vec<(String, u32)>,
    /// Those that were not known, by their blake3.
    pub made: BTreeMap<String, Made>,
}

/// A chunk whose blob is in a file of its own.
pub(super) struct Made {
    pub chunk: Chunk,
    pub path: PathBuf,
}

/// Cuts the tar of `directory` and packs the chunks that are not known, each once, to files in `spool`.
///
/// # Errors
/// Among others when the directory changes meanwhile.
pub(super) fn cut(directory: &Path, owner_xattr: bool, is_known: &(dyn Fn(&str) -> bool + Sync), spool: &Path) -> Result<Cut, Error> {
    let (sender, chunks) = sync_channel(1);
    let workers = std::thread::available_parallelism().map_or(1, usize::from).min(MOST_WORKERS);
    let packer =
        Packer { chunks: Mutex::new(chunks), is_known, spool, met: Mutex::default(), pieces: Mutex::default(), made: Mutex::default() };
    std::thread::scope(|scope| {
        let working: Vec<_> = (0..workers).map(|_| scope.spawn(|| packer.work())).collect();
        let mut index = 0;
        let mut cutter = Cutter::new(|chunk: Vec<u8>| {
            index += 1;
            sender.send((index, chunk)).map_err(|_| io::Error::other("the packing threads died"))
        });
        let written = write_tree(directory, owner_xattr, &mut cutter).and_then(|()| cutter.finish().map_err(image::Error::Write));
        drop(sender);
        let packed = working.into_iter().map(|worker| worker.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        let packed = packed.fold(Ok(()), Result::and);
        written?;
        packed
    })?;
    let pieces = packer.pieces.into_inner().unwrap_or_else(PoisonError::into_inner).into_values().collect();
    Ok(Cut { pieces, made: packer.made.into_inner().unwrap_or_else(PoisonError::into_inner) })
}

/// What the threads that pack share.
struct Packer<'a> {
    /// With their places in the tar.
    chunks: Mutex<Receiver<(u64, Vec<u8>)>>,
    is_known: &'a (dyn Fn(&str) -> bool + Sync),
    spool: &'a Path,
    met: Mutex<BTreeSet<String>>,
    pieces: Mutex<BTreeMap<u64, (String, u32)>>,
    made: Mutex<BTreeMap<String, Made>>,
}

impl Packer<'_> {
    /// Takes chunks until there are no more. After a failure they are only taken: who cuts them does not wait for nobody.
    fn work(&self) -> Result<(), Error> {
        let mut result = Ok(());
        loop {
            // In a statement of its own, so that the lock is gone when the chunk is packed.
            let next = lock(&self.chunks).recv();
            let Ok((index, chunk)) = next else { return result };
            if result.is_ok() {
                result = self.pack(index, &chunk);
            }
        }
    }

    fn pack(&self, index: u64, chunk: &[u8]) -> Result<(), Error> {
        let (content, size) = (content_of(chunk), u32::try_from(chunk.len()).unwrap_or(u32::MAX));
        lock(&self.pieces).insert(index, (content.clone(), size));
        if (self.is_known)(&content) || !lock(&self.met).insert(content.clone()) {
            return Ok(());
        }
        let path = self.spool.join(&content);
        let failed = |source| Error::Io { action: "write", path: path.clone(), source };
        let packed = zstd::bulk::compress(chunk, LEVEL).map_err(failed)?;
        fs::write(&path, &packed).map_err(failed)?;
        let made = Chunk { content: content.clone(), size, blob: Digest::of(&packed), packed: packed.len() as u64 };
        lock(&self.made).insert(content, Made { chunk: made, path });
        Ok(())
    }
}

/// What names a chunk, whoever packs it.
pub(super) fn content_of(chunk: &[u8]) -> String {
    blake3::hash(chunk).to_hex().to_string()
}

/// Passes on what is written to it, in chunks.
struct Cutter<F> {
    buffer: Vec<u8>,
    found: F,
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Cutter<F> {
    fn new(found: F) -> Self {
        Self { buffer: Vec::with_capacity(2 * LARGEST), found }
    }

    /// Cuts while there are as many bytes as `enough`: where the next cut is depends on the [`LARGEST`] that follow.
    fn cut(&mut self, enough: usize) -> io::Result<()> {
        let Self { buffer, found } = self;
        let (cutter, mut start) = (FastCDC::new(buffer, SMALLEST, AVERAGE, LARGEST), 0);
        while buffer.len() - start >= enough {
            let (_, end) = cutter.cut(start, buffer.len() - start);
            found(buffer[start..end].to_vec())?;
            start = end;
        }
        buffer.drain(..start);
        Ok(())
    }

    fn finish(mut self) -> io::Result<()> {
        self.cut(1)
    }
}

impl<F: FnMut(Vec<u8>) -> io::Result<()>> Write for Cutter<F> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.len().min(2 * LARGEST - self.buffer.len());
        self.buffer.extend_from_slice(&bytes[..part]);
        if self.buffer.len() == 2 * LARGEST {
            self.cut(LARGEST)?;
        }
        Ok(part)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn random(seed: u64, length: usize) -> Vec<u8> {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut bytes = vec![0; length];
        random.fill(&mut bytes);
        bytes
    }

    fn chunks(bytes: &[u8], write_size: usize) -> Vec<Vec<u8>> {
        let mut chunks = Vec::new();
        let mut cutter = Cutter::new(|chunk| {
            chunks.push(chunk);
            Ok(())
        });
        bytes.chunks(write_size).for_each(|part| cutter.write_all(part).unwrap());
        cutter.finish().unwrap();
        chunks
    }

    #[test]
    fn chunks_are_the_input_and_do_not_depend_on_how_it_was_written() {
        let zeros = vec![0; 40 << 20];
        let text = random(1, 50 << 20);
        for bytes in [&[][..], &[1], &zeros, &text] {
            let first = chunks(bytes, 8 << 10);
            assert!(first.concat() == bytes);
            assert!(chunks(bytes, 5_000_001) == first);
            assert!(first.iter().all(|chunk| (1..=LARGEST).contains(&chunk.len())));
            assert!(first.iter().rev().skip(1).all(|chunk| chunk.len() >= SMALLEST));
        }
    }

    #[test]
    fn an_insertion_changes_few_chunks() {
        let before = random(2, 60 << 20);
        let after = [&before[..20 << 20], &random(3, 1 << 20), &before[20 << 20..]].concat();
        let known: BTreeSet<Vec<u8>> = chunks(&before, 1 << 20).into_iter().collect();
        let new = chunks(&after, 1 << 20).into_iter().filter(|chunk| !known.contains(chunk)).count();
        assert!((1..=3).contains(&new), "{new} of {}", known.len());
    }

    #[test]
    fn only_what_is_not_known_is_packed_and_that_once() {
        let work = tempfile::tempdir().unwrap();
        let (tree, spool) = (work.path().join("tree"), work.path().join("spool"));
        fs::create_dir_all(&tree).unwrap();
        fs::create_dir_all(&spool).unwrap();
        // Equal chunks: all of LARGEST but the first.
        fs::write(tree.join("zeros"), vec![0; 4 * LARGEST]).unwrap();
        fs::write(tree.join("text"), random(4, 9 << 20)).unwrap();
        let all = cut(&tree, false, &|_| false, &spool).unwrap();
        let distinct: BTreeSet<&String> = all.pieces.iter().map(|(content, _)| content).collect();
        assert!(distinct.len() < all.pieces.len());
        assert_eq!(all.made.keys().collect::<BTreeSet<_>>(), distinct);
        for (content, size) in &all.pieces {
            let made = &all.made[content];
            let packed = fs::read(&made.path).unwrap();
            assert_eq!((Digest::of(&packed), packed.len() as u64), (made.chunk.blob, made.chunk.packed));
            assert_eq!(&content_of(&zstd::bulk::decompress(&packed, *size as usize).unwrap()), content);
        }
        let again = cut(&tree, false, &|content| content != all.pieces[0].0, &spool).unwrap();
        assert_eq!(again.pieces, all.pieces);
        assert_eq!(again.made.keys().collect::<Vec<_>>(), [&all.pieces[0].0]);
    }
}
