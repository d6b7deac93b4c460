//! A compressed stream decoded on a thread of its own, hashed on the way, within limits.

use std::io::{self, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};

use super::Error;
use super::decompress::{Peek, decoder};
use crate::oci::{Digest, Hasher};

/// What an archive may ask for. The defaults let every honest image through and stop decompression bombs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Members of the archive.
    pub members: u64,
    /// Bytes, both of the tar stream and of the files made from it.
    pub bytes: u64,
    /// Decoded bytes for each byte of input. (gzip cannot exceed 1032; zstd makes 30,000 zeros of a byte.)
    pub ratio: u64,
    /// Decoded bytes before the ratio counts: a large file of zeros is honest.
    pub ratio_after: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: 10_000_000, bytes: 512 << 30, ratio: 2_000, ratio_after: 4 << 30 }
    }
}

impl Limits {
    /// Checks how much `input` bytes have become.
    pub(super) fn check(&self, decoded: u64, input: u64) -> Result<(), Error> {
        if decoded > self.bytes {
            return Err(Error::TooLarge { limit: self.bytes });
        }
        if decoded > self.ratio_after && decoded / self.ratio.max(1) > input {
            return Err(Error::TooDense { limit: self.ratio });
        }
        Ok(())
    }
}

/// The sha256 and length of a stream, as it came and decoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sums {
    pub input: Digest,
    pub input_size: u64,
    pub decoded: Digest,
    pub decoded_size: u64,
}

/// The decoded stream. Errors that it gives are [`Error`]s inside `io::Error`s.
pub(super) struct Decoded<'a> {
    chunks: Receiver<Result<Vec<u8>, Error>>,
    chunk: Vec<u8>,
    position: usize,
    count: u64,
    hasher: Hasher,
    input: &'a AtomicU64,
    limits: Limits,
}

impl Decoded<'_> {
    /// Holds the bytes of the files made so far against the limits too: sparse files are larger than the stream.
    pub(super) fn check(&self, made: u64) -> Result<(), Error> {
        self.limits.check(made, self.input.load(Ordering::Relaxed))
    }
}

impl Read for Decoded<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() {
            match self.chunks.recv() {
                Ok(Ok(chunk)) => (self.chunk, self.position) = (chunk, 0),
                Ok(Err(error)) => return Err(io::Error::other(error)),
                Err(_) => return Ok(0),
            }
            self.count += self.chunk.len() as u64;
            self.hasher.update(&self.chunk);
            self.check(self.count).map_err(io::Error::other)?;
        }
        let n = (&self.chunk[self.position..]).read(buffer)?;
        self.position += n;
        Ok(n)
    }
}

const CHUNK: usize = 256 << 10;
const CHUNKS: usize = 8;

/// Decodes `reader` on a second thread while `consume` reads the result on this one. What `consume` leaves is read too, so that the
/// sums are those of the whole stream.
pub(super) fn decode<T>(
    reader: impl Read + Send,
    limits: Limits,
    consume: impl FnOnce(&mut Decoded<'_>) -> Result<T, Error>,
) -> Result<(T, Sums), Error> {
    let count = AtomicU64::new(0);
    let (sender, chunks) = sync_channel(CHUNKS);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(reader, &count, sender));
        let mut decoded = Decoded { chunks, chunk: Vec::new(), position: 0, count: 0, hasher: Hasher::new(), input: &count, limits };
        let result =
            consume(&mut decoded).and_then(|value| io::copy(&mut decoded, &mut io::sink()).map(|_| value).map_err(Error::from_stream));
        let Decoded { chunks, hasher, count: decoded_size, .. } = decoded;
        // Without a receiver the producer stops.
        drop(chunks);
        let input = producer.join().map_err(|_| Error::Input(io::Error::other("the decoding thread died")))?;
        Ok((result?, Sums { input, input_size: count.load(Ordering::Relaxed), decoded: hasher.finish(), decoded_size }))
    })
}

/// Sends the decoded stream; a last message may be an error. Gives the digest of the input as far as it was read.
fn produce(reader: impl Read, count: &AtomicU64, sender: SyncSender<Result<Vec<u8>, Error>>) -> Digest {
    let mut hashed = Hashed { reader, hasher: Hasher::new(), count };
    if let Err(error) = pump(&mut hashed, &sender) {
        let _ = sender.send(Err(error));
    }
    hashed.hasher.finish()
}

fn pump(hashed: &mut Hashed<'_, impl Read>, sender: &SyncSender<Result<Vec<u8>, Error>>) -> Result<(), Error> {
    let peek = Peek::new(&mut *hashed).map_err(Error::Input)?;
    let compression = peek.compression();
    let damaged = |source| Error::Decompress { format: compression.name(), source };
    let mut decoder = decoder(compression, BufReader::with_capacity(CHUNK, peek)).map_err(damaged)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        decoder.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(damaged)?;
        if chunk.is_empty() {
            break;
        }
        if sender.send(Ok(chunk)).is_err() {
            return Ok(());
        }
    }
    drop(decoder);
    // What a decoder leaves behind the end of its stream belongs to the blob.
    io::copy(hashed, &mut io::sink()).map_err(Error::Input)?;
    Ok(())
}

struct Hashed<'a, R> {
    reader: R,
    hasher: Hasher,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Hashed<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.hasher.update(&buffer[..n]);
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
