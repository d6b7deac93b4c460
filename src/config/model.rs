//! The shape of brik.toml as it is written: the types from which both the schema and the reader are derived.
//!
//! `format` names a rule of `format.rs`; doc comments become the descriptions that editors show.

use std::collections::BTreeMap;
use std::fmt;
use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::Deserialize;

use super::policy::{PolicyRule, Preset};
use super::types::{ImageFormat, Isolation, Network, Timestamps};

/// brik.toml: the services of a monorepo and how their images are built.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
#[schemars(title = "brik.toml")]
pub(super) struct File {
    /// Prefix of images: a service is `<registry>/<service>`, its cache `<registry>/<service>-cache`.
    #[schemars(extend("format" = "registry"))]
    pub registry: Option<String>,
    /// Globs of directories, relative to brik.toml; each that holds a Dockerfile is a service. `!glob` takes away.
    pub members: Vec<Glob>,
    /// What makes tags: templates, or lines of docker/metadata-action (`type=…`). What has no value in a run is skipped.
    pub tags: Vec<Template>,
    /// What holds for all tags, as docker/metadata-action has it: `latest=auto`, `prefix=…`, `suffix=…`.
    pub flavor: Vec<FlavorLine>,
    /// Platforms to build for; the machine's own by default.
    pub platforms: Vec<PlatformName>,
    /// Labels of every image.
    pub labels: BTreeMap<String, Text>,
    /// Build arguments of every service.
    #[schemars(extend("propertyNames" = {"format": "variable"}))]
    pub args: BTreeMap<String, Text>,
    /// Rules that images are held to.
    pub policy: PolicyTable,
    /// How to reach a registry, by host.
    #[schemars(extend("propertyNames" = {"format": "host"}))]
    pub registries: BTreeMap<String, RegistryTable>,
    /// Services by name: a member directory's name, or a new one with its own `context`.
    #[schemars(extend("propertyNames" = {"format": "service"}))]
    pub services: BTreeMap<String, ServiceTable>,
    /// Names for several services at once, on the command line: lists of services, of other groups, or of globs over their names.
    #[schemars(extend("propertyNames" = {"format": "service"}))]
    pub groups: BTreeMap<String, Vec<GroupMember>>,
    /// How images are built.
    pub build: BuildTable,
    /// What cache repositories hold besides the results of Steps.
    pub cache: SharedCacheTable,
}

/// One service. A member directory needs none of it.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct ServiceTable {
    /// Image name without tag, relative to `registry` unless it begins with a host.
    #[schemars(extend("format" = "image"))]
    pub image: Option<String>,
    /// Directory that COPY reads from; the member directory by default.
    #[schemars(extend("format" = "path"))]
    pub context: Option<String>,
    /// Relative to brik.toml, or else to the context; `Dockerfile` in the context by default.
    #[schemars(extend("format" = "path"))]
    pub dockerfile: Option<String>,
    /// Stage to build; the last one by default.
    #[schemars(extend("format" = "text"))]
    pub target: Option<String>,
    /// Build arguments, over the global ones.
    #[schemars(extend("propertyNames" = {"format": "variable"}))]
    pub args: BTreeMap<String, Text>,
    /// What makes its tags, instead of the global ones.
    pub tags: Option<Vec<Template>>,
    /// What holds for all its tags, instead of the global flavor.
    pub flavor: Option<Vec<FlavorLine>>,
    /// Labels, over the global ones.
    pub labels: BTreeMap<String, Text>,
    /// Repository of the cache; `<image>-cache` by default, false for none.
    pub cache: Option<Cache>,
    /// Secrets that RUN may mount: an id, read from the variable of the same name in capitals, or a table.
    pub secrets: Vec<SecretEntry>,
    /// SSH agents that RUN may mount: an id, from $SSH_AUTH_SOCK, or a table.
    pub ssh: Vec<SshEntry>,
    /// Named contexts: a path, `docker-image://ref`, `service:name`, `oci-layout://path` or a URL.
    pub contexts: BTreeMap<String, ContextText>,
    /// Services to build first, where no FROM, COPY --from or context says so.
    pub needs: Vec<ServiceName>,
    /// Platforms instead of the global ones.
    pub platforms: Option<Vec<PlatformName>>,
}

/// How to reach one registry.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct RegistryTable {
    /// Registry to ask first: `host[:port][/prefix]`.
    #[schemars(extend("format" = "registry"))]
    pub mirror: Option<String>,
    /// Plain HTTP, and certificates unchecked.
    pub insecure: bool,
    /// PEM bundle of certificate authorities to trust.
    #[schemars(extend("format" = "text"))]
    pub ca: Option<String>,
}

/// How images are built.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct BuildTable {
    /// PEM bundle of certificate authorities, mounted during RUN and never part of the image.
    #[schemars(extend("format" = "text"))]
    pub ca_certs: Option<String>,
    /// Modification times of files in layers.
    pub timestamps: Timestamps,
    /// Media types of the image.
    pub format: ImageFormat,
    /// Give every commit its own digest by keeping revision, created and version labels exact.
    pub exact_labels: bool,
    /// Steps to run at once; the number of processors by default.
    #[schemars(range(min = 1, max = 4096))]
    pub jobs: Option<NonZeroUsize>,
    /// What has to keep a RUN apart.
    pub isolation: Isolation,
    /// What a RUN reaches.
    pub network: Network,
    /// Processes and threads that a RUN may have at the same time, where the kernel can count them; 4096 by default.
    #[schemars(range(min = 16, max = 4_000_000))]
    pub processes: Option<u32>,
    /// Memory that a RUN may have, as in 4GiB, where brik may make control groups; without a limit by default.
    #[schemars(extend("format" = "memory-size"))]
    pub memory: Option<String>,
    /// Seconds for which a registry may be silent, or all but silent, before it is asked again; 60 by default.
    #[schemars(range(min = 1, max = 3600))]
    pub registry_timeout: Option<NonZeroU64>,
}

