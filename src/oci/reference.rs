//! Image references: `[registry/]repository[:tag][@digest]`, read as docker does (distribution `reference` grammar).

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::Digest;

/// A fully qualified reference. `busybox` reads as `docker.io/library/busybox`; no tag is added.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Reference {
    /// Host, with port where one is given: `ghcr.io`, `127.0.0.1:5000`.
    pub registry: String,
    /// Path below the host: `org/service`.
    pub repository: String,
    pub tag: Option<String>,
    pub digest: Option<Digest>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ReferenceError {
    #[error("the reference is empty")]
    Empty,
    #[error("invalid reference {reference:?}: the repository must be lower case")]
    UpperCase { reference: String },
    #[error("invalid reference {reference:?}: {reason}")]
    Invalid { reference: String, reason: &'static str },
    #[error("invalid tag {tag:?}: expected [A-Za-z0-9_] and then at most 127 of [A-Za-z0-9._-]")]
    Tag { tag: String },
    #[error(transparent)]
    Digest(#[from] super::DigestError),
}

const DOCKER_HUB: &str = "docker.io";

impl Reference {
    /// The tag in force: the one given, else `latest` where there is no digest.
    pub fn tag_or_latest(&self) -> Option<&str> {
        self.tag.as_deref().or(if self.digest.is_none() { Some("latest") } else { None })
    }

    /// `registry/repository` without tag and digest.
    pub fn name(&self) -> String {
        format!("{}/{}", self.registry, self.repository)
    }

    pub fn with_tag(&self, tag: &str) -> Self {
        Self { tag: Some(tag.to_owned()), digest: None, ..self.clone() }
    }

    /// With its tag written out, `latest` where none is; `None` for what is named by its digest.
    pub fn tagged(&self) -> Option<Self> {
        let tag = self.tag_or_latest().filter(|_| self.digest.is_none())?;
        Some(self.with_tag(tag))
    }

    pub fn with_digest(&self, digest: Digest) -> Self {
        Self { digest: Some(digest), ..self.clone() }
    }

    /// Whether both name the same repository of the same registry.
    pub fn same_repository(&self, other: &Self) -> bool {
        self.registry == other.registry && self.repository == other.repository
    }
}

/// Checks a tag against the distribution spec: `[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}`.
pub fn validate_tag(tag: &str) -> Result<(), ReferenceError> {
    let word = |b: u8| b.is_ascii_alphanumeric() || b == b'_';
    let bytes = tag.as_bytes();
    let good = (1..=128).contains(&bytes.len()) && word(bytes[0]) && bytes.iter().all(|&b| word(b) || b == b'.' || b == b'-');
    if good { Ok(()) } else { Err(ReferenceError::Tag { tag: tag.chars().take(200).collect() }) }
}

/// `[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*`
fn valid_component(component: &str) -> bool {
    let alnum = |b: &u8| b.is_ascii_lowercase() || b.is_ascii_digit();
    let bytes = component.as_bytes();
    if bytes.is_empty() || !alnum(&bytes[0]) || !alnum(&bytes[bytes.len() - 1]) {
        return false;
    }
    let separators = bytes.split(alnum).filter(|run| !run.is_empty());
    separators.into_iter().all(|run| matches!(run, b"." | b"_" | b"__") || run.iter().all(|&b| b == b'-'))
}

fn valid_host(host: &str) -> bool {
    let (name, port) = match host.strip_prefix('[').and_then(|rest| rest.split_once(']')) {
        Some((v6, port)) => {
            if v6.is_empty() || !v6.bytes().all(|b| b.is_ascii_hexdigit() || b == b':') {
                return false;
            }
            ("v6", port.strip_prefix(':').or(if port.is_empty() { None } else { Some("x") }))
        }
        None => host.split_once(':').map_or((host, None), |(name, port)| (name, Some(port))),
    };
    let label =
        |l: &str| !l.is_empty() && !l.starts_with('-') && !l.ends_with('-') && l.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    name.split('.').all(label) && port.is_none_or(|p| !p.is_empty() && p.parse::<u16>().is_ok())
}

impl fmt::Display for Reference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.registry, self.repository)?;
        self.tag.iter().try_for_each(|tag| write!(f, ":{tag}"))?;
        self.digest.iter().try_for_each(|digest| write!(f, "@{digest}"))
    }
}

