//! A layer: listed, unpacked, written again, and its table of contents.

use std::fs;
use std::io::{self, Write};
use std::path::Path;

use brik::image::{
    ArchiveOptions, BorrowedFiles, Codec, Error, LayerOptions, LayerWriter, Limits, Mtime, Toc, TocWriter, UnpackOptions, Unpacked,
    extract_archive, is_archive, list_layer, newest_member, recode_layer, unpack_layer, unpack_tocs, write_layer,
};
use brik::oci::{DiffId, Digest};

use super::layer_model::{self, shape};
use super::scratch::Scratch;

const LIMITS: Limits = Limits { members: 2_000, bytes: 4 << 20, ratio: 2_000, ratio_after: 4 << 20, names: 1 << 20 };
const BLOCK: usize = 512;

/// `input` is a layer, in any compression or none. The checksums of its headers are made right: no mutation would hit them.
pub fn check(input: &[u8]) {
    let layer = mended(input);
    let scratch = Scratch::new();
    scratch.write("outside", b"as it was");
    let mut toc = Vec::new();
    let unpacked = unpack(&layer, &scratch.directory("layer"), &mut toc);
    match &unpacked {
        Err(error) => {
            assert!(!error.to_string().is_empty());
            // By what it reads no further than members, whatever they are.
            let _ = (newest_member(&layer[..]), is_archive(&layer[..]));
        }
        Ok(unpacked) => understood(&layer, unpacked, &scratch, &toc),
    }
    let options = ArchiveOptions { limits: LIMITS, single_uid: true, owner: None };
    let archive = extract_archive(&layer[..], &scratch.directory("archive"), b"a/b", &options);
    assert!(archive.is_err_and(|error| !error.to_string().is_empty()) || newest_member(&layer[..]).is_none_or(|_| is_archive(&layer[..])));
    assert_eq!(fs::read(scratch.path().join("outside")).ok().as_deref(), Some(&b"as it was"[..]), "nothing outside is touched");
    let beside = fs::read_dir(scratch.path()).unwrap().map(|entry| entry.unwrap().file_name());
    let known = ["outside", "layer", "archive", "toc", "again"];
    assert!(beside.into_iter().all(|name| known.iter().any(|known| *known == name)), "nothing outside is made");
}

fn unpack(layer: &[u8], to: &Path, toc: &mut Vec<u8>) -> Result<Unpacked, Error> {
    let options = UnpackOptions { limits: LIMITS, single_uid: true, lowers: Some(Vec::new()), expected_diff_id: None };
    let mut writer = TocWriter::new(toc).unwrap();
    let unpacked = unpack_layer(layer, to, &options, &mut writer);
    writer.finish().unwrap();
    unpacked
}

/// What else must hold of a layer that can be unpacked.
fn understood(layer: &[u8], unpacked: &Unpacked, scratch: &Scratch, toc: &[u8]) {
    let mut tar = Bounded(Vec::new());
    recode_layer(layer, &mut tar).expect("it could be decoded");
    let Bounded(tar) = tar;
    assert_eq!((DiffId(Digest::of(&tar)), tar.len() as u64), (unpacked.diff_id, unpacked.uncompressed));
    let listing = list_layer(layer, &unpacked.diff_id).expect("what can be unpacked can be listed");
    assert_eq!(listing.members.len() as u64, unpacked.extracted.members);
    assert_eq!(listing.uncompressed, unpacked.uncompressed);
    for codec in [Codec::Gzip { level: 1 }, Codec::Zstd { level: 1 }] {
        let mut writer = LayerWriter::new(codec, Vec::new());
        writer.write_all(&tar).unwrap();
        let (blob, written) = writer.finish().unwrap();
        assert_eq!(written.diff_id, unpacked.diff_id);
        assert_eq!(list_layer(&blob[..], &unpacked.diff_id).expect("the same in another compression"), listing);
    }
    // Without the right to look everywhere nothing can be compared.
    let Some(found) = shape(&scratch.path().join("layer")) else { return };
    if let Some(expected) = layer_model::of(&listing) {
        layer_model::compare(&expected, &found);
    }
    table_of_contents(toc, scratch, &found);
    again(scratch);
}

/// Unpacked in the layer's place it shows what is there.
fn table_of_contents(toc: &[u8], scratch: &Scratch, found: &layer_model::Shape) {
    let tocs = [Toc::read(toc).expect("the table of contents of a layer")];
    let into = scratch.directory("toc");
    if unpack_tocs(&tocs, b"/", false, &into, true).expect("it can be unpacked").is_some()
        && let Some(shown) = shape(&into.join("0"))
    {
        assert_eq!(layer_model::nodes(&shown), layer_model::nodes(found));
    }
}

/// What is written of the directory unpacks to what the same is written of.
fn again(scratch: &Scratch) {
    let write = |name: &str| {
        let options = LayerOptions { mtime: Mtime::Normalized(0), owner_xattr: true, own_marks: true };
        let mut tar = Vec::new();
        let toc = &mut TocWriter::new(io::sink()).unwrap();
        write_layer(&scratch.path().join(name), &BorrowedFiles::default(), &options, &mut tar, toc).map(|_| tar)
    };
    // Some names and attributes cannot be in a layer.
    let Ok(first) = write("layer") else { return };
    // As they are kept: without a compression, a name can make a layer look like one that has another.
    let mut writer = LayerWriter::new(Codec::Gzip { level: 1 }, Vec::new());
    writer.write_all(&first).unwrap();
    let (blob, _) = writer.finish().unwrap();
    unpack(&blob, &scratch.directory("again"), &mut Vec::new()).expect("what brik writes it unpacks");
    let second = write("again").expect("it was written before");
    assert!(first == second, "{} and {} bytes", first.len(), second.len());
}

/// Every block that calls itself a header has the right checksum.
fn mended(input: &[u8]) -> Vec<u8> {
    let mut layer = input.to_vec();
    for header in layer.chunks_exact_mut(BLOCK).filter(|block| &block[257..262] == b"ustar") {
        header[148..156].fill(b' ');
        let sum: u32 = header.iter().map(|byte| u32::from(*byte)).sum();
        header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    }
    layer
}

/// Memory that refuses more than a layer within the limits has.
struct Bounded(Vec<u8>);

impl Write for Bounded {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        if (self.0.len() + bytes.len()) as u64 > LIMITS.bytes {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
