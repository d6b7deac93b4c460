//! `brik cache du`: what the store takes, by kind.

use std::process::ExitCode;

use super::{Failure, print, size};
use crate::cli::args::Format;
use crate::store::{Share, Store, Usage};

pub fn run(store: &Store, format: Format) -> Result<ExitCode, Failure> {
    let usage = store.usage();
    match format {
        Format::Json => {
            let mut json = serde_json::to_value(&usage).unwrap_or_default();
            json["total"] = serde_json::to_value(usage.total()).unwrap_or_default();
            json["store"] = store.root().display().to_string().into();
            print::out(&format!("{json:#}\n"))?;
        }
        Format::Human => print::out(&table(&usage))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn table(usage: &Usage) -> String {
    let mut out = format!("{:<16}{:>8}{:>12}\n", "", "count", "size");
    let mut row = |what: &str, Share { count, bytes }| out.push_str(&format!("{what:<16}{count:>8}{:>12}\n", size::bytes(bytes)));
    usage.records.iter().for_each(|(kind, share)| row(&format!("{kind} records"), *share));
    row("blobs", usage.blobs);
    row("snapshots", usage.snapshots);
    row("cache mounts", usage.mounts);
    row("stat caches", usage.stat);
    row("in progress", usage.tmp);
    row("total", usage.total());
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_has_a_line_a_kind() {
        let share = |count, bytes| Share { count, bytes };
        let records = [("step", share(24, 98_304)), ("image", share(8, 32_768))].into();
        let usage = Usage { records, blobs: share(40, 326_317_056), snapshots: share(23, 1_181_116_006), ..Usage::default() };
        let expected = "                   count        size
image records          8    32.0 KiB
step records          24    96.0 KiB
blobs                 40   311.2 MiB
snapshots             23     1.1 GiB
cache mounts           0         0 B
stat caches            0         0 B
in progress            0         0 B
total                 95     1.4 GiB
";
        assert_eq!(table(&usage), expected);
    }
}
