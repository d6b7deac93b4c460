//! Names of git repositories as `ADD` and contexts take them (BuildKit's `dfgitutil` and `gitutil`):
//! `https://host/repo.git#ref:subdir`, `git@host:repo`, `ssh://…`, `git://…`, and the same with `?ref=…&subdir=…`.

use serde::{Deserialize, Serialize};

use super::git::without_credentials;
use super::remote_url::{percent_decoded, query_pairs, scheme_of};

/// A tree in a repository somewhere.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct GitRef {
    /// What git itself takes: no fragment, no query. May hold credentials: show it with [`GitRef::shown`] only.
    pub remote: String,
    /// A branch, tag, full name below `refs/` or full commit id; the default branch where there is none.
    pub reference: Option<String>,
    /// What the commit id, or that of an annotated tag, begins with. Hexadecimal.
    pub checksum: Option<String>,
    /// Directory in the repository.
    pub subdir: Option<String>,
    /// `None` where the name does not say.
    pub keep_git_dir: Option<bool>,
    pub submodules: bool,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GitRefError {
    #[error("query {0:?} has no value")]
    NoValue(String),
    #[error("query {0:?} has multiple values")]
    Repeated(String),
    #[error("unexpected query {0:?}")]
    Unexpected(String),
    #[error("invalid {name} value: {value:?}")]
    Value { name: String, value: String },
    #[error("{what} conflicts: {one:?} vs {other:?}")]
    Conflict { what: &'static str, one: String, other: String },
    #[error("branch conflicts with tag")]
    BranchAndTag,
    #[error("invalid ref {0:?}: not a name that git gives to branches, tags or commits")]
    Ref(String),
    #[error("invalid checksum {0} for Git URL, expected hex commit hash")]
    Checksum(String),
    #[error("invalid subdir {0:?}: it leaves the repository")]
    Subdir(String),
}

impl GitRef {
    /// `None` where `text` names no repository: a file, or a URL that does not end in `.git` (which does not matter where
    /// it is `known` to be one, by `--keep-git-dir`).
    pub fn parse(text: &str, known: bool) -> Option<Result<Self, GitRefError>> {
        let (rest, fragment) = text.split_once('#').map_or((text, ""), |(rest, fragment)| (rest, fragment));
        let (remote, query) = rest.split_once('?').map_or((rest, ""), |(remote, query)| (remote, query));
        let is_repository = match scheme_of(remote) {
            Some("http" | "https") => {
                let path = remote.splitn(4, '/').nth(3).unwrap_or("");
                known || percent_decoded(path).ends_with(".git")
            }
            Some("ssh" | "git") => true,
            Some(_) => false,
            None => is_scp_style(remote),
        };
        is_repository.then(|| Self::with_options(remote, &percent_decoded(fragment), query))
    }

    fn with_options(remote: &str, fragment: &str, query: &str) -> Result<Self, GitRefError> {
        let (reference, subdir) = fragment.split_once(':').unwrap_or((fragment, ""));
        let mut this =
            Self { remote: remote.to_owned(), reference: None, checksum: None, subdir: None, keep_git_dir: None, submodules: true };
        set(&mut this.reference, "ref", Some(reference.to_owned()).filter(|r| !r.is_empty()))?;
        set(&mut this.subdir, "subdir", Some(subdir.to_owned()).filter(|s| !s.is_empty()))?;
        this.load_query(query)?;
        // A whole commit id needs no branch to be found by.
        if this.reference.is_none() {
            this.reference = this.checksum.clone().filter(|checksum| is_commit_id(checksum));
        }
        this.checked()
    }

    fn load_query(&mut self, query: &str) -> Result<(), GitRefError> {
        let (mut seen, mut tag, mut branch) = (Vec::new(), None, None);
        for (name, value) in query_pairs(query) {
            if seen.contains(&name) {
                return Err(GitRefError::Repeated(name));
            }
            seen.push(name.clone());
            let flag = || match value.as_str() {
                "" | "1" | "t" | "T" | "true" | "TRUE" | "True" => Ok(true),
                "0" | "f" | "F" | "false" | "FALSE" | "False" => Ok(false),
                _ => Err(GitRefError::Value { name: name.clone(), value: value.clone() }),
            };
            match name.as_str() {
                "keep-git-dir" => self.keep_git_dir = Some(flag()?),
                "submodules" => self.submodules = flag()?,
                // How brik fetches in any case.
                "fetch-by-commit" => drop(flag()?),
                "ref" | "tag" | "branch" | "subdir" | "checksum" | "commit" | "mtime" if value.is_empty() => {
                    return Err(GitRefError::NoValue(name));
                }
                "ref" => set(&mut self.reference, "ref", Some(value))?,
                "subdir" => set(&mut self.subdir, "subdir", Some(value))?,
                "tag" => tag = Some(qualified("refs/tags/", &value)),
                "branch" => branch = Some(qualified("refs/heads/", &value)),
                "checksum" | "commit" => set(&mut self.checksum, "checksum", Some(value))?,
                // Files are dated by brik, whatever the checkout says.
                "mtime" if matches!(value.as_str(), "commit" | "checkout") => {}
                "mtime" => return Err(GitRefError::Value { name, value }),
                _ => return Err(GitRefError::Unexpected(name)),
            }
        }
        if tag.is_some() && branch.is_some() {
            return Err(GitRefError::BranchAndTag);
        }
        set(&mut self.reference, "ref", tag.or(branch))
    }

    fn checked(mut self) -> Result<Self, GitRefError> {
        if let Some(checksum) = &self.checksum {
            check_checksum(checksum)?;
        }
        if let Some(reference) = self.reference.as_ref().filter(|reference| !is_ref_name(reference)) {
            return Err(GitRefError::Ref(reference.clone()));
        }
        if let Some(subdir) = &self.subdir {
            let parts: Vec<&str> = subdir.split('/').filter(|part| !matches!(*part, "" | ".")).collect();
            if parts.contains(&"..") || subdir.contains('\0') {
                return Err(GitRefError::Subdir(subdir.clone()));
            }
            self.subdir = Some(parts.join("/")).filter(|path| !path.is_empty());
        }
        Ok(self)
    }

    /// The same tree, if its commit begins with `checksum` (`ADD --checksum`).
    pub fn with_checksum(mut self, checksum: &str) -> Result<Self, GitRefError> {
        set(&mut self.checksum, "checksum", Some(checksum.to_owned()))?;
        self.checked()
    }

    /// The remote without user and password.
    pub fn shown(&self) -> String {
        without_credentials(&self.remote)
    }

    /// Whether the reference is a commit, which never becomes another one.
    pub fn commit(&self) -> Option<&str> {
        self.reference.as_deref().filter(|reference| is_commit_id(reference))
    }
}

/// A full sha1 or sha256 object id.
pub fn is_commit_id(text: &str) -> bool {
    matches!(text.len(), 40 | 64) && text.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b))
}

