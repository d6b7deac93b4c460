//! The bytes of one file, never more than a buffer of them in memory, holes kept as holes.

use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};

use rustix::fs::{SeekFrom, copy_file_range, ftruncate, seek};
use rustix::io::Errno;

/// What one copy_file_range(2) is asked for: a kernel without reflinks then still answers to signals.
const RANGE: usize = 1 << 30;
const BUFFER: usize = 256 << 10;

/// Copies the whole of `from` into the empty file `to` (or shares it, where the file system can), and returns its length in bytes.
pub(in crate::build) fn copy(from: &File, to: &File) -> io::Result<u64> {
    let metadata = from.metadata()?;
    let size = metadata.len();
    if metadata.blocks().saturating_mul(512) >= size {
        return copy_range(from, to, 0, u64::MAX);
    }
    let mut position = 0;
    while let Some((start, end)) = next_data(from, position, size)? {
        let copied = copy_range(from, to, start, end)?;
        position = end;
        if start + copied < end {
            // Truncated while it was read: what is left is what there is.
            break;
        }
    }
    ftruncate(to, size)?;
    Ok(size)
}

/// The next stretch of data at or after `position`.
fn next_data(file: &File, position: u64, size: u64) -> io::Result<Option<(u64, u64)>> {
    if position >= size {
        return Ok(None);
    }
    match seek(file, SeekFrom::Data(position)) {
        Ok(start) => Ok(Some((start, seek(file, SeekFrom::Hole(start))?.max(start + 1)))),
        Err(Errno::NXIO) => Ok(None),
        Err(Errno::INVAL | Errno::OPNOTSUPP) => Ok(Some((position, size))),
        Err(e) => Err(e.into()),
    }
}

/// Copies from `start` to `end` or the end of the file, and returns how many bytes that were.
fn copy_range(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    let (mut read, mut written) = (start, start);
    while read < end {
        let wanted = usize::try_from(end - read).unwrap_or(RANGE).min(RANGE);
        match copy_file_range(from, Some(&mut read), to, Some(&mut written), wanted) {
            // The end, or a file system whose files claim to be empty: reading tells.
            Ok(0) => break,
            Ok(_) => {}
            Err(Errno::INTR) => {}
            // Not between these two file systems (the errors that Go takes for that).
            Err(Errno::NOSYS | Errno::XDEV | Errno::PERM | Errno::IO | Errno::OPNOTSUPP | Errno::INVAL) if read == start => {
                break;
            }
            Err(e) => return Err(e.into()),
        }
    }
    if read == start {
        read += stream(from, to, start, end)?;
    }
    Ok(read - start)
}

fn stream(from: &File, to: &File, start: u64, end: u64) -> io::Result<u64> {
    let most = usize::try_from(from.metadata()?.len().saturating_sub(start)).unwrap_or(BUFFER);
    // A file that claims to be empty may not be.
    let mut buffer = vec![0; most.clamp(4096, BUFFER)];
    let mut position = start;
    while position < end {
        let wanted = usize::try_from(end - position).unwrap_or(BUFFER).min(buffer.len());
        let count = match from.read_at(&mut buffer[..wanted], position) {
            Ok(0) => break,
            Ok(count) => count,
            Err(e) if e.kind() == io::ErrorKind::Interrupted => continue,
            Err(e) => return Err(e),
        };
        to.write_all_at(&buffer[..count], position)?;
        position += count as u64;
    }
    Ok(position - start)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn copied(from: &File) -> File {
        let to = tempfile::tempfile().unwrap();
        let length = copy(from, &to).unwrap();
        assert_eq!(length, from.metadata().unwrap().len());
        to
    }

    fn content(file: &File) -> Vec<u8> {
        let mut out = vec![0; usize::try_from(file.metadata().unwrap().len()).unwrap()];
        file.read_exact_at(&mut out, 0).unwrap();
        out
    }

    #[test]
    fn all_bytes_arrive() {
        for length in [0, 1, BUFFER - 1, BUFFER + 1, 3 * BUFFER] {
            let from = tempfile::tempfile().unwrap();
            let bytes: Vec<u8> = (0..length).map(|i| (i % 251) as u8).collect();
            from.write_all_at(&bytes, 0).unwrap();
            assert_eq!(content(&copied(&from)), bytes, "{length}");
        }
    }

    #[test]
    fn holes_stay_holes() {
        let from = tempfile::tempfile().unwrap();
        from.write_all_at(b"head", 0).unwrap();
        from.write_all_at(b"tail", 8 << 20).unwrap();
        from.set_len(16 << 20).unwrap();
        let to = copied(&from);
        assert_eq!(content(&to), content(&from));
        assert!(to.metadata().unwrap().blocks() * 512 < 1 << 20, "{} blocks", to.metadata().unwrap().blocks());
    }

    #[test]
    fn a_stream_is_what_a_range_copy_falls_back_to() {
        let from = tempfile::tempfile().unwrap();
        from.write_all_at(&vec![7; BUFFER + 10], 0).unwrap();
        let to = tempfile::tempfile().unwrap();
        assert_eq!(stream(&from, &to, 5, BUFFER as u64 + 3).unwrap(), BUFFER as u64 - 2);
        assert_eq!(to.metadata().unwrap().len(), BUFFER as u64 + 3);
    }

    #[test]
    fn a_file_that_claims_to_be_empty_is_read() {
        let to = tempfile::tempfile().unwrap();
        assert!(copy(&File::open("/proc/self/status").unwrap(), &to).unwrap() > 0);
    }
}
