//! Recognising and decoding compressed streams, by content only, as docker's `DetectCompression` does.

use std::io::{self, BufRead, Read};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Compression {
    None,
    Gzip,
    Bzip2,
    Xz,
    Zstd,
}

impl Compression {
    /// The format's name, for messages.
    pub fn name(self) -> &'static str {
        match self {
            Self::None => "tar",
            Self::Gzip => "gzip",
            Self::Bzip2 => "bzip2",
            Self::Xz => "xz",
            Self::Zstd => "zstd",
        }
    }
}

/// How many leading bytes [`detect`] wants to see.
const MAGIC: usize = 6;

/// xz's largest preset (-9) decodes in 65 MiB; a dictionary that needs more than this is refused.
const XZ_MEMORY: u64 = 256 << 20;

/// The compression that a stream's first bytes announce.
pub fn detect(start: &[u8]) -> Compression {
    match start {
        [0x1f, 0x8b, 0x08, ..] => Compression::Gzip,
        [b'B', b'Z', b'h', ..] => Compression::Bzip2,
        [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Compression::Xz,
        // A frame, or a skippable frame (RFC 8878 §3.1.2).
        [0x28, 0xb5, 0x2f, 0xfd, ..] | [0x50..=0x5f, 0x2a, 0x4d, 0x18, ..] => Compression::Zstd,
        _ => Compression::None,
    }
}

/// Decodes `reader`; streams of several members, frames or streams are decoded to the end.
pub(super) fn decoder<'a>(compression: Compression, reader: impl BufRead + 'a) -> io::Result<Box<dyn Read + 'a>> {
    Ok(match compression {
        Compression::None => Box::new(reader),
        Compression::Gzip => Box::new(flate2::bufread::MultiGzDecoder::new(reader)),
        Compression::Bzip2 => Box::new(bzip2::bufread::MultiBzDecoder::new(reader)),
        Compression::Xz => {
            let stream = liblzma::stream::Stream::new_stream_decoder(XZ_MEMORY, liblzma::stream::CONCATENATED)?;
            Box::new(liblzma::bufread::XzDecoder::new_stream(reader, stream))
        }
        Compression::Zstd => Box::new(zstd::Decoder::with_buffer(reader)?),
    })
}

/// A stream whose first bytes have been looked at, and are still read.
pub(super) struct Peek<R> {
    start: [u8; MAGIC],
    length: usize,
    given: usize,
    rest: R,
}

impl<R: Read> Peek<R> {
    pub(super) fn new(mut rest: R) -> io::Result<Self> {
        let (mut start, mut length) = ([0; MAGIC], 0);
        while length < MAGIC {
            match rest.read(&mut start[length..]) {
                Ok(0) => break,
                Ok(n) => length += n,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(Self { start, length, given: 0, rest })
    }

    pub(super) fn compression(&self) -> Compression {
        detect(&self.start[..self.length])
    }
}

impl<R: Read> Read for Peek<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut start = &self.start[self.given..self.length];
        if start.is_empty() {
            return self.rest.read(buffer);
        }
        let n = start.read(buffer)?;
        self.given += n;
        Ok(n)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_are_known_by_their_first_bytes() {
        for (start, compression) in [
            (&b"\x1f\x8b\x08\0"[..], Compression::Gzip),
            (b"BZh9", Compression::Bzip2),
            (b"\xfd7zXZ\0", Compression::Xz),
            (b"\x28\xb5\x2f\xfd", Compression::Zstd),
            (b"\x5a\x2a\x4d\x18", Compression::Zstd),
            (b"\x1f\x8b", Compression::None),
            (b"", Compression::None),
            (b"etc/passwd", Compression::None),
        ] {
            assert_eq!(detect(start), compression, "{start:?}");
        }
    }

    #[test]
    fn peeking_loses_no_byte() {
        for text in [&b""[..], b"abc", b"abcdefghij"] {
            let mut all = Vec::new();
            Peek::new(text).unwrap().read_to_end(&mut all).unwrap();
            assert_eq!(all, text);
        }
    }
}
