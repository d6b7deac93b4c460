//! The rules of strings in brik.toml: what the schema's `format` names mean.

use std::ops::Range;

use super::glob::{Glob, GlobError};
use super::groups::is_glob;
use super::metadata_action::Flavor;
use super::size::parse_bytes;
use super::suggest::did_you_mean;
use super::tag_entry::TagEntry;
use super::template::TemplateError;
use crate::oci::{ARCHITECTURES, Platform, Reference};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Format {
    Date,
    Glob,
    GroupMember,
    Host,
    Id,
    Image,
    MemorySize,
    MountSize,
    NamedContext,
    Path,
    Platform,
    Registry,
    Service,
    TagFlavor,
    TagGlob,
    TagTemplate,
    Text,
    Variable,
}

/// What is wrong with a string.
#[derive(Debug)]
pub(super) struct Complaint {
    pub code: &'static str,
    pub message: String,
    pub help: Option<String>,
    /// Bytes of the string; all of it where None.
    pub span: Option<Range<usize>>,
}

impl Complaint {
    fn new(code: &'static str, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), help: None, span: None }
    }

    fn help(self, help: &str) -> Self {
        Self { help: Some(help.to_owned()), ..self }
    }
}

impl Format {
    /// By the name that the schema gives it; None for formats that are only hints to editors (`uint`).
    pub fn named(name: &str) -> Option<Self> {
        Some(match name {
            "date" => Self::Date,
            "glob" => Self::Glob,
            "group-member" => Self::GroupMember,
            "host" => Self::Host,
            "id" => Self::Id,
            "image" => Self::Image,
            "memory-size" => Self::MemorySize,
            "mount-size" => Self::MountSize,
            "named-context" => Self::NamedContext,
            "path" => Self::Path,
            "platform" => Self::Platform,
            "registry" => Self::Registry,
            "service" => Self::Service,
            "tag-flavor" => Self::TagFlavor,
            "tag-glob" => Self::TagGlob,
            "tag-template" => Self::TagTemplate,
            "text" => Self::Text,
            "variable" => Self::Variable,
            _ => return None,
        })
    }

    pub fn check(self, text: &str) -> Result<(), Complaint> {
        if text.is_empty() {
            return Err(Complaint::new("brik::config::empty", "this may not be empty"));
        }
        if let Some(at) = text.find('\0') {
            let complaint = Complaint::new("brik::config::invalid-character", "a NUL character cannot stand here");
            return Err(Complaint { span: Some(at..at + 1), ..complaint });
        }
        match self {
            Self::Text => Ok(()),
            Self::Date => date(text),
            Self::Glob => glob(text),
            Self::GroupMember => group_member(text),
            Self::Host => host(text),
            Self::Id => id(text),
            Self::Image => image(text),
            Self::MemorySize => memory_size(text),
            Self::MountSize => mount_size(text),
            Self::NamedContext => named_context(text),
            Self::Path => path(text),
            Self::Platform => platform(text),
            Self::Registry => registry(text),
            Self::Service => service(text),
            Self::TagFlavor => Flavor::parse([text]).map(drop).map_err(invalid_tag),
            Self::TagGlob => tag_glob(text),
            Self::TagTemplate => text.parse::<TagEntry>().map(drop).map_err(invalid_tag),
            Self::Variable => variable(text),
        }
    }
}

/// Whether a name begins with a registry's host, as docker decides it: `ghcr.io/…`, `localhost/…`, `mirror:5000/…`.
pub(super) fn begins_with_host(name: &str) -> bool {
    let host = |first: &str| first.contains(['.', ':']) || first == "localhost" || first.bytes().any(|b| b.is_ascii_uppercase());
    name.split_once('/').is_some_and(|(first, _)| host(first))
}

fn glob(text: &str) -> Result<(), Complaint> {
    let pattern = text.strip_prefix('!').unwrap_or(text);
    Format::Path.check(pattern)?;
    Glob::of_paths(pattern).map(drop).map_err(invalid_glob)
}

fn date(text: &str) -> Result<(), Complaint> {
    let complaint = || Complaint::new("brik::config::invalid-date", format!("{text:?} is not a day"));
    // A day alone: jiff would take the day of a whole time, too.
    let day = text.len() == 10 && text.parse::<jiff::civil::Date>().is_ok();
    day.then_some(()).ok_or_else(|| complaint().help("write year, month and day, as in 2027-01-31"))
}

fn tag_glob(text: &str) -> Result<(), Complaint> {
    Glob::of_names(text).map(drop).map_err(invalid_glob)
}

