//! `brik cache ls --remote`: the entries of cache repositories. A registry tells no times.

use std::process::ExitCode;

use serde::Serialize;

use super::{Contents, Failure, Remote, one_line, short_key, size, what};
use crate::cache::{Content, Stored};
use crate::cli::args::Format;
use crate::cli::cache::args::LsArgs;
use crate::cli::columns::columns;
use crate::oci::Digest;
use crate::plan::CacheKey;

#[derive(Serialize)]
struct Line {
    repository: String,
    tag: String,
    kind: String,
    what: String,
    /// Of the layers, or of what else it holds.
    bytes: u64,
    /// Of the manifest.
    digest: Option<Digest>,
    #[serde(skip_serializing_if = "Option::is_none")]
    platform: Option<String>,
    #[serde(skip)]
    key: String,
}

pub fn run(remote: &Remote, args: &LsArgs) -> Result<ExitCode, Failure> {
    let contents = remote.read()?;
    match args.format {
        Format::Json => remote.out_json(&contents.iter().flat_map(lines).collect::<Vec<Line>>())?,
        Format::Human => remote.out(&contents.iter().map(table).collect::<String>())?,
    }
    Ok(ExitCode::SUCCESS)
}

/// By kind and by what they are.
fn lines(contents: &Contents) -> Vec<Line> {
    let line = |entry: &Stored| Line {
        repository: contents.name(),
        tag: entry.tag.clone(),
        kind: entry.content.kind().to_owned(),
        what: what(entry),
        bytes: bytes(entry),
        digest: entry.digest,
        platform: platform(entry, contents),
        key: short_key(entry),
    };
    let mut lines: Vec<Line> = contents.own().map(line).collect();
    lines.sort_by(|a, b| (&a.kind, &a.what, &a.tag).cmp(&(&b.kind, &b.what, &b.tag)));
    lines
}

fn bytes(entry: &Stored) -> u64 {
    match &entry.content {
        Content::Step(step) => step.record.layer.size,
        Content::Image(image) => image.record.layers.iter().map(|layer| layer.descriptor.size).sum(),
        Content::Toc(_) | Content::Mount(_) | Content::Other(_) => entry.blobs.iter().map(|blob| blob.size).sum(),
        Content::Trail(_) | Content::Broken(_) | Content::Foreign => 0,
    }
}

/// As far as it is known: a COPY may be of any, and an image does not say.
fn platform(entry: &Stored, contents: &Contents) -> Option<String> {
    let last = |entry: &Stored| Some(entry.tag.strip_prefix("last-")?.replace('-', "/"));
    match &entry.content {
        Content::Step(step) => {
            let mut parts = step.record.inputs.parts().iter();
            parts.find(|(name, _)| name == "platform").map(|(_, platform)| platform.clone())
        }
        Content::Image(_) => contents.entries.iter().find_map(|other| match &other.content {
            Content::Trail(trail) if is_key(&entry.tag, &trail.trail.image) => last(other),
            _ => None,
        }),
        Content::Trail(_) => last(entry),
        Content::Toc(_) | Content::Mount(_) | Content::Other(_) | Content::Broken(_) | Content::Foreign => None,
    }
}

fn is_key(tag: &str, key: &CacheKey) -> bool {
    tag.split_once('-').is_some_and(|(_, hex)| hex == key.0.hex())
}

fn table(contents: &Contents) -> String {
    let lines = lines(contents);
    let row = |line: &Line| {
        let platform = line.platform.as_deref().unwrap_or("-");
        [line.kind.clone(), line.key.clone(), size::bytes(line.bytes), platform.to_owned(), one_line(&line.what)]
    };
    let mut rows: Vec<[String; 5]> = lines.iter().map(row).collect();
    if !rows.is_empty() {
        rows.insert(0, ["kind", "key", "size", "platform", "what"].map(str::to_owned));
    }
    let noun = if lines.len() == 1 { "entry" } else { "entries" };
    format!("{}: {} {noun}\n{}", contents.name(), lines.len(), columns(&rows))
}
