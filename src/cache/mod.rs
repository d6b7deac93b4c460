//! Results by their keys: remembered in the store, shared through cache repositories of registries.
//!
//! | file | does |
//! |---|---|
//! | `records` | what a key led to, and what the store remembers of it |
//! | `artifact` | a record as an OCI artifact, and back |
//! | `shared` | cache repositories: asked for records, given new ones |
//! | `stored` | what stands in a cache repository, for who looks at it instead of building |
//! | `reach` | what of it is of use yet |
//! | `known` | what they have said, and which of it was of no use |
//!
//! # Cache repositories
//!
//! A Step's record stands under the tag `s-<key>`, an image's under `i-<key>`; a key is 64 hexadecimal digits. A tag is written once and
//! never again: whoever finds it leaves it. So runners that build at the same time do not disturb each other, and a build that changes
//! nothing writes nothing. An entry is an OCI image manifest (image spec 1.1, "Guidelines for Artifact Usage") whose `layers` are the blobs
//! that it needs, so that the registry keeps them; the record is its annotation `dev.brik.record`. Blobs that the registry did not take
//! over from the image's repository stay there, and the record says so.
//!
//! Besides, there is `last-<platform>`, which moves: what the image was made of that was given last, for people who ask why a build runs.
//!
//! Whatever is wrong with a cache repository, it is as if it were empty: that is said once, and what it would have saved is done.

mod artifact;
mod known;
mod reach;
mod records;
mod shared;
mod stored;

pub use artifact::{ImageEntry, StepEntry, TrailEntry};
pub use known::{Known, Message};
pub use reach::Reach;
pub use records::{ImageRecord, StepRecord, recorded};
pub use shared::{Places, Shared, empty_blob};
pub use stored::{Content, Repository, Stored, may_be_entry};
