//! What a build reads: git facts, build contexts (walked once, hashed lazily) and the roots of stages.
//!
//! - `tree`: the contract every tree answers; `context` (a directory filtered by `.dockerignore`, made by `walk`) and
//!   `rootfs` (a mounted stage) implement it.
//! - `pattern`, `pattern_list`, `ignore`: Go's patterns, ordered lists of them, and the ignore file.
//! - `select`, with `resolve`: what the source of a COPY or ADD stands for; `digest`: its content key.
//! - `stat_cache`: digests remembered across runs; `beneath`, `inode`, `xattrs`: how files are opened and described.
//! - `git`: commit, branch, tags and remote of a checkout; `git_ref`, `remote_url`: names of what lies elsewhere.

mod beneath;
mod context;
mod digest;
mod error;
mod git;
mod git_ref;
mod ignore;
mod inode;
mod pattern;
mod pattern_list;
mod remote_url;
mod resolve;
mod rootfs;
mod select;
mod stat_cache;
pub mod tree;
mod walk;
mod xattrs;

pub use context::Context;
pub use digest::digest_matches;
pub use error::Error;
pub use git::{GitFacts, top_level};
pub use git_ref::{GitRef, GitRefError, is_commit_id};
pub use ignore::{IgnoreError, IgnoreFile};
pub use pattern::PatternError;
pub use pattern_list::PatternList;
pub use remote_url::{host_of, is_http, mask_credentials, scheme_of, shown_source, split_credentials, url_file_name};
pub use rootfs::RootTree;
pub use select::{SelectOptions, select};
pub use stat_cache::{Counters, StatCache};
pub use tree::{Match, Node, NodeKind, Tree, TreePath};
