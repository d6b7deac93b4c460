//! A compressed stream decoded on a thread of its own, hashed on another, within limits.

use std::io::{self, BufReader, Read};
use std::sync::Arc;
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
    /// Bytes of those names that are held in memory until the archive ends.
    pub names: u64,
}

impl Default for Limits {
    fn default() -> Self {
        Self { members: 10_000_000, bytes: 512 << 30, ratio: 2_000, ratio_after: 4 << 30, names: 256 << 20 }
    }
}

impl Limits {
    /// Checks how many bytes of names are held.
    pub(super) fn check_names(&self, bytes: u64) -> Result<(), Error> {
        if bytes > self.names { Err(Error::TooManyNames { limit: self.names }) } else { Ok(()) }
    }

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

/// The decoded stream. Errors that it gives are [`Error`]s inside `io::Error`s.
pub(super) struct Decoded<'a> {
    chunks: Receiver<Result<Chunk, Error>>,
    chunk: Chunk,
    position: usize,
    count: u64,
    input: &'a AtomicU64,
    limits: Limits,
}

/// A piece of the decoded stream, for its reader and its hasher.
type Chunk = Arc<Vec<u8>>;

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
            self.check(self.count).map_err(io::Error::other)?;
        }
        let n = (&self.chunk[self.position..]).read(buffer)?;
        self.position += n;
        Ok(n)
    }
}

const CHUNK: usize = 256 << 10;
/// Chunks that may wait for the reader, and for the hasher: 2 MiB a stream.
const CHUNKS: usize = 8;

/// Decodes `reader` on a second thread while `consume` reads the result on this one. What `consume` leaves is read too, so that damage in
/// it is found.
pub(super) fn decode<T>(
    reader: impl Read + Send,
    limits: Limits,
    consume: impl FnOnce(&mut Decoded<'_>) -> Result<T, Error>,
) -> Result<T, Error> {
    decode_to(reader, limits, None, consume).map(|(value, _)| value)
}

/// The same, while a third thread hashes the result: the sha256 and the length of all of it.
pub(super) fn decode_hashed<T>(
    reader: impl Read + Send,
    limits: Limits,
    consume: impl FnOnce(&mut Decoded<'_>) -> Result<T, Error>,
) -> Result<(T, Digest, u64), Error> {
    let (sender, chunks) = sync_channel::<Chunk>(CHUNKS);
    std::thread::scope(|scope| {
        let hashing = scope.spawn(|| {
            let mut hasher = Hasher::new();
            chunks.into_iter().for_each(|chunk| hasher.update(&chunk));
            hasher.finish()
        });
        let consumed = decode_to(reader, limits, Some(sender), consume);
        let digest = hashing.join().map_err(|_| Error::Input(io::Error::other("the hashing thread died")))?;
        consumed.map(|(value, size)| (value, digest, size))
    })
}

/// Gives the length of the decoded stream, too.
fn decode_to<T>(
    reader: impl Read + Send,
    limits: Limits,
    hasher: Option<SyncSender<Chunk>>,
    consume: impl FnOnce(&mut Decoded<'_>) -> Result<T, Error>,
) -> Result<(T, u64), Error> {
    let count = AtomicU64::new(0);
    let (sender, chunks) = sync_channel(CHUNKS);
    std::thread::scope(|scope| {
        let producer = scope.spawn(|| produce(reader, &count, sender, hasher));
        let mut decoded = Decoded { chunks, chunk: Chunk::default(), position: 0, count: 0, input: &count, limits };
        let result =
            consume(&mut decoded).and_then(|value| io::copy(&mut decoded, &mut io::sink()).map(|_| value).map_err(Error::from_stream));
        let size = decoded.count;
        // Without a receiver the producer stops.
        drop(decoded);
        producer.join().map_err(|_| Error::Input(io::Error::other("the decoding thread died")))?;
        result.map(|value| (value, size))
    })
}

/// Sends the decoded stream; a last message may be an error.
fn produce(reader: impl Read, count: &AtomicU64, sender: SyncSender<Result<Chunk, Error>>, hasher: Option<SyncSender<Chunk>>) {
    let sent = pump(&mut Counted { reader, count }, |chunk| {
        // Whether there is a hasher still, its result is not asked for before the reader has had everything.
        let _ = hasher.as_ref().map(|hasher| hasher.send(chunk.clone()));
        sender.send(Ok(chunk)).is_ok()
    });
    if let Err(error) = sent {
        let _ = sender.send(Err(error));
    }
}

/// Decodes until the end, or until `send` says that nobody listens.
fn pump(input: &mut Counted<'_, impl Read>, send: impl Fn(Chunk) -> bool) -> Result<(), Error> {
    let peek = Peek::new(&mut *input).map_err(Error::Input)?;
    let compression = peek.compression();
    let damaged = |source| Error::Decompress { format: compression.name(), source };
    let mut decoder = decoder(compression, BufReader::with_capacity(CHUNK, peek)).map_err(damaged)?;
    loop {
        let mut chunk = Vec::with_capacity(CHUNK);
        decoder.by_ref().take(CHUNK as u64).read_to_end(&mut chunk).map_err(damaged)?;
        if chunk.is_empty() {
            break;
        }
        if !send(Chunk::new(chunk)) {
            return Ok(());
        }
    }
    drop(decoder);
    // What a decoder leaves behind the end of its stream belongs to the blob: it has arrived only with that.
    io::copy(input, &mut io::sink()).map_err(Error::Input)?;
    Ok(())
}

struct Counted<'a, R> {
    reader: R,
    count: &'a AtomicU64,
}

impl<R: Read> Read for Counted<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let n = self.reader.read(buffer)?;
        self.count.fetch_add(n as u64, Ordering::Relaxed);
        Ok(n)
    }
}
