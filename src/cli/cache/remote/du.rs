//! `brik cache du --remote`: what cache repositories take. A blob that several entries name counts once.

use std::collections::BTreeMap;
use std::process::ExitCode;

use serde::Serialize;

use super::{Contents, Failure, Remote, blobs, size};
use crate::cli::args::Format;
use crate::cli::cache::args::DuArgs;
use crate::cli::columns::columns;
use crate::oci::Digest;

#[derive(Serialize)]
struct Usage {
    repositories: Vec<Share>,
    /// Of all of them: what several repositories have counts once.
    total: Share,
}

#[derive(Serialize)]
struct Share {
    repository: String,
    /// By kind.
    entries: BTreeMap<String, u64>,
    /// Manifests count, too.
    blobs: u64,
    bytes: u64,
}

impl Share {
    fn new(repository: String, entries: BTreeMap<String, u64>, blobs: &BTreeMap<Digest, u64>) -> Self {
        let bytes = blobs.values().fold(0u64, |sum, size| sum.saturating_add(*size));
        Self { repository, entries, blobs: blobs.len() as u64, bytes }
    }

    fn row(&self) -> [String; 4] {
        let entries: Vec<String> = self.entries.iter().map(|(kind, number)| format!("{number} {kind}")).collect();
        let entries = if entries.is_empty() { "nothing".to_owned() } else { entries.join(", ") };
        [self.repository.clone(), entries, self.blobs.to_string(), size::bytes(self.bytes)]
    }
}

pub fn run(remote: &Remote, args: &DuArgs) -> Result<ExitCode, Failure> {
    let contents = remote.read()?;
    let share = |contents: &Contents| Share::new(contents.name(), kinds([contents]), &blobs(contents.own()));
    let all = blobs(contents.iter().flat_map(Contents::own));
    let usage = Usage { repositories: contents.iter().map(share).collect(), total: Share::new("total".to_owned(), kinds(&contents), &all) };
    match args.format {
        Format::Json => remote.out_json(&usage)?,
        Format::Human => remote.out(&table(&usage))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn kinds<'c>(contents: impl IntoIterator<Item = &'c Contents<'c>>) -> BTreeMap<String, u64> {
    let mut kinds = BTreeMap::new();
    for entry in contents.into_iter().flat_map(Contents::own) {
        *kinds.entry(entry.content.kind().to_owned()).or_default() += 1;
    }
    kinds
}

fn table(usage: &Usage) -> String {
    let head = ["repository", "entries", "blobs", "size"].map(str::to_owned);
    let rows: Vec<[String; 4]> = [head].into_iter().chain(usage.repositories.iter().chain([&usage.total]).map(Share::row)).collect();
    columns(&rows)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_repository_is_a_line() {
        let entries = || BTreeMap::from([("image".to_owned(), 1), ("step".to_owned(), 14)]);
        let share = |name: &str, blobs: &BTreeMap<Digest, u64>| Share::new(name.to_owned(), entries(), blobs);
        let one = BTreeMap::from([(Digest::of(b"a"), 1024), (Digest::of(b"b"), 512)]);
        let usage = Usage {
            repositories: vec![share("r.example/a-cache", &one), Share::new("r.example/b".to_owned(), BTreeMap::new(), &BTreeMap::new())],
            total: share("total", &one),
        };
        let expected = "repository         entries           blobs  size
r.example/a-cache  1 image, 14 step  2      1.5 KiB
r.example/b        nothing           0      0 B
total              1 image, 14 step  2      1.5 KiB
";
        assert_eq!(table(&usage), expected);
    }
}
