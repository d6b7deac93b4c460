//! What a program in a RUN tries to get out, or to see in: on every rung of brik, and on demand in other builders, as a table.
//!
//! `escapes/escape.c` tries what a program can (each line that it prints is an attempt); `attempts` are Dockerfiles that try what an
//! instruction can. `BRIK_TRIALS=1 cargo test --test suite the_table -- --ignored --nocapture` prints the table.

mod attempts;
mod builders;
mod host;

use std::collections::BTreeMap;

use crate::support::tools;
use builders::Builder;
use host::Host;

/// How an attempt ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Outcome {
    Refused,
    Succeeded,
    NotApplicable,
}

/// In the order in which they were made.
type Outcomes = Vec<(String, Outcome)>;

const LOOPBACK: &str = "a service on the host's loopback";

/// On brik's own network, which a RUN shares unless it says `--network=none`. Of abstract sockets, Landlock keeps it away since Linux 6.12.
const BY_THE_SHARED_NETWORK: [&str; 2] = ["an abstract socket of the host", LOOPBACK];

/// Besides, where a root directory is all that keeps a RUN apart (rung 3): what its notice says, and what real containers refuse in the
/// place of the one that the tests play.
const WITHOUT_NAMESPACES: [&str; 6] = [
    "break out of the root directory (chroot, fchdir, ..)",
    "fill /dev/shm beyond 64 MiB",
    "a signal to a process outside",
    "make the device /dev/mem",
    "make the device of the disk (254, 0)",
    "make the device /dev/kmsg",
];

#[test]
fn no_run_gets_out_or_sees_in() {
    let Some(host) = Host::prepare() else { return };
    assert_refused(&Builder::brik(), &host, &BY_THE_SHARED_NETWORK);
}

#[test]
fn a_private_network_keeps_a_run_from_the_hosts_loopback_too() {
    if !tools::have_slirp() {
        return;
    }
    let Some(host) = Host::prepare() else { return };
    assert_refused(&Builder::brik_with_private_network(), &host, &[]);
}

#[test]
fn what_a_root_directory_alone_keeps_in_is_known() {
    if !tools::is_root() {
        return tools::skipped("only root can be root in a container");
    }
    let Some(host) = Host::prepare() else { return };
    assert_refused(&Builder::brik_in_container(), &host, &[&BY_THE_SHARED_NETWORK[..], &WITHOUT_NAMESPACES].concat());
}

/// What succeeds has to be among `known`.
#[track_caller]
fn assert_refused(builder: &Builder, host: &Host, known: &[&str]) {
    let outcomes = attempts::all(builder, host, false);
    let of = |outcome| outcomes.iter().filter(move |(_, other)| *other == outcome).map(|(name, _)| name.as_str());
    let succeeded: Vec<&str> = of(Outcome::Succeeded).collect();
    println!(
        "{}: {} attempts to get out, {} refused, succeeded: {succeeded:?}",
        builder.name(),
        outcomes.len(),
        of(Outcome::Refused).count()
    );
    let escaped: Vec<&&str> = succeeded.iter().filter(|name| !known.contains(name)).collect();
    assert!(escaped.is_empty(), "{escaped:?}");
    assert!(of(Outcome::Refused).count() > 40, "{outcomes:?}");
}

#[test]
#[ignore = "prints the table of all builders; needs buildah, dockerd and minutes"]
fn the_table() {
    let Some(host) = Host::prepare() else { return };
    let builders = Builder::all();
    let mut rows: Vec<String> = Vec::new();
    let mut cells: BTreeMap<(String, usize), Outcome> = BTreeMap::new();
    for (column, builder) in builders.iter().enumerate() {
        for (name, outcome) in attempts::all(builder, &host, true) {
            if !rows.contains(&name) {
                rows.push(name.clone());
            }
            cells.insert((name, column), outcome);
        }
    }
    println!("| attempt | {} |", builders.iter().map(Builder::name).collect::<Vec<_>>().join(" | "));
    println!("|---|{}", "---|".repeat(builders.len()));
    for row in rows {
        let cell = |column| match cells.get(&(row.clone(), column)) {
            Some(Outcome::Refused) => "refused",
            Some(Outcome::Succeeded) => "**succeeded**",
            Some(Outcome::NotApplicable) => "n/a",
            None => "not tried",
        };
        println!("| {row} | {} |", (0..builders.len()).map(cell).collect::<Vec<_>>().join(" | "));
    }
}
