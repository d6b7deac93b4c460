//! Results by their keys: remembered in the store, shared through cache repositories of registries.
//!
//! | file | does |
//! |---|---|
//! | `records` | what a key led to, on whose word, and what the store remembers of it |
//! | `artifact` | a record as an OCI artifact, and back |
//! | `carried` | short blobs inside of entries |
//! | `mount` | the directory of a cache mount, by its chunks |
//! | `shared` | cache repositories: asked for records, given new ones, and which of them are believed |
//! | `stored` | what stands in a cache repository, for who looks at it instead of building |
//! | `reach` | what of it is of use yet |
//! | `known` | what they have said, and which of it was of no use |
//!
//! # Cache repositories
//!
//! A Step's record stands under the tag `s-<key>`, an image's under `i-<key>`, the table of contents of a layer of a base under
//! `t-<DiffId>`; each is 64 hexadecimal digits. A tag is written once: whoever finds it, and has not
//! found it to be of no use, leaves it. So runners that build at the same time do not disturb each other, and a build that changes nothing writes
//! nothing. An entry is an OCI image manifest (image spec 1.1, "Guidelines for Artifact Usage") whose `layers` are the blobs
//! that it needs, so that the registry keeps them; the record is its annotation `dev.brik.record`. What is short stands in the record itself
//! (the table of contents of a Step's layer, the names of the files that it took from contexts). Blobs that the registry did not take
//! over from the image's repository stay there, and the record says so.
//!
//! Besides, there is `last-<platform>`, which moves: what the image was made of that was given last, for people who ask why a build runs.
//!
//! Whoever may write to a cache repository is trusted as whoever may push the images of the services that read it: a record names a layer
//! that nobody computes again, and a table of contents is believed in place of its layer. That a blob is the one that an entry names, and that
//! an image is what its Dockerfile makes of the layers, is verified; that the entry is true cannot be without making it again. So whatever
//! rests on an entry says so ([`Claims`]), also in the store and in entries of other repositories, and counts only for services that read that
//! repository; only the caches of services that share a Step count for each of them. What is found by its content rests on what is said of
//! that content, and not on how it came about. `--no-remote-cache` believes nobody.
//!
//! What moves too is the directory of a `RUN --mount=type=cache`, under `m-<id of the mount>` (where `[cache] mounts` asks for it): the last
//! who writes it wins. That harms nobody, for what a cache mount holds is a hint. Its manifest lists chunks, which are named by what they
//! hold: what is not new is not sent again.
//!
//! Whatever is wrong with a cache repository, it is as if it were empty: that is said once, and what it would have saved is done.

mod artifact;
mod carried;
mod known;
mod mount;
mod reach;
mod records;
mod shared;
mod stored;

pub use artifact::{Entry, ImageEntry, Opened, StepEntry, TocEntry, TrailEntry, open, read, write};
pub use carried::Carried;
pub use known::{Known, Loss, Message, PlacesId};
pub use mount::{Chunk, LARGEST_CHUNK, MOST_CHUNKS, MountEntry};
pub use reach::Reach;
pub use records::{Claims, ImageRecord, StepRecord, recorded};
pub use shared::{Belief, Places, Shared, empty_blob};
pub use stored::{Content, Repository, Stored, may_be_entry};
