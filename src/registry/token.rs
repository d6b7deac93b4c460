//! Tokens of the distribution token spec: one GET with Basic credentials, or one OAuth2 POST with an identity token.
//!
//! A registry names its token server itself (`realm`), and that may be any host: it hears the credentials that are for this registry, and
//! never those for another, whatever `service` and `scope` say. Over plain http it hears them only where that was allowed
//! ([`Endpoint::may_tell`]), and where it redirects to another host, that one hears none at all.
//!
//! [`Endpoint::may_tell`]: super::endpoint::Endpoint::may_tell

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Method, Url};
use serde::Deserialize;
use serde_json::value::RawValue;

use super::auth::{Bearer, Purpose};
use super::client::RegistryOptions;
use super::credentials::{Credential, Login};
use super::http::{Call, Failure, Http, Payload};
use super::reply::is_html;
use super::{At, Error};

const MAX_ANSWER: usize = 1 << 20;
/// What the spec lets a token live for where the server does not say.
const DEFAULT_LIFE: u64 = 60;
/// A day, whatever the server says.
const LONGEST_LIFE: u64 = 86_400;

/// Who carries it may do what it was asked for.
#[derive(Clone)]
pub struct Token {
    pub(super) header: HeaderValue,
    fresh_until: Instant,
}

impl Token {
    /// Reads a server's answer.
    ///
    /// # Errors
    /// What came instead. What arrived is a secret or rubbish: neither is repeated.
    pub fn read(body: &[u8]) -> Result<Self, String> {
        let what = || if is_html(&String::from_utf8_lossy(body)) { "an HTML page" } else { "something else" }.to_owned();
        let answer: Answer = serde_json::from_slice(body).map_err(|_| what())?;
        let token =
            [answer.token, answer.access_token].into_iter().flatten().find(|token| !token.is_empty()).ok_or("JSON without a token")?;
        let mut header = HeaderValue::try_from(format!("Bearer {token}")).map_err(|_| "a token that no header can hold")?;
        header.set_sensitive(true);
        // What is no number of seconds is as if it were not said.
        let said = answer.expires_in.and_then(|seconds| seconds.get().parse().ok());
        let life = said.filter(|seconds| *seconds > 0).unwrap_or(DEFAULT_LIFE).min(LONGEST_LIFE);
        // A tenth early, for the way and for clocks that differ.
        Ok(Self { header, fresh_until: Instant::now() + Duration::from_secs(life) * 9 / 10 })
    }

    pub fn is_fresh(&self) -> bool {
        Instant::now() < self.fresh_until
    }
}

#[derive(Deserialize)]
struct Answer {
    token: Option<String>,
    access_token: Option<String>,
    expires_in: Option<Box<RawValue>>,
}

/// Asks `bearer.realm` for a token with exactly `scopes`.
pub(super) async fn fetch(
    http: &Http,
    registries: &BTreeMap<String, RegistryOptions>,
    bearer: &Bearer,
    purpose: &Purpose<'_>,
    credential: Option<&Credential>,
) -> Result<Token, Failure> {
    let Purpose { endpoint, scopes, at, .. } = purpose;
    let at = At { step: format!("get a token from {} to {}", bearer.realm.host_str().unwrap_or_default(), at.step), ..(*at).clone() };
    if credential.is_some() && !endpoint.may_tell(&bearer.realm, registries) {
        return Err(Error::InsecureRealm { at: Box::new(at), realm: bearer.realm.origin().ascii_serialization() }.into());
    }
    let service = bearer.service.as_deref();
    let mut headers = HeaderMap::new();
    let mut url = bearer.realm.clone();
    let form;
    let (method, payload, authorization) = match credential.map(|c| &c.login) {
        Some(Login::IdentityToken(token)) => {
            let scope = scopes.0.join(" ");
            let service = service.unwrap_or_default();
            let fields = [
                ("grant_type", "refresh_token"),
                ("service", service),
                ("client_id", "brik"),
                ("scope", &scope),
                ("refresh_token", token.expose()),
            ];
            form = urlencoded(url.clone(), &fields);
            headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
            (Method::POST, Payload::Bytes(form.as_bytes()), None)
        }
        login => {
            let mut query = url.query_pairs_mut();
            service.iter().for_each(|service| _ = query.append_pair("service", service));
            scopes.0.iter().for_each(|scope| _ = query.append_pair("scope", scope));
            drop(query);
            (Method::GET, Payload::Nothing, login.and_then(basic))
        }
    };
    let call = Call { method, url, headers, ca: endpoint.ca.as_deref(), payload, at };
    // Not repeated here: whoever needs the token repeats the whole.
    let mut response = http.once(&call, authorization.as_ref()).await?;
    let body = http.body(&mut response, MAX_ANSWER, &call.at).await?;
    Token::read(&body).map_err(|got| Error::Garbage { at: Box::new(call.at), expected: "a token in JSON", got }.into())
}

/// `Authorization: Basic …`, or `None` where the login is no password or holds what no header can.
pub(super) fn basic(login: &Login) -> Option<HeaderValue> {
    let Login::Password { user, password } = login else { return None };
    let mut header = HeaderValue::try_from(format!("Basic {}", STANDARD.encode(format!("{user}:{}", password.expose())))).ok()?;
    header.set_sensitive(true);
    Some(header)
}

/// The fields as a form, by the encoder that `Url` carries for its query.
fn urlencoded(mut url: Url, fields: &[(&str, &str)]) -> String {
    url.set_query(None);
    url.query_pairs_mut().extend_pairs(fields);
    url.query().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_read_under_both_names_and_expire() {
        for (body, header) in [
            (r#"{"token":"a"}"#, "Bearer a"),
            (r#"{"access_token":"b","expires_in":300}"#, "Bearer b"),
            (r#"{"token":"a","access_token":"b","expires_in":0}"#, "Bearer a"),
            (r#"{"token":"","access_token":"b"}"#, "Bearer b"),
            (r#"{"token":null,"access_token":"b","expires_in":null}"#, "Bearer b"),
            (r#"{"token":"a","expires_in":-1}"#, "Bearer a"),
            (r#"{"token":"a","expires_in":299.5}"#, "Bearer a"),
            (r#"{"token":"a","expires_in":"300"}"#, "Bearer a"),
            (r#"{"token":"a","expires_in":1e999}"#, "Bearer a"),
            (r#"{"token":"a","expires_in":99999999999999999999999}"#, "Bearer a"),
        ] {
            let token = Token::read(body.as_bytes()).unwrap();
            assert_eq!((token.header.to_str().unwrap(), token.is_fresh()), (header, true));
        }
    }

    #[test]
    fn a_token_is_never_repeated_in_a_message() {
        for body in [r#"{"tokn":"hunter2"}"#, "<html>hunter2", "hunter2", r#"{"token":"hunter2\n"}"#, r#"{"token":7}"#] {
            let error = Token::read(body.as_bytes()).map(|_| ()).unwrap_err();
            assert!(!error.contains("hunter2"), "{error}");
        }
    }

    #[test]
    fn form_fields_are_encoded() {
        assert_eq!(
            urlencoded("http://a/?b".parse().unwrap(), &[("a", "x y&z"), ("scope", "r:a/b:pull")]),
            "a=x+y%26z&scope=r%3Aa%2Fb%3Apull"
        );
    }
}