/// What cache repositories hold besides the results of Steps.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct SharedCacheTable {
    /// Keep the directories of RUN --mount=type=cache in cache repositories, for other machines. They may hold anything, secrets included.
    pub mounts: bool,
    /// The most that one such directory may hold, as in 500MiB; a larger one is not kept. 2GiB by default, 16GiB at most.
    #[schemars(extend("format" = "mount-size"))]
    pub mounts_size: Option<String>,
}

/// Rules that images are held to, by `brik check` and before a push; what is not set comes from the preset, or is off.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct PolicyTable {
    /// Preset to start from.
    pub extends: Option<Preset>,
    /// false reports violations as warnings.
    pub enforce: Option<bool>,
    /// Rules whose violations are warnings.
    pub warn: Vec<PolicyRule>,
    /// Rules whose violations are errors, also where the preset only warns.
    pub deny: Vec<PolicyRule>,
    /// sha-tag: every image has a `sha-…` tag.
    pub require_sha: Option<bool>,
    /// version-tag: an image has a version among its tags, on release (true) or always.
    pub require_version: Option<VersionTable>,
    /// Only `vX.Y.Z` is a version; otherwise `X.Y.Z` is one, too, and both with a suffix.
    pub strict_semver: Option<bool>,
    /// latest-tag: whether the tag `latest` may be pushed.
    pub allow_latest: Option<bool>,
    /// required-tags: globs, of which each has to match a tag.
    pub required_tags: Vec<TagGlob>,
    /// forbidden-tags: globs, of which none may match a tag.
    pub forbidden_tags: Vec<TagGlob>,
    /// non-root: the final stage runs as a user other than root.
    pub non_root: Option<bool>,
    /// multi-stage: what builds an image does not stay in it.
    pub multi_stage: Option<bool>,
    /// no-secrets: no ARG and no ENV is named like a secret.
    pub no_secrets: Option<bool>,
    /// base-registries: hosts, with or without a path, below which base images lie.
    pub base_registries: Vec<RegistryPrefix>,
    /// pinned-bases: base images are named by their digest or pinned in brik.lock.
    pub pinned_bases: Option<bool>,
    /// required-labels: labels that every image has.
    pub required_labels: Vec<LabelName>,
    /// narrow-context: no context holds the directories of other services.
    pub narrow_context: Option<bool>,
    /// Violations that are accepted until a day.
    pub waive: Vec<WaiverTable>,
}

/// true for release, false for never, or a word.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum VersionTable {
    Enabled(bool),
    When(When),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub(super) enum When {
    Release,
    Always,
}

/// A rule that may be broken for a while.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct WaiverTable {
    /// The rule that is waived.
    pub rule: PolicyRule,
    /// For these services; for all where it is absent.
    #[serde(default)]
    pub services: Vec<ServiceName>,
    /// Why.
    #[schemars(extend("format" = "text"))]
    pub reason: String,
    /// The last day on which it holds, as in 2027-01-31.
    #[schemars(extend("format" = "date"))]
    pub until: String,
}

/// A cache: a repository, true or false, or both in a table.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Cache {
    Enabled(bool),
    Repository(#[schemars(extend("format" = "image"))] String),
    Table(CacheTable),
}

#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub(super) struct CacheTable {
    /// Relative to `registry` unless it begins with a host.
    #[schemars(extend("format" = "image"))]
    pub repo: Option<String>,
    /// true by default.
    pub enabled: Option<bool>,
}

/// A secret's id, or where to find it.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SecretEntry {
    Id(#[schemars(extend("format" = "id"))] String),
    Table(SecretTable),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SecretTable {
    /// As in `--mount=type=secret,id=…`.
    #[schemars(extend("format" = "id"))]
    pub id: String,
    /// Variable that holds the value.
    #[schemars(extend("format" = "variable"))]
    pub env: Option<String>,
    /// File that holds the value.
    #[schemars(extend("format" = "text"))]
    pub file: Option<String>,
}

/// An agent's id, or where its socket is.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum SshEntry {
    Id(#[schemars(extend("format" = "id"))] String),
    Table(SshTable),
}

#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SshTable {
    /// As in `--mount=type=ssh,id=…`.
    #[schemars(extend("format" = "id"))]
    pub id: String,
    /// The agent's socket; $SSH_AUTH_SOCK by default.
    #[schemars(extend("format" = "text"))]
    pub socket: Option<String>,
}

/// A string; integers and booleans stand for their text. (A float would not keep it: 1.20.)
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(untagged)]
pub(super) enum Text {
    String(String),
    Integer(i64),
    Boolean(bool),
}

impl fmt::Display for Text {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::String(text) => f.write_str(text),
            Self::Integer(number) => number.fmt(f),
            Self::Boolean(yes) => yes.fmt(f),
        }
    }
}

/// Strings that stand in lists and maps, where a field's attribute cannot reach.
macro_rules! formatted {
    ($($name:ident: $format:literal),* $(,)?) => {$(
        #[derive(Debug, Clone, Deserialize, JsonSchema)]
        #[serde(transparent)]
        #[schemars(inline, extend("format" = $format))]
        pub(super) struct $name(pub String);
    )*};
}

formatted! {
    Glob: "glob",
    Template: "tag-template",
    FlavorLine: "tag-flavor",
    PlatformName: "platform",
    ServiceName: "service",
    GroupMember: "group-member",
    ContextText: "named-context",
    TagGlob: "tag-glob",
    RegistryPrefix: "registry",
    LabelName: "text",
}
