//! Why a Step runs, or an image is made anew: what differs from what was built last, with old and new values.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::oci::Digest;

/// One cause. Values stand as they are in the keys' inputs, whatever they say: [`MissReason::map_texts`] is for who has to hide some.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub enum MissReason {
    /// Content, or what kind of file it is. The hashes are cut.
    FileChanged {
        path: String,
        old: String,
        new: String,
    },
    FileAdded {
        path: String,
    },
    FileRemoved {
        path: String,
    },
    /// Permission bits, octal.
    ModeChanged {
        path: String,
        old: String,
        new: String,
    },
    /// Files that changed besides those that are named.
    MoreFiles {
        count: usize,
    },
    /// Files of a source changed, and which of them is not known.
    Files {
        source: String,
    },
    /// An ARG or ENV that a RUN sees. `None` where it was not set.
    Variable {
        arg: bool,
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    Base {
        /// What `FROM` or `from` names; none for an OCI layout.
        name: Option<String>,
        old_name: Option<String>,
        old: Digest,
        new: Digest,
    },
    /// The instruction reads differently.
    Instruction {
        old: String,
        new: String,
    },
    /// The instruction was not there.
    Inserted,
    /// An instruction before it is no longer there.
    Removed {
        text: String,
    },
    /// The same instruction means something else: a flag, user, directory, mount, download, platform, argument.
    Setting {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// Only because of another Step, of the same stage or of one that it takes files from.
    After {
        /// As in `build 2/5`.
        position: String,
        text: String,
    },
    /// It takes files from something else than before.
    Source {
        name: String,
    },
    /// The configuration of the image, which no Step depends on.
    Config {
        name: String,
        old: Option<String>,
        new: Option<String>,
    },
    /// Nothing was built before to compare with.
    New,
    /// Nothing changed, and the result is gone.
    Evicted,
    /// Something changed, and what the last build was made of is gone.
    Forgotten,
    /// Another version of brik made the last one.
    Version,
    /// `--no-cache`.
    NoCache,
}

impl MissReason {
    /// Whether the cause is another Step.
    pub fn is_consequence(&self) -> bool {
        matches!(self, Self::After { .. })
    }

    /// With every text replaced that could hold something that nobody should read.
    pub fn map_texts(self, map: &dyn Fn(&str) -> String) -> Self {
        let every = |value: Option<String>| value.map(|value| map(&value));
        match self {
            Self::FileChanged { path, old, new } => Self::FileChanged { path: map(&path), old, new },
            Self::FileAdded { path } => Self::FileAdded { path: map(&path) },
            Self::FileRemoved { path } => Self::FileRemoved { path: map(&path) },
            Self::ModeChanged { path, old, new } => Self::ModeChanged { path: map(&path), old, new },
            Self::Files { source } => Self::Files { source: map(&source) },
            Self::Variable { arg, name, old, new } => Self::Variable { arg, name, old: every(old), new: every(new) },
            Self::Instruction { old, new } => Self::Instruction { old: map(&old), new: map(&new) },
            Self::Removed { text } => Self::Removed { text: map(&text) },
            Self::Setting { name, old, new } => Self::Setting { name: map(&name), old: every(old), new: every(new) },
            Self::After { position, text } => Self::After { position, text: map(&text) },
            Self::Source { name } => Self::Source { name: map(&name) },
            Self::Config { name, old, new } => Self::Config { name: map(&name), old: every(old), new: every(new) },
            Self::Base { .. }
            | Self::MoreFiles { .. }
            | Self::Inserted
            | Self::New
            | Self::Evicted
            | Self::Forgotten
            | Self::Version
            | Self::NoCache => self,
        }
    }
}

/// One line, long values cut. `{:#}` has hashes and whole digests.
impl fmt::Display for MissReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::FileChanged { path, old, new } if f.alternate() => {
                write!(f, "{} changed: {} -> {}", Line(path, LONGEST_PATH), Line(old, MOST_SHOWN), Line(new, MOST_SHOWN))
            }
            Self::FileChanged { path, .. } => write!(f, "{} changed", Line(path, LONGEST_PATH)),
            Self::FileAdded { path } => write!(f, "{} added", Line(path, LONGEST_PATH)),
            Self::FileRemoved { path } => write!(f, "{} removed", Line(path, LONGEST_PATH)),
            Self::ModeChanged { path, old, new } => {
                write!(f, "{}: mode {} -> {}", Line(path, LONGEST_PATH), Line(old, MOST_SHOWN), Line(new, MOST_SHOWN))
            }
            Self::MoreFiles { count } => write!(f, "{count} more file{}", if *count == 1 { "" } else { "s" }),
            Self::Files { source } => write!(f, "files of {} changed", Line(source, MOST_SHOWN)),
            Self::Variable { arg, name, old, new } => {
                let what = if *arg { "ARG" } else { "ENV" };
                changed(f, &format!("{what} {name}"), old.as_deref(), new.as_deref())
            }
            Self::Base { name, old_name, old, new } => {
                let (name, old_name) = (base_name(name), base_name(old_name));
                match (name == old_name, f.alternate()) {
                    (true, true) => write!(f, "base {} moved: {old} -> {new}", Line(name, LONGEST_PATH)),
                    (true, false) => write!(f, "base {} moved: sha256:{} -> sha256:{}", Line(name, LONGEST_PATH), old.short(), new.short()),
                    (false, true) => write!(f, "base {}@{old} -> {}@{new}", Line(old_name, LONGEST_PATH), Line(name, LONGEST_PATH)),
                    (false, false) => write!(f, "base {} -> {}", Line(old_name, LONGEST_PATH), Line(name, LONGEST_PATH)),
                }
            }
            Self::Instruction { old, .. } => write!(f, "instruction changed, was {}", Line(old, MOST_SHOWN)),
            Self::Inserted => write!(f, "new instruction"),
            Self::Removed { text } => write!(f, "{} was removed", Line(text, MOST_SHOWN)),
            Self::Setting { name, old, new } | Self::Config { name, old, new } => changed(f, name, old.as_deref(), new.as_deref()),
            Self::After { text, .. } => write!(f, "after {}", Line(text, MOST_SHOWN)),
            Self::Source { name } => write!(f, "{} is another source", Line(name, LONGEST_PATH)),
            Self::New => write!(f, "not built before"),
            Self::Evicted => write!(f, "no longer in the store or a cache that is read"),
            Self::Forgotten => write!(f, "changed; what the last build was made of is no longer known"),
            Self::Version => write!(f, "the last build was by another version of brik"),
            Self::NoCache => write!(f, "--no-cache"),
        }
    }
}

