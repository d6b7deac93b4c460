use std::cell::Cell;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::scripted::{Answer, Request, Server, with_a_dying_token};
use super::*;
use crate::registry::Upload;

/// Copies `blob` from `source/a` to `target/b`, into an upload that is yet to be opened.
fn copy(client: &Client, source: &Server, target: &Server, blob: &Descriptor) -> Result<(), Error> {
    client.copy_blob(&reference(&source.host, "a"), &reference(&target.host, "b"), blob, Upload(None), &|_| {}, &|| false)
}

/// Nothing is there; uploads are taken.
fn empty(request: &Request) -> Answer {
    match request.method.as_str() {
        "HEAD" => Answer::new(404),
        "POST" => Answer::new(202).header("Location", "/upload/1"),
        _ => Answer::new(201),
    }
}

fn bytes() -> Vec<u8> {
    (0..1_000_000u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_blob_goes_from_one_registry_to_another_in_one_get_and_one_put() {
    let content = bytes();
    let blob = layer(&content);
    let source = Server::start({
        let content = content.clone();
        move |_, _| Answer::new(200).body(content.clone())
    });
    let target = Server::start(|_, request| empty(request));
    let (client, seen) = (client(), Cell::new(0));
    let progress = |sent| assert!(sent > seen.replace(sent), "progress only grows");
    let (from, to) = (reference(&source.host, "a:1"), reference(&target.host, "b"));
    client.copy_blob(&from, &to, &blob, Upload(None), &progress, &|| false).unwrap();
    assert_eq!(source.lines(), [format!("GET /v2/a/blobs/{}", blob.digest)]);
    let put = format!("PUT /upload/1?digest=sha256%3A{}", blob.digest.hex());
    assert_eq!(target.lines(), ["POST /v2/b/blobs/uploads/".to_owned(), put]);
    assert!(target.requests()[1].body == content);
    let counts = client.counters();
    assert_eq!((seen.get(), counts.bytes_up, counts.bytes_down), (blob.size, blob.size, blob.size));
}

#[test]
fn an_upload_that_a_refused_mount_has_opened_is_used() {
    let source = Server::start(|_, _| Answer::new(200).body("x"));
    let target = Server::start(|_, request| empty(request));
    let (client, to, blob) = (client(), reference(&target.host, "b"), layer(b"x"));
    let Offer::Wants(upload) = client.offer_blob(&to, &blob.digest, &[reference(&target.host, "c")]).unwrap() else { panic!("no upload") };
    client.copy_blob(&reference(&source.host, "a"), &to, &blob, upload, &|_| {}, &|| false).unwrap();
    assert_eq!((target.count("POST"), target.count("PUT")), (1, 1));
}

#[test]
fn an_empty_blob_is_copied_too() {
    let source = Server::start(|_, _| Answer::new(200));
    let target = Server::start(|_, request| empty(request));
    copy(&client(), &source, &target, &layer(b"")).unwrap();
    assert_eq!(target.requests()[1].header("content-length"), "0");
}

#[test]
fn a_copy_that_breaks_on_either_side_begins_again_from_the_start() {
    let content = bytes();
    for (name, at_source, at_target) in [
        ("source breaks off", Some(Answer::new(200).body(content.clone()).cut(300_000)), None),
        ("source hangs up", Some(Answer::hang_up()), None),
        ("source is overloaded", Some(Answer::new(503)), None),
        ("target hangs up", None, Some(Answer::hang_up())),
        ("target is overloaded", None, Some(Answer::new(503))),
        ("upload is lost", None, Some(Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "unknown"))),
    ] {
        let whole = content.clone();
        let source = Server::start(move |n, _| match &at_source {
            Some(fault) if n < 2 => fault.clone(),
            _ => Answer::new(200).body(whole.clone()),
        });
        let puts = AtomicUsize::new(0);
        let target = Server::start(move |_, request| match (&at_target, request.method.as_str()) {
            (Some(fault), "PUT") if puts.fetch_add(1, Ordering::SeqCst) < 2 => fault.clone(),
            _ => empty(request),
        });
        let client = client();
        copy(&client, &source, &target, &layer(&content)).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert_eq!((source.count("GET"), client.counters().retries), (3, 2), "{name}");
        assert!(target.requests().last().unwrap().body == content, "{name}");
    }
}

#[test]
fn a_target_that_resets_the_connection_in_the_midst_gets_the_blob_once_more() {
    let content = bytes();
    let whole = content.clone();
    let source = Server::start(move |_, _| Answer::new(200).body(whole.clone()));
    let puts = AtomicUsize::new(0);
    let patience = move |request: &Request| match request.method.as_str() {
        "PUT" if puts.fetch_add(1, Ordering::SeqCst) == 0 => 100_000,
        _ => usize::MAX,
    };
    let target = Server::reading(patience, |_, request| empty(request));
    copy(&client(), &source, &target, &layer(&content)).unwrap();
    assert_eq!((source.count("GET"), target.count("POST"), target.count("PUT")), (2, 2, 2));
}

#[test]
fn a_source_that_is_gone_or_wrong_is_told_from_a_target_that_refuses() {
    let content = bytes();
    let blob = layer(&content);
    let mut flipped = content.clone();
    flipped[3_999_999] ^= 1;
    let longer = [content.clone(), vec![0]].concat();
    for (name, answer, puts) in [
        ("gone", Answer::new(404), 0),
        ("denied", Answer::error(403, "DENIED", "private"), 0),
        ("another blob", Answer::new(200).body(flipped), 1),
        ("a shorter blob", Answer::new(200).body(&content[1..]), 1),
        ("a longer blob", Answer::new(200).body(longer), 1),
        ("never whole", Answer::new(200).body(content.clone()).cut(10), 5),
    ] {
        let source = Server::start(move |_, _| answer.clone());
        let target = Server::start(|_, request| empty(request));
        let error = copy(&client(), &source, &target, &blob).unwrap_err();
        assert!(matches!(&error, Error::Source { .. }), "{name}: {error}");
        assert!(error.to_string().contains(&source.host) && error.to_string().contains(&target.host), "{name}: {error}");
        assert!(target.count("PUT") <= puts, "{name}: {:?}", target.lines());
        let whole = |request: &Request| request.method == "PUT" && request.body.len() as u64 == blob.size;
        assert!(!target.requests().iter().any(whole), "{name}: the target got all of it");
    }
    let source = Server::start(move |_, _| Answer::new(200).body(content.clone()));
    let target = Server::start(|_, request| match request.method.as_str() {
        "PUT" => Answer::error(403, "DENIED", "permission_denied: write_package"),
        _ => empty(request),
    });
    let error = copy(&client(), &source, &target, &blob).unwrap_err();
    assert!(matches!(&error, Error::Denied { at, .. } if at.registry == target.host), "{error}");
    assert!(error.advice().unwrap().contains("log in"), "{error:?}");
}

#[test]
fn a_copy_that_nobody_wants_any_more_ends_in_the_midst() {
    let source = Server::start(|_, _| Answer::new(200).body("x"));
    let target = Server::start(|_, request| match request.method.as_str() {
        "PUT" => Answer::new(201).delay(Duration::from_secs(5)),
        _ => empty(request),
    });
    let (from, to, client) = (reference(&source.host, "a"), reference(&target.host, "b"), client());
    let stop = || target.count("PUT") == 1;
    let error = client.copy_blob(&from, &to, &layer(b"x"), Upload(None), &|_| {}, &stop).unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
}

#[test]
fn a_token_that_dies_before_the_last_put_is_replaced() {
    let source = Server::start(|_, _| Answer::new(200).body("hello"));
    let target = Server::start(with_a_dying_token(empty));
    copy(&client(), &source, &target, &layer(b"hello")).unwrap();
    let last = target.requests().last().unwrap().clone();
    assert_eq!((last.header("authorization"), &last.body[..]), ("Bearer t1", &b"hello"[..]));
}
