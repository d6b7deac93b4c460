//! What of a request nobody may read where a server repeats the request in its answer.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use reqwest::Url;
use reqwest::header::HeaderValue;

/// In bytes. To mask what is shorter would hide ordinary words and protect nothing.
const SHORTEST: usize = 4;

/// User info and the values in the query of an address, as they were sent and decoded; long ones first, for they may hold others.
pub(super) fn secrets_of_url(url: &Url) -> Vec<String> {
    let values = url.query().unwrap_or_default().split('&').map(|pair| pair.split_once('=').map_or(pair, |(_, value)| value));
    let sent = values.chain(url.password()).chain([url.username()]);
    let mut secrets: Vec<String> = sent.flat_map(|sent| [sent.to_owned(), decoded(sent), decoded(&sent.replace('+', "%2B"))]).collect();
    secrets.retain(|secret| secret.len() >= SHORTEST);
    secrets.sort_by(|a, b| (b.len(), a).cmp(&(a.len(), b)));
    secrets.dedup();
    secrets
}

/// What an `Authorization` proves itself with, and the password in it.
pub(super) fn secrets_of_header(authorization: &HeaderValue) -> Vec<String> {
    let Some((scheme, token)) = authorization.to_str().ok().and_then(|text| text.split_once(' ')) else { return Vec::new() };
    let basic = Some(token).filter(|_| scheme.eq_ignore_ascii_case("basic")).and_then(|token| STANDARD.decode(token).ok());
    let basic = basic.and_then(|basic| String::from_utf8(basic).ok());
    // Where there is no password, the user is the token.
    let password =
        basic.as_deref().and_then(|basic| basic.split_once(':')).map(|(user, password)| if password.is_empty() { user } else { password });
    let password = password.filter(|password| password.len() >= SHORTEST);
    [token].into_iter().chain(password).map(str::to_owned).collect()
}

/// A value as the server reads it (WHATWG URL, "application/x-www-form-urlencoded").
fn decoded(value: &str) -> String {
    let parsed = Url::parse(&format!("x:?x={value}"));
    parsed.ok().and_then(|url| url.query_pairs().next().map(|(_, value)| value.into_owned())).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_of_an_address_are_known_as_sent_and_decoded() {
        for (url, secrets) in [
            ("http://h/x?X-Sig=hunter2pw&Y=1&t=abc", &["hunter2pw"][..]),
            ("http://h/x?s=a%2Bb%2Fcd%3D%3D&hunter2pw", &["a%2Bb%2Fcd%3D%3D", "hunter2pw", "a+b/cd=="]),
            ("http://h/x?s=ab+cd+ef", &["ab cd ef", "ab+cd+ef"]),
            ("http://user:p%40ss%2Bword@h/x", &["p%40ss%2Bword", "p@ss+word", "user"]),
            ("http://h/path/long", &[]),
        ] {
            assert_eq!(secrets_of_url(&url.parse().unwrap()), secrets, "{url}");
        }
    }

    #[test]
    fn the_password_of_a_login_is_known_too() {
        for (header, secrets) in [
            ("Bearer s", &["s"][..]),
            ("Basic dTpodW50ZXIycHc=", &["dTpodW50ZXIycHc=", "hunter2pw"]),
            ("Basic aHVudGVyMnB3Og==", &["aHVudGVyMnB3Og==", "hunter2pw"]),
            ("Basic dTphYmM=", &["dTphYmM="]),
            ("token", &[]),
        ] {
            assert_eq!(secrets_of_header(&HeaderValue::from_static(header)), secrets, "{header}");
        }
    }
}
