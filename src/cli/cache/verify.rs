//! `brik cache verify`: every blob read and hashed, every record asked for what it needs.

use std::collections::BTreeSet;
use std::process::ExitCode;

use serde::Serialize;

use super::args::VerifyArgs;
use super::{Failure, count, print, size};
use crate::build::Remembered;
use crate::cli::args::Format;
use crate::cli::failure::Code;
use crate::oci::Digest;
use crate::store::{self, Entry, Store};

#[derive(Serialize)]
struct Findings {
    blobs: u64,
    /// That were read.
    bytes: u64,
    /// Blobs that are not what their names say.
    damaged: Vec<Digest>,
    /// Records that lead nowhere.
    records: Vec<Broken>,
    /// Whether both have been removed.
    removed: bool,
}

#[derive(Serialize)]
struct Broken {
    kind: &'static str,
    key: Digest,
    what: String,
    reason: String,
}

pub fn run(store: &Store, args: &VerifyArgs) -> Result<ExitCode, Failure> {
    let failed = |error: store::Error| Failure::failed(error.to_string());
    let verified = store.verify().map_err(failed)?;
    let damaged: BTreeSet<Digest> = verified.damaged.iter().copied().collect();
    let mut records = Vec::new();
    for entry in store.entries() {
        if let Some(broken) = broken(store, &entry, &damaged) {
            records.push(broken);
            if !args.dry_run {
                store.remove_entry(&entry).map_err(failed)?;
            }
        }
    }
    for digest in damaged.iter().filter(|_| !args.dry_run) {
        match store.verify_blob(digest) {
            // Another brik has made it good, or removed it, or this has.
            Ok(()) | Err(store::Error::Damaged { .. } | store::Error::Missing { .. }) => {}
            Err(error) => return Err(failed(error)),
        }
    }
    let findings =
        Findings { blobs: verified.blobs, bytes: verified.bytes, damaged: damaged.into_iter().collect(), records, removed: !args.dry_run };
    match args.format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&findings).map_err(|error| Failure::failed(error.to_string()))?;
            print::out(&format!("{json}\n"))?;
        }
        Format::Human => print::out(&findings.text())?,
    }
    Ok(if findings.damaged.is_empty() && findings.records.is_empty() { ExitCode::SUCCESS } else { ExitCode::from(Code::Findings as u8) })
}

/// What is wrong with a record, if it leads nowhere.
fn broken(store: &Store, entry: &Entry, damaged: &BTreeSet<Digest>) -> Option<Broken> {
    let broken = |what, reason| Some(Broken { kind: entry.kind.name(), key: entry.key, what, reason });
    let Some(remembered) = Remembered::read(store, entry) else {
        return broken(String::new(), "it cannot be read".to_owned());
    };
    // A base image can be pulled again. One of our own whose layer has gone is made anew.
    let own = if remembered.needs.is_empty() { &[][..] } else { &remembered.layers };
    let mut needed = remembered.needs.iter().map(|(digest, _)| digest).chain(own);
    let reason = match needed.find(|digest| damaged.contains(digest)) {
        Some(digest) => format!("blob {} is damaged", digest.short()),
        None => format!("blob {} is not here", remembered.missing(store)?.short()),
    };
    broken(remembered.what, reason)
}

impl Findings {
    fn text(&self) -> String {
        let mut out = String::new();
        self.damaged.iter().for_each(|digest| out.push_str(&format!("damaged blob {digest}\n")));
        for record in &self.records {
            let what = record.what.lines().next().unwrap_or_default();
            out.push_str(&format!("useless {} record {}: {}; {what}\n", record.kind, record.key.short(), record.reason));
        }
        out.push_str(&format!("{} read, {}: ", count(self.blobs, "blob"), size::bytes(self.bytes)));
        let (damaged, useless) = (self.damaged.len() as u64, self.records.len() as u64);
        if damaged + useless == 0 {
            return out + "all is well\n";
        }
        out.push_str(&format!("{} damaged, {} useless\n", count(damaged, "blob"), count(useless, "record")));
        out.push_str(match self.removed {
            true => "they were removed; the next build makes or pulls again what it needs of it\n",
            false => "nothing was removed; run it without --dry-run, and the next build makes or pulls again what it needs of it\n",
        });
        out
    }
}
