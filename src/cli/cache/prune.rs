//! `brik cache prune`: the store made smaller.

use std::process::ExitCode;
use std::time::SystemTime;

use super::args::PruneArgs;
use super::{Failure, count, print, size};
use crate::cli::args::Format;
use crate::store::{PruneBudget, Pruned, Store};

/// What is to stay.
pub fn budget(args: &PruneArgs) -> Result<PruneBudget, Failure> {
    let bytes = |text: &String| {
        size::parse_bytes(text).ok_or_else(|| Failure::usage(format!("--keep-storage {text:?}: expected a size, as in 10GiB")))
    };
    let span = |text: &String| {
        size::parse_span(text).ok_or_else(|| Failure::usage(format!("--keep-within {text:?}: expected a time, as in 72h or 14d")))
    };
    Ok(PruneBudget {
        keep_bytes: args.keep_storage.as_ref().map(bytes).transpose()?,
        keep_used_within: args.keep_within.as_ref().map(span).transpose()?,
    })
}

pub fn run(store: &Store, args: &PruneArgs, budget: &PruneBudget) -> Result<ExitCode, Failure> {
    let pruned = store.prune(budget, args.dry_run).map_err(|e| Failure::failed(e.to_string()))?;
    if let Some(since) = pruned.in_use_since {
        let since = size::span(SystemTime::now().duration_since(since).unwrap_or_default());
        print::err(&format!("another brik uses the store since {since}: what was used in that time stays, and so do cache mounts\n"));
    }
    match args.format {
        Format::Json => {
            let mut json = serde_json::to_value(pruned).unwrap_or_default();
            json["dry_run"] = args.dry_run.into();
            print::out(&format!("{json:#}\n"))?;
        }
        Format::Human => print::out(&sentence(&pruned, args.dry_run))?,
    }
    Ok(ExitCode::SUCCESS)
}

fn sentence(pruned: &Pruned, dry_run: bool) -> String {
    let kinds = [(pruned.records, "record"), (pruned.blobs, "blob"), (pruned.snapshots, "snapshot"), (pruned.mounts, "cache mount")];
    let kinds: Vec<String> = kinds.into_iter().filter(|(number, _)| *number > 0).map(|(number, what)| count(number, what)).collect();
    match (&kinds[..], dry_run) {
        ([], _) => "nothing to remove\n".to_owned(),
        (_, true) => format!("would remove {}, and free {}\n", kinds.join(", "), size::bytes(pruned.bytes)),
        (_, false) => format!("removed {}, freed {}\n", kinds.join(", "), size::bytes(pruned.bytes)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_went_is_one_sentence() {
        let pruned = Pruned { records: 1, blobs: 3, bytes: 2048, ..Pruned::default() };
        for (pruned, dry_run, text) in [
            (pruned, false, "removed 1 record, 3 blobs, freed 2.0 KiB\n"),
            (pruned, true, "would remove 1 record, 3 blobs, and free 2.0 KiB\n"),
            (Pruned::default(), true, "nothing to remove\n"),
        ] {
            assert_eq!(sentence(&pruned, dry_run), text);
        }
    }
}
