use std::net::TcpListener;
use std::time::Instant;

use super::scripted::{Answer, Server};
use super::*;
use crate::oci::Platform;
use crate::registry::Error;
use crate::registry::http::Failure;

fn found() -> Answer {
    let manifest = manifest(b"x");
    Answer::new(200).header("Docker-Content-Digest", Digest::of(&manifest).to_string()).body(manifest)
}

#[test]
fn passing_failures_are_repeated_and_counted() {
    for (name, fault) in [
        ("hang up", Answer::hang_up()),
        ("502", Answer::new(502)),
        ("429 with a wait", Answer::new(429).header("Retry-After", "3ms")),
        ("GHCR's wait in the message", Answer::error(429, "TOOMANYREQUESTS", "retry-after: 1.5ms, allowed: 2000/minute")),
        ("secondary limit without words", Answer::new(403).header("Retry-After", "0")),
        ("secondary limit", Answer::error(403, "DENIED", "You have exceeded a secondary rate limit")),
    ] {
        let server = Server::start(move |n, _| if n < 2 { fault.clone() } else { found() });
        let client = client();
        assert!(client.get_manifest(&reference(&server.host, "a:1")).unwrap().is_some(), "{name}");
        let counts = client.counters();
        assert_eq!((counts.requests, counts.retries), (3, 2), "{name}");
    }
}

#[test]
fn a_registry_is_given_the_time_that_it_asks_for() {
    let server = Server::start(|n, _| if n == 0 { Answer::new(503).header("Retry-After", "0.2s") } else { found() });
    let start = Instant::now();
    client().get_manifest(&reference(&server.host, "a:1")).unwrap().unwrap();
    assert!(start.elapsed() >= Duration::from_millis(200));
}

#[test]
fn attempts_end_and_lasting_refusals_are_not_repeated() {
    for (status, requests) in [(500, 5), (403, 1), (405, 1), (400, 1)] {
        let server = Server::start(move |_, _| Answer::error(status, "NO", "because"));
        let error = client().get_manifest(&reference(&server.host, "a:1")).unwrap_err().to_string();
        assert_eq!(server.requests().len(), requests, "{status}");
        assert!(error.contains(&format!("status {status}")) && error.contains("NO: because"), "{error}");
    }
}

#[test]
fn a_registry_that_asks_for_more_time_than_there_is_is_not_asked_again() {
    let server = Server::start(|_, _| Answer::new(429).header("Retry-After", "3600"));
    let error = client().get_manifest(&reference(&server.host, "a:1")).unwrap_err();
    assert!(matches!(error, Error::RateLimited { .. }) && error.to_string().contains("it asks to wait 3600 s"), "{error}");
    assert_eq!(server.requests().len(), 1);
}

#[test]
fn a_manifest_that_breaks_off_is_asked_for_again() {
    let server = Server::start(|n, _| if n < 2 { found().cut(20) } else { found() });
    let client = client();
    assert!(client.get_manifest(&reference(&server.host, "a:1")).unwrap().is_some());
    assert_eq!((server.requests().len(), client.counters().retries), (3, 2));
}

#[test]
fn the_first_long_wait_at_a_registry_is_told_while_it_lasts() {
    let server =
        Server::start(
            |n, _| if n % 2 == 0 { Answer::error(429, "TOOMANYREQUESTS", "slow down").header("Retry-After", "3") } else { found() },
        );
    let (client, target) = (client(), reference(&server.host, "a:1"));
    let (sender, told) = std::sync::mpsc::channel();
    let start = Instant::now();
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| client.get_manifest(&target).unwrap());
        // Whoever begins to listen late hears of it, too.
        std::thread::sleep(Duration::from_millis(500));
        client.on_long_wait(move |wait| _ = sender.send((wait.to_string(), start.elapsed())));
        asking.join().unwrap();
    });
    let (message, at) = told.try_recv().unwrap();
    let expected = "limits requests (status 429: TOOMANYREQUESTS: slow down): brik waits as long as it asks, 3 s now";
    assert_eq!(message, format!("{} {expected}", server.host));
    assert!(at < Duration::from_secs(3) && start.elapsed() >= Duration::from_secs(3), "{at:?}");
    client.get_manifest(&target).unwrap();
    assert!(told.try_recv().is_err() && client.take_long_waits().is_empty());
}

