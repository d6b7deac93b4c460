//! What brik.toml promises once read: plain values with every default filled in and every path absolute.

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::path::PathBuf;
use std::time::Duration;

use schemars::JsonSchema;
use serde::Deserialize;

use super::finding::{Finding, Location};
use super::metadata_action::Flavor;
use super::policy::Policy;
use super::tag_entry::TagEntry;
use crate::oci::{Platform, Reference, ReferenceError};
use crate::source::NamedFile;

#[derive(Debug, Clone)]
pub struct Config {
    /// The directory of brik.toml, canonical.
    pub root: PathBuf,
    /// brik.toml itself.
    pub file: PathBuf,
    /// What contexts may not leave: the top level of the git repository around brik.toml, else `root`. Canonical.
    pub repository: PathBuf,
    /// Prefix of images: a host, with or without a path.
    pub registry: Option<String>,
    /// Never empty.
    pub platforms: Vec<Platform>,
    /// By host.
    pub registries: BTreeMap<String, RegistryOptions>,
    /// None where nothing says `[policy]`.
    pub policy: Option<Policy>,
    pub build: BuildOptions,
    pub cache: CacheOptions,
    /// By name.
    pub services: BTreeMap<String, Service>,
    /// The services of each group, by its name; none is empty, and none is called like a service.
    pub groups: BTreeMap<String, BTreeSet<String>>,
    /// What is odd about the files but stops nothing.
    pub warnings: Vec<Finding>,
}

#[derive(Debug, Clone)]
pub struct Service {
    pub name: String,
    /// Registry and repository; no tag, no digest.
    pub image: Reference,
    /// Canonical directory inside the repository.
    pub context: PathBuf,
    /// Canonical file inside the repository.
    pub dockerfile: PathBuf,
    /// Stage to build; the last one where None.
    pub target: Option<String>,
    /// The global args under the service's own.
    pub args: BTreeMap<String, String>,
    pub tags: Vec<TagEntry>,
    /// The list of `tags`, the service's own or the global one; `location` where neither is written.
    pub tags_location: Location,
    /// None where no key says anything of it.
    pub flavor: Option<Flavor>,
    /// The global labels under the service's own.
    pub labels: BTreeMap<String, String>,
    /// Repository of the shared cache; None = off.
    pub cache: Option<Reference>,
    pub secrets: Vec<Secret>,
    pub ssh: Vec<SshAgent>,
    /// By the name that `FROM` and `--from` use.
    pub contexts: BTreeMap<String, NamedContext>,
    /// Services to build before, beyond the inferred ones.
    pub needs: Vec<String>,
    /// Never empty.
    pub platforms: Vec<Platform>,
    /// Nobody asked for a platform: `platforms` is this machine's.
    pub implicit_platform: bool,
    /// The name in `[services.<name>]`, else the member pattern that found the service.
    pub location: Location,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Secret {
    pub id: String,
    pub source: SecretSource,
    /// What a CacheKey says of the source: as brik.toml has it, so the same on every machine. Never the value.
    pub origin: String,
    /// Its entry.
    pub location: Location,
}

/// Where a secret's value is; the value itself is read only by the RUN that mounts it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum SecretSource {
    Variable(String),
    /// Absolute; may lie outside of the repository.
    File(PathBuf),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SshAgent {
    pub id: String,
    /// Socket of an agent, absolute; None = `$SSH_AUTH_SOCK`.
    pub socket: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum NamedContext {
    /// Canonical, inside the repository.
    Directory(PathBuf),
    Image(Reference),
    /// `docker-image://scratch`: nothing.
    Scratch,
    /// The image that another service of this file builds.
    Service(String),
    /// Canonical directory of an OCI layout, inside the repository, and the tag or digest in it.
    OciLayout {
        path: PathBuf,
        reference: Option<String>,
    },
    /// A git repository, or a file behind http(s).
    Url(String),
}

impl NamedContext {
    /// What stands behind `docker-image://`.
    ///
    /// # Errors
    /// Where it is no reference.
    pub fn image(text: &str) -> Result<Self, ReferenceError> {
        if text == "scratch" { Ok(Self::Scratch) } else { text.parse().map(Self::Image) }
    }

    /// The path of `oci-layout://PATH[:TAG|@DIGEST]`, and the tag or digest.
    pub fn split_layout(text: &str) -> (&str, Option<&str>) {
        let tagged = || text.rsplit_once(':').filter(|(_, tag)| !tag.contains('/'));
        text.split_once('@').or_else(tagged).map_or((text, None), |(path, reference)| (path, Some(reference)))
    }
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RegistryOptions {
    /// `host[:port][/prefix]` to ask first.
    pub mirror: Option<String>,
    /// Plain HTTP, and certificates unchecked.
    pub insecure: bool,
    /// PEM bundle, absolute.
    pub ca: Option<PathBuf>,
}

#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct BuildOptions {
    /// PEM bundle mounted during RUN.
    pub ca_certs: Option<NamedFile>,
    pub timestamps: Timestamps,
    pub format: ImageFormat,
    /// Every commit gets its own digest: revision, created and version labels are part of the image's key.
    pub exact_labels: bool,
    /// Steps at once; the number of processors where None.
    pub jobs: Option<NonZeroUsize>,
    pub isolation: Isolation,
    pub network: Network,
    /// Processes and threads of a RUN at the same time; the sandbox's own limit where None.
    pub processes: Option<u32>,
    /// Bytes of memory of a RUN.
    pub memory: Option<u64>,
    /// For how long a registry may be silent; the client's own patience where None.
    pub registry_timeout: Option<Duration>,
}

/// What cache repositories hold besides the results of Steps.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CacheOptions {
    /// The directories of `RUN --mount=type=cache`.
    pub mounts: bool,
    /// Bytes that one such directory may hold.
    pub mounts_size: u64,
}

impl Default for CacheOptions {
    fn default() -> Self {
        Self { mounts: false, mounts_size: 2 << 30 }
    }
}

/// Modification times of the files in layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Timestamps {
    /// As the step left them; the digest then depends on when it ran.
    Preserve,
    /// The build argument SOURCE_DATE_EPOCH, else a fixed time: same inputs, same digest.
    #[default]
    Normalized,
}

/// What a RUN reaches, unless it says `--network=none`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Network {
    /// The network of the host, its loopback included.
    #[default]
    Host,
    /// What the host can reach, but neither its loopback nor link-local addresses, as those of a cloud's metadata service. Needs slirp4netns.
    Private,
    /// Nothing.
    None,
}

impl Network {
    /// As in brik.toml.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Host => "host",
            Self::Private => "private",
            Self::None => "none",
        }
    }
}

/// What has to keep a RUN apart from the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Isolation {
    /// Namespaces where there are any, else a root directory alone.
    #[default]
    Any,
    /// Namespaces, or nothing is run.
    Namespaces,
}

/// Media types of manifests, configs and layers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum ImageFormat {
    #[default]
    Oci,
    /// Docker image manifest version 2, schema 2.
    Docker,
}
