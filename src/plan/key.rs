//! CacheKeys: everything that can change what a Step makes, and nothing else.
//!
//! | in the key | not in the key |
//! |---|---|
//! | format version, timestamps mode | secrets' values (their ids are, and where brik.toml takes them from) |
//! | operation and its expanded text | proxy arguments, unless declared with ARG |
//! | ARG and ENV values in force | labels and other metadata that do not reach the file system |
//! | user, working directory, shell, network, mounts | absolute paths and mtimes of the context |
//! | platform | what is in cache mounts |
//! | the parent's key, the base image's DiffIds | names of services, stages and tags |
//! | selected context files: path, type, mode, content | files that no COPY selects |

use serde::{Deserialize, Serialize};

use super::step::Root;
use crate::oci::{Digest, Hasher};

/// Raised when the meaning of a key or the bytes of a layer change: older records are then no longer found.
const VERSION: &str = "brik-step-2";

/// What identifies the result of a Step.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct CacheKey(pub Digest);

/// The named inputs of a key, in order. Stored beside the result, so that a later miss can be explained.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct KeyInputs {
    parts: Vec<(String, String)>,
    /// Which of the parts are the keys of file system states.
    #[serde(skip)]
    states: Vec<(usize, Root)>,
}

impl KeyInputs {
    /// The name of the state that a Step runs on.
    pub const PARENT: &str = "parent";

    pub fn new(operation: &str) -> Self {
        let parts = vec![("version".to_owned(), VERSION.to_owned()), ("operation".to_owned(), operation.to_owned())];
        Self { parts, states: Vec::new() }
    }

    pub fn add(&mut self, name: impl Into<String>, value: impl Into<String>) {
        self.parts.push((name.into(), value.into()));
    }

    /// Adds the key of a state of the plan.
    pub fn add_state(&mut self, name: impl Into<String>, key: impl Into<String>, root: Root) {
        self.states.push((self.parts.len(), root));
        self.add(name, key);
    }

    pub fn parts(&self) -> &[(String, String)] {
        &self.parts
    }

    /// Positions in [`parts`](Self::parts) that name a state, and the state; none in inputs that were read from a record.
    pub fn states(&self) -> &[(usize, Root)] {
        &self.states
    }

    /// For people to read and compare: with long values cut, and told apart by their digests.
    pub fn abridged(&self) -> Self {
        const LONGEST: usize = 2048;
        let short = |value: &String| match value.char_indices().nth(LONGEST) {
            None => value.clone(),
            Some((at, _)) => format!("{}… ({} bytes, {})", &value[..at], value.len(), Digest::of(value.as_bytes())),
        };
        Self { parts: self.parts.iter().map(|(name, value)| (name.clone(), short(value))).collect(), states: Vec::new() }
    }

    /// What is done, shorter than the instruction that it came from: `RUN npm ci`, `COPY package.json /app/`.
    pub fn text(&self) -> String {
        let values = |wanted: &'static str| self.parts.iter().filter(move |(name, _)| name == wanted).map(|(_, value)| value.as_str());
        let operation = values("operation").next().unwrap_or_default();
        let words: Vec<&str> = match operation {
            "run" => match values("argument").collect::<Vec<_>>()[..] {
                ["/bin/sh", "-c", script] => vec![script],
                ref arguments => arguments.to_vec(),
            },
            "workdir" => values("path").collect(),
            _ => {
                let sources = self.parts.iter().filter_map(|(name, _)| {
                    let (kind, source) = name.split_once(' ')?;
                    match kind {
                        "heredoc" => Some(name.as_str()),
                        "files" | "from" | "url" => Some(source),
                        _ => None,
                    }
                });
                sources.chain(values("destination")).collect()
            }
        };
        format!("{} {}", operation.to_uppercase(), words.join(" "))
    }

    /// The digest over all parts, each preceded by its length: no two lists of parts share their bytes.
    pub fn key(&self) -> CacheKey {
        let mut hasher = Hasher::new();
        for text in self.parts.iter().flat_map(|(name, value)| [name, value]) {
            hasher.update(&(text.len() as u64).to_le_bytes());
            hasher.update(text.as_bytes());
        }
        CacheKey(hasher.finish())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(parts: &[(&str, &str)]) -> CacheKey {
        let mut inputs = KeyInputs::new("run");
        parts.iter().for_each(|(name, value)| inputs.add(*name, *value));
        inputs.key()
    }

    #[test]
    fn the_text_of_an_operation_is_that_of_its_instruction() {
        for (operation, parts, text) in [
            ("run", &[("argument", "/bin/sh"), ("argument", "-c"), ("argument", "npm ci"), ("user", "0")][..], "RUN npm ci"),
            ("run", &[("argument", "/bin/app"), ("argument", "-v"), ("env A", "b")], "RUN /bin/app -v"),
            ("copy", &[("destination", "/app/"), ("chown", "app"), ("files a", "sha256:1"), ("files b", "sha256:2")], "COPY a b /app/"),
            ("copy", &[("destination", "/"), ("from /out", "sha256:1"), ("parent", "scratch")], "COPY /out /"),
            ("add", &[("destination", "/a"), ("url https://h/a", "sha256:1"), ("name https://h/a", "a")], "ADD https://h/a /a"),
            ("copy", &[("destination", "/a"), ("heredoc EOF", "text")], "COPY heredoc EOF /a"),
            ("workdir", &[("path", "/src"), ("user", "")], "WORKDIR /src"),
            ("", &[], " "),
        ] {
            let mut inputs = KeyInputs::new(operation);
            parts.iter().for_each(|(name, value)| inputs.add(*name, *value));
            assert_eq!(inputs.text(), text);
        }
    }

    #[test]
    fn parts_never_run_into_each_other() {
        assert_ne!(key(&[("env", "ab"), ("c", "")]), key(&[("env", "a"), ("bc", "")]));
        assert_ne!(key(&[("env", "a")]), key(&[("env", "a"), ("", "")]));
        assert_eq!(key(&[("env", "a")]), key(&[("env", "a")]));
    }
}