#[test]
fn a_hasty_client_gives_up_early_and_shares_what_is_known() {
    let server = Server::start(|_, request| match request.target.as_str() {
        "/v2/busy/manifests/1" => Answer::new(429).header("Retry-After", "30"),
        "/v2/silent/manifests/1" => found().delay(Duration::from_secs(3)),
        "/v2/broken/manifests/1" => Answer::new(502),
        _ => found(),
    });
    let patient = client();
    let silence = Duration::from_millis(600);
    let hasty = patient.with_retries(RetryPolicy { base: Duration::from_millis(1), silence, ..RetryPolicy::hasty() });
    for (name, requests) in [("busy", 1), ("silent", 2), ("broken", 2)] {
        let (start, before) = (Instant::now(), hasty.counters().requests);
        hasty.get_manifest(&reference(&server.host, &format!("{name}:1"))).unwrap_err();
        assert!(start.elapsed() < Duration::from_secs(3), "{name}");
        assert_eq!(hasty.counters().requests - before, requests, "{name}");
    }
    assert!(patient.get_manifest(&reference(&server.host, "silent:1")).unwrap().is_some());
    assert_eq!(patient.counters(), hasty.counters());
}

#[test]
fn a_registry_that_is_not_there_says_how_it_is_not_there() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let once = || ClientOptions { retries: RetryPolicy { tries: 1, ..RetryPolicy::default() }, ..options() };
    let refused = Client::new(once()).unwrap().head_manifest(&reference(&closed, "a:1")).unwrap_err();
    assert!(matches!(refused, Error::Refused { .. }) && refused.is_unreachable(), "{refused}");

    let insecure = RegistryOptions { insecure: true, ..RegistryOptions::default() };
    let registries = BTreeMap::from([("nowhere.invalid".to_owned(), insecure)]);
    let client = Client::new(ClientOptions { registries, ..once() }).unwrap();
    let dns = client.head_manifest(&reference("nowhere.invalid", "a:1")).unwrap_err();
    assert!(matches!(&dns, Error::Dns { host, .. } if host == "nowhere.invalid"), "{dns}");
}

#[test]
fn a_server_without_tls_behind_https_is_a_tls_error() {
    let server = Server::start(|_, _| found());
    let directory = tempfile::tempdir().unwrap();
    let ca = directory.path().join("ca.pem");
    let ask = |content: &[u8]| {
        std::fs::write(&ca, content).unwrap();
        let registries = BTreeMap::from([(server.host.clone(), super::trusting(&ca))]);
        let client = Client::new(ClientOptions { registries, ..options() }).unwrap();
        client.head_manifest(&reference(&server.host, "a:1")).unwrap_err()
    };
    let error = ask(include_bytes!("ca.pem"));
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    for no_certificate in [&b""[..], b"hello", b"-----BEGIN CERTIFICATE-----\n!\n-----END CERTIFICATE-----\n"] {
        let error = ask(no_certificate);
        assert!(matches!(error, Error::Ca { .. }), "{error:?}");
    }
}

