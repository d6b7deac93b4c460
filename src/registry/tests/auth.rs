use std::sync::Arc;

use super::scripted::{Answer, Server};
use super::*;
use crate::registry::Error;

/// A registry that wants a token `t<n>`, where n counts the tokens given out; `good` says which are accepted.
fn token_registry(good: impl Fn(&str) -> bool + Send + Sync + 'static) -> Server {
    let tokens = std::sync::atomic::AtomicUsize::new(0);
    Server::start(move |_, request| {
        let host = request.header("host");
        if request.target.starts_with("/token") {
            let n = tokens.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
            return Answer::new(200).body(format!(r#"{{"token":"t{n}","expires_in":300}}"#));
        }
        if !request.header("authorization").strip_prefix("Bearer ").is_some_and(&good) {
            let challenge = format!(r#"Bearer realm="http://{host}/token?a=b",service="a, \"quoted\" b""#);
            return Answer::error(401, "UNAUTHORIZED", "who?").header("WWW-Authenticate", challenge);
        }
        let manifest = manifest(b"x");
        Answer::new(200).header("Docker-Content-Digest", Digest::of(&manifest).to_string()).body(manifest)
    })
}

#[test]
fn a_token_is_asked_for_once_with_the_exact_scope_and_used_again() {
    let server = token_registry(|_| true);
    let client = client();
    for _ in 0..2 {
        assert!(client.head_manifest(&reference(&server.host, "a/b:1")).unwrap().is_some());
    }
    assert_eq!(
        server.lines(),
        [
            "HEAD /v2/a/b/manifests/1",
            "GET /token?a=b&service=a%2C+%22quoted%22+b&scope=repository%3Aa%2Fb%3Apull",
            "HEAD /v2/a/b/manifests/1",
            "HEAD /v2/a/b/manifests/1",
        ]
    );
    assert_eq!(server.requests()[1].header("authorization"), "");
    assert_eq!(client.counters().requests, 4);
}

#[test]
fn a_password_goes_to_the_token_server_and_never_to_the_registry() {
    let server = token_registry(|_| true);
    let client = client_as(&server.host, "u", "p");
    client.get_manifest(&reference(&server.host, "a:1")).unwrap().unwrap();
    let seen: Vec<_> = server.requests().iter().map(|r| r.header("authorization").to_owned()).collect();
    assert_eq!(seen, ["", "Basic dTpw", "Bearer t0"]);
}

#[test]
fn a_token_that_is_rejected_is_replaced_once() {
    let server = token_registry(|token| token == "t1");
    let client = client();
    let target = reference(&server.host, "a:1");
    assert!(matches!(client.head_manifest(&target), Err(Error::Unauthorized { .. })), "t0 is refused twice");
    assert!(client.head_manifest(&target).unwrap().is_some());
}

#[test]
fn many_threads_share_one_token() {
    let server = token_registry(|_| true);
    let client = client();
    std::thread::scope(|scope| {
        for _ in 0..8 {
            scope.spawn(|| client.head_manifest(&reference(&server.host, "a:1")).unwrap());
        }
    });
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("GET /token")).count(), 1);
}

#[test]
fn a_hasty_client_uses_the_same_token_and_does_not_wait_long_for_another_to_get_it() {
    let server = Server::start(|_, request| match (request.target.starts_with("/token"), request.header("authorization")) {
        (true, _) => Answer::new(200).body(r#"{"token":"t"}"#).delay(Duration::from_secs(3)),
        (false, "") => {
            let challenge = format!(r#"Bearer realm="http://{}/token""#, request.header("host"));
            Answer::new(401).header("WWW-Authenticate", challenge)
        }
        (false, _) => Answer::new(404),
    });
    let (patient, target) = (client(), reference(&server.host, "a:1"));
    let hasty = patient.with_retries(RetryPolicy { tries: 1, silence: Duration::from_millis(600), ..RetryPolicy::hasty() });
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| patient.head_manifest(&target).unwrap());
        while server.requests().len() < 2 {
            std::thread::sleep(Duration::from_millis(5));
        }
        let start = std::time::Instant::now();
        assert!(matches!(hasty.head_manifest(&target), Err(Error::Silent { .. })));
        assert!(start.elapsed() < Duration::from_secs(2));
        asking.join().unwrap();
    });
    assert_eq!(hasty.head_manifest(&target).unwrap(), None);
    assert_eq!(server.lines().iter().filter(|line| line.starts_with("GET /token")).count(), 1);
}

