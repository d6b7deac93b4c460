//! Layer blob to overlay lower directory.

use std::io::{ErrorKind, Read, Write};
use std::path::{Path, PathBuf};

use super::extract::{Extractor, Policy};
use super::stream::{Decoded, decode_hashed};
use super::tar_reader::{Member, MemberKind};
use super::toc::kept;
use super::{Error, Extracted, Limits, TocWriter, lossy};
use crate::oci::DiffId;

#[derive(Debug, Clone, Default)]
pub struct UnpackOptions {
    pub limits: Limits,
    /// Whether this process can only be one user: other owners are recorded in [`super::OWNER`], or lost where a file takes no
    /// attributes.
    pub single_uid: bool,
    /// The layers below, unpacked, uppermost first; `None` where they are not known. Only looked at for what the layer does not have
    /// itself: directories that its members lie in, targets of its hard links.
    pub lowers: Option<Vec<PathBuf>>,
    /// What the image says of the layer.
    pub expected_diff_id: Option<DiffId>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Unpacked {
    pub diff_id: DiffId,
    /// Bytes of the tar.
    pub uncompressed: u64,
    pub extracted: Extracted,
    /// The table of contents says what files of the layers below hold, and so is of use over these only.
    pub speaks_of_lowers: bool,
}

/// Unpacks a layer, in whatever compression its first bytes announce, to the existing directory `dest`. Whiteouts become character
/// devices 0:0, opaque marks become those of overlayfs. Nothing is created outside of `dest`, whatever the layer says. The layer's table of
/// contents goes to `toc`.
///
/// # Errors
/// Leaves a part of the layer in `dest`, which is then to be thrown away. [`Error::NeedsLowers`] asks for another try with
/// `lowers`: the result is then of use over these only. A DiffId other than expected is told where nothing else went wrong before.
pub fn unpack_layer(
    blob: impl Read + Send,
    dest: &Path,
    options: &UnpackOptions,
    toc: &mut TocWriter<impl Write>,
) -> Result<Unpacked, Error> {
    let policy = Policy { layer: true, single_uid: options.single_uid, owner: None, lowers: options.lowers.as_deref() };
    let mut speaks_of_lowers = false;
    let note = |extractor: &Extractor<'_>, member: &Member| {
        let linked = (member.kind == MemberKind::Hardlink).then(|| extractor.link_at(member)).flatten();
        let content = match member.kind {
            MemberKind::File | MemberKind::Hardlink => kept(&member.name, || extractor.file_at(member)),
            _ => Ok(Vec::new()),
        };
        let content = match content {
            // It is where links of the layers below lead.
            Err(error) if error.kind() == ErrorKind::NotFound && options.lowers.is_some() => {
                speaks_of_lowers = true;
                Ok(Vec::new())
            }
            content => content,
        };
        let content = content.map_err(|source| Error::Read { path: lossy(&member.name), source })?;
        let said = linked.is_some() || !content.is_empty();
        speaks_of_lowers |= said && member.kind == MemberKind::Hardlink && options.lowers.is_some();
        toc.add_made(member, linked.as_deref(), &content)
    };
    let extract = |decoded: &mut Decoded<'_>| Extractor::new(dest, b"", policy)?.run(decoded, &options.limits, note);
    let (extracted, digest, uncompressed) = decode_hashed(blob, options.limits, extract)?;
    let diff_id = DiffId(digest);
    match options.expected_diff_id {
        Some(expected) if expected != diff_id => Err(Error::DiffIdMismatch { expected, actual: diff_id }),
        _ => Ok(Unpacked { diff_id, uncompressed, extracted, speaks_of_lowers }),
    }
}