#[test]
fn rubbish_instead_of_a_manifest_is_told_apart() {
    let v1 = "application/vnd.docker.distribution.manifest.v1+prettyjws";
    let zeros = Digest::from_bytes([0; 32]).to_string();
    for (name, answer, expected) in [
        ("html", Answer::new(200).body("<!doctype html><p>hi"), "got an HTML page"),
        ("no JSON", Answer::new(200).body("hello"), "expected an image manifest or index"),
        ("empty", Answer::new(200), "expected an image manifest or index"),
        ("wrong shape", Answer::new(200).body(r#"{"schemaVersion":2,"layers":7}"#), "expected an image manifest or index"),
        ("wrong digest", found().header("X", "").body("{}"), "expected sha256:"),
        ("bad digest header", Answer::new(200).header("Docker-Content-Digest", "sha256:1").body("{}"), "no valid Docker-Content-Digest"),
        ("claimed digest", Answer::new(200).header("Docker-Content-Digest", zeros).body("{}"), "expected sha256:0000"),
        ("schema 1", Answer::new(200).header("Content-Type", v1).body("{}"), "schema 1"),
        ("schema 1 by version", Answer::new(200).body(r#"{"schemaVersion":1,"fsLayers":[]}"#), "schema 1"),
        ("too large", Answer::new(200).body(vec![b' '; (4 << 20) + 1]), "larger than 4194304 bytes"),
    ] {
        let server = Server::start(move |_, _| answer.clone());
        let error = client().get_manifest(&reference(&server.host, "a:1")).unwrap_err().to_string();
        assert!(error.contains(expected), "{name}: {error}");
    }
}

#[test]
fn a_registrys_words_cannot_reach_the_terminal_raw() {
    let server = Server::start(|_, _| Answer::new(400).body("\u{1b}]0;owned\u{7}"));
    let error = client().get_manifest(&reference(&server.host, "a:1")).unwrap_err().to_string();
    assert!(!error.chars().any(char::is_control), "{error:?}");
}

#[test]
fn a_mirror_is_asked_first_and_its_failure_leads_to_the_registry() {
    let origin = Server::start(|_, _| found());
    for (mirror_has, origin_requests) in [(true, 0), (false, 1)] {
        let before = origin.requests().len();
        let mirror = Server::start(move |_, _| if mirror_has { found() } else { Answer::new(404) });
        let options = RegistryOptions { mirror: Some(format!("{}/hub", mirror.host)), ..RegistryOptions::default() };
        let registries = BTreeMap::from([(origin.host.clone(), options)]);
        let client = Client::new(ClientOptions { registries, ..super::options() }).unwrap();
        client.resolve(&reference(&origin.host, "a:1"), &Platform::host()).unwrap();
        assert_eq!(mirror.lines(), ["GET /v2/hub/a/manifests/1"]);
        assert_eq!(origin.requests().len() - before, origin_requests);
    }
}

#[test]
fn a_dead_mirror_is_tried_only_once_a_run() {
    let origin = Server::start(|_, _| found());
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let options = RegistryOptions { mirror: Some(closed), ..RegistryOptions::default() };
    let registries = BTreeMap::from([(origin.host.clone(), options)]);
    let client = Client::new(ClientOptions { registries, ..super::options() }).unwrap();
    for _ in 0..3 {
        client.resolve(&reference(&origin.host, "a:1"), &Platform::host()).unwrap();
    }
    assert_eq!(client.counters().requests, 3 + 2);
}

#[test]
fn an_error_tells_what_the_mirror_answered_before_it() {
    let closed = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string();
    let lacking = Server::start(|_, _| Answer::error(404, "MANIFEST_UNKNOWN", "no such tag"));
    let closed_to_us = Server::start(|_, _| Answer::error(403, "DENIED", "not you"));
    for (mirror, origin, said, help) in [
        (
            &lacking.host,
            &closed,
            "not found (status 404: MANIFEST_UNKNOWN: no such tag)",
            "check the name, of which the mirror has nothing",
        ),
        (&lacking.host, &lacking.host, "not found (status 404: MANIFEST_UNKNOWN: no such tag)", "check the name"),
        (&closed_to_us.host, &closed, "denied with no credentials (status 403: DENIED: not you)", "log in with `brik login 127.0.0.1"),
        (&closed, &lacking.host, "connection refused", "for the mirror: check that the registry runs"),
    ] {
        let options = RegistryOptions { mirror: Some(format!("{mirror}/hub")), ..RegistryOptions::default() };
        let registries = BTreeMap::from([(origin.clone(), options)]);
        let client = Client::new(ClientOptions { registries, ..super::options() }).unwrap();
        // The second time, a mirror that is out of reach is not asked.
        for _ in 0..2 {
            let error = client.resolve(&reference(origin, "a:1"), &Platform::host()).unwrap_err();
            assert_eq!(error.is_not_found(), origin == &lacking.host, "{error}");
            let (text, advice) = (error.to_string(), error.advice().unwrap_or_default());
            let first = format!("; its mirror was asked first: {mirror}/hub/a: cannot read manifest 1: ");
            assert!(text.starts_with(&format!("{origin}/a: ")) && text.contains(&first) && text.contains(said), "{text}");
            assert!(advice.contains(help), "{advice}");
        }
    }
}

#[test]
fn credentials_do_not_go_to_a_token_server_without_tls() {
    let bearer = crate::registry::auth::Bearer { realm: "http://auth.example/token".parse().unwrap(), service: None };
    for registry in ["r.example", "127.0.0.1:5000"] {
        let options = BTreeMap::new();
        let endpoint = crate::registry::endpoint::Endpoint::origin(registry, &options).unwrap();
        let scopes = crate::registry::auth::Scopes::pull("a");
        let client = client_as(registry, "u", "p");
        let at = crate::registry::At { registry: registry.into(), repository: "a".into(), step: "read".into() };
        let purpose = crate::registry::auth::Purpose { endpoint: &endpoint, repository: "a", scopes: &scopes, at: &at };
        let credential = client.credentials().find(registry, "a");
        let fetched = client.block(crate::registry::token::fetch(client.http(), &options, &bearer, &purpose, credential.as_ref()));
        assert!(matches!(fetched.map(|_| ()), Err(Failure::Broken(Error::InsecureRealm { .. }))), "{registry}");
    }
}

/// Five attempts, and little patience.
fn impatient() -> Client {
    let silence = Duration::from_millis(300);
    client().with_retries(RetryPolicy { silence, ..options().retries })
}

#[test]
fn a_blob_that_drips_is_resumed_and_then_given_up() {
    let bytes = vec![7; 100_000];
    let served = bytes.clone();
    let server = Server::start(move |_, _| Answer::new(200).body(served.clone()).drip(Duration::from_millis(20)));
    let error = impatient().pull_blob(&reference(&server.host, "a"), &layer(&bytes), &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::Stalled { bytes: 1.., .. }), "{error}");
    let ranges: Vec<bool> = server.requests().iter().map(|request| request.header("range").starts_with("bytes=")).collect();
    assert_eq!(ranges, [false, true, true]);
}

#[test]
fn silence_and_heads_that_drip_are_borne_three_times() {
    for answer in [found().delay(Duration::from_secs(1)), Answer::new(200).drip(Duration::from_millis(50))] {
        let server = Server::start(move |_, _| answer.clone());
        let error = impatient().resolve(&reference(&server.host, "a:1"), &Platform::host()).unwrap_err();
        assert!(matches!(error, Error::Silent { .. }), "{error}");
        assert_eq!(server.requests().len(), 3);
    }
}

#[test]
fn a_registry_that_says_nothing_for_long_is_told_when_it_is_asked_again() {
    let server = Server::start(|n, _| if n == 0 { found().delay(Duration::from_secs(6)) } else { found() });
    let client = client().with_retries(RetryPolicy { silence: Duration::from_secs(3), ..options().retries });
    assert!(client.get_manifest(&reference(&server.host, "a:1")).unwrap().is_some());
    let told: Vec<String> = client.take_long_waits().iter().map(ToString::to_string).collect();
    assert!(
        matches!(&told[..], [one] if one.ends_with("no byte moved for 3 s: brik asks again") && one.contains(&server.host)),
        "{told:?}"
    );
}

#[test]
fn a_refusal_or_a_token_that_drips_holds_nobody_up() {
    let drip = |answer: Answer| answer.drip(Duration::from_millis(20));
    let server = Server::start(move |_, request| match (request.target.starts_with("/token"), request.header("authorization")) {
        _ if request.target.contains("/closed/") => drip(Answer::error(403, "DENIED", &"no ".repeat(1000))),
        (true, _) => drip(Answer::new(200).body(format!(r#"{{"token":"{}"}}"#, "t".repeat(1000)))),
        _ => Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="http://{}/token""#, request.header("host"))),
    });
    let start = Instant::now();
    let refused = impatient().head_manifest(&reference(&server.host, "open:1")).unwrap_err();
    assert!(matches!(refused, Error::Stalled { .. }), "{refused}");
    let denied = impatient().get_manifest(&reference(&server.host, "closed:1")).unwrap_err();
    assert!(matches!(denied, Error::Denied { .. }), "{denied}");
    assert!(start.elapsed() < Duration::from_secs(20), "{:?}", start.elapsed());
}

#[test]
fn a_manifest_that_drips_is_given_up_though_no_silence_is_long() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let host = listener.local_addr().unwrap().to_string();
    std::thread::spawn(move || {
        use std::io::{Read, Write};
        for mut peer in listener.incoming().flatten() {
            std::thread::spawn(move || {
                let _ = peer.read(&mut [0; 4096]);
                let _ = peer.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 100000\r\n\r\n");
                while peer.write_all(b"{").is_ok() {
                    std::thread::sleep(std::time::Duration::from_millis(50));
                }
            });
        }
    });
    let silence = std::time::Duration::from_millis(200);
    let client = Client::new(super::options()).unwrap().with_retries(crate::registry::RetryPolicy { silence, ..Default::default() });
    let error = client.get_manifest(&reference(&host, "a:1")).unwrap_err();
    assert!(matches!(error, Error::Slow { .. }), "{error}");
}
