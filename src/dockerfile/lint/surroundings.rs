//! What a Dockerfile does not say itself.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::oci::{ImageConfig, Platform};

/// Everything from outside that rules depend on.
pub struct Surroundings<'a> {
    /// Build arguments that are given.
    pub args: &'a BTreeMap<String, String>,
    /// ARGs that are there before the first line: platforms, and the name of the target stage.
    pub predefined: Vec<(String, String)>,
    /// The stages whose instructions are looked at: what the target needs, or all.
    pub stages: BTreeSet<usize>,
    /// The configuration of the image that a stage starts from, where it is known; asked of stages that start neither from an earlier
    /// stage of `stages` nor from nothing. Where it is not, rules are silent about what it could decide.
    pub base: &'a dyn Fn(usize) -> Option<Arc<ImageConfig>>,
    /// Where a stage starts from an image that is known to be for another platform: the one that was expected, and that of the image. For
    /// every platform that is built.
    pub strangers: &'a dyn Fn(usize) -> Vec<(Platform, Platform)>,
    /// Whether the ignore file leaves nothing in the context of what a source of COPY or ADD names.
    pub ignored: &'a dyn Fn(&str) -> bool,
}
