//! The flags that name one image, and say how it is built, instead of brik.toml.

use std::path::PathBuf;

use clap::Args;
use clap::builder::{PossibleValue, PossibleValuesParser, TypedValueParser};

use crate::config::Network;

/// What `docker build` and Kaniko take on the command line. With `--image` or `--tag`, one image is built without a brik.toml.
#[derive(Debug, Default, Args)]
#[command(next_help_heading = "One image without a brik.toml")]
pub struct ImageArgs {
    /// Build this one image, from --dockerfile and --context
    #[arg(long, value_name = "NAME", group = "one_image")]
    pub image: Option<String>,
    /// The same, with its tag as docker build has it; repeatable for more tags
    #[arg(short, long, value_name = "NAME[:TAG]", visible_alias = "destination", group = "one_image")]
    pub tag: Vec<String>,
    /// Registry in front of an image's name that has no host, as in ghcr.io/example-org
    #[arg(long, value_name = "REGISTRY", requires = "one_image")]
    pub registry: Option<String>,
    /// [default: Dockerfile, else dockerfile, in the context]
    #[arg(short = 'f', long, visible_alias = "file", value_name = "FILE", requires = "one_image")]
    pub dockerfile: Option<PathBuf>,
    /// A directory, a git repository (https://….git#ref:dir) or the URL of an archive, also without the flag [default: the current directory]
    #[arg(long, value_name = "DIR|URL", requires = "one_image")]
    pub context: Option<PathBuf>,
    /// Build this stage
    #[arg(long, value_name = "STAGE", requires = "one_image")]
    pub target: Option<String>,
    /// os/architecture, repeatable [default: this machine's]
    #[arg(long, value_name = "PLATFORM", value_delimiter = ',', requires = "one_image")]
    pub platform: Vec<String>,
    /// Set an ARG; without a value, it is taken from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    pub build_arg: Vec<String>,
    /// A secret for RUN --mount=type=secret: id=ID[,src=FILE|,env=NAME]
    #[arg(long, value_name = "id=ID[,src=FILE]")]
    pub secret: Vec<String>,
    /// An SSH agent for RUN --mount=type=ssh: default or ID[=SOCKET]
    #[arg(long, value_name = "ID[=SOCKET]")]
    pub ssh: Vec<String>,
    /// Add a label to the image
    #[arg(long, value_name = "NAME=VALUE")]
    pub label: Vec<String>,
    /// A named context: a directory, a git repository, http(s)://, docker-image://REFERENCE or oci-layout://DIR:TAG
    #[arg(long, value_name = "NAME=SOURCE", requires = "one_image")]
    pub build_context: Vec<String>,
    /// An entry of /etc/hosts during RUN
    #[arg(long, value_name = "HOST:IP")]
    pub add_host: Vec<String>,
    /// Size of /dev/shm during RUN, as in 128m
    #[arg(long, value_name = "SIZE")]
    pub shm_size: Option<String>,
    /// What a RUN reaches that does not say it itself, instead of `build.network` of brik.toml
    #[arg(long, value_name = "NETWORK", value_parser = network())]
    pub network: Option<Network>,
}

/// Docker's `default` is the host's network, too.
fn network() -> impl TypedValueParser<Value = Network> {
    let known = [Network::Host, Network::Private, Network::None];
    let values = known.map(|network| PossibleValue::new(network.name()).aliases((network == Network::Host).then_some("default")));
    PossibleValuesParser::new(values).map(move |name| known.into_iter().find(|network| network.name() == name).unwrap_or_default())
}

impl ImageArgs {
    /// Whether flags name an image, instead of brik.toml.
    pub fn is_given(&self) -> bool {
        self.image.is_some() || !self.tag.is_empty()
    }
}
