//! Who hears a secret, and who must not. What a registry may ask for is told in the head of `token.rs` and `push.rs`.

use super::scripted::{Answer, Request, Server};
use super::*;
use crate::registry::Error;

/// Asks everybody who he is, and wants to hear it at `realm`.
fn asks(realm: &str) -> Answer {
    Answer::new(401).header("WWW-Authenticate", format!(r#"Bearer realm="{realm}",service="s""#))
}

/// Gives a token to everybody, and lets nobody in without one.
fn guarded(request: &Request, inside: impl Fn() -> Answer) -> Answer {
    match (request.target.starts_with("/token"), request.header("authorization")) {
        (true, _) => Answer::new(200).body(r#"{"token":"t"}"#),
        (false, "Bearer t") => inside(),
        _ => asks(&format!("http://{}/token", request.header("host"))),
    }
}

fn heard(server: &Server) -> Vec<String> {
    let secret = |request: &Request| {
        let said = ["authorization", "cookie", "proxy-authorization"].map(|name| request.header(name)).concat();
        (!said.is_empty()).then(|| format!("{}: {said}", request.line()))
    };
    server.requests().iter().filter_map(secret).collect()
}

fn pull(client: &Client, server: &Server) -> Result<(), Error> {
    client.pull_blob(&reference(&server.host, "a"), &layer(b"x"), &mut Vec::new()).map(drop)
}

#[test]
fn who_leads_away_and_back_hears_nothing_more() {
    let home: Arc<std::sync::OnceLock<String>> = Arc::default();
    let back = home.clone();
    let away = Server::start(move |_, _| Answer::new(307).header("Location", format!("http://{}/v2/b/secret", back.get().unwrap())));
    let target = away.host.clone();
    let server = Server::start(move |_, request| match request.target.as_str() {
        "/v2/b/secret" => guarded(request, || Answer::new(200).body("x")),
        _ => guarded(request, || Answer::new(307).header("Location", format!("http://{target}/cdn"))),
    });
    home.set(server.host.clone()).unwrap();
    let error = pull(&client_as(&server.host, "u", "p"), &server).unwrap_err();
    assert!(matches!(&error, Error::Elsewhere { host, .. } if *host == server.host), "{error}");
    assert_eq!(away.lines(), ["GET /cdn"]);
    assert_eq!(heard(&away), [""; 0]);
    let last = server.requests().pop().unwrap();
    assert_eq!((last.line().as_str(), last.header("authorization")), ("GET /v2/b/secret", ""));
}

#[test]
fn who_refuses_behind_a_redirect_is_named_and_the_credentials_are_not_blamed() {
    for status in [401, 403] {
        let storage = Server::start(move |_, _| Answer::error(status, "AccessDenied", "expired"));
        let target = storage.host.clone();
        let server = Server::start(move |_, request| {
            guarded(request, || Answer::new(307).header("Location", format!("http://{target}/bucket?sig=1")))
        });
        let error = pull(&client_as(&server.host, "u", "p"), &server).unwrap_err();
        let (text, advice) = (error.to_string(), error.advice().unwrap_or_default());
        let expected = format!("{} led to {}, which refuses (status {status}: AccessDenied: expired)", server.host, storage.host);
        assert!(text.ends_with(&expected) && !advice.contains("REGISTRY_TOKEN") && !advice.contains("login"), "{text} {advice}");
    }
}

#[test]
fn an_upload_that_goes_on_elsewhere_goes_without_credentials() {
    for takes_it in [true, false] {
        let storage = Server::start(move |_, _| if takes_it { Answer::new(201) } else { asks("http://127.0.0.1:1/steal") });
        let target = storage.host.clone();
        let server = Server::start(move |_, request| {
            guarded(request, || match request.method.as_str() {
                "POST" => Answer::new(202).header("Location", format!("http://{target}/bucket?sig=1")),
                _ => Answer::new(404),
            })
        });
        let file = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(file.path(), b"x").unwrap();
        let pushed = push_blob(&client_as(&server.host, "u", "p"), &reference(&server.host, "a"), &layer(b"x"), file.path(), &[], &|_| {});
        match takes_it {
            true => assert_eq!(pushed.unwrap(), Pushed::Uploaded),
            false => assert!(matches!(&pushed, Err(Error::Elsewhere { host, .. }) if *host == storage.host), "{pushed:?}"),
        }
        assert_eq!(storage.lines().len(), 1, "{:?}", storage.lines());
        assert!(storage.lines()[0].starts_with("PUT /bucket?sig=1&digest="), "{:?}", storage.lines());
        assert_eq!(heard(&storage), [""; 0]);
    }
}

#[test]
fn a_password_goes_where_the_registry_has_its_tokens_and_not_where_that_redirects_to() {
    let thief = Server::start(|_, _| Answer::new(200).body(r#"{"token":"t"}"#));
    let target = thief.host.clone();
    let tokens = Server::start(move |_, request| match request.target.starts_with("/moved") {
        true => Answer::new(307).header("Location", format!("http://{target}/")),
        false => Answer::new(200).body(r#"{"token":"t"}"#),
    });
    for (path, at_thief) in [("token", 0), ("moved", 1)] {
        let realm = format!("http://{}/{path}", tokens.host);
        let server = Server::start(move |_, request| match request.header("authorization") {
            "Bearer t" => Answer::new(200).body("x"),
            _ => asks(&realm),
        });
        pull(&client_as(&server.host, "u", "p"), &server).unwrap();
        assert_eq!(heard(&tokens).last().map(|said| said.ends_with("Basic dTpw")), Some(true), "{path}");
        assert_eq!((thief.lines().len(), heard(&thief)), (at_thief, Vec::new()), "{path}");
    }
}

#[test]
fn a_challenge_never_brings_out_what_is_for_another_registry() {
    let victim = Server::start(|_, _| Answer::new(200).body(r#"{"token":"of the victim"}"#));
    for challenge in [
        format!(r#"Bearer realm="http://{0}/token",service="{0}",scope="repository:a:pull,push""#, victim.host),
        format!(r#"Basic realm="{}""#, victim.host),
    ] {
        let server = Server::start(move |_, _| Answer::new(401).header("WWW-Authenticate", challenge.clone()));
        let error = pull(&client_as(&victim.host, "u", "p"), &server).unwrap_err();
        assert!(matches!(&error, Error::Unauthorized { credentials, .. } if credentials.to_string() == "no credentials"), "{error}");
        assert!(heard(&server).iter().all(|said| said.ends_with("Bearer of the victim")), "{:?}", heard(&server));
        assert_eq!(heard(&victim), [""; 0]);
    }
    // What it asks for is what brik needs, and not what the challenge says.
    assert!(victim.lines().iter().all(|line| line.ends_with("scope=repository%3Aa%3Apull")), "{:?}", victim.lines());
}

#[test]
fn a_mirror_hears_nothing_that_is_for_its_registry() {
    let mirror = Server::start(|_, request| guarded(request, || Answer::new(404)));
    let server = Server::start(|_, request| guarded(request, || Answer::new(200).body("x")));
    let to_mirror = RegistryOptions { mirror: Some(mirror.host.clone()), ..RegistryOptions::default() };
    let env = [("REGISTRY_TOKEN", "p"), ("REGISTRY_USERNAME", "u")].map(|(name, value)| (name.to_owned(), value.to_owned()));
    let credentials = Arc::new(Credentials::discover(env.into(), Some(&server.host)));
    let registries = BTreeMap::from([(server.host.clone(), to_mirror)]);
    let client = Client::new(ClientOptions { registries, credentials, ..super::options() }).unwrap();
    pull(&client, &server).unwrap();
    assert_eq!(heard(&mirror), ["GET /v2/a/blobs/SHA: Bearer t".replace("SHA", &Digest::of(b"x").to_string())]);
    assert!(heard(&server).iter().any(|said| said.ends_with("Basic dTpw")), "{:?}", heard(&server));
}

/// CVE-2020-15157: the `urls` of a foreign layer led containerd to hosts that then asked for credentials.
#[test]
fn the_urls_of_a_layer_are_not_followed() {
    let stranger = Server::start(|_, _| asks("http://127.0.0.1:1/steal"));
    let urls = format!(r#""urls":["http://{}/layer"],"digest""#, stranger.host);
    let manifest = String::from_utf8(manifest(b"x")).unwrap().replace(r#""digest""#, &urls);
    let server = Server::start(move |_, request| {
        guarded(request, || match request.target.contains("/manifests/") {
            true => Answer::new(200).body(manifest.clone()),
            false => Answer::error(404, "BLOB_UNKNOWN", "foreign"),
        })
    });
    let client = client_as(&server.host, "u", "p");
    let found = client.resolve(&reference(&server.host, "a:1"), &crate::oci::Platform::host()).unwrap();
    let error = client.pull_blob(&reference(&server.host, "a"), &found.manifest.layers[0], &mut Vec::new()).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    assert_eq!(stranger.lines(), [""; 0]);
}
