//! Tar bytes in, their digest and a compressed layer blob out, in one streaming pass over all cores.
//!
//! The stream is cut into blocks of 1 MiB that are compressed independently, each to gzip members (RFC 1952 §2.2) or a zstd frame
//! (RFC 8878 §3.1) of its own: the bytes depend on the input and the level only, never on the number of workers.

use std::collections::VecDeque;
use std::io::{self, Write};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, SyncSender, TryRecvError, sync_channel};
use std::thread::JoinHandle;
use std::time::Duration;

use super::gzip::gzip;
use crate::oci::{DiffId, Digest, Hasher, media_type};

const BLOCK: usize = 1 << 20;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Codec {
    /// libdeflate levels: 1 (fastest) to 12; others are clamped.
    Gzip {
        level: i32,
    },
    /// zstd levels: 1 to 22; others are clamped.
    Zstd {
        level: i32,
    },
    None,
}

impl Default for Codec {
    /// gzip at the level that has `gzip -6`'s ratio at twice the speed of zlib.
    fn default() -> Self {
        Self::Gzip { level: 4 }
    }
}

impl Codec {
    /// The OCI media type of a layer so encoded.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Gzip { .. } => media_type::OCI_LAYER_GZIP,
            Self::Zstd { .. } => media_type::OCI_LAYER_ZSTD,
            Self::None => media_type::OCI_LAYER,
        }
    }

    fn encode(self, block: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Gzip { level } => gzip(block, level),
            Self::Zstd { level } => zstd::bulk::compress(block, level.clamp(1, 22)),
            Self::None => Ok(block.to_vec()),
        }
    }
}

/// What went into a layer blob. Its own digest is the business of who stores it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct LayerTar {
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub size: u64,
}

/// Compresses what is written to it into `out`. At most a few blocks a core are in memory.
///
/// Blocks are compressed on the rayon pool in force; a tar of more than one block is hashed on a thread of its own. Without
/// [`LayerWriter::finish`] the output is incomplete.
pub struct LayerWriter<W: Write> {
    out: W,
    codec: Codec,
    block: Vec<u8>,
    in_flight: VecDeque<Receiver<io::Result<Vec<u8>>>>,
    window: usize,
    hash: Option<HashThread>,
    uncompressed: u64,
}

struct HashThread {
    blocks: SyncSender<Arc<Vec<u8>>>,
    thread: JoinHandle<Digest>,
}

impl HashThread {
    fn start(window: usize) -> io::Result<Self> {
        let (blocks, received) = sync_channel::<Arc<Vec<u8>>>(window);
        let thread = std::thread::Builder::new().name("diff-id".to_owned()).spawn(move || {
            let mut hasher = Hasher::new();
            received.iter().for_each(|block| hasher.update(&block));
            hasher.finish()
        })?;
        Ok(Self { blocks, thread })
    }
}

impl<W: Write> LayerWriter<W> {
    pub fn new(codec: Codec, out: W) -> Self {
        let window = rayon::current_num_threads().clamp(1, 32) * 2;
        Self { out, codec, block: Vec::new(), in_flight: VecDeque::new(), window, hash: None, uncompressed: 0 }
    }

    /// Writes what is left and gives the output back. Does not flush it.
    pub fn finish(mut self) -> io::Result<(W, LayerTar)> {
        if self.uncompressed == 0 {
            // As most layers are: not worth a thread. An empty input is one empty member, as a stream of none is no gzip file.
            self.out.write_all(&self.codec.encode(&self.block)?)?;
            let tar = LayerTar { diff_id: DiffId(Digest::of(&self.block)), size: self.block.len() as u64 };
            return Ok((self.out, tar));
        }
        if !self.block.is_empty() {
            self.submit()?;
        }
        while !self.in_flight.is_empty() {
            self.write_front()?;
        }
        let died = || io::Error::other("the hashing thread died");
        let HashThread { blocks, thread } = self.hash.ok_or_else(died)?;
        drop(blocks);
        let digest = thread.join().map_err(|_| died())?;
        Ok((self.out, LayerTar { diff_id: DiffId(digest), size: self.uncompressed }))
    }

