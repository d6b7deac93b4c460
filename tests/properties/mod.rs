//! What must hold of any input, however odd. `tests/suite` checks it on the committed corpus and on random values, `fuzz/` on whatever
//! libFuzzer comes up with; so nothing here uses more than brik, serde_json, zstd and the standard library.
//!
//! - `dockerfile`: a file's spans, lines and errors, and all that is read of its words later; `words`: expansion.
//! - `print`: a Dockerfile's text from what was parsed; `meaning`: what is left of a Dockerfile without its layout.
//! - `ignore`: `.dockerignore` against `reference`, the slow and obvious matcher.
//! - `config`: brik.toml in its layers, in a `project` without a disk; `lock`: brik.lock; `tags`: what makes tags; `findings`: what is told of any of them.
//! - `import`: other tools' files, of which a brik.toml is made that is read.
//! - `names`: references, tags, platforms, digests; `repository`: addresses of git repositories and downloads.
//! - `documents`: manifests, indexes, image configurations; `challenge`, `logins`: who may do what at a registry.
//! - `layer`: unpacked and listed, against `layer_model`; written again; its table of contents.
//! - `cache`: what stands in a cache repository.
//! - `scratch`: a directory for one input.

pub mod cache;
pub mod challenge;
pub mod config;
pub mod dockerfile;
pub mod documents;
mod findings;
pub mod ignore;
pub mod import;
pub mod layer;
mod layer_model;
pub mod lock;
pub mod logins;
pub mod meaning;
pub mod names;
pub mod print;
mod project;
pub mod reference;
pub mod repository;
mod scratch;
pub mod tags;
pub mod words;