fn invalid_glob(error: GlobError) -> Complaint {
    Complaint::new("brik::config::invalid-glob", format!("invalid glob: {error}"))
}

fn path(text: &str) -> Result<(), Complaint> {
    if text.starts_with('/') {
        let message = format!("the path {text:?} is absolute");
        return Err(Complaint::new("brik::config::absolute-path", message).help("write it relative to brik.toml"));
    }
    Ok(())
}

fn reference(text: &str) -> Result<Reference, Complaint> {
    text.parse().map_err(|error: crate::oci::ReferenceError| Complaint::new("brik::config::invalid-reference", error.to_string()))
}

fn image(text: &str) -> Result<(), Complaint> {
    let full = reference(text)?;
    if full.tag.is_none() && full.digest.is_none() {
        return Ok(());
    }
    let at = text.find('@').or(text.rfind(':')).unwrap_or(0);
    let complaint = Complaint::new("brik::config::tagged-image", format!("the image {text:?} has a tag or a digest"));
    Err(Complaint { span: Some(at..text.len()), ..complaint.help("name the repository only; tags come from `tags`") })
}

fn registry(text: &str) -> Result<(), Complaint> {
    let complaint = |reason: &str| Complaint::new("brik::config::invalid-registry", format!("invalid registry {text:?}: {reason}"));
    if let Some((scheme, rest)) = text.split_once("://") {
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
        let help = format!("write {:?}", format!("{host}{path}").trim_end_matches('/'));
        return Err(Complaint { span: Some(0..scheme.len() + 3), ..complaint("it has a scheme").help(&help) });
    }
    if text.ends_with('/') {
        return Err(Complaint { span: Some(text.len() - 1..text.len()), ..complaint("it ends in a slash") });
    }
    match format!("{text}/x").parse::<Reference>() {
        Ok(full) if full.tag.is_none() && full.digest.is_none() => Ok(()),
        Ok(_) => Err(complaint("it has a tag or a digest")),
        Err(error) => Err(complaint(&error.to_string())),
    }
}

fn host(text: &str) -> Result<(), Complaint> {
    let good = !text.contains('/') && begins_with_host(&format!("{text}/x")) && format!("{text}/x").parse::<Reference>().is_ok();
    let complaint = || Complaint::new("brik::config::invalid-host", format!("{text:?} is not a registry's host"));
    good.then_some(()).ok_or_else(|| complaint().help("write a host with its port, as in [registries.\"ghcr.io\"]"))
}

fn platform(text: &str) -> Result<(), Complaint> {
    let parsed: Platform =
        text.parse().map_err(|error: crate::oci::PlatformError| Complaint::new("brik::config::invalid-platform", error.to_string()))?;
    if parsed.os != "linux" {
        let message = format!("brik builds for linux only, not for {:?}", parsed.os);
        return Err(Complaint::new("brik::config::unsupported-platform", message));
    }
    if !parsed.has_known_architecture() {
        let message = format!("linux runs on no architecture that is called {:?}", parsed.architecture);
        let help = did_you_mean(&parsed.architecture, ARCHITECTURES).unwrap_or_else(|| format!("there are {}", ARCHITECTURES.join(", ")));
        return Err(Complaint::new("brik::config::unsupported-platform", message).help(&help));
    }
    Ok(())
}

/// A name, or a glob over names.
fn group_member(text: &str) -> Result<(), Complaint> {
    if !is_glob(text) {
        return service(text);
    }
    Glob::of_names(text).map(drop).map_err(invalid_glob)
}

/// A service's name is a component of its image's repository, and names it in `--set` and `service:`.
fn service(text: &str) -> Result<(), Complaint> {
    let component = !text.contains(['/', ':', '@']) && text.len() <= 128 && text.parse::<Reference>().is_ok();
    let complaint = || Complaint::new("brik::config::invalid-service", format!("{text:?} is not a service's name"));
    component.then_some(()).ok_or_else(|| complaint().help("use a-z 0-9, with . _ or - between them"))
}

fn invalid_tag(error: TemplateError) -> Complaint {
    Complaint { message: error.to_string(), code: "brik::config::invalid-tag", help: error.help, span: Some(error.span) }
}

fn id(text: &str) -> Result<(), Complaint> {
    let good = |b: u8| b.is_ascii_alphanumeric() || b"_.-".contains(&b);
    let complaint = || Complaint::new("brik::config::invalid-id", format!("{text:?} is not an id"));
    text.bytes().all(good).then_some(()).ok_or_else(|| complaint().help("use A-Z a-z 0-9 _ . -"))
}

