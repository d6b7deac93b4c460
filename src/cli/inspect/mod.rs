//! `brik inspect`: an image's layers, what they hold, its configuration, and what has changed since another.
//!
//! - `image`: the image that a name means, and its layers read through.
//! - `tree`: files of layers laid over each other; `compare`: two images.
//! - `report`: what is known, as JSON has it; `text`: for people.

mod compare;
mod image;
mod report;
mod text;
mod tree;

use std::collections::BTreeMap;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Args;

use super::args::{Format, Global};
use super::failure::Failure;
use super::login::discover;
use super::planning::{client_options, learn};
use super::print;
use super::surroundings::Surroundings;
use super::tagging::{GivenTags, Tagging};
use crate::build::ask_all;
use crate::image::Listing;
use crate::oci::{Descriptor, DiffId, Platform};
use crate::registry::{Client, ClientOptions};
use crate::source::GitFacts;
use crate::store::Store;
use image::{Image, Places};
use report::{Inspected, Report};

#[derive(Debug, Args)]
#[command(after_help = "Examples:
  brik inspect api                    the service api as it was built here last, else as it was pushed
  brik inspect ghcr.io/org/api:v1.2   an image of a registry
  brik inspect --files oci:out:v1.2   an OCI layout, with the files of each layer
  brik inspect api ghcr.io/org/api:v1.2.0
                                      what has changed since that one: layers, configuration, files

Layers are read only for --files and to compare; what is on this machine is not pulled. Values of variables are not shown.")]
pub struct InspectArgs {
    /// A service of brik.toml, an image of a registry, or oci:DIR:TAG
    pub image: String,
    /// Tell what has changed since this image, named in the same way
    pub other: Option<String>,
    /// List the files of each layer
    #[arg(long)]
    pub files: bool,
    /// Which image of an index [default: this machine's]
    #[arg(long, value_name = "PLATFORM")]
    pub platform: Option<String>,
    #[arg(long, value_enum, default_value_t)]
    pub format: Format,
}

/// Layers that are read at the same time.
const AT_ONCE: usize = 4;

pub fn run(global: &Global, args: &InspectArgs) -> Result<ExitCode, Failure> {
    let around = Surroundings::new(global)?;
    let platform = args.platform.as_deref().map(Platform::from_flag).transpose();
    let platform = platform.map_err(|error| Failure::usage(format!("--platform: {error}")))?;
    let config = around.config()?;
    let options = ClientOptions { credentials: Arc::new(discover(&around, config.as_ref())), ..client_options(config.as_ref()) };
    let client = Client::new(options).map_err(|error| Failure::failed(error.to_string()))?;
    learn(&around.redactor, &client)?;
    // Looking at an image makes no store.
    let store = global.store_path(&around.env).ok().filter(|path| path.join("version").is_file()).and_then(|path| Store::open(&path).ok());
    let tagging = Tagging::new(&GitFacts::read(&around.cwd, &around.env), &around.env, GivenTags::default());
    let places = Places {
        cwd: &around.cwd,
        client: &client,
        store: store.as_ref(),
        config: config.as_ref(),
        tagging: &tagging,
        platform: platform.as_ref(),
        redactor: &around.redactor,
    };
    let image = places.find(&args.image)?;
    let other = args.other.as_deref().map(|name| places.find(name)).transpose()?;
    let listings = match args.files || other.is_some() {
        true => Some(list(&places, &image, &BTreeMap::new())?),
        false => None,
    };
    let since = match (&other, &listings) {
        (Some(other), Some(listings)) => {
            let ids = image.config.rootfs.diff_ids.iter();
            let known: BTreeMap<&DiffId, &Listing> = ids.zip(listings).collect();
            let rest = list(&places, other, &known)?;
            let mut rest = rest.iter();
            let all = other.config.rootfs.diff_ids.iter().filter_map(|id| known.get(id).copied().or_else(|| rest.next()));
            Some(compare::compare(&image, listings, other, &all.collect::<Vec<_>>()))
        }
        _ => None,
    };
    let report = Report { image: Inspected::new(&image, listings.as_deref(), args.files), since };
    learn(&around.redactor, &client)?;
    let text = match args.format {
        Format::Json => printable_json(&serde_json::to_string_pretty(&report).unwrap_or_default()) + "\n",
        Format::Human => {
            let size = rustix::termios::tcgetwinsize(std::io::stdout()).ok();
            text::text(&report, size.map(|size| usize::from(size.ws_col)).filter(|columns| *columns > 0), args.files)
        }
    };
    print::out(&around.redactor.redact(&text)).map(|()| ExitCode::SUCCESS)
}

/// Reads the layers of an image that are not `known`, in their order.
fn list(places: &Places, image: &Image, known: &BTreeMap<&DiffId, &Listing>) -> Result<Vec<Listing>, Failure> {
    let Some(layers) = image.layers() else {
        return Err(places.failed("the manifest and the configuration of this image have different numbers of layers", None));
    };
    let wanted: Vec<(&Descriptor, &DiffId)> = layers.into_iter().filter(|(_, id)| !known.contains_key(id)).collect();
    let listed = ask_all(&wanted, AT_ONCE, |(layer, id)| image.list(layer, id));
    let one = |((layer, _), listed): (&(&Descriptor, &DiffId), Result<Listing, String>)| {
        listed.map_err(|error| places.failed(&format!("layer {} of {}: {error}", layer.digest.short(), image.name), None))
    };
    wanted.iter().zip(listed).map(one).collect()
}

/// JSON without characters that move a cursor or turn text around: its own escapes leave some of them.
fn printable_json(json: &str) -> String {
    let mut printable = String::with_capacity(json.len());
    for c in json.chars() {
        match c {
            '\n' => printable.push(c),
            '\u{200e}' | '\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}' => printable += &format!("\\u{:04x}", u32::from(c)),
            c if c.is_control() => printable += &format!("\\u{:04x}", u32::from(c)),
            c => printable.push(c),
        }
    }
    printable
}
