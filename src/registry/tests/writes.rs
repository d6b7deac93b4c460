use std::cell::Cell;
use std::io::Write;

use super::scripted::{Answer, Request, Server, with_a_dying_token};
use super::*;
use crate::registry::{Error, Pushed};

fn file(bytes: &[u8]) -> tempfile::NamedTempFile {
    let mut file = tempfile::NamedTempFile::new().unwrap();
    file.write_all(bytes).unwrap();
    file
}

const UPLOADS: &str = "/v2/a/blobs/uploads/";

fn push(client: &Client, server: &Server, bytes: &[u8], from: &[&str]) -> Result<Pushed, Error> {
    let from: Vec<_> = from.iter().map(|rest| reference(&server.host, rest)).collect();
    push_blob(client, &reference(&server.host, "a"), &layer(bytes), file(bytes).path(), &from, &|_| {})
}

/// Nothing is there; uploads are taken.
fn empty(request: &Request) -> Answer {
    match request.method.as_str() {
        "HEAD" => Answer::new(404),
        "POST" => Answer::new(202).header("Location", "/upload/1?state=a%2Fb"),
        _ => Answer::new(201),
    }
}

#[test]
fn a_blob_goes_up_in_one_put_after_one_look() {
    let server = Server::start(|_, request| empty(request));
    let bytes = vec![7; 3 << 20];
    let client = client();
    let seen = Cell::new(0);
    let pushed = push_blob(&client, &reference(&server.host, "a"), &layer(&bytes), file(&bytes).path(), &[], &|sent| {
        assert!(sent > seen.replace(sent), "progress only grows");
    });
    assert_eq!(pushed.unwrap(), Pushed::Uploaded);
    let digest = Digest::of(&bytes);
    let put = format!("PUT /upload/1?state=a%2Fb&digest=sha256%3A{}", digest.hex());
    assert_eq!(server.lines(), [format!("HEAD /v2/a/blobs/{digest}"), format!("POST {UPLOADS}"), put]);
    assert!(server.requests()[2].body == bytes);
    assert_eq!((seen.get(), client.counters().bytes_up), (3 << 20, 3 << 20));
}

#[test]
fn a_blob_that_is_there_is_not_sent() {
    let server = Server::start(|_, _| Answer::new(200));
    assert_eq!(push(&client(), &server, b"x", &[]).unwrap(), Pushed::Existed);
    assert_eq!(server.lines().len(), 1);
}

#[test]
fn an_empty_blob_goes_up_too() {
    let server = Server::start(|_, request| empty(request));
    assert_eq!(push(&client(), &server, b"", &[]).unwrap(), Pushed::Uploaded);
    assert_eq!(server.requests()[2].header("content-length"), "0");
}

#[test]
fn a_mount_moves_no_byte() {
    let server = Server::start(|_, request| match request.target.contains("mount=") {
        true => Answer::new(201).header("Location", "/v2/a/blobs/x"),
        false => empty(request),
    });
    let client = client();
    assert_eq!(push(&client, &server, b"x", &["a", "base/b:1"]).unwrap(), Pushed::Mounted);
    let mount = format!("POST {UPLOADS}?mount=sha256%3A{}&from=base%2Fb", Digest::of(b"x").hex());
    assert_eq!(server.lines()[1..], [mount]);
    assert_eq!((client.counters().mounted, client.counters().bytes_up), (1, 0));
}

#[test]
fn a_mount_that_is_answered_with_202_is_the_upload() {
    let server = Server::start(|_, request| empty(request));
    let client = client();
    assert_eq!(push(&client, &server, b"x", &["b"]).unwrap(), Pushed::Uploaded);
    assert_eq!((server.count("POST"), server.count("PUT"), client.counters().mounted), (1, 1, 0));
}

#[test]
fn a_mount_that_is_refused_is_followed_by_an_upload() {
    let server = Server::start(|_, request| match request.target.contains("mount=") {
        true => Answer::error(403, "DENIED", "no pull on b"),
        false => empty(request),
    });
    assert_eq!(push(&client(), &server, b"x", &["b"]).unwrap(), Pushed::Uploaded);
    assert_eq!(server.count("POST"), 2);
}