fn variable(text: &str) -> Result<(), Complaint> {
    let good = text.bytes().enumerate().all(|(i, b)| b.is_ascii_alphabetic() || b == b'_' || (i > 0 && b.is_ascii_digit()));
    let complaint = || Complaint::new("brik::config::invalid-variable", format!("{text:?} is not a variable's name"));
    good.then_some(()).ok_or_else(|| complaint().help("use A-Z a-z 0-9 _, not beginning with a digit"))
}

/// What a shell and a small program need.
const LEAST_MEMORY: u64 = 16 << 20;

fn memory_size(text: &str) -> Result<(), Complaint> {
    let complaint = |message: String| Complaint::new("brik::config::invalid-size", message);
    match parse_bytes(text) {
        Some(LEAST_MEMORY..) => Ok(()),
        Some(_) => Err(complaint(format!("{text:?} is less than 16MiB"))),
        None => Err(complaint(format!("{text:?} is not a size")).help("write a size, as in 4GiB")),
    }
}

/// What a manifest can list the chunks of.
const LARGEST_MOUNT: u64 = 16 << 30;

fn mount_size(text: &str) -> Result<(), Complaint> {
    let complaint = |message: String| Complaint::new("brik::config::invalid-size", message);
    match parse_bytes(text) {
        Some(1..=LARGEST_MOUNT) => Ok(()),
        Some(_) => Err(complaint(format!("{text:?} is not between 1 byte and 16GiB"))),
        None => Err(complaint(format!("{text:?} is not a size")).help("write a size, as in 500MiB")),
    }
}

fn named_context(text: &str) -> Result<(), Complaint> {
    if let Some(image) = text.strip_prefix("docker-image://") {
        return reference(image).map(drop);
    }
    if let Some(name) = text.strip_prefix("service:").or(text.strip_prefix("target:")) {
        return service(name);
    }
    match text.strip_prefix("oci-layout://") {
        Some(layout) => path(layout),
        None => path(text),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_format_takes_the_good_and_refuses_the_bad() {
        let table: [(Format, &[&str], &[&str]); 18] = [
            (Format::Date, &["2027-01-31"], &["2027-02-30", "31.1.2027", "2027-01-31T10:00:00", "20270131"]),
            (Format::TagGlob, &["v*", "sha-[0-9a-f]*", "{dev,edge}"], &["a[", "{a"]),
            (Format::Glob, &["services/*", "a/**/b", "!x", "{a,b}/*"], &["", "/abs/*", "a[", "!"]),
            (Format::GroupMember, &["api", "svc-*", "{a,b}"], &["Api", "a/b", "svc-[", ""]),
            (Format::Host, &["ghcr.io", "localhost", "m:5000", "[::1]:5000"], &["ghcr", "ghcr.io/org", "a b.c"]),
            (Format::Id, &["npm_token", "a.b-C"], &["a b", "a,b"]),
            (Format::Image, &["api", "ghcr.io/org/api", "org/api"], &["api:v1", "Api", "a//b", "x@sha256:00"]),
            (Format::MemorySize, &["512MiB", "1TiB"], &["0", "1MiB", "much"]),
            (Format::MountSize, &["500MiB", "16GiB", "1"], &["0", "17GiB", "much", "-1"]),
            (
                Format::NamedContext,
                &["shared", "docker-image://alpine:3.20", "service:api", "target:api", "oci-layout://out/x:tag", "https://e.org/x.git"],
                &["/abs", "docker-image://A", "service:A", "oci-layout:///abs"],
            ),
            (Format::Path, &["a/b", ".", "../x"], &["/a", "a\0b"]),
            (Format::Platform, &["linux/amd64", "linux/arm/v7"], &["linux", "amd64", "windows/amd64"]),
            (Format::Registry, &["ghcr.io", "ghcr.io/org", "org"], &["https://ghcr.io", "ghcr.io/", "ghcr.io/Org"]),
            (Format::Service, &["api", "java-api", "a.b_c"], &["Api", "a/b", "-a", "a b", "a:b"]),
            (Format::TagFlavor, &["latest=auto", "suffix=-x,onlatest=true"], &["latest", "-x"]),
            (Format::TagTemplate, &["sha-{sha}", "type=sha,format=long"], &["{shaa}", "a/b", "type=shaa"]),
            (Format::Text, &["x"], &["", "\0"]),
            (Format::Variable, &["JAVA_VERSION", "_x1"], &["1x", "a-b", "a b"]),
        ];
        for (format, good, bad) in table {
            for text in good {
                assert!(format.check(text).is_ok(), "{format:?} {text:?}");
            }
            for text in bad {
                assert!(format.check(text).is_err(), "{format:?} {text:?}");
            }
        }
    }
}
