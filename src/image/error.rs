use std::io;

use crate::oci::{DiffId, Digest, Platform};

/// What goes wrong when layers and images are written or read. Names of members are as they stand in the archive.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    #[error("cannot read {path:?}: {source}")]
    Read { path: String, source: io::Error },
    #[error("{path:?} changed while it was read into the layer")]
    Changed { path: String },
    #[error("{path:?} carries {xattr}, which a layer cannot express: mount the overlay with redirect_dir=off and metacopy=off")]
    OverlayFeature { path: String, xattr: String },
    #[error("{path:?} cannot be kept in a layer: names that begin with .wh. mean removed files there (OCI image spec, \"Whiteouts\")")]
    WhiteoutName { path: String },
    #[error("cannot write the layer: {0}")]
    Write(#[source] io::Error),
    #[error("cannot remove {path:?}: {source}")]
    Remove { path: String, source: io::Error },
    #[error("the path {path:?}… is longer than {limit} bytes, and a layer with it could not be unpacked again")]
    LongPath { path: String, limit: usize },
    #[error("cannot set the time of {path:?}: {source}")]
    SetTime { path: String, source: io::Error },

    #[error("cannot read the archive: {0}")]
    Input(#[source] io::Error),
    #[error("the {format} stream is damaged or cut short: {source}")]
    Decompress { format: &'static str, source: io::Error },
    #[error("the archive ends within {within}")]
    Truncated { within: String },
    #[error("malformed archive member {member:?}: {reason}")]
    Malformed { member: String, reason: &'static str },
    #[error("archive member {member:?} needs {feature}, which is not supported")]
    Unsupported { member: String, feature: String },
    #[error("archive member {member:?} leads out of the directory that it is unpacked to")]
    Escapes { member: String },
    #[error("archive member {member:?} is a hard link to {target:?}, which is neither in the archive nor below it")]
    HardlinkOutsideLayer { member: String, target: String },
    #[error("what {path:?} is depends on the layers below, which are not known here")]
    NeedsLowers { path: String },
    #[error("cannot create {member:?}: {source}")]
    Create { member: String, source: io::Error },
    #[error("cannot unpack to {path:?}: {source}")]
    Destination { path: String, source: io::Error },
    #[error("the archive has more than {limit} members")]
    TooManyMembers { limit: u64 },
    #[error("the names in the archive take more than {limit} bytes")]
    TooManyNames { limit: u64 },
    #[error("the archive unpacks to more than {limit} bytes")]
    TooLarge { limit: u64 },
    #[error("the archive unpacks to more than {limit} times its own size")]
    TooDense { limit: u64 },
    #[error("the layer's content is {actual}, not {expected} as the image's config says")]
    DiffIdMismatch { expected: DiffId, actual: DiffId },

    #[error("cannot write {path:?}: {source}")]
    Export { path: String, source: io::Error },
    #[error("cannot read blob {digest}: {source}")]
    Blob { digest: Digest, source: io::Error },
    #[error("blob {digest} is damaged: its content is {actual}, {size} bytes")]
    BlobDamaged { digest: Digest, actual: Digest, size: u64 },
    #[error("{path:?} is not an OCI layout's index: {source}")]
    Index { path: String, source: serde_json::Error },
    #[error("the OCI layout {path} has no image {wanted:?}; there is {}", if names.is_empty() { "none at all".to_owned() } else { names.join(", ") })]
    NotInLayout { path: String, wanted: String, names: Vec<String> },
    #[error("the OCI layout {path} has no image for {wanted}; there is {available}")]
    LayoutPlatform { path: String, wanted: Platform, available: String },
    #[error("the OCI layout {path} has an index within an index: {digest}")]
    LayoutNested { path: String, digest: Digest },
    #[error("a docker archive holds one platform an image, and {name} has {count}: choose one platform, or write an OCI layout")]
    NotOnePlatform { name: String, count: usize },
    #[error("cannot encode or read an image document: {0}")]
    Document(#[from] serde_json::Error),
}

impl Error {
    /// An error that came through `Read`: ours where a stage of the pipeline put one in, else one of the input.
    pub(super) fn from_stream(error: io::Error) -> Self {
        error.downcast::<Self>().unwrap_or_else(Self::Input)
    }
}