/// As people write it.
fn base_name(name: &Option<String>) -> &str {
    let Some(name) = name.as_deref() else { return "of an OCI layout" };
    name.strip_prefix("docker.io/library/").or_else(|| name.strip_prefix("docker.io/")).unwrap_or(name)
}

fn changed(f: &mut fmt::Formatter<'_>, name: &str, old: Option<&str>, new: Option<&str>) -> fmt::Result {
    let name = Line(name, MOST_SHOWN);
    match (old, new) {
        (Some(old), Some(new)) => {
            // The values may begin alike and be cut there.
            let (old, new) = from_difference(old, new);
            write!(f, "{name}: {old} -> {new}")
        }
        (None, Some(new)) => write!(f, "{name} added: {}", Line(new, MOST_SHOWN)),
        (Some(old), None) => write!(f, "{name} removed, was {}", Line(old, MOST_SHOWN)),
        (None, None) => write!(f, "{name} changed"),
    }
}

/// Characters of a value that are shown, and of a path or a name.
const MOST_SHOWN: usize = 60;
const LONGEST_PATH: usize = 300;

/// Both values as one line each; long ones from a little before where they differ.
fn from_difference(old: &str, new: &str) -> (String, String) {
    if old.chars().count() <= MOST_SHOWN && new.chars().count() <= MOST_SHOWN {
        return (Line(old, MOST_SHOWN).to_string(), Line(new, MOST_SHOWN).to_string());
    }
    let same = old.chars().zip(new.chars()).take_while(|(old, new)| old == new).count();
    let skipped = same.saturating_sub(MOST_SHOWN / 3);
    let from = |text: &str| {
        let rest: String = text.chars().skip(skipped).collect();
        format!("{}{}", if skipped > 0 { "…" } else { "" }, Line(&rest, MOST_SHOWN))
    };
    (from(old), from(new))
}