#[test]
fn a_token_that_may_push_is_used_to_pull_unless_it_may_not() {
    for (accepts, tokens) in [("t", 1), ("t1", 2)] {
        let server = Server::start({
            let asked = std::sync::atomic::AtomicUsize::new(0);
            move |_, request| match (request.target.starts_with("/token"), request.header("authorization"), request.method.as_str()) {
                (true, ..) => {
                    let n = asked.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
                    Answer::new(200).body(format!(r#"{{"token":"t{n}"}}"#))
                }
                (false, token, "POST" | "DELETE") if token.starts_with("Bearer ") => Answer::new(202).header("Location", "/upload/1"),
                (false, token, "HEAD") if token.starts_with(&format!("Bearer {accepts}")) => Answer::new(404),
                _ => {
                    let challenge = format!(r#"Bearer realm="http://{}/token""#, request.header("host"));
                    Answer::new(401).header("WWW-Authenticate", challenge)
                }
            }
        });
        let (client, target) = (client(), reference(&server.host, "a:1"));
        client.preflight(&target).unwrap();
        assert_eq!(client.head_manifest(&target).unwrap(), None);
        assert_eq!(server.lines().iter().filter(|line| line.starts_with("GET /token")).count(), tokens, "{:?}", server.lines());
    }
}

#[test]
fn an_identity_token_is_traded_in_by_a_post() {
    let server = token_registry(|_| true);
    let home = tempfile::tempdir().unwrap();
    let config = format!(r#"{{"auths":{{"{}":{{"identitytoken":"id&"}}}}}}"#, server.host);
    std::fs::write(home.path().join("config.json"), config).unwrap();
    let env = BTreeMap::from([("DOCKER_CONFIG".to_owned(), home.path().display().to_string())]);
    let credentials = Arc::new(Credentials::discover(env, None));
    let client = Client::new(ClientOptions { credentials, ..options() }).unwrap();
    client.head_manifest(&reference(&server.host, "a:1")).unwrap().unwrap();
    let post = &server.requests()[1];
    assert_eq!(post.line(), "POST /token?a=b");
    let body = String::from_utf8(post.body.clone()).unwrap();
    assert_eq!(body, "grant_type=refresh_token&service=a%2C+%22quoted%22+b&client_id=brik&scope=repository%3Aa%3Apull&refresh_token=id%26");
}

#[test]
fn basic_credentials_that_are_refused_name_their_source_and_not_their_value() {
    let server = Server::start(|_, _| Answer::new(401).header("WWW-Authenticate", r#"Basic realm="x""#));
    let client = client_as(&server.host, "user1", "hunter2");
    let error = client.head_manifest(&reference(&server.host, "a:1")).unwrap_err();
    let text = format!("{error} {error:?}");
    assert!(text.contains("$REGISTRY_TOKEN") && !text.contains("hunter2"), "{text}");
    let nobody = super::client().head_manifest(&reference(&server.host, "a:1")).unwrap_err();
    assert!(nobody.to_string().contains("no credentials"), "{nobody}");
}

#[test]
fn a_401_without_a_challenge_is_told_as_such() {
    for challenge in ["", "Negotiate", "Bearer service=x", "Bearer realm=ftp://x"] {
        let server = Server::start(move |_, _| Answer::new(401).header("WWW-Authenticate", challenge));
        let error = client().head_manifest(&reference(&server.host, "a:1")).unwrap_err();
        assert!(matches!(error, Error::Header { header: "WWW-Authenticate", .. }), "{challenge}: {error}");
    }
}

#[test]
fn a_token_server_that_talks_rubbish_is_named() {
    let server = Server::start(|_, request| match request.target.starts_with("/token") {
        true => Answer::new(200).body("<html>log in</html>"),
        false => Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="http://{}/token""#, request.header("host"))),
    });
    let error = client().head_manifest(&reference(&server.host, "a:1")).unwrap_err();
    assert!(matches!(&error, Error::Garbage { got, .. } if got == "an HTML page"), "{error}");
}

#[test]
fn a_token_server_that_stumbles_is_asked_again() {
    let server = Server::start(|n, request| match (request.target.starts_with("/token"), request.header("authorization")) {
        (true, _) if n < 3 => Answer::new(503),
        (true, _) => Answer::new(200).body(r#"{"token":"t"}"#),
        (false, "") => Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="http://{}/token""#, request.header("host"))),
        (false, _) => Answer::new(200).body(manifest(b"x")),
    });
    assert!(client().get_manifest(&reference(&server.host, "a:1")).unwrap().is_some());
    assert!(server.lines().iter().filter(|line| line.starts_with("GET /token")).count() <= 4);
}

#[test]
fn a_token_server_that_refuses_is_named_with_the_source_of_the_credentials() {
    let server = Server::start(|_, request| match request.target.starts_with("/token") {
        true => Answer::error(403, "DENIED", "no"),
        false => Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="http://{}/token""#, request.header("host"))),
    });
    let error = client_as(&server.host, "u", "p").head_manifest(&reference(&server.host, "a:1")).unwrap_err();
    assert!(matches!(&error, Error::Denied { credentials, .. } if credentials.to_string() == "$REGISTRY_TOKEN"), "{error}");
    assert!(error.to_string().contains("get a token from 127.0.0.1 to look up 1"), "{error}");
}
