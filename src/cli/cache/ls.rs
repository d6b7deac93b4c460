//! `brik cache ls`: the records of the store, the last used first.

use std::cmp::Reverse;
use std::process::ExitCode;
use std::time::SystemTime;

use serde::{Serialize, Serializer};

use super::args::LsArgs;
use super::{Failure, one_line, print, size};
use crate::build::Remembered;
use crate::cli::args::Format;
use crate::oci::Digest;
use crate::store::{Entry, Store};

#[derive(Serialize)]
struct Line {
    kind: &'static str,
    key: Digest,
    what: String,
    bytes: u64,
    #[serde(serialize_with = "rfc3339")]
    used: SystemTime,
    /// Otherwise, a blob that it needs is away or it cannot be read, and it counts as absent.
    usable: bool,
}

pub fn run(store: &Store, args: &LsArgs) -> Result<ExitCode, Failure> {
    let mut entries = store.entries();
    entries.retain(|entry| args.kind.is_empty() || args.kind.contains(&entry.kind));
    entries.sort_by_key(|entry| (Reverse(entry.used), entry.key));
    let lines: Vec<Line> = entries.iter().map(|entry| Line::of(store, entry)).collect();
    match args.format {
        Format::Json => {
            let json = serde_json::to_string_pretty(&lines).map_err(|error| Failure::failed(error.to_string()))?;
            print::out(&format!("{json}\n"))?;
        }
        Format::Human => print::out(&table(&lines, SystemTime::now()))?,
    }
    Ok(ExitCode::SUCCESS)
}

impl Line {
    fn of(store: &Store, entry: &Entry) -> Self {
        let remembered = Remembered::read(store, entry);
        let usable = remembered.as_ref().is_some_and(|remembered| remembered.missing(store).is_none());
        let (what, bytes) = remembered.map_or_else(|| ("cannot be read".to_owned(), 0), |remembered| (remembered.what, remembered.bytes));
        Self { kind: entry.kind.name(), key: entry.key, what, bytes, used: entry.used, usable }
    }
}

fn table(lines: &[Line], now: SystemTime) -> String {
    let mut out = format!("{:<10}{:<10}{:<14}{:>10}  {}\n", "used", "kind", "key", "size", "what");
    for line in lines {
        let used = format!("{} ago", size::span(now.duration_since(line.used).unwrap_or_default()));
        let what = one_line(&line.what);
        let absent = if line.usable { "" } else { " (absent: run brik cache verify)" };
        out.push_str(&format!("{used:<10}{:<10}{:<14}{:>10}  {what}{absent}\n", line.kind, line.key.short(), size::bytes(line.bytes)));
    }
    out
}

fn rfc3339<S: Serializer>(time: &SystemTime, serializer: S) -> Result<S::Ok, S::Error> {
    let timestamp = jiff::Timestamp::try_from(*time).unwrap_or_default();
    serializer.collect_str(&timestamp.round(jiff::Unit::Second).unwrap_or(timestamp))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn a_record_is_a_line() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_000_000);
        let line = |kind, what: &str, age, usable| Line {
            kind,
            key: Digest::of(what.as_bytes()),
            what: what.to_owned(),
            bytes: 12_345_678,
            used: now - Duration::from_secs(age),
            usable,
        };
        let lines = [line("step", "RUN npm ci\nnpm test", 200, true), line("image", "image 0123, 1 layer", 400_000, false)];
        let [one, other] = [&lines[0], &lines[1]].map(|line| line.key.short());
        let expected = format!(
            "used      kind      key                 size  what\n\
             3m ago    step      {one}    11.8 MiB  RUN npm ci…\n\
             4d ago    image     {other}    11.8 MiB  image 0123, 1 layer (absent: run brik cache verify)\n"
        );
        assert_eq!(table(&lines, now), expected);
        assert_eq!(serde_json::to_value(&lines[0]).unwrap()["used"], "1970-01-12T13:43:20Z");
    }
}
