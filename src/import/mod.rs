//! What other tools' files say of a repository's images -> the brik.toml that says the same, and what it cannot say.
//!
//! - `scan`: the Dockerfiles themselves (with `aside`: those that are no services); `bake`, `compose` (with `compose_variables`), `workflow`,
//!   `gitlab`: other tools' files
//! - `call`: something that builds an image, called with `inputs`; `kaniko`: its calls in scripts (with `shell`: a script's words)
//! - `found`: an image as any of these describes it; `left`: what was not taken over; `counterpart`: what is to be said of their keys
//! - `marks`: places of variables that only the other tool knows; `values`, `yaml`: trees that somebody else wrote
//! - `sources`: which files are read; `remote`: the registry that goes with a git remote
//! - `draft`: all that was found as one brik.toml (with `members`, `names`); `document`: its text
//!
//! Nothing of these files is trusted: whatever they hold, they are read in bounded time and memory, and what is not understood is
//! [`Left`] with its reason.

mod aside;
mod bake;
mod call;
mod compose;
mod compose_variables;
mod counterpart;
mod document;
mod draft;
mod found;
mod gitlab;
mod inputs;
mod kaniko;
mod left;
mod marks;
mod members;
mod names;
mod remote;
mod scan;
mod shell;
mod sources;
mod values;
mod workflow;
mod yaml;

pub use draft::{Draft, Origin, Service};
pub use left::{Fate, Left};
pub use sources::{Request, SourceError, import};
