//! Every fault in every path, one push a row.

use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use super::{NO_CACHE, push, registry, whole};
use crate::support::proxy::When;
use crate::support::{Ask, Fault, Proxy, Registry};

use Fault::{
    Challenge, Cut, Flipped, Garbage, HangUp, Html, Lost, Missing, NoMount, RangeTooLarge, Reset, SecondaryLimit, Slow, Status, TooMany,
    TooManyForMs, Truncated, Unsupported, WebPage, WritePackage,
};

/// What a push comes to.
enum Then {
    /// The image that there would be without the fault.
    Same,
    /// The same, and this is told on the way.
    Warns(&'static [&'static str]),
    /// An error that says all of this, and no tag.
    Fails(&'static [&'static str]),
}
use Then::{Fails, Same, Warns};

/// What a fault is in, the fault, and what comes of it.
type Row = (&'static str, When, Fault, Then);

const WITH_CACHE: &[&str] = &[];

/// Pushes with `args` once a row, each from an empty store and to the `repository` of the row's number, and tells of all rows that went
/// otherwise. What was pushed before without a fault is in `team/faultless`.
fn each(args: &[&str], repository: impl Fn(usize) -> String + Sync, rows: Vec<Row>) {
    const AT_ONCE: usize = 4;
    let registry = registry();
    let faultless = Proxy::plain(&registry);
    let digest = push(&faultless, "team/faultless", args).1.succeeds().digests().remove(0);
    assert_eq!(whole(&registry, "team/faultless", "v1"), Some(digest.clone()));
    let (next, wrong) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
    let work = || {
        while let number = next.fetch_add(1, Ordering::Relaxed)
            && let Some(row) = rows.get(number)
        {
            if let Err(how) = check(&registry, &repository(number), args, row, &digest) {
                wrong.lock().unwrap().push(format!("{} with {:?}: {how}", row.0, row.2));
            }
        }
    };
    std::thread::scope(|scope| (0..AT_ONCE).for_each(|_| drop(scope.spawn(work))));
    let wrong = wrong.into_inner().unwrap();
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

/// Whether a push to `repository` with a row's fault ends as it says, with `digest` if it succeeds.
fn check(registry: &Registry, repository: &str, args: &[&str], (_, when, fault, then): &Row, digest: &str) -> Result<(), String> {
    let proxy = Proxy::ghcr(registry);
    proxy.fault(when.clone(), fault.clone());
    let (_project, brik) = push(&proxy, repository, args);
    let run = brik.run();
    let (code, said): (_, &[&str]) = match then {
        Same => (0, &[]),
        Warns(said) => (0, said),
        Fails(said) => (1, said),
    };
    let wanted = (code == 0).then(|| digest.to_owned());
    let there = whole(registry, repository, "v1");
    let because = || format!("{}\n{:#?}", run.stderr, proxy.lines());
    if proxy.dealt() == 0 {
        return Err(format!("it was never dealt\n{}", because()));
    }
    if run.code != Some(code) || there != wanted || wanted.is_some_and(|digest| !run.stdout.contains(&digest)) {
        return Err(format!("exit code {:?}, {there:?} is there\n{}", run.code, because()));
    }
    match said.iter().find(|part| !run.has_said(part)) {
        Some(part) => Err(format!("{part:?} is not said\n{}", because())),
        None => Ok(()),
    }
}

fn app(number: usize) -> String {
    format!("team/app-{number}")
}

const LATE: Fault = Slow(Duration::from_millis(300));

#[test]
fn uploads_survive_what_passes_and_name_what_does_not() {
    let limit: &[&str] = &["limits requests", "it asks to wait 3600 s"];
    let closed: &[&str] = &["permission_denied: write_package", "$REGISTRY_TOKEN", "Manage Actions access"];
    each(
        NO_CACHE,
        app,
        vec![
            ("upload", Ask::Upload.nth(1), HangUp, Same),
            ("upload", Ask::Upload.nth(1), Lost, Same),
            ("upload", Ask::Upload.nth(1), Reset, Same),
            ("upload", Ask::Upload.first(2), Status(500), Same),
            ("upload", Ask::Upload.nth(2), TooMany("1"), Same),
            ("upload", Ask::Upload.first(3), TooManyForMs(1), Same),
            ("upload", Ask::Upload.nth(1), SecondaryLimit, Same),
            ("upload", Ask::Upload.nth(1), Challenge, Same),
            ("upload", Ask::Upload.into(), LATE, Same),
            ("a long wait", Ask::Upload.nth(1), TooMany("3"), Warns(&["limits requests", "brik waits as long as it asks, 3 s now"])),
            ("upload", Ask::Upload.into(), TooMany("3600"), Fails(limit)),
            ("upload", Ask::Upload.into(), WritePackage, Fails(closed)),
            ("upload", Ask::Upload.into(), Unsupported, Fails(&["push blob sha256:", "status 405"])),
            ("upload", Ask::Upload.into(), RangeTooLarge, Fails(&["push blob sha256:", "status 416", "4.00MiB"])),
            ("upload", Ask::Upload.into(), Flipped, Fails(&["push blob sha256:", "DIGEST_INVALID"])),
            ("upload", Ask::Upload.into(), Truncated, Fails(&["push blob sha256:", "DIGEST_INVALID"])),
            ("upload", Ask::Upload.into(), Reset, Fails(&["push blob sha256:", "the connection broke"])),
            ("open", Ask::Open.nth(2), HangUp, Same),
            ("open", Ask::Open.nth(2), TooMany("1"), Same),
            ("open", Ask::Open.nth(2), Status(503), Same),
            ("preflight", Ask::Open.into(), WritePackage, Fails(closed)),
            ("preflight", Ask::Open.into(), Html, Fails(&["push (asked before the build)", "Location"])),
            ("cancel", Ask::Delete.into(), HangUp, Same),
            ("look", Ask::LookUp.nth(1), HangUp, Same),
            ("look", Ask::LookUp.first(2), SecondaryLimit, Same),
            ("look", Ask::LookUp.into(), WebPage, Fails(&["look up blob", "an HTML page"])),
            ("look", Ask::LookUp.into(), WritePackage, Fails(&["look up blob", "denied"])),
        ],
    );
}

#[test]
fn downloads_of_a_base_survive_what_passes_and_name_what_does_not() {
    each(
        NO_CACHE,
        app,
        vec![
            ("config", Ask::Download.nth(1), HangUp, Same),
            ("config", Ask::Download.nth(1), Cut, Same),
            ("layer", Ask::Download.nth(2), HangUp, Same),
            ("layer", Ask::Download.nth(2), Cut, Same),
            ("layer", Ask::Download.nth(2), Status(502), Same),
            ("layer", Ask::Download.nth(2), TooMany("1"), Same),
            ("layer", Ask::Download.nth(2), TooManyForMs(1), Same),
            ("layer", Ask::Download.nth(2), SecondaryLimit, Same),
            ("layer", Ask::Download.nth(2), Challenge, Same),
            ("layer", Ask::Download.into(), LATE, Same),
            ("config", Ask::Download.into(), Flipped, Fails(&["read blob sha256:", "damaged"])),
            ("layer", Ask::Download.nth(2), Flipped, Fails(&["read blob sha256:", "damaged"])),
            ("layer", Ask::Download.nth(2), Truncated, Fails(&["read blob sha256:", "expected", "bytes"])),
            ("layer", Ask::Download.nth(2), Html, Fails(&["read blob sha256:", "expected", "bytes"])),
            ("layer", Ask::Download.nth(2), WebPage, Fails(&["read blob sha256:", "expected", "bytes"])),
            ("layer", Ask::Download.nth(2), Missing, Fails(&["read blob sha256:", "not found"])),
            ("layer", Ask::Download.nth(2), WritePackage, Fails(&["read blob sha256:", "denied with $REGISTRY_TOKEN"])),
            ("layer", Ask::Download.into(), HangUp, Fails(&["read blob sha256:", "the connection broke"])),
        ],
    );
}

#[test]
fn a_mount_is_only_ever_an_offer() {
    let faults = [NoMount, Missing, Unsupported, WritePackage, SecondaryLimit, Challenge, HangUp, Lost, LATE, Html, Garbage];
    let waits = [TooMany("1"), TooMany("3600"), TooManyForMs(1), Status(500), WebPage];
    each(NO_CACHE, app, faults.into_iter().chain(waits).map(|fault| ("mount", Ask::Mount.into(), fault, Same)).collect());
}

#[test]
fn manifests_survive_what_passes_and_name_what_does_not() {
    let base = || Ask::ReadManifest.of_path("team/base");
    each(
        NO_CACHE,
        app,
        vec![
            ("read", base().nth(1), HangUp, Same),
            ("read", base().nth(1), Cut, Same),
            ("read", base().nth(1), Status(502), Same),
            ("read", base().nth(1), TooMany("1"), Same),
            ("read", base().nth(1), TooManyForMs(1), Same),
            ("read", base().nth(1), SecondaryLimit, Same),
            ("read", base().nth(1), Challenge, Same),
            ("read", base(), LATE, Same),
            ("read", base(), Flipped, Fails(&["read manifest 1", "expected sha256:"])),
            ("read", base(), Truncated, Fails(&["read manifest 1", "expected sha256:"])),
            ("read", base(), Html, Fails(&["read manifest 1", "an HTML page"])),
            ("read", base(), WebPage, Fails(&["read manifest 1", "an HTML page"])),
            ("read", base(), Missing, Fails(&["read manifest 1", "not found"])),
            ("read", base(), WritePackage, Fails(&["read manifest 1", "denied with $REGISTRY_TOKEN"])),
            ("read", base(), TooMany("3600"), Fails(&["limits requests", "it asks to wait 3600 s"])),
            ("tag", Ask::ReadManifest.of_path("team/app"), Missing, Same),
            ("tag", Ask::ReadManifest.of_path("team/app"), Html, Fails(&["read manifest v1", "an HTML page"])),
            ("write", Ask::WriteManifest.nth(1), HangUp, Same),
            ("write", Ask::WriteManifest.nth(1), Lost, Same),
            ("write", Ask::WriteManifest.nth(1), Reset, Same),
            ("write", Ask::WriteManifest.first(2), Status(500), Same),
            ("write", Ask::WriteManifest.nth(1), TooMany("1"), Same),
            ("write", Ask::WriteManifest.nth(1), SecondaryLimit, Same),
            ("write", Ask::WriteManifest.nth(1), Challenge, Same),
            ("write", Ask::WriteManifest.into(), LATE, Same),
            ("write", Ask::WriteManifest.into(), WritePackage, Fails(&["push manifest v1", "write_package", "Manage Actions access"])),
            ("write", Ask::WriteManifest.into(), Unsupported, Fails(&["push manifest v1", "status 405"])),
            ("write", Ask::WriteManifest.into(), Truncated, Fails(&["push manifest v1", "MANIFEST_INVALID"])),
            // The registry takes what was damaged, and is told again.
            ("write", Ask::WriteManifest.nth(1), Flipped, Same),
        ],
    );
}

#[test]
fn tokens_survive_what_passes_and_name_what_does_not() {
    each(
        NO_CACHE,
        app,
        vec![
            ("token", Ask::Token.nth(1), HangUp, Same),
            ("token", Ask::Token.nth(2), HangUp, Same),
            ("token", Ask::Token.nth(1), Cut, Same),
            ("token", Ask::Token.nth(2), Status(502), Same),
            ("token", Ask::Token.nth(1), TooMany("1"), Same),
            ("token", Ask::Token.nth(2), TooManyForMs(1), Same),
            ("token", Ask::Token.nth(2), SecondaryLimit, Same),
            ("token", Ask::Token.into(), LATE, Same),
            (
                "a token that is not accepted",
                Ask::Token.into(),
                Flipped,
                Fails(&["read manifest 1", "not authorised with $REGISTRY_TOKEN"]),
            ),
            ("token", Ask::Token.into(), TooMany("3600"), Fails(&["get a token from 127.0.0.1", "it asks to wait 3600 s"])),
            ("token", Ask::Token.into(), WritePackage, Fails(&["get a token from 127.0.0.1", "denied with $REGISTRY_TOKEN"])),
            ("token", Ask::Token.into(), Status(401), Fails(&["get a token from 127.0.0.1", "not authorised with $REGISTRY_TOKEN"])),
            ("token", Ask::Token.into(), Html, Fails(&["expected a token in JSON, got an HTML page"])),
            ("token", Ask::Token.into(), WebPage, Fails(&["expected a token in JSON, got an HTML page"])),
            ("token", Ask::Token.into(), Garbage, Fails(&["expected a token in JSON, got JSON without a token"])),
            ("token", Ask::Token.into(), Truncated, Fails(&["expected a token in JSON"])),
            ("token", Ask::Token.into(), HangUp, Fails(&["get a token from 127.0.0.1", "the connection broke"])),
        ],
    );
}

#[test]
fn a_cache_that_cannot_be_read_is_told_and_changes_nothing() {
    const TOLD: Then = Warns(&["not read"]);
    let entry = || Ask::ReadManifest.of_path("-cache/");
    let rows = vec![
        ("entry", entry().nth(1), HangUp, Same),
        ("entry", entry().nth(1), Cut, Same),
        ("entry", entry().nth(1), TooMany("1"), Same),
        ("entry", entry(), LATE, Same),
        ("entry", entry(), HangUp, TOLD),
        ("entry", entry(), TooMany("30"), TOLD),
        ("entry", entry(), SecondaryLimit, TOLD),
        ("entry", entry(), Status(500), TOLD),
        ("entry", entry(), WritePackage, TOLD),
        ("entry", entry(), Slow(Duration::from_secs(7)), TOLD),
        ("entry", entry(), Html, TOLD),
        ("entry", entry(), WebPage, TOLD),
        ("entry", entry(), Garbage, TOLD),
        ("entry", entry(), Flipped, TOLD),
        ("entry", entry(), Truncated, TOLD),
        ("entry", entry(), Missing, Same),
        ("token", Ask::Token.of_path("-cache"), HangUp, TOLD),
        ("token", Ask::Token.of_path("-cache"), TooMany("30"), TOLD),
        ("token", Ask::Token.of_path("-cache"), WritePackage, TOLD),
    ];
    each(WITH_CACHE, |_| "team/faultless".to_owned(), rows);
}

#[test]
fn a_cache_that_cannot_be_written_is_told_and_changes_nothing() {
    const TOLD: Then = Warns(&["cache", "is not written any more in this run"]);
    const CLOSED: Then = Warns(&["cache", "is only read", "write_package"]);
    let cache = |ask: Ask| ask.of_path("-cache/");
    let rows = vec![
        ("open", cache(Ask::Open), WritePackage, CLOSED),
        ("open", cache(Ask::Open), Unsupported, TOLD),
        ("upload", cache(Ask::Upload), WritePackage, CLOSED),
        ("upload", cache(Ask::Upload).nth(1), HangUp, Same),
        ("upload", cache(Ask::Upload), Status(507), TOLD),
        ("mount", cache(Ask::Mount), NoMount, Same),
        ("mount", cache(Ask::Mount), Missing, Same),
        ("look", Ask::ReadManifest.of_path("-cache/manifests/t-"), Status(500), TOLD),
        ("entry", cache(Ask::WriteManifest), WritePackage, CLOSED),
        ("entry", cache(Ask::WriteManifest), Status(507), TOLD),
        ("entry", cache(Ask::WriteManifest), TooMany("30"), TOLD),
        ("entry", cache(Ask::WriteManifest).nth(1), Lost, Same),
    ];
    each(WITH_CACHE, app, rows);
}