    fn submit(&mut self) -> io::Result<()> {
        if self.in_flight.len() >= self.window {
            self.write_front()?;
        }
        let block = Arc::new(std::mem::replace(&mut self.block, Vec::with_capacity(BLOCK)));
        self.uncompressed += block.len() as u64;
        let hash = match &mut self.hash {
            Some(hash) => hash,
            none => none.insert(HashThread::start(self.window)?),
        };
        hash.blocks.send(Arc::clone(&block)).map_err(|_| io::Error::other("the hashing thread died"))?;
        let (done, result) = sync_channel(1);
        let codec = self.codec;
        rayon::spawn(move || {
            // The receiver is gone when the writer was dropped: nobody wants the block.
            let _ = done.send(codec.encode(&block));
        });
        self.in_flight.push_back(result);
        Ok(())
    }

    fn write_front(&mut self) -> io::Result<()> {
        let Some(front) = self.in_flight.pop_front() else { return Ok(()) };
        self.out.write_all(&wait(&front)?)
    }
}

/// Waits for a block. On a thread of the pool it works meanwhile, so that a pool of one thread does not wait for itself.
fn wait(result: &Receiver<io::Result<Vec<u8>>>) -> io::Result<Vec<u8>> {
    let died = |_| io::Error::other("a compressing thread died");
    loop {
        match result.try_recv() {
            Ok(block) => return block,
            Err(TryRecvError::Disconnected) => return Err(io::Error::other("a compressing thread died")),
            Err(TryRecvError::Empty) => match rayon::yield_now() {
                Some(rayon::Yield::Executed) => {}
                Some(rayon::Yield::Idle) => {
                    if let Ok(block) = result.recv_timeout(Duration::from_millis(1)) {
                        return block;
                    }
                }
                None => return result.recv().map_err(died)?,
            },
        }
    }
}

impl<W: Write> Write for LayerWriter<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let part = bytes.len().min(BLOCK - self.block.len());
        self.block.extend_from_slice(&bytes[..part]);
        if self.block.len() == BLOCK {
            self.submit()?;
        }
        Ok(part)
    }

    /// Does nothing: cutting blocks where a caller flushes would make the bytes depend on it.
    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    /// Bytes that compress, but not to nothing.
    fn sample(length: usize) -> Vec<u8> {
        let mut state = 1u32;
        let mut next = || {
            state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            (state >> 28) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    fn blob(codec: Codec, bytes: &[u8], threads: usize) -> (Vec<u8>, LayerTar) {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let mut writer = LayerWriter::new(codec, Vec::new());
            // Uneven writes: block borders must not depend on them.
            bytes.chunks(threads * 77_777).for_each(|chunk| writer.write_all(chunk).unwrap());
            writer.finish().unwrap()
        })
    }

    #[test]
    fn blobs_do_not_depend_on_the_number_of_threads_and_decode_to_the_input() {
        let input = sample(5 * BLOCK / 2);
        for codec in [Codec::default(), Codec::Gzip { level: 99 }, Codec::Zstd { level: 3 }, Codec::None] {
            let (bytes, layer) = blob(codec, &input, 1);
            for threads in [2, 4] {
                assert!(blob(codec, &input, threads) == (bytes.clone(), layer), "{codec:?} on {threads} threads");
            }
            assert_eq!((layer.diff_id, layer.size), (DiffId(Digest::of(&input)), input.len() as u64));
            let mut decoded = Vec::new();
            match codec {
                Codec::Gzip { .. } => flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut decoded).unwrap(),
                Codec::Zstd { .. } => zstd::Decoder::new(&bytes[..]).unwrap().read_to_end(&mut decoded).unwrap(),
                Codec::None => (&bytes[..]).read_to_end(&mut decoded).unwrap(),
            };
            assert!(decoded == input, "{codec:?}");
        }
    }

    #[test]
    fn a_gzip_member_names_neither_time_nor_system() {
        let (bytes, _) = blob(Codec::default(), b"x", 1);
        assert_eq!((&bytes[..4], &bytes[4..8], bytes[9]), (&[0x1f, 0x8b, 8, 0][..], &[0; 4][..], 255));
    }

    #[test]
    fn an_empty_input_is_a_valid_stream() {
        let (bytes, layer) = blob(Codec::default(), b"", 1);
        let mut decoded = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut decoded).unwrap();
        assert_eq!((decoded.len(), layer.size), (0, 0));
    }

    #[test]
    fn an_error_of_the_output_is_the_error_of_the_writer() {
        struct Full;
        impl Write for Full {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::StorageFull.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let mut writer = LayerWriter::new(Codec::default(), Full);
        writer.write_all(b"x").unwrap();
        assert_eq!(writer.finish().err().map(|e| e.kind()), Some(io::ErrorKind::StorageFull));
    }
}
