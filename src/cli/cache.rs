//! `brik cache du|prune`.

use std::process::ExitCode;

use super::args::{Format, Global};
use super::build::{Entered, enter_sandbox};
use super::environment;
use super::failure::Failure;
use super::print;
use super::size::{parse_bytes, parse_span};
use crate::store::{PruneBudget, Store};

pub fn du(global: &Global, format: Format) -> Result<ExitCode, Failure> {
    let store = open(global)?;
    let usage = store.usage();
    match format {
        Format::Json => {
            let mut json = serde_json::to_value(usage).unwrap_or_default();
            json["store"] = store.root().display().to_string().into();
            json["total_bytes"] = usage.total_bytes().into();
            print::out(&format!("{json}\n"))?;
        }
        Format::Human => {
            let mib = |bytes: u64| format!("{:.1}", bytes as f64 / 1048576.0);
            let rows = [
                ("", "count".to_owned(), "MiB".to_owned()),
                ("records", usage.records.to_string(), String::new()),
                ("blobs", usage.blobs.to_string(), mib(usage.blob_bytes)),
                ("snapshots", usage.snapshots.to_string(), mib(usage.snapshot_bytes)),
                ("cache mounts", usage.mounts.to_string(), mib(usage.mount_bytes)),
                ("total", String::new(), mib(usage.total_bytes())),
            ];
            let lines = rows.map(|(what, count, size)| format!("{what:<14}{count:>8}{size:>12}\n"));
            print::out(&lines.concat())?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

pub fn prune(global: &Global, keep_storage: Option<&str>, keep_within: Option<&str>) -> Result<ExitCode, Failure> {
    let keep_bytes = keep_storage
        .map(|text| parse_bytes(text).ok_or_else(|| Failure::usage(format!("--keep-storage {text:?}: expected a size, as in 10GiB"))));
    let keep_used_within = keep_within
        .map(|text| parse_span(text).ok_or_else(|| Failure::usage(format!("--keep-within {text:?}: expected a time, as in 72h or 14d"))));
    let budget = PruneBudget { keep_bytes: keep_bytes.transpose()?, keep_used_within: keep_used_within.transpose()? };
    // Snapshots hold files of subordinate ids, which only their user namespace may remove.
    if let Entered::Ran(code) = enter_sandbox(&[])? {
        return Ok(code);
    }
    let pruned = open(global)?.prune(&budget).map_err(|e| Failure::failed(e.to_string()))?;
    print::out(&format!("removed {} records, freed {:.1} MiB\n", pruned.records, pruned.bytes as f64 / 1048576.0))?;
    Ok(ExitCode::SUCCESS)
}

fn open(global: &Global) -> Result<Store, Failure> {
    Store::open(&global.store_path(&environment())?).map_err(|e| Failure::failed(e.to_string()))
}