impl FromStr for Reference {
    type Err = ReferenceError;

    fn from_str(text: &str) -> Result<Self, ReferenceError> {
        let invalid = |reason| ReferenceError::Invalid { reference: text.chars().take(300).collect(), reason };
        if text.is_empty() {
            return Err(ReferenceError::Empty);
        }
        let (rest, digest) = match text.split_once('@') {
            Some((rest, digest)) => (rest, Some(digest.parse()?)),
            None => (text, None),
        };
        let (name, tag) = match rest.rsplit_once(':') {
            Some((name, tag)) if !tag.contains('/') => (name, Some(tag)),
            _ => (rest, None),
        };
        if let Some(tag) = tag {
            validate_tag(tag)?;
        }
        let (registry, path) = match name.split_once('/') {
            Some((host, path)) if host.contains(['.', ':']) || host == "localhost" || host.bytes().any(|b| b.is_ascii_uppercase()) => {
                (host, path)
            }
            _ => (DOCKER_HUB, name),
        };
        if !valid_host(registry) {
            return Err(invalid("the registry's host is malformed"));
        }
        if path.is_empty() {
            return Err(invalid("the repository is missing"));
        }
        if path.bytes().any(|b| b.is_ascii_uppercase()) {
            return Err(ReferenceError::UpperCase { reference: text.to_owned() });
        }
        if !path.split('/').all(valid_component) {
            return Err(invalid("a path component must be lower-case letters and digits, separated by one of . _ __ or dashes"));
        }
        let registry = match registry {
            "index.docker.io" => DOCKER_HUB,
            other => other,
        };
        let repository = if registry == DOCKER_HUB && !path.contains('/') { format!("library/{path}") } else { path.to_owned() };
        if registry.len() + 1 + repository.len() > 255 {
            return Err(invalid("the name is longer than 255 characters"));
        }
        Ok(Self { registry: registry.to_owned(), repository, tag: tag.map(str::to_owned), digest })
    }
}

impl Serialize for Reference {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Reference {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_read_as_docker_reads_them() {
        for (text, full) in [
            ("busybox", "docker.io/library/busybox"),
            ("org/app:1", "docker.io/org/app:1"),
            ("index.docker.io/busybox", "docker.io/library/busybox"),
            ("ghcr.io/org/app:v1.2.3", "ghcr.io/org/app:v1.2.3"),
            ("localhost/app", "localhost/app"),
            ("127.0.0.1:5000/a/b__c/d-e:T_1", "127.0.0.1:5000/a/b__c/d-e:T_1"),
            ("[::1]:5000/a", "[::1]:5000/a"),
        ] {
            assert_eq!(text.parse::<Reference>().map(|r| r.to_string()), Ok(full.to_owned()), "{text}");
        }
        let digest = Digest::of(b"x");
        let both: Reference = format!("ghcr.io/a/b:t@{digest}").parse().unwrap();
        assert_eq!((both.tag.as_deref(), both.digest), (Some("t"), Some(digest)));
        assert_eq!("a".parse::<Reference>().unwrap().tag_or_latest(), Some("latest"));
        let tagged = |text: &str| text.parse::<Reference>().unwrap().tagged().map(|tagged| tagged.to_string());
        assert_eq!(tagged("a").as_deref(), Some("docker.io/library/a:latest"));
        assert_eq!(tagged("a:1").as_deref(), Some("docker.io/library/a:1"));
        assert_eq!(tagged(&both.to_string()), None);
    }

    #[test]
    fn malformed_references_are_refused() {
        for bad in [
            "",
            ":",
            "a:",
            "a//b",
            "/a",
            "a/",
            "A",
            "ghcr.io/Org/app",
            "a:b c",
            "a@sha256:00",
            "a_-b",
            "a___b",
            "ghcr.io/",
            "ghcr.io:99999/a",
            "-a.io/b",
            "a b",
            "é",
        ] {
            assert!(bad.parse::<Reference>().is_err(), "{bad}");
        }
        assert!(format!("a:{}", "x".repeat(129)).parse::<Reference>().is_err());
    }
}
