//! The vocabulary that every room speaks: names, digests and documents of the OCI image and distribution specs. No I/O.

mod digest;
mod hasher;
mod image_config;
mod manifest;
mod pin;
mod platform;
mod reference;

pub use digest::{DiffId, Digest, DigestError};
pub use hasher::Hasher;
pub use image_config::{ContainerConfig, Empty, Healthcheck, HistoryEntry, ImageConfig, RootFs};
pub use manifest::{Descriptor, Document, Index, Layer, Manifest, media_type};
pub use pin::{Pin, Pins};
pub use platform::{ARCHITECTURES, Platform, PlatformError};
pub use reference::{Reference, ReferenceError, validate_tag};
