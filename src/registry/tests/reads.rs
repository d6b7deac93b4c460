use super::scripted::{Answer, Server};
use super::*;
use crate::oci::{Index, Platform};
use crate::registry::Error;

fn data() -> Vec<u8> {
    (0..200_000u32).flat_map(u32::to_le_bytes).collect()
}

#[test]
fn a_login_page_is_no_blob() {
    let server = Server::start(|_, request| match request.target.as_str() {
        "/login" => Answer::new(200).header("Content-Type", "text/html; charset=utf-8").body("<!doctype html>"),
        _ => Answer::new(303).header("Location", "/login"),
    });
    let error = client().blob_exists(&reference(&server.host, "a"), &layer(b"x").digest).unwrap_err();
    assert!(matches!(error, Error::Garbage { .. }), "{error}");
}

#[test]
fn a_body_that_breaks_off_is_resumed_where_it_broke() {
    for knows_ranges in [true, false] {
        let server = Server::start(move |n, request| {
            let data = data();
            let from: usize = request.header("range").trim_start_matches("bytes=").trim_end_matches('-').parse().unwrap_or(0);
            match (n, knows_ranges) {
                (0, _) => Answer::new(200).body(data).cut(100_000),
                (1, true) => {
                    let range = format!("bytes {from}-{}/{}", data.len() - 1, data.len());
                    Answer::new(206).header("Content-Range", range).body(&data[from..]).cut(50_000)
                }
                (_, true) => {
                    let range = format!("bytes {from}-{}/{}", data.len() - 1, data.len());
                    Answer::new(206).header("Content-Range", range).body(&data[from..])
                }
                (_, false) => Answer::new(200).body(data),
            }
        });
        let client = client();
        let mut out = Vec::new();
        client.pull_blob(&reference(&server.host, "a"), &layer(&data()), &mut out).unwrap();
        assert!(out == data(), "{knows_ranges}");
        let ranges: Vec<_> = server.requests().iter().map(|r| r.header("range").to_owned()).collect();
        let expected: &[&str] = if knows_ranges { &["", "bytes=100000-", "bytes=150000-"] } else { &["", "bytes=100000-"] };
        assert_eq!(ranges, expected);
        assert_eq!(client.counters().retries as usize, expected.len() - 1);
    }
}

#[test]
fn a_body_that_never_comes_whole_ends_in_an_error() {
    let server = Server::start(|_, _| Answer::new(200).body(data()).cut(10));
    let error = client().pull_blob(&reference(&server.host, "a"), &layer(&data()), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Interrupted { .. }), "{error}");
    assert_eq!(server.requests().len(), 5);
}

#[test]
fn content_with_another_digest_or_size_is_refused() {
    let server = Server::start(|_, _| Answer::new(200).body("other"));
    let pull = |blob: &Descriptor| client().pull_blob(&reference(&server.host, "a"), blob, &mut Vec::new()).unwrap_err();
    assert!(matches!(pull(&layer(b"wanted")), Error::WrongSize { expected: 6, actual: 5, .. }));
    assert!(matches!(pull(&layer(b"want")), Error::WrongSize { expected: 4, .. }));
    assert!(matches!(pull(&layer(b"OTHER")), Error::WrongDigest { .. }));
}

