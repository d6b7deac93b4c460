//! What registries and their token servers say of who may do what.

use brik::registry::{Challenge, Token, parse_challenges};

/// `input` is a `WWW-Authenticate` header and, after a NUL, a token server's answer.
pub fn check(input: &[u8]) {
    let mut parts = input.splitn(2, |byte| *byte == 0);
    if let Ok(header) = std::str::from_utf8(parts.next().unwrap_or_default()) {
        challenges(header);
    }
    parts.next().into_iter().for_each(answer);
}

fn challenges(header: &str) {
    let found = parse_challenges(header);
    let token = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&b));
    for Challenge { scheme, params } in &found {
        assert!([scheme].into_iter().chain(params.keys()).all(|name| token(name) && *name == name.to_ascii_lowercase()), "{found:?}");
    }
    let size: usize =
        found.iter().map(|one| one.scheme.len() + params(one).map(|(name, value)| name.len() + value.len()).sum::<usize>()).sum();
    assert!(size <= header.len(), "{size} bytes out of {}", header.len());
    let written = found.iter().map(written).collect::<Vec<_>>().join(", ");
    assert_eq!(parse_challenges(&written), found, "written as {written}");
}

fn params(challenge: &Challenge) -> impl Iterator<Item = (&String, &String)> {
    challenge.params.iter()
}

/// As RFC 9110 has it.
fn written(challenge: &Challenge) -> String {
    let quoted = |text: &str| text.replace('\\', "\\\\").replace('"', "\\\"");
    let list: Vec<String> = params(challenge).map(|(name, value)| format!("{name}=\"{}\"", quoted(value))).collect();
    format!("{} {}", challenge.scheme, list.join(", "))
}

/// What is wrong with it is said in words of brik's own: it may be a secret.
fn answer(body: &[u8]) {
    const KNOWN: [&str; 4] = ["an HTML page", "something else", "JSON without a token", "a token that no header can hold"];
    match Token::read(body) {
        Ok(token) => assert!(token.is_fresh()),
        Err(said) => assert!(KNOWN.contains(&said.as_str()), "{said}"),
    }
}
