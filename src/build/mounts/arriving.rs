//! The chunks of a repository as the stream that they were cut from: some ahead of the reader, at most two a connection.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, sync_channel};

use super::super::error::Error;
use super::cut::content_of;
use crate::cache::{Chunk, MountEntry};
use crate::oci::Reference;
use crate::registry::Client;

/// Chunks that are pulled at the same time: a connection each.
const AT_ONCE: usize = 4;

/// Lets `read` read what the chunks of an entry hold, each verified before any of its bytes is given.
pub(super) fn arriving<T>(
    client: &Client,
    place: &Reference,
    entry: &MountEntry,
    read: impl FnOnce(Arriving) -> Result<T, Error>,
) -> Result<T, Error> {
    std::thread::scope(|scope| {
        let lanes = AT_ONCE.min(entry.chunks.len());
        let lane = |first: usize| {
            let (sender, chunks) = sync_channel(0);
            scope.spawn(move || {
                for chunk in entry.chunks.iter().skip(first).step_by(lanes) {
                    let pulled = pull(client, place, chunk);
                    let failed = pulled.is_err();
                    if sender.send(pulled).is_err() || failed {
                        return;
                    }
                }
            });
            chunks
        };
        // Without a receiver, after an error of the reader, they end.
        read(Arriving { lanes: (0..lanes).map(lane).collect(), left: entry.chunks.len(), next: 0, chunk: Vec::new(), position: 0 })
    })
}

fn pull(client: &Client, place: &Reference, chunk: &Chunk) -> io::Result<Vec<u8>> {
    let packed = client.read_blob(place, &chunk.descriptor(), chunk.packed).map_err(io::Error::other)?;
    let size = usize::try_from(chunk.size).unwrap_or(usize::MAX);
    match zstd::bulk::decompress(&packed, size) {
        Ok(content) if content.len() == size && content_of(&content) == chunk.content => Ok(content),
        _ => Err(io::Error::other(format!("the chunk {} is not what its entry says", chunk.blob))),
    }
}

pub(super) struct Arriving {
    /// Each has every so manieth chunk.
    lanes: Vec<Receiver<io::Result<Vec<u8>>>>,
    left: usize,
    next: usize,
    chunk: Vec<u8>,
    position: usize,
}

impl Read for Arriving {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        while self.position == self.chunk.len() && self.left > 0 {
            let lane = &self.lanes[self.next % self.lanes.len()];
            // Given back before the next is waited for.
            self.chunk = Vec::new();
            self.chunk = lane.recv().map_err(|_| io::ErrorKind::UnexpectedEof)??;
            (self.position, self.next, self.left) = (0, self.next + 1, self.left - 1);
        }
        let n = (&self.chunk[self.position..]).read(buffer)?;
        self.position += n;
        Ok(n)
    }
}