#[test]
fn a_mount_asks_for_both_scopes_and_the_upload_for_one() {
    let server = Server::start(|_, request| {
        let token = request.target.strip_prefix("/token?");
        match (token, request.header("authorization")) {
            (Some(query), _) if query.contains("repository%3Ab%3Apull") => Answer::error(403, "DENIED", "b is private"),
            (Some(_), _) => Answer::new(200).body(r#"{"access_token":"t"}"#),
            (None, "") => {
                let challenge = format!(r#"Bearer realm="http://{}/token""#, request.header("host"));
                Answer::new(401).header("WWW-Authenticate", challenge)
            }
            (None, _) => empty(request),
        }
    });
    assert_eq!(push(&client(), &server, b"x", &["b"]).unwrap(), Pushed::Uploaded);
    let tokens: Vec<_> = server.lines().into_iter().filter(|line| line.contains("/token")).collect();
    assert_eq!(
        tokens,
        ["GET /token?scope=repository%3Aa%3Apull%2Cpush", "GET /token?scope=repository%3Aa%3Apull%2Cpush&scope=repository%3Ab%3Apull"]
    );
}

#[test]
fn an_upload_that_fails_starts_again_from_the_beginning() {
    for fault in [Answer::new(500), Answer::hang_up(), Answer::error(404, "BLOB_UPLOAD_UNKNOWN", "blob upload unknown to registry")] {
        let puts = std::sync::atomic::AtomicUsize::new(0);
        let server = Server::start(move |_, request| match request.method.as_str() {
            "PUT" if puts.fetch_add(1, std::sync::atomic::Ordering::SeqCst) < 2 => fault.clone(),
            _ => empty(request),
        });
        let client = client();
        assert_eq!(push(&client, &server, b"hello", &[]).unwrap(), Pushed::Uploaded);
        assert_eq!((server.count("POST"), server.count("PUT")), (3, 3));
        assert_eq!(server.requests().last().unwrap().body, b"hello");
        let counts = client.counters();
        assert_eq!((counts.bytes_up, counts.retries), (15, 2));
    }
}

#[test]
fn an_upload_whose_answer_alone_was_lost_is_not_repeated() {
    let stored = std::sync::atomic::AtomicBool::new(false);
    let server = Server::start(move |_, request| match request.method.as_str() {
        "PUT" => {
            stored.store(true, std::sync::atomic::Ordering::SeqCst);
            Answer::hang_up()
        }
        "HEAD" if stored.load(std::sync::atomic::Ordering::SeqCst) => Answer::new(200),
        _ => empty(request),
    });
    push(&client(), &server, b"hello", &[]).unwrap();
    assert_eq!(server.count("PUT"), 1);
}

#[test]
fn a_token_that_dies_in_the_midst_of_a_push_is_replaced() {
    let server = Server::start(with_a_dying_token(empty));
    assert_eq!(push(&client(), &server, b"x", &[]).unwrap(), Pushed::Uploaded);
    assert_eq!(server.requests().last().unwrap().header("authorization"), "Bearer t1");
}

#[test]
fn an_upload_that_nobody_wants_any_more_ends_in_the_midst() {
    let server = Server::start(|_, request| match request.method.as_str() {
        "PUT" => Answer::new(503),
        _ => empty(request),
    });
    // The waits between attempts would be minutes.
    let wait = Duration::from_secs(100);
    let retries = RetryPolicy { base: wait, cap: wait, ..RetryPolicy::default() };
    let client = Client::new(ClientOptions { retries, ..ClientOptions::default() }).unwrap();
    let target = reference(&server.host, "a");
    let Offer::Wants(upload) = client.offer_blob(&target, &layer(b"x").digest, &[]).unwrap() else { panic!("there is nothing") };
    let stop = || server.count("PUT") == 1;
    let error = client.upload_blob(&target, &layer(b"x"), file(b"x").path(), upload, &|_| {}, &stop).unwrap_err();
    assert!(matches!(error, Error::Stopped { .. }), "{error}");
}

#[test]
fn an_upload_without_a_location_is_told_as_such() {
    let server = Server::start(|_, request| match request.method.as_str() {
        "POST" => Answer::new(202),
        _ => empty(request),
    });
    assert!(matches!(push(&client(), &server, b"x", &[]), Err(Error::Header { header: "Location", status: 202, .. })));
}

#[test]
fn a_file_that_is_not_what_was_promised_is_not_sent() {
    let server = Server::start(|_, request| empty(request));
    let target = reference(&server.host, "a");
    let push = |path: &std::path::Path| push_blob(&client(), &target, &layer(b"12"), path, &[], &|_| {}).unwrap_err();
    assert!(matches!(push(file(b"123").path()), Error::WrongSize { expected: 2, actual: 3, .. }));
    assert!(matches!(push(std::path::Path::new("/nonexistent")), Error::Read { .. }));
    assert_eq!(server.count("PUT"), 0);
}

#[test]
fn a_preflight_opens_and_cancels_one_upload() {
    let server = Server::start(|_, request| match request.method.as_str() {
        "DELETE" => Answer::new(405),
        _ => empty(request),
    });
    client().preflight(&reference(&server.host, "a")).unwrap();
    assert_eq!(server.lines(), [format!("POST {UPLOADS}"), "DELETE /upload/1?state=a%2Fb".to_owned()]);
}

#[test]
fn a_preflight_that_is_denied_says_who_asked_and_what_to_do() {
    let server = Server::start(|_, request| match request.header("authorization") {
        "" => Answer::new(401).header("WWW-Authenticate", "Basic realm=x"),
        _ => Answer::error(403, "DENIED", "permission_denied: write_package"),
    });
    let error = client_as(&server.host, "u", "hunter2").preflight(&reference(&server.host, "a")).unwrap_err();
    assert!(matches!(&error, Error::Denied { credentials, .. } if credentials.to_string() == "$REGISTRY_TOKEN"), "{error}");
    assert!(error.to_string().contains("permission_denied: write_package") && !format!("{error:?}").contains("hunter2"));
}

#[test]
fn a_manifest_that_was_damaged_on_its_way_is_put_again() {
    for (damaged, puts) in [(1, 2), (usize::MAX, 2)] {
        let server = Server::start(move |n, request| {
            let got = if n < damaged { b"other" } else { &request.body[..] };
            Answer::new(201).header("Docker-Content-Digest", Digest::of(got).to_string())
        });
        let put = client().put_manifest(&reference(&server.host, "a:v1"), &manifest(b"x"), media_type::OCI_MANIFEST);
        assert_eq!((put.is_ok(), server.count("PUT")), (damaged == 1, puts), "{put:?}");
        assert!(matches!(put, Ok(_) | Err(Error::WrongDigest { .. })));
    }
}

#[test]
fn only_what_a_registry_says_to_have_stored_counts_as_pushed() {
    let page = || Answer::new(200).header("Content-Type", "text/html").body("<html>log in</html>");
    let other = || Answer::new(201).header("Docker-Content-Digest", Digest::of(b"other").to_string());
    for (name, answer, blob_is_pushed, expected) in [
        ("a page", page(), false, "expected status 201 (created), got status 200"),
        ("not yet", Answer::new(202), false, "expected status 201 (created), got status 202"),
        ("a 204", Answer::new(204), true, "expected status 201 (created), got status 204"),
        ("another blob", other(), false, "expected sha256:"),
    ] {
        let server = Server::start(move |_, request| if request.method == "PUT" { answer.clone() } else { empty(request) });
        let put = client().put_manifest(&reference(&server.host, "a:v1"), &manifest(b"x"), media_type::OCI_MANIFEST);
        let error = put.unwrap_err().to_string();
        assert!(error.contains("cannot push manifest v1: ") && error.contains(expected), "{name}: {error}");
        let pushed = push(&client(), &server, b"x", &[]);
        assert_eq!(pushed.is_ok(), blob_is_pushed, "{name}: {pushed:?}");
        let told = pushed.err().is_none_or(|error| error.to_string().contains(expected));
        assert!(told, "{name}");
    }
}

#[test]
fn a_manifest_is_put_under_its_tag_or_its_digest() {
    let server = Server::start(|_, request| empty(request));
    let (client, bytes) = (client(), manifest(b"x"));
    let digest = Digest::of(&bytes);
    let target = reference(&server.host, "a");
    assert_eq!(client.put_manifest(&target.with_tag("v1"), &bytes, media_type::OCI_MANIFEST).unwrap(), digest);
    client.put_manifest(&target, &bytes, media_type::OCI_MANIFEST).unwrap();
    assert_eq!(server.lines(), ["PUT /v2/a/manifests/v1".to_owned(), format!("PUT /v2/a/manifests/{digest}")]);
    assert_eq!(server.requests()[0].header("content-type"), media_type::OCI_MANIFEST);
    let other = target.with_digest(Digest::of(b"other"));
    assert!(matches!(client.put_manifest(&other, &bytes, media_type::OCI_MANIFEST), Err(Error::WrongDigest { .. })));
}

#[test]
fn a_manifest_is_deleted_by_its_digest_where_the_registry_allows_it() {
    let digest = layer(b"manifest").digest;
    let delete = |status: u16, code: &'static str| {
        let server = Server::start(move |_, _| Answer::error(status, code, "no"));
        let deleted = client().delete_manifest(&reference(&server.host, "a:tag"), &digest);
        assert_eq!(server.lines(), [format!("DELETE /v2/a/manifests/{digest}")]);
        deleted
    };
    assert!(delete(202, "").unwrap());
    assert!(!delete(404, "MANIFEST_UNKNOWN").unwrap());
    for (status, code) in [(405, "UNSUPPORTED"), (405, ""), (400, "UNSUPPORTED")] {
        assert!(matches!(delete(status, code), Err(Error::NoDelete { .. })), "{status} {code}");
    }
    assert!(matches!(delete(400, "MANIFEST_INVALID"), Err(Error::Status { .. })));
}