/// A text on one line without control characters, of so many characters at most; `""` where it is empty.
struct Line<'t>(&'t str, usize);

impl fmt::Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.0.is_empty() {
            return f.write_str("\"\"");
        }
        let mut chars = self.0.chars().map(|c| if c.is_control() { ' ' } else { c });
        chars.by_ref().take(self.1).try_for_each(|c| fmt::Write::write_char(f, c))?;
        if chars.next().is_some() { f.write_str("…") } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_line_with_old_and_new() {
        let text = |text: &str| text.to_owned();
        let some = |text: &str| Some(text.to_owned());
        let digest = |text: &str| Digest::of(text.as_bytes());
        let (old, new) = (digest("old"), digest("new"));
        let base = |name: &str| MissReason::Base { name: some(name), old_name: some("docker.io/library/python:3.12"), old, new };
        let variable = |arg, old: Option<&str>, new: Option<&str>| {
            let value = |value: Option<&str>| value.map(str::to_owned);
            MissReason::Variable { arg, name: text("V"), old: value(old), new: value(new) }
        };
        let long = "x".repeat(100);
        for (reason, line) in [
            (MissReason::FileChanged { path: text("api/main.py"), old: text("1"), new: text("2") }, "api/main.py changed"),
            (MissReason::ModeChanged { path: text("run.sh"), old: text("0644"), new: text("0755") }, "run.sh: mode 0644 -> 0755"),
            (
                MissReason::ModeChanged { path: text("a"), old: text("\u{1b}[2J"), new: long.clone() },
                &format!("a: mode  [2J -> {}…", "x".repeat(60)),
            ),
            (MissReason::MoreFiles { count: 1 }, "1 more file"),
            (variable(true, Some("1.2"), Some("1.3")), "ARG V: 1.2 -> 1.3"),
            (variable(false, Some(""), Some("a\nb")), "ENV V: \"\" -> a b"),
            (variable(true, None, Some("1")), "ARG V added: 1"),
            (variable(true, Some("1"), None), "ARG V removed, was 1"),
            (base("docker.io/library/python:3.12"), &format!("base python:3.12 moved: sha256:{} -> sha256:{}", old.short(), new.short())),
            (base("python:3.13"), "base python:3.12 -> python:3.13"),
            (MissReason::Instruction { old: text("RUN a"), new: text("RUN b") }, "instruction changed, was RUN a"),
            (MissReason::Removed { text: long.clone() }, &format!("{}… was removed", "x".repeat(60))),
            (
                variable(true, Some(&format!("{long}1")), Some(&format!("{long}2"))),
                &format!("ARG V: …{}1 -> …{}2", "x".repeat(20), "x".repeat(20)),
            ),
        ] {
            assert_eq!(reason.to_string(), line);
        }
    }

    #[test]
    fn every_text_is_mapped_before_it_is_cut() {
        let secret = "s".repeat(80);
        let hide = |text: &str| text.replace(&secret, "***");
        let both = || (Some(secret.clone()), Some(secret.clone()));
        let ((old, new), (was, is)) = (both(), both());
        for reason in [
            MissReason::Variable { arg: true, name: "A".to_owned(), old, new },
            MissReason::Config { name: "label a".to_owned(), old: was, new: is },
            MissReason::Instruction { old: secret.clone(), new: secret.clone() },
            MissReason::After { position: "0 1/2".to_owned(), text: secret.clone() },
        ] {
            let mapped = serde_json::to_string(&reason.map_texts(&hide)).unwrap();
            assert!(mapped.contains("***") && !mapped.contains("sss"), "{mapped}");
        }
    }
}
