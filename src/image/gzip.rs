//! One block of a layer as gzip members (RFC 1952 §2.2).
//!
//! Most layers hold much that is compressed already: archives, images, wheels. deflate spends as long on it as on text and gains nothing,
//! so that stretches which a much faster compressor finds no gain in are stored.

use std::io;

use libdeflater::{CompressionLvl, Compressor};

/// What is tried at a time. A multiple of deflate's window, so that few matches are lost at the borders.
const PIECE: usize = 64 << 10;
/// zstd's levels of a probe: one at about 1 GB/s, against 70 MB/s of libdeflate's level 4, that finds repetitions only; and, where there are
/// none, one that finds uneven bytes, too (base64). It takes its time only where there are such.
const LEVELS: [i32; 2] = [-10, 1];

/// Compresses a block into one or more members. `level`: those of libdeflate, 1 to 12; others are clamped. The bytes depend on the block
/// and the level only.
pub fn gzip(block: &[u8], level: i32) -> io::Result<Vec<u8>> {
    let level = CompressionLvl::new(level.clamp(1, 12)).unwrap_or_default();
    let mut probe = Probe::new()?;
    let dense = block.chunks(PIECE).map(|piece| probe.is_dense(piece)).collect::<io::Result<Vec<bool>>>()?;
    let mut out = Vec::new();
    let mut rest = block;
    for alike in dense.chunk_by(|one, next| one == next) {
        let (member, after) = rest.split_at(rest.len().min(alike.len() * PIECE));
        let stored = CompressionLvl::new(0).unwrap_or_default();
        append(member, if alike[0] { stored } else { level }, &mut out)?;
        rest = after;
    }
    if block.is_empty() {
        append(block, level, &mut out)?;
    }
    Ok(out)
}

struct Probe {
    compressors: [zstd::bulk::Compressor<'static>; 2],
    out: Vec<u8>,
}

impl Probe {
    fn new() -> io::Result<Self> {
        let [fast, thorough] = LEVELS.map(zstd::bulk::Compressor::new);
        Ok(Self { compressors: [fast?, thorough?], out: vec![0; zstd::zstd_safe::compress_bound(PIECE)] })
    }

    /// Whether compressing a piece gains less than a fiftieth.
    fn is_dense(&mut self, piece: &[u8]) -> io::Result<bool> {
        for compressor in &mut self.compressors {
            let size = compressor.compress_to_buffer(piece, &mut self.out[..])?;
            if size <= piece.len() - piece.len() / 50 {
                return Ok(false);
            }
        }
        Ok(true)
    }
}

fn append(bytes: &[u8], level: CompressionLvl, out: &mut Vec<u8>) -> io::Result<()> {
    // A compressor a member: nothing of one can reach the bytes of another.
    let mut compressor = Compressor::new(level);
    let start = out.len();
    out.resize(start + compressor.gzip_compress_bound(bytes.len()), 0);
    let size = compressor.gzip_compress(bytes, &mut out[start..]).map_err(io::Error::other)?;
    out.truncate(start + size);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;

    fn noise(length: usize) -> Vec<u8> {
        let mut state = 1u64;
        let mut next = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as u8
        };
        (0..length).map(|_| next()).collect()
    }

    #[test]
    fn what_is_dense_is_stored_between_what_is_compressed() {
        let text = b"all work and no play makes jack a dull boy\n".repeat(10 * PIECE / 43);
        let block = [&text[..], &noise(5 * PIECE), &text].concat();
        let bytes = gzip(&block, 4).unwrap();
        let members = bytes.windows(4).filter(|four| *four == [0x1f, 0x8b, 8, 0]).count();
        assert_eq!(members, 3);
        assert!(bytes.len() < 7 * PIECE, "{} bytes", bytes.len());
        let mut decoded = Vec::new();
        flate2::read::MultiGzDecoder::new(&bytes[..]).read_to_end(&mut decoded).unwrap();
        assert!(decoded == block);
    }

    #[test]
    fn what_has_no_repetitions_but_few_symbols_is_compressed() {
        let block: Vec<u8> = noise(1 << 20).iter().map(|byte| b"0123456789abcdefghijklmnopqrstuv"[usize::from(byte % 32)]).collect();
        assert!(gzip(&block, 4).unwrap().len() < block.len() * 2 / 3);
    }

    #[test]
    fn storing_noise_costs_next_to_nothing() {
        let block = noise(1 << 20);
        assert!(gzip(&block, 4).unwrap().len() < block.len() + block.len() / 1000);
    }
}
