//! What a build reads: git facts, build contexts (walked once, hashed lazily) and the roots of stages.
//!
//! - `tree`: the contract every tree answers; `context` (a directory filtered by `.dockerignore`, made by `walk` of `listing`s) and
//!   `rootfs` (a mounted stage) implement it.
//! - `pattern`, `pattern_list`, `ignore`: Go's patterns, ordered lists of them, and the ignore file.
//! - `select`, with `resolve` and `taken`: what the source of a COPY or ADD stands for; `selection`: the same in a context, and
//!   the hash of it; `file_list`: it file by file, for those who ask later what changed.
//! - `content_hash`, `hash_files`: what is in the files of a context; `stat_cache` (`stamp`s and `stat_records`): remembered across runs.
//! - `beneath`, `inode`, `xattrs`: how files are opened and described.
//! - `files`: where a project is read: the disk, or a `commit` (`commit_tree` of git `objects`, and what is `checked_out` of them).
//! - `named_file`: one that is named long before it is read.
//! - `git`: commit, branch, tags and remote of a checkout; `checkout`: the state that it is in; `event`: what made a CI run; `license`: of a repository;
//!   `git_ref`, `remote_url`: names of what lies elsewhere; `mask`: the same as people may read them.

mod beneath;
mod checked_out;
mod checkout;
mod commit;
mod commit_tree;
mod content_hash;
mod context;
mod error;
mod event;
mod file_list;
mod files;
mod git;
mod git_ref;
mod hash_files;
mod hash_matches;
mod ignore;
mod inode;
mod license;
mod listing;
mod mask;
mod named_file;
mod objects;
mod pattern;
mod pattern_list;
mod remote_url;
mod resolve;
mod rootfs;
mod select;
mod selection;
mod stamp;
mod stat_cache;
mod stat_records;
mod taken;
#[cfg(test)]
mod tests;
pub mod tree;
mod walk;
mod xattrs;

pub use checkout::{Checkout, Head};
pub use commit::{Commit, CommitError};
pub use content_hash::ContentHash;
pub use context::Context;
pub use error::Error;
pub use event::Event;
pub use file_list::{FileChange, FileList, FileLists};
pub use files::{Disk, Files, leads_out, read_text};
pub use git::{GitFacts, top_level};
pub use git_ref::{GitRef, GitRefError, is_commit_id};
pub use hash_matches::hash_matches;
pub use ignore::{IgnoreError, IgnoreFile};
pub use license::license;
pub use mask::{mask_credentials, shown_source};
pub use named_file::NamedFile;
pub use pattern::PatternError;
pub use pattern_list::PatternList;
pub use remote_url::{host_of, is_http, scheme_of, split_credentials, url_file_name, web_url};
pub use rootfs::RootTree;
pub use select::{SelectOptions, select};
pub use selection::Selection;
pub use stat_cache::{Counters, StatCache};
pub use tree::{Match, Node, NodeKind, Tree, TreePath};
