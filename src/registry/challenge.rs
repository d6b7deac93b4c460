//! `WWW-Authenticate` (RFC 9110 §11.6.1): one header may carry several challenges, with commas between and inside of them.

use std::collections::BTreeMap;

/// One challenge. Scheme and parameter names are lower case, as RFC 9110 compares them without case.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Challenge {
    pub scheme: String,
    pub params: BTreeMap<String, String>,
}

/// The challenges of one header value. What cannot be understood is left out; a repeated parameter keeps its first value.
pub fn parse(header: &str) -> Vec<Challenge> {
    let mut rest = Cursor(header);
    let mut challenges: Vec<Challenge> = Vec::new();
    loop {
        rest.skip(|c| c == ',' || c.is_ascii_whitespace());
        let word = rest.token();
        if word.is_empty() {
            if rest.0.is_empty() {
                return challenges;
            }
            rest.skip_to_comma();
            continue;
        }
        rest.skip(|c| c.is_ascii_whitespace());
        if rest.eat('=') {
            rest.skip(|c| c.is_ascii_whitespace());
            let value = rest.value();
            match (challenges.last_mut(), value) {
                (Some(challenge), Some(value)) => _ = challenge.params.entry(word.to_ascii_lowercase()).or_insert(value),
                // token68 (`Negotiate YII=`) or a parameter without a scheme
                _ => rest.skip_to_comma(),
            }
        } else {
            challenges.push(Challenge { scheme: word.to_ascii_lowercase(), params: BTreeMap::new() });
        }
    }
}

struct Cursor<'a>(&'a str);

impl<'a> Cursor<'a> {
    fn skip(&mut self, of: impl Fn(char) -> bool) {
        self.0 = self.0.trim_start_matches(of);
    }

    fn eat(&mut self, c: char) -> bool {
        self.0.strip_prefix(c).map(|rest| self.0 = rest).is_some()
    }

    fn skip_to_comma(&mut self) {
        self.0 = self.0.find(',').map_or("", |at| &self.0[at..]);
    }

    /// `token` of RFC 9110 §5.6.2.
    fn token(&mut self) -> &'a str {
        let end = self.0.find(|c: char| !c.is_ascii_alphanumeric() && !"!#$%&'*+-.^_`|~".contains(c)).unwrap_or(self.0.len());
        let (word, rest) = self.0.split_at(end);
        self.0 = rest;
        word
    }

    /// A token or a quoted-string (§5.6.4); `None` for neither.
    fn value(&mut self) -> Option<String> {
        if !self.eat('"') {
            // Lenient: some servers leave the quotes off a URL.
            let end = self.0.find(|c: char| c == ',' || c.is_ascii_whitespace()).unwrap_or(self.0.len());
            let (word, rest) = self.0.split_at(end);
            self.0 = rest;
            return (!word.is_empty() && !word.starts_with('=')).then(|| word.to_owned());
        }
        let mut out = String::new();
        let mut chars = self.0.char_indices();
        while let Some((at, c)) = chars.next() {
            match c {
                '"' => {
                    self.0 = &self.0[at + 1..];
                    return Some(out);
                }
                '\\' => out.extend(chars.next().map(|(_, escaped)| escaped)),
                _ => out.push(c),
            }
        }
        self.0 = "";
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn show(header: &str) -> String {
        let challenge = |c: Challenge| format!("{}{:?}", c.scheme, c.params.into_iter().collect::<Vec<_>>());
        parse(header).into_iter().map(challenge).collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn challenges_are_read_with_quotes_commas_and_neighbours() {
        for (header, expected) in [
            (
                r#"Bearer realm="https://auth.x/token",service="x",scope="repository:a/b:pull,push""#,
                r#"bearer[("realm", "https://auth.x/token"), ("scope", "repository:a/b:pull,push"), ("service", "x")]"#,
            ),
            (r#"BASIC Realm = "a \"b\", c" , charset=UTF-8"#, r#"basic[("charset", "UTF-8"), ("realm", "a \"b\", c")]"#),
            (r#"Basic realm="a", Bearer realm="b""#, r#"basic[("realm", "a")] bearer[("realm", "b")]"#),
            (r#"Negotiate, Basic realm="a""#, r#"negotiate[] basic[("realm", "a")]"#),
            (r#"Negotiate YII==, Basic realm="a""#, r#"negotiate[] basic[("realm", "a")]"#),
            ("Bearer realm=https://auth.x/token", r#"bearer[("realm", "https://auth.x/token")]"#),
            (r#"Bearer realm="a",realm="b""#, r#"bearer[("realm", "a")]"#),
        ] {
            assert_eq!(show(header), expected, "{header}");
        }
    }

    #[test]
    fn garbage_ends_and_gives_nothing_usable() {
        for header in ["", ",,,", "=", "é", "\"", "Bearer realm=\"open", "@@@ , ===", "Bearer =x", "\\", "a=\"\\"] {
            assert!(parse(header).iter().all(|c| c.params.is_empty()), "{header}");
        }
    }
}