fn check_checksum(text: &str) -> Result<(), GitRefError> {
    let hex = (1..=64).contains(&text.len()) && text.bytes().all(|b| b.is_ascii_hexdigit());
    if hex { Ok(()) } else { Err(GitRefError::Checksum(text.to_owned())) }
}

fn set(field: &mut Option<String>, what: &'static str, value: Option<String>) -> Result<(), GitRefError> {
    match (&field, value) {
        (_, None) => Ok(()),
        (Some(one), Some(other)) if *one != other => Err(GitRefError::Conflict { what, one: one.clone(), other }),
        (_, value) => {
            *field = value;
            Ok(())
        }
    }
}

fn qualified(prefix: &str, name: &str) -> String {
    if name.starts_with(prefix) { name.to_owned() } else { format!("{prefix}{name}") }
}

/// `user@host:path`, as ssh takes it.
fn is_scp_style(text: &str) -> bool {
    let Some((user, rest)) = text.split_once('@') else { return false };
    let Some((host, _)) = rest.split_once(':') else { return false };
    let word = |text: &str, more: &str| !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c));
    // A leading dash would be an option to ssh.
    word(user, "-_") && word(host, "-.") && !user.starts_with('-') && !host.starts_with('-')
}

/// What git-check-ref-format(1) allows, names of one component included.
fn is_ref_name(name: &str) -> bool {
    let bad = |c: char| c.is_ascii_control() || " ~^:?*[\\".contains(c);
    let part = |part: &str| !part.is_empty() && !part.starts_with('.') && !part.ends_with(".lock");
    !name.starts_with('-')
        && !name.contains(bad)
        && !name.contains("..")
        && !name.contains("@{")
        && !name.ends_with('.')
        && name.split('/').all(part)
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMMIT: &str = "0123456789abcdef0123456789abcdef01234567";

    fn parsed(text: &str) -> GitRef {
        GitRef::parse(text, false).unwrap_or_else(|| panic!("{text}")).unwrap_or_else(|error| panic!("{text}: {error}"))
    }

    #[test]
    fn repositories_are_told_from_files_and_downloads() {
        for (text, git) in [
            ("https://github.com/a/b.git#main", true),
            ("http://h/.git?tag=v1", true),
            ("https://h/a%2Egit", true),
            ("git@github.com:a/b", true),
            ("git@github.com:a/b.git#main:dir", true),
            ("deploy-key@h:x", true),
            ("git://host/x", true),
            ("ssh://git@host/x", true),
            ("https://host/x.tar.gz", false),
            ("https://host.git", false),
            ("https://host/x?y=.git", false),
            ("ftp://host/x.git", false),
            ("file:///etc/x.git", false),
            ("ext::sh -c id.git", false),
            ("-oProxyCommand=x@h:y", false),
            ("-u@h:y", false),
            ("file.git", false),
            ("a:b", false),
            ("./git@h:x", false),
        ] {
            assert_eq!(GitRef::parse(text, false).is_some(), git, "{text}");
        }
        assert!(GitRef::parse("https://h/x", true).is_some() && GitRef::parse("file", true).is_none());
    }

    #[test]
    fn fragment_and_query_name_ref_and_directory() {
        for (text, reference, subdir) in [
            ("https://h/x.git", None, None),
            ("https://h/x.git#main", Some("main"), None),
            ("https://h/x.git#:dir", None, Some("dir")),
            ("https://h/x.git#feature/a:b//./c/", Some("feature/a"), Some("b/c")),
            ("https://h/x.git#main:/", Some("main"), None),
            ("https://h/x.git#v1%2B2", Some("v1+2"), None),
            ("https://h/x.git?ref=main&subdir=a%2Fb", Some("main"), Some("a/b")),
            ("git@h:x.git?tag=v1#refs/tags/v1", Some("refs/tags/v1"), None),
            ("https://h/x.git?branch=b", Some("refs/heads/b"), None),
            ("https://h/x.git?mtime=commit&fetch-by-commit=1", None, None),
        ] {
            let found = parsed(text);
            assert_eq!((found.reference.as_deref(), found.subdir.as_deref()), (reference, subdir), "{text}");
            assert!(!found.remote.contains(['#', '?']), "{text}");
        }
    }

    #[test]
    fn a_whole_commit_is_a_ref_and_a_prefix_is_a_check() {
        let whole = parsed(&format!("https://h/x.git?commit={COMMIT}"));
        assert_eq!((whole.commit(), whole.checksum.as_deref()), (Some(COMMIT), Some(COMMIT)));
        let short = parsed("https://h/x.git?checksum=0123abc");
        assert_eq!((short.reference, short.checksum.as_deref()), (None, Some("0123abc")));
        assert_eq!(parsed("https://h/x.git#v1").with_checksum("ab").unwrap().checksum.as_deref(), Some("ab"));
    }

    #[test]
    fn flags_are_true_without_a_value() {
        let found = parsed("https://h/x.git?keep-git-dir&submodules=false");
        assert_eq!((found.keep_git_dir, found.submodules), (Some(true), false));
        assert_eq!((parsed("git@h:x").keep_git_dir, parsed("git@h:x").submodules), (None, true));
    }

    #[test]
    fn what_makes_no_sense_says_why() {
        for (tail, message) in [
            ("?tag=v1#main", "ref conflicts: \"main\" vs \"refs/tags/v1\""),
            ("?tag=v1&branch=b", "branch conflicts with tag"),
            ("?ref=a&ref=b", "query \"ref\" has multiple values"),
            ("?ref=", "query \"ref\" has no value"),
            ("?depth=3", "unexpected query \"depth\""),
            ("?submodules=maybe", "invalid submodules value: \"maybe\""),
            ("?checksum=foobar", "invalid checksum foobar for Git URL, expected hex commit hash"),
            ("#--upload-pack=x", "invalid ref \"--upload-pack=x\": not a name that git gives to branches, tags or commits"),
            ("?ref=a:b", "invalid ref \"a:b\": not a name that git gives to branches, tags or commits"),
            ("#main:../..", "invalid subdir \"../..\": it leaves the repository"),
        ] {
            let error = GitRef::parse(&format!("https://h/x.git{tail}"), false).unwrap().unwrap_err();
            assert_eq!(error.to_string(), message, "{tail}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        assert_eq!(parsed("https://me:secret@h/x.git#main").shown(), "https://h/x.git");
    }
}
