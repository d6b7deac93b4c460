//! An image as a file of another tool describes it, or a Dockerfile alone.

use std::collections::BTreeMap;
use std::path::{Component, Path};

use crate::oci::Reference;

/// What a service that says nothing is tagged with.
pub const DEFAULT_TAG: &str = "sha-{sha}";

/// Paths are relative to where brik.toml will be, with `/`, and `.` for that directory itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Found {
    /// As the file calls it; not yet a service's name.
    pub name: String,
    /// The file that says it.
    pub file: String,
    pub context: String,
    pub dockerfile: String,
    pub image: Option<ImageName>,
    /// Tag templates; empty where the defaults will do.
    pub tags: Vec<String>,
    pub target: Option<String>,
    pub args: BTreeMap<String, String>,
    pub labels: BTreeMap<String, String>,
    pub platforms: Vec<String>,
    pub secrets: Vec<Secret>,
    pub ssh: Vec<Agent>,
    /// As brik.toml writes them, but that `service:` names what the file calls so.
    pub contexts: BTreeMap<String, String>,
    pub cache: Option<Cache>,
    /// The groups that it is in, also through others.
    pub groups: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ImageName {
    /// `api`: no registry is meant.
    Bare(String),
    /// `ghcr.io/org/api`, without a tag.
    Full(Reference),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub id: String,
    pub source: Option<SecretSource>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Variable(String),
    File(String),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Agent {
    pub id: String,
    pub socket: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Cache {
    Off,
    Repository(Reference),
}

/// An image's name and the tag that stands behind it.
pub(super) fn image_name(text: &str) -> Result<(ImageName, Option<String>), String> {
    let reference: Reference = text.parse().map_err(|error: crate::oci::ReferenceError| error.to_string())?;
    let tag = reference.tag.clone();
    let bare = reference.registry == "docker.io" && !text.contains('/');
    let name = match bare {
        true => ImageName::Bare(text.split([':', '@']).next().unwrap_or_default().to_owned()),
        false => ImageName::Full(Reference { tag: None, digest: None, ..reference }),
    };
    Ok((name, tag))
}

/// `id=ID[,src=FILE|,env=NAME][,type=…]`, as the command lines of docker and buildx have it.
pub(super) fn secret(text: &str) -> Option<Secret> {
    let (mut id, mut source) = (None, None);
    for field in text.split(',') {
        match field.trim().split_once('=')? {
            ("id", value) => id = Some(value.to_owned()),
            ("src" | "source", path) => source = Some(SecretSource::File(path.to_owned())),
            ("env", name) => source = Some(SecretSource::Variable(name.to_owned())),
            ("type", _) => {}
            _ => return None,
        }
    }
    Some(Secret { id: id.filter(|id| !id.is_empty())?, source })
}

/// `ID[=SOCKET]`.
pub(super) fn agent(text: &str) -> Agent {
    match text.split_once('=') {
        Some((id, socket)) => Agent { id: id.to_owned(), socket: Some(socket.to_owned()) },
        None => Agent { id: text.to_owned(), socket: None },
    }
}

/// Why a context or a Dockerfile cannot be one of brik.toml's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(super) enum PathProblem {
    #[error("the context {0} is not a directory of the repository")]
    Remote(String),
    #[error("{0} is outside of this directory")]
    Outside(String),
    #[error("the context {0} is not there")]
    NoContext(String),
    #[error("the Dockerfile {0} is not there")]
    NoDockerfile(String),
}

/// The context and the Dockerfile of an image, of which the file in the directory `from` says these; the Dockerfile is looked for in the
/// context, and below `from` as well where `either`.
pub(super) fn paths(root: &Path, from: &str, context: &str, dockerfile: &str, either: bool) -> Result<(String, String), PathProblem> {
    if context.contains("://") || context.starts_with("git@") {
        return Err(PathProblem::Remote(without_credentials(context)));
    }
    let outside = |path: &str| PathProblem::Outside(path.to_owned());
    if context.starts_with('/') {
        return Err(outside(context));
    }
    let context = normal(&format!("{from}/{context}")).ok_or_else(|| outside(context))?;
    if !root.join(&context).is_dir() {
        return Err(PathProblem::NoContext(context));
    }
    let absolute = dockerfile.starts_with('/');
    let inside = normal(&format!("{context}/{dockerfile}")).filter(|_| !absolute);
    let beside = normal(&format!("{from}/{dockerfile}")).filter(|_| either && !absolute);
    match (inside, beside) {
        (None, None) => Err(outside(dockerfile)),
        (inside, beside) => match beside.clone().into_iter().chain(inside.clone()).find(|path| root.join(path).is_file()) {
            Some(path) => Ok((context, path)),
            None => Err(PathProblem::NoDockerfile(inside.or(beside).unwrap_or_default())),
        },
    }
}

fn without_credentials(url: &str) -> String {
    match url.split_once("://") {
        Some((scheme, rest)) => format!("{scheme}://{}", rest.rsplit('@').next().unwrap_or_default()),
        None => url.to_owned(),
    }
}

/// Without `.`, `..` and doubled slashes, `.` where nothing is left; None for what leads out. An absolute path leads out.
pub(super) fn normal(path: &str) -> Option<String> {
    let mut parts: Vec<&str> = Vec::new();
    for component in Path::new(path).components() {
        match component {
            Component::CurDir => {}
            Component::Normal(part) => parts.push(part.to_str()?),
            Component::ParentDir => drop(parts.pop()?),
            Component::RootDir | Component::Prefix(_) => return None,
        }
    }
    Some(if parts.is_empty() { ".".to_owned() } else { parts.join("/") })
}

/// The directory of a path that [`normal`] has made.
pub(super) fn parent(path: &str) -> &str {
    path.rsplit_once('/').map_or(".", |(directory, _)| directory)
}

/// The last component of such a path.
pub(super) fn base_name(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_become_normal() {
        let table = [
            ("./services/api", Some("services/api")),
            ("a/./b/../c//d/", Some("a/c/d")),
            (".", Some(".")),
            ("", Some(".")),
            ("./", Some(".")),
            ("..", None),
            ("a/../../b", None),
            ("/etc", None),
        ];
        for (path, expected) in table {
            assert_eq!(normal(path).as_deref(), expected, "{path}");
        }
        assert_eq!((parent("a/b/c"), parent("a"), base_name("a/b/c"), base_name("a")), ("a/b", ".", "c", "a"));
    }

    #[test]
    fn names_of_images_are_read() {
        let full = |text: &str| ImageName::Full(text.parse().unwrap());
        let table = [
            ("api", ImageName::Bare("api".into()), None),
            ("api:dev", ImageName::Bare("api".into()), Some("dev")),
            ("ghcr.io/o/api:v1", full("ghcr.io/o/api"), Some("v1")),
            ("127.0.0.1:5000/api", full("127.0.0.1:5000/api"), None),
            ("org/api", full("docker.io/org/api"), None),
        ];
        for (text, name, tag) in table {
            assert_eq!(image_name(text).unwrap(), (name, tag.map(str::to_owned)), "{text}");
        }
        assert!(image_name("/api:").is_err() && image_name("").is_err());
    }

    #[test]
    fn secrets_are_read() {
        let of = |id: &str, source| Some(Secret { id: id.into(), source });
        assert_eq!(secret("id=a"), of("a", None));
        assert_eq!(secret("type=env,id=a,env=B"), of("a", Some(SecretSource::Variable("B".into()))));
        assert_eq!(secret("id=a,src=x/y"), of("a", Some(SecretSource::File("x/y".into()))));
        assert!(secret("a").is_none() && secret("id=").is_none() && secret("id=a,uid=1").is_none());
    }
}
