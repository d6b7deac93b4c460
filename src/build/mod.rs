//! Executes what was planned: the only room with a sandbox, and the one that makes layers.
//!
//! ```text
//! remote      base images, downloads and repositories that planning asks for
//! lookup      keys and records -> what is known, what has to run
//! schedule    tasks on threads, each after what it needs
//! engine      one Step: a workspace, an operation in it, a layer of the change     (workspace, run_step, copy_step, copy, sandbox)
//! layer_blob  changes compressed: for images, or only for other Steps
//! toc         tables of contents of layers
//! skeleton    what a COPY works on where its parent's layers are not here
//! origins     where blobs can be had from
//! layers      blobs pulled, snapshots unpacked
//! claimed     what may be used of what the store has of a layer that a cache repository names
//! finish      images assembled and recorded
//! push        layers, configs, manifests and tags to registries
//! content_key what a Step works on, by what it holds
//! share       results given to cache repositories
//! mounts      cache mounts that persist in cache repositories
//! ahead       layers that are pushed before their image is finished
//! remembered  what records say, for who looks at the store
//! fan_out     the same work for each of some items
//! trails      what was built last, for who asks why
//! run         all of it for one plan
//! ```

mod ahead;
mod claimed;
mod content_key;
pub mod copy;
mod copy_step;
mod engine;
mod error;
mod fan_out;
mod finish;
mod layer_blob;
mod layers;
mod lookup;
mod mounts;
mod origins;
mod push;
mod remembered;
mod remote;
mod run;
mod run_step;
pub mod sandbox;
mod schedule;
mod share;
mod skeleton;
mod toc;
mod trails;
mod workspace;

pub use ahead::Ahead;
pub use engine::Supplies;
pub use error::{Error, Failure};
pub use fan_out::{ask_all, fan_out};
pub use finish::{Built, document};
pub use layers::Layers;
pub use lookup::{Lookup, Sources, look_up};
pub use mounts::Mounts;
pub use origins::Origins;
pub use push::{PushCounts, Pusher};
pub use remembered::Remembered;
pub use remote::{Access, Answers, ReadSecret, RemoteSources, last_seen};
pub use run::{Finished, Ran, RunOptions, run};
pub use share::Share;
pub use trails::{SharedPast, StoredPast, last_trail, put_trail};
