//! What the generator knows about the file system of a stage: enough to write instructions that mostly succeed.

use std::collections::BTreeMap;

use fastrand::Rng;

use super::context::choose;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum What {
    File,
    Directory,
    LinkToFile,
    LinkToDirectory,
    /// A link that leads nowhere.
    Dangling,
}

#[derive(Debug, Clone)]
pub struct Stage {
    /// `stage0` is the first.
    pub name: String,
    /// Whether it has a shell, and so can RUN.
    pub shell: bool,
    /// Whether RUN may do what it likes.
    pub root: bool,
    /// Absolute paths below `/s` and what is there. Nothing else is taken apart by the generated commands.
    pub slots: BTreeMap<String, What>,
    /// Whether SHELL may be written. In buildah it ends with the layer that is made next, so it is for cases without layers.
    pub may_set_shell: bool,
    /// Whether SHELL has set another one.
    pub own_shell: bool,
    /// Names that ENV or ARG gave a value.
    pub variables: Vec<String>,
    /// How many new names were given out, so that none is given twice.
    fresh: usize,
}

impl Stage {
    pub fn new(name: String, shell: bool, may_set_shell: bool) -> Self {
        Self { name, shell, root: true, may_set_shell, own_shell: false, slots: BTreeMap::new(), variables: Vec::new(), fresh: 0 }
    }

    /// The stage that `FROM name` begins with.
    pub fn child(&self, name: String) -> Self {
        let environment = self.variables.iter().filter(|name| name.starts_with("ENV")).cloned().collect();
        Self { name, variables: environment, ..self.clone() }
    }

    /// The digits of its name, which COPY --from takes as well.
    pub fn index(&self) -> &str {
        self.name.trim_start_matches("stage")
    }

    pub fn fresh(&mut self) -> usize {
        self.fresh += 1;
        self.fresh
    }

    /// A path in `/s` where nothing is.
    pub fn new_slot(&mut self) -> String {
        format!("/s/n{}", self.fresh())
    }

    pub fn all(&self, wanted: &[What]) -> Vec<String> {
        self.slots.iter().filter(|(_, what)| wanted.contains(what)).map(|(path, _)| path.clone()).collect()
    }

    pub fn any(&self, rng: &mut Rng, wanted: &[What]) -> Option<String> {
        let paths = self.all(wanted);
        (!paths.is_empty()).then(|| choose(rng, &paths))
    }

    pub fn set(&mut self, path: &str, what: What) {
        self.slots.insert(path.to_owned(), what);
    }

    /// Removes a slot; links to it lead nowhere then. What a link leads to is in its name, see `run`.
    pub fn take(&mut self, path: &str) -> Option<What> {
        let was = self.slots.remove(path);
        self.slots.retain(|_, what| !matches!(what, What::LinkToFile | What::LinkToDirectory));
        was
    }
}
