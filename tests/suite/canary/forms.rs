//! Canaries: values that stand nowhere but where a test has put them, and every spelling in which they could leak.

use std::collections::BTreeMap;

use aho_corasick::AhoCorasick;
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE};

/// The canaries of one run, by what they are.
pub struct Canaries {
    values: BTreeMap<&'static str, String>,
    forms: Vec<(&'static str, Vec<u8>)>,
    search: AhoCorasick,
}

/// Which letters a value may have besides ASCII letters and digits.
#[derive(Clone, Copy)]
pub enum Letters {
    /// As tokens have them, and URLs allow.
    Token,
    /// What JSON, shells and URLs give a meaning to.
    Hard,
    /// The same, in several lines.
    Lines,
}

impl Canaries {
    pub fn new(random: &mut fastrand::Rng, kinds: &[(&'static str, Letters)]) -> Self {
        let values: BTreeMap<_, _> = kinds.iter().map(|(what, letters)| (*what, value(random, *letters))).collect();
        let forms: Vec<_> = values.iter().flat_map(|(what, value)| forms(value).into_iter().map(|form| (*what, form))).collect();
        let search = AhoCorasick::new(forms.iter().map(|(_, form)| form)).unwrap();
        Self { values, forms, search }
    }

    pub fn get(&self, what: &str) -> &str {
        &self.values[what]
    }

    pub fn count(&self) -> usize {
        self.values.len()
    }

    pub fn forms(&self) -> usize {
        self.forms.len()
    }

    /// What is in `bytes`, each once, and how it is spelled there.
    pub fn found_in(&self, bytes: &[u8]) -> BTreeMap<&'static str, String> {
        let found = self.search.find_overlapping_iter(bytes).map(|found| &self.forms[found.pattern().as_usize()]);
        found.map(|(what, form)| (*what, String::from_utf8_lossy(form).into_owned())).collect()
    }
}

fn value(random: &mut fastrand::Rng, letters: Letters) -> String {
    let mut word = |length: usize| -> String { (0..length).map(|_| random.alphanumeric()).collect() };
    match letters {
        Letters::Token => format!("{}-{}_{}.{}", word(9), word(7), word(8), word(6)),
        Letters::Hard => format!("{}/+\"{} '${{x}}`\\{}&<?%>=~{}", word(8), word(6), word(5), word(6)),
        Letters::Lines => {
            let lines: Vec<String> = (0..4).map(|_| word(40) + "/+=").collect();
            format!("-----BEGIN {} KEY-----\n{}\n", word(8), lines.join("\n"))
        }
    }
}

fn forms(value: &str) -> Vec<Vec<u8>> {
    let mut forms = vec![value.to_owned(), value.chars().rev().collect()];
    let json = serde_json::to_string(value).unwrap();
    forms.push(json[1..json.len() - 1].to_owned());
    for engine in [&STANDARD, &URL_SAFE] {
        // A password stands behind a user's name, so at any of three offsets.
        for before in ["", "x", "xy"] {
            let text = engine.encode(format!("{before}{value}"));
            let text = text.trim_end_matches('=');
            forms.push(text[before.len().min(1) * 4..text.len() / 4 * 4 - 4].to_owned());
        }
    }
    let percent = |keep: &str, digits: fn(u8) -> String| -> String {
        value
            .bytes()
            .map(|b| if b.is_ascii_alphanumeric() || keep.as_bytes().contains(&b) { char::from(b).to_string() } else { digits(b) })
            .collect()
    };
    for keep in ["-._~", "-_.!~*'()", "*-._"] {
        forms.extend([percent(keep, |b| format!("%{b:02X}")), percent(keep, |b| format!("%{b:02x}"))]);
    }
    let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
    forms.extend([hex.to_ascii_uppercase(), hex[..40].to_owned()]);
    // Each line of what has several.
    forms.extend(value.lines().map(str::to_owned));
    forms.sort();
    forms.dedup();
    forms.into_iter().map(String::into_bytes).collect()
}

#[test]
fn a_canary_is_found_however_it_is_spelled() {
    let mut random = fastrand::Rng::with_seed(7);
    for letters in [Letters::Token, Letters::Hard, Letters::Lines] {
        let canaries = Canaries::new(&mut random, &[("one", letters), ("other", letters)]);
        let value = canaries.get("one");
        let encode = |before: &str| STANDARD.encode(format!("{before}{value}"));
        let hex: String = value.bytes().map(|b| format!("{b:02x}")).collect();
        let line = value.lines().last().unwrap().to_owned();
        for text in [
            value.to_owned(),
            encode(""),
            encode("u:"),
            encode("user:"),
            encode("name:"),
            hex,
            serde_json::json!([value]).to_string(),
            line,
        ] {
            let found = canaries.found_in(format!("before {text} after").as_bytes());
            assert_eq!(found.keys().collect::<Vec<_>>(), [&"one"], "{text}");
        }
        assert!(canaries.found_in(b"nothing of it").is_empty());
    }
}
