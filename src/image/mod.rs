//! Layers and images: directory trees to reproducible layer tars and back, manifests, OCI layouts and docker archives.
//!
//! Out: `changes` walks an overlay upper directory and the files that are `borrowed` for it, `tar_writer` turns it into a tar (`tar_header`: member by member), `compress` into a blob and its DiffId (`gzip`: block by block).
//! In: `decompress` recognises and decodes a stream, `tar_reader` reads its members (`sparse`: with their holes), `extract` creates them (`attributes`: with what belongs to them) below a `root` that no
//! link leads out of, `merged` says what a path means over the layers below; `unpack` (layers) and `archive` (`ADD x.tar.gz`, directory trees) are the two doors to that. `recode` only compresses anew, `listing` only looks.
//! `whiteout` is how both say what a layer removes; `toc` is what both note of a layer on the way, and a layer unpacked without its content.
//! Around: `assemble` makes config and manifest, `oci_layout` and `docker_archive` write images to files, `oci_layout_reader` reads them.

mod archive;
mod assemble;
mod attributes;
mod borrowed;
mod changes;
mod compress;
mod decompress;
mod docker_archive;
mod error;
mod extract;
mod gzip;
mod listing;
mod member_path;
mod merged;
mod oci_layout;
mod oci_layout_reader;
mod recode;
mod root;
mod sparse;
mod stream;
mod tar_header;
mod tar_reader;
mod tar_writer;
mod toc;
mod unpack;
mod whiteout;
mod xattr;

pub use archive::{ArchiveOptions, extract_archive, is_archive, newest_member};
pub use assemble::{Assembled, Format, assemble};
pub use borrowed::{BorrowedFile, BorrowedFiles, Lender};
pub use changes::{Found, walk};
pub use compress::{Codec, LayerTar, LayerWriter};
pub use decompress::{Compression, detect};
pub use docker_archive::export_docker_archive;
pub use error::Error;
pub use extract::Extracted;
pub use listing::{Listed, ListedKind, Listing, list_layer};
pub use oci_layout::{ExportImage, OpenBlob, export_oci_layout};
pub use oci_layout_reader::OciLayout;
pub use recode::recode_layer;
pub use stream::Limits;
pub use tar_writer::{LayerOptions, LayerSummary, Mtime, write_layer, write_tree};
pub use toc::{Toc, TocWriter, unpack_tocs};
pub use unpack::{UnpackOptions, Unpacked, unpack_layer};
pub use whiteout::{SOCKET_MODE, is_opaque, is_whiteout, make_whiteout, mark_opaque, without_hidden};
pub use xattr::{OWNER, Xattrs, private as is_private_xattr, read_all as read_xattrs, remove_unkept as remove_unkept_xattrs};

/// A name in a tar or on disk, for messages.
fn lossy(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

#[cfg(test)]
mod tests;
