//! Archives that `ADD` unpacks: like a layer, but every name is a file.

use std::io::{BufReader, Read};
use std::path::Path;

use super::decompress::{Peek, decoder};
use super::extract::{Extractor, Policy};
use super::stream::decode;
use super::tar_reader::{MemberKind, TarReader};
use super::{Error, Extracted, Limits};

#[derive(Debug, Clone, Default)]
pub struct ArchiveOptions {
    pub limits: Limits,
    /// See [`super::UnpackOptions::single_uid`].
    pub single_uid: bool,
    /// The owner of everything (`--chown`); otherwise the archive's.
    pub owner: Option<(u32, u32)>,
}

/// Decoded bytes before the first member: with nothing but comments in so many it is no archive, but a way to keep a processor busy.
const FIRST_MEMBER_MAX: u64 = 64 << 20;

/// Whether docker would unpack this content: a tar with at least one member, perhaps compressed. Told by content, not by name.
pub fn is_archive(reader: impl Read) -> bool {
    let Ok(peek) = Peek::new(reader) else { return false };
    let compression = peek.compression();
    let Ok(decoder) = decoder(compression, BufReader::new(peek)) else { return false };
    // A feature that brik does not read is told when it is unpacked.
    matches!(TarReader::new(decoder.take(FIRST_MEMBER_MAX)).next(), Ok(Some(_)) | Err(Error::Unsupported { .. }))
}

/// Unpacks a tar, plain or compressed (gzip, bzip2, xz, zstd), to the directory `subdir` inside of `root`; symbolic links in `subdir`
/// and in the archive are resolved with `root` as `/`. Directories are merged, anything else replaces what is there.
pub fn extract_archive(reader: impl Read + Send, root: &Path, subdir: &[u8], options: &ArchiveOptions) -> Result<Extracted, Error> {
    let policy = Policy { layer: false, single_uid: options.single_uid, owner: options.owner, lowers: Some(&[]) };
    decode(reader, options.limits, |decoded| Extractor::new(root, subdir, policy)?.run(decoded, &options.limits, |_, _| Ok(())))
}

/// The newest modification time of the regular files of an archive, seconds since 1970; `None` where it is none, or holds no such file.
pub fn newest_member(reader: impl Read + Send) -> Option<i64> {
    let newest = decode(reader, Limits::default(), |decoded| {
        let (mut archive, mut newest) = (TarReader::new(decoded), None);
        while let Some(member) = archive.next()? {
            if matches!(member.kind, MemberKind::File | MemberKind::Hardlink) {
                newest = newest.max(Some(member.mtime.0));
            }
        }
        Ok(newest)
    });
    newest.ok().flatten()
}