#[test]
fn a_writer_that_fails_is_not_the_registrys_fault() {
    struct Full;
    impl std::io::Write for Full {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    let server = Server::start(|_, _| Answer::new(200).body("x"));
    let error = client().pull_blob(&reference(&server.host, "a"), &layer(b"x"), &mut Full).unwrap_err();
    assert!(matches!(error, Error::Write { .. }));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_redirect_to_another_port_goes_without_credentials() {
    let storage = Server::start(|_, _| Answer::new(200).body("x"));
    let target = storage.host.clone();
    let server = Server::start(move |_, request| match request.header("authorization") {
        "" => Answer::new(401).header("WWW-Authenticate", "Basic realm=x"),
        _ => Answer::new(307).header("Location", format!("http://{target}/signed?sig=1")),
    });
    let client = client_as(&server.host, "u", "p");
    client.pull_blob(&reference(&server.host, "a"), &layer(b"x"), &mut Vec::new()).unwrap();
    assert_eq!(server.requests()[1].header("authorization"), "Basic dTpw");
    assert_eq!(storage.lines(), ["GET /signed?sig=1"]);
    assert!(!storage.requests()[0].headers.contains_key("authorization"));
}

#[test]
fn a_stranger_behind_a_redirect_cannot_ask_for_credentials() {
    let stranger = Server::start(|_, request| {
        let realm = format!(r#"Bearer realm="http://{}/steal""#, request.header("host"));
        Answer::new(401).header("WWW-Authenticate", realm)
    });
    let target = stranger.host.clone();
    let server = Server::start(move |_, _| Answer::new(307).header("Location", format!("http://{target}/x")));
    let client = client_as(&server.host, "u", "p");
    let error = client.pull_blob(&reference(&server.host, "a"), &layer(b"x"), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Elsewhere { .. }), "{error}");
    assert_eq!(stranger.lines(), ["GET /x"]);
}

#[test]
fn a_circle_of_redirects_ends() {
    let server = Server::start(|_, request| Answer::new(302).header("Location", request.target.clone()));
    let error = client().pull_blob(&reference(&server.host, "a"), &layer(b"x"), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Redirects { limit: 10, .. }));
    assert_eq!(server.requests().len(), 11);
}

#[test]
fn a_blob_that_is_larger_than_the_limit_is_not_asked_for() {
    let server = Server::start(|_, _| Answer::new(200).body("xx"));
    let read = |limit| client().read_blob(&reference(&server.host, "a"), &layer(b"xx"), limit);
    assert_eq!(read(2).unwrap(), b"xx");
    assert!(matches!(read(1), Err(Error::TooLarge { limit: 1, .. })));
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn an_index_leads_to_the_manifest_of_the_platform() {
    let image = manifest(b"arm");
    let platform: Platform = "linux/arm64".parse().unwrap();
    let entry = Descriptor { platform: Some(platform.clone()), ..Descriptor::new(media_type::OCI_MANIFEST, Digest::of(&image), 1) };
    let index = serde_json::to_vec(&Index::oci(vec![entry])).unwrap();
    let (top, child) = (Digest::of(&index), Digest::of(&image));
    let server = Server::start(move |_, request| match request.target.contains("sha256") {
        true => Answer::new(200).body(image.clone()),
        false => Answer::new(200).body(index.clone()),
    });
    let resolved = client().resolve(&reference(&server.host, "a"), &platform).unwrap();
    assert_eq!((resolved.index, resolved.digest, resolved.manifest.layers.len()), (Some(top), child, 1));
    assert_eq!(server.lines(), ["GET /v2/a/manifests/latest".to_owned(), format!("GET /v2/a/manifests/{child}")]);
    let error = client().resolve(&reference(&server.host, "a"), &"linux/amd64".parse().unwrap()).unwrap_err();
    assert!(matches!(&error, Error::NoPlatform { available, .. } if *available == [platform]), "{error}");
}

#[test]
fn a_pin_costs_one_request_and_holds_the_manifests_of_an_index_or_the_one_there_is() {
    let platforms = ["linux/amd64", "linux/arm64"].map(|text| text.parse::<Platform>().unwrap());
    let entry = |platform: &Platform| {
        let digest = Digest::of(platform.to_string().as_bytes());
        Descriptor { platform: Some(platform.clone()), ..Descriptor::new(media_type::OCI_MANIFEST, digest, 1) }
    };
    let entries: Vec<Descriptor> = platforms.iter().map(entry).collect();
    let index = serde_json::to_vec(&Index::oci(entries.clone())).unwrap();
    let alone = manifest(b"x");
    for (document, expected) in [(&index, [entries[0].digest, entries[1].digest]), (&alone, [Digest::of(&alone); 2])] {
        let body = document.clone();
        let server = Server::start(move |_, _| Answer::new(200).body(body.clone()));
        let pin = client().pin(&reference(&server.host, "a:1"), &platforms).unwrap();
        assert_eq!(pin.digest, Digest::of(document));
        assert_eq!(platforms.each_ref().map(|platform| pin.for_platform(platform)), expected);
        assert_eq!(server.lines(), ["GET /v2/a/manifests/1"]);
    }
    let server = Server::start(move |_, _| Answer::new(200).body(index.clone()));
    let error = client().pin(&reference(&server.host, "a:1"), &["linux/s390x".parse().unwrap()]).unwrap_err();
    assert!(matches!(&error, Error::NoPlatform { available, .. } if *available == platforms), "{error}");
}

#[test]
fn a_tag_is_looked_up_where_it_is_pulled_from() {
    let mirror = Server::start(|_, request| match request.target.contains("/1") {
        true => Answer::new(200).header("Docker-Content-Digest", Digest::of(b"m").to_string()).body("m"),
        false => Answer::new(404),
    });
    let origin = Server::start(|_, _| Answer::new(404));
    let options = RegistryOptions { mirror: Some(mirror.host.clone()), ..RegistryOptions::default() };
    let client = Client::new(ClientOptions { registries: [(origin.host.clone(), options)].into(), ..super::options() }).unwrap();
    assert_eq!(client.look_up(&reference(&origin.host, "a:1")).unwrap(), Some(Digest::of(b"m")));
    assert_eq!((mirror.lines(), origin.lines().len()), (vec!["HEAD /v2/a/manifests/1".to_owned()], 0));
    assert_eq!(client.look_up(&reference(&origin.host, "a:2")).unwrap(), None);
}

#[test]
fn a_blob_s_mirror_is_told_where_it_came_from_there() {
    let mirror = Server::start(|_, request| match request.target.contains(&Digest::of(b"m").to_string()) {
        true => Answer::new(200).body("m"),
        false => Answer::new(404),
    });
    let origin = Server::start(|_, _| Answer::new(200).body("o"));
    let options = RegistryOptions { mirror: Some(mirror.host.clone()), ..RegistryOptions::default() };
    let client = Client::new(ClientOptions { registries: [(origin.host.clone(), options)].into(), ..super::options() }).unwrap();
    for (bytes, expected) in [(b"m", Some(mirror.host.clone())), (b"o", None)] {
        assert_eq!(client.pull_blob(&reference(&origin.host, "a"), &layer(bytes), &mut Vec::new()).unwrap(), expected);
    }
}

#[test]
fn a_digest_that_is_empty_or_of_another_algorithm_says_nothing() {
    for header in [String::new(), "md5:1".to_owned(), format!("sha512:{}", "0".repeat(128))] {
        let server = Server::start(move |_, _| Answer::new(200).header("Docker-Content-Digest", header.clone()).body(manifest(b"x")));
        let (client, digest) = (client(), Digest::of(&manifest(b"x")));
        let (found, _) = client.get_manifest(&reference(&server.host, "a:1")).unwrap().unwrap();
        assert_eq!(found.digest, digest);
        assert_eq!(client.head_manifest(&reference(&server.host, "a:1")).unwrap().unwrap().digest, digest);
        let other = reference(&server.host, "a").with_digest(Digest::of(b"other"));
        assert!(matches!(client.get_manifest(&other), Err(Error::WrongDigest { .. })));
    }
}

#[test]
fn a_head_without_a_digest_is_made_good_by_a_get() {
    let server = Server::start(|_, _| Answer::new(200).body(manifest(b"x")));
    let found = client().head_manifest(&reference(&server.host, "a:1")).unwrap().unwrap();
    assert_eq!((found.digest, found.size as usize), (Digest::of(&manifest(b"x")), manifest(b"x").len()));
    assert_eq!((server.count("HEAD"), server.count("GET")), (1, 1));
}

#[test]
fn a_download_follows_redirects_and_keeps_its_headers_at_home() {
    let files = Server::start(|_, _| {
        let answer = Answer::new(200).header("Last-Modified", "Sun, 09 Sep 2001 01:46:40 GMT").header("ETag", "\"1\"");
        answer.header("Content-Disposition", "attachment; filename=a.tgz").body("content")
    });
    let target = files.host.clone();
    let server = Server::start(move |_, _| Answer::new(302).header("Location", format!("http://{target}/real.tgz")));
    let mut out = Vec::new();
    let secret = [("Authorization".to_owned(), "Bearer s".to_owned())];
    let response = client().fetch(&format!("http://{}/x", server.host), &secret, &mut out).unwrap();
    assert_eq!(out, b"content");
    assert_eq!((response.status, response.size, response.etag.as_deref()), (200, 7, Some("\"1\"")));
    assert_eq!(response.final_url, format!("http://{}/real.tgz", files.host));
    assert_eq!(response.content_disposition.as_deref(), Some("attachment; filename=a.tgz"));
    assert_eq!(response.last_modified.as_deref(), Some("Sun, 09 Sep 2001 01:46:40 GMT"));
    assert_eq!(server.requests()[0].header("authorization"), "Bearer s");
    assert!(!files.requests()[0].headers.contains_key("authorization"));
}

#[test]
fn a_download_that_fails_hides_what_the_address_holds() {
    let server = Server::start(|_, _| Answer::new(404));
    let address = format!("http://user:hunter2@{}/x?token=hunter2", server.host);
    let error = client().fetch(&address, &[], &mut Vec::new()).unwrap_err();
    assert!(error.is_not_found() && !format!("{error} {error:?}").contains("hunter2"), "{error}");
    for bad in ["file:///etc/passwd", "not a url", "ftp://a/b", ""] {
        assert!(matches!(client().fetch(bad, &[], &mut Vec::new()), Err(Error::Address { .. })), "{bad}");
    }
}

#[test]
fn a_server_that_repeats_the_address_tells_no_secret() {
    let files = Server::start(|_, request| Answer::new(403).body(format!("no: {} sig/ned", request.target)));
    let host = files.host.clone();
    let server = Server::start(move |_, request| match request.target.starts_with("/away") {
        true => Answer::new(302).header("Location", format!("http://{host}/real?X-Sig=sig%2Fned")),
        false => Answer::new(403).body(format!("no: {} hunter/pw u:secret1", request.target)),
    });
    for (path, told) in [("echo?X-Sig=hunter%2Fpw&Y=1", "no: /echo?X-Sig=***&Y=1 *** u:***"), ("away?Y=1", "no: /real?X-Sig=*** ***")] {
        let error = client().fetch(&format!("http://u:secret1@{}/{path}", server.host), &[], &mut Vec::new()).unwrap_err();
        assert!(error.to_string().contains(told), "{error}");
    }
}

#[test]
fn a_download_is_resumed_only_as_the_same_version() {
    for (etag, rest, expected) in [
        (Some("\"1\""), 206, Ok(2)),
        (Some("\"1\""), 200, Err("expected the rest of the file")),
        (Some("W/\"1\""), 206, Err("the connection broke")),
        (None, 206, Err("the connection broke")),
    ] {
        let server = Server::start(move |n, _| {
            let answer = Answer::new(if n == 0 { 200 } else { rest });
            let answer = etag.iter().fold(answer, |answer, etag| answer.header("ETag", *etag));
            if n == 0 { answer.body("content").cut(3) } else { answer.body("tent") }
        });
        let mut out = Vec::new();
        let fetched = client().fetch(&format!("http://{}/x", server.host), &[], &mut out);
        match (fetched, expected) {
            (Ok(_), Ok(requests)) => {
                assert_eq!((out.as_slice(), server.requests().len()), (&b"content"[..], requests));
                let second = &server.requests()[1];
                assert_eq!((second.header("range"), second.header("if-range")), ("bytes=3-", "\"1\""));
            }
            (Err(error), Err(message)) => assert!(error.to_string().contains(message), "{error}"),
            (fetched, _) => panic!("{etag:?} {rest}: {fetched:?}"),
        }
    }
}

#[test]
fn tags_come_in_pages_of_any_size() {
    let server = Server::start(|_, request| match request.target.as_str() {
        "/v2/a/tags/list?n=1000" => {
            Answer::new(200).header("Link", "</v2/a/tags/list?last=c&n=2>; rel=\"next\"").body(r#"{"name":"a","tags":["c","b"]}"#)
        }
        "/v2/a/tags/list?last=c&n=2" => Answer::new(200).header("Link", "<?last=d>; rel=next").body(r#"{"tags":["d","no tag","../x"]}"#),
        "/v2/a/tags/list?last=d" => Answer::new(200).body(r#"{"tags":["a"]}"#),
        "/v2/empty/tags/list?n=1000" => Answer::new(200).body(r#"{"tags":null}"#),
        _ => Answer::error(404, "NAME_UNKNOWN", "repository name not known to registry"),
    });
    let tags = |name: &str| client().tags(&reference(&server.host, name)).unwrap().into_iter().collect::<Vec<_>>();
    assert_eq!(tags("a"), ["a", "b", "c", "d"]);
    assert_eq!((tags("empty").len(), tags("none").len()), (0, 0));
}

#[test]
fn pages_that_lead_nowhere_end_in_an_error() {
    for next in ["</v2/a/tags/list?last=b>; rel=next", "<http://127.0.0.1:1/v2/a/tags/list>; rel=next"] {
        let server = Server::start(move |_, _| Answer::new(200).header("Link", next).body(r#"{"tags":["a","b"]}"#));
        let error = client().tags(&reference(&server.host, "a")).unwrap_err();
        assert!(matches!(error, Error::Garbage { .. }), "{error}");
        assert!(server.requests().len() <= 2, "{next}");
    }
    let page = Server::start(|_, _| Answer::new(200).body("<!doctype html>"));
    assert!(matches!(client().tags(&reference(&page.host, "a")), Err(Error::Garbage { .. })));
}

#[test]
fn the_size_of_a_blob_is_compared_without_reading_it() {
    let server = Server::start(|_, request| match request.target.contains(&layer(b"gone").digest.to_string()) {
        true => Answer::new(404),
        false => Answer::new(200).body("four"),
    });
    let there = |bytes: &[u8]| client().blob_is_there(&reference(&server.host, "a"), &layer(bytes));
    assert!(there(b"same").unwrap());
    assert!(!there(b"gone").unwrap());
    assert!(matches!(there(b"other"), Err(Error::WrongSize { expected: 5, actual: 4, .. })));
    assert_eq!(server.count("GET"), 0);
}

#[test]
fn the_size_of_a_blob_is_certain_where_it_is_read() {
    for told in ["0", "7", "nothing"] {
        let server = Server::start(move |_, request| match (request.method.as_str(), told) {
            ("HEAD", "nothing") => Answer::new(200).header("Transfer-Encoding", "chunked"),
            ("HEAD", told) => Answer::new(200).header("Content-Length", told),
            _ => Answer::new(200).body("four"),
        });
        let is_as_long = |blob: &Descriptor| client().blob_is_as_long(&reference(&server.host, "a"), blob);
        assert!(is_as_long(&layer(b"four")).unwrap(), "{told}");
        let longer = Descriptor { size: 5, ..layer(b"four") };
        assert!(matches!(is_as_long(&longer), Err(Error::WrongSize { expected: 5, actual: 4, .. })), "{told}");
    }
}
