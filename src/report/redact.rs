//! Keeps secrets out of whatever brik says: known values, in every spelling of `forms`, become `***`.

use std::borrow::Cow;
use std::collections::BTreeSet;
use std::fmt;
use std::ops::{Bound, Range};
use std::sync::{Arc, PoisonError, RwLock};

use aho_corasick::AhoCorasick;

use super::Error;
use super::forms::{SHORTEST, forms};

const MASK: &str = "***";
/// BuildKit refuses larger secrets too.
const LARGEST: usize = 500 * 1024;

/// The secrets of a run, shared by all who print. Clones share one set.
#[derive(Clone, Default)]
pub struct Redactor {
    secrets: Arc<RwLock<Arc<Secrets>>>,
}

#[derive(Default)]
struct Secrets {
    forms: BTreeSet<Vec<u8>>,
    /// Length of the longest form, in bytes.
    longest: usize,
    search: Option<AhoCorasick>,
}

impl Redactor {
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on, `secret` is masked. Values shorter than 4 bytes are ignored: they would mask ordinary words.
    ///
    /// An error means that the secret would show: do not use it then.
    pub fn add(&self, secret: &[u8]) -> Result<(), Error> {
        if secret.len() > LARGEST {
            return Err(Error::SecretTooLarge { bytes: secret.len(), limit: LARGEST });
        }
        if secret.len() < SHORTEST {
            return Ok(());
        }
        let mut current = self.secrets.write().unwrap_or_else(PoisonError::into_inner);
        let forms: BTreeSet<Vec<u8>> = current.forms.iter().cloned().chain(forms(secret)).collect();
        let search = AhoCorasick::new(&forms).map_err(|error| Error::Secrets { reason: error.to_string() })?;
        let longest = forms.iter().map(Vec::len).max().unwrap_or(0);
        *current = Arc::new(Secrets { forms, longest, search: Some(search) });
        Ok(())
    }

    /// `text` with every secret masked; for messages, errors and rendered diagnostics.
    pub fn redact<'t>(&self, text: &'t str) -> Cow<'t, str> {
        if self.secrets().find(text.as_bytes(), None).is_empty() {
            return Cow::Borrowed(text);
        }
        let mut stream = self.stream();
        let mut bytes = stream.push(text.as_bytes());
        bytes.extend(stream.finish());
        Cow::Owned(String::from_utf8_lossy(&bytes).into_owned())
    }

    /// State for one stream of bytes that arrives in chunks, such as the stdout of one Step.
    pub fn stream(&self) -> RedactingStream {
        RedactingStream { redactor: self.clone(), held: Vec::new(), masked: None }
    }

    fn secrets(&self) -> Arc<Secrets> {
        self.secrets.read().unwrap_or_else(PoisonError::into_inner).clone()
    }
}

impl fmt::Debug for Redactor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Redactor")
    }
}

impl Secrets {
    /// Where secrets stand in `bytes`: in order, neither overlapping nor touching. The first `masked` bytes count as found.
    fn find(&self, bytes: &[u8], masked: Option<usize>) -> Vec<Range<usize>> {
        let found = self.search.iter().flat_map(|search| search.find_overlapping_iter(bytes)).map(|found| found.range());
        let mut ranges: Vec<Range<usize>> = masked.map(|end| 0..end).into_iter().chain(found).collect();
        ranges.sort_unstable_by_key(|range| range.start);
        ranges.dedup_by(|next, range| {
            let joined = next.start <= range.end;
            if joined {
                range.end = range.end.max(next.end);
            }
            joined
        });
        ranges
    }

    /// Start of the longest end of `bytes` with which a secret may begin; `bytes.len()` where there is none.
    fn undecided(&self, bytes: &[u8]) -> usize {
        let begins_a_form = |end: &[u8]| {
            let after = self.forms.range::<[u8], _>((Bound::Excluded(end), Bound::Unbounded)).next();
            after.is_some_and(|form| form.starts_with(end))
        };
        (bytes.len().saturating_sub(self.longest)..bytes.len()).find(|&at| begins_a_form(&bytes[at..])).unwrap_or(bytes.len())
    }
}

/// Masks secrets in a stream, also where one is split over chunks. Holds back at most the length of the longest form of a
/// secret (1 KiB), and that only while the end of the stream may be the beginning of one.
pub struct RedactingStream {
    redactor: Redactor,
    held: Vec<u8>,
    /// How many of the held bytes belong to a secret whose mask was written already.
    masked: Option<usize>,
}

impl RedactingStream {
    /// Takes a chunk and returns what can be shown by now.
    pub fn push(&mut self, chunk: &[u8]) -> Vec<u8> {
        self.held.extend_from_slice(chunk);
        let secrets = self.redactor.secrets();
        let end = secrets.undecided(&self.held);
        self.release(&secrets, end)
    }

    /// The stream has ended: returns the rest.
    pub fn finish(&mut self) -> Vec<u8> {
        let secrets = self.redactor.secrets();
        let rest = self.release(&secrets, self.held.len());
        self.masked = None;
        rest
    }

    /// Returns the held bytes before `end`, masked. A secret that begins before `end` also ends within the held bytes,
    /// else `end` would be undecided.
    fn release(&mut self, secrets: &Secrets, end: usize) -> Vec<u8> {
        let mut out = Vec::with_capacity(end);
        let mut at = 0;
        for range in secrets.find(&self.held, self.masked) {
            if range.start >= end.max(1) {
                break;
            }
            out.extend_from_slice(&self.held[at..range.start]);
            if range.start > 0 || self.masked.is_none() {
                out.extend_from_slice(MASK.as_bytes());
            }
            at = range.end;
            self.masked = Some(0);
        }
        if at < end {
            out.extend_from_slice(&self.held[at..end]);
        }
        self.masked = at.checked_sub(end).filter(|_| self.masked.is_some());
        self.held.drain(..end);
        out
    }
}

#[cfg(test)]
mod tests {
    use base64::Engine;
    use base64::engine::general_purpose::{STANDARD, STANDARD_NO_PAD, URL_SAFE, URL_SAFE_NO_PAD};

    use super::*;

    fn redactor(secrets: &[&str]) -> Redactor {
        let redactor = Redactor::new();
        secrets.iter().for_each(|secret| redactor.add(secret.as_bytes()).unwrap());
        redactor
    }

    fn in_chunks(redactor: &Redactor, chunks: &[&[u8]]) -> String {
        let mut stream = redactor.stream();
        let mut out: Vec<u8> = chunks.iter().flat_map(|chunk| stream.push(chunk)).collect();
        out.extend(stream.finish());
        String::from_utf8(out).unwrap()
    }

    const SECRET: &str = "pä55 w\"ord/?>~!";

    /// Texts that show [`SECRET`], and what of them may be shown.
    fn leaks() -> Vec<(&'static str, String)> {
        let encode = |text: &str| STANDARD.encode(text);
        vec![
            ("raw", SECRET.to_owned()),
            ("base64", encode(SECRET)),
            ("base64, url-safe", URL_SAFE.encode(SECRET)),
            ("base64, unpadded", STANDARD_NO_PAD.encode(SECRET)),
            ("base64, url-safe, unpadded", URL_SAFE_NO_PAD.encode(SECRET)),
            ("hexadecimal", "70c3a435352077226f72642f3f3e7e21".to_owned()),
            ("RFC 3986", "p%C3%A455%20w%22ord%2F%3F%3E~%21".to_owned()),
            ("RFC 3986, lower case", "p%c3%a455%20w%22ord%2f%3f%3e~%21".to_owned()),
            ("encodeURIComponent", "p%C3%A455%20w%22ord%2F%3F%3E~!".to_owned()),
            ("HTML form", "p%C3%A455+w%22ord%2F%3F%3E%7E%21".to_owned()),
            ("JSON", r#"pä55 w\"ord/?>~!"#.to_owned()),
            ("JSON by Python", r#"p\u00e455 w\"ord/?>~!"#.to_owned()),
            ("JSON by Go", r#"pä55 w\"ord/?\u003e~!"#.to_owned()),
        ]
    }

    #[test]
    fn a_secret_is_masked_in_every_spelling_wherever_the_stream_is_cut() {
        let redactor = redactor(&[SECRET]);
        for (what, leak) in leaks() {
            let text = format!("a {leak} z\n");
            assert_eq!(redactor.redact(&text), "a *** z\n", "{what}");
            for first in 0..text.len() {
                for second in first..text.len() {
                    let bytes = text.as_bytes();
                    let shown = in_chunks(&redactor, &[&bytes[..first], &bytes[first..second], &bytes[second..]]);
                    assert_eq!(shown, "a *** z\n", "{what} cut at {first} and {second}");
                }
            }
        }
    }

    #[test]
    fn a_secret_inside_longer_base64_leaves_only_its_neighbours_bits() {
        let redactor = redactor(&["s3cr3t-t0ken-0123456789"]);
        for user in ["a", "bob", "user:", "some-user"] {
            let shown = redactor.redact(&STANDARD.encode(format!("{user}:s3cr3t-t0ken-0123456789 and more"))).into_owned();
            let (before, after) = shown.split_once("***").unwrap();
            assert!(before.len() <= (user.len() + 1) * 8 / 6 + 1 && after.len() <= 16, "{shown}");
        }
    }

    #[test]
    fn each_line_of_a_multi_line_secret_is_masked() {
        let redactor = redactor(&["-----BEGIN KEY-----\r\n  abcdefgh\nxy\nijklmnop\n-----END KEY-----\n"]);
        assert_eq!(redactor.redact("1 abcdefgh 2 ijklmnop 3 xy"), "1 *** 2 *** 3 xy");
    }

    #[test]
    fn base64_wrapped_by_a_tool_is_masked_line_by_line() {
        let secret: String = (0..40).map(|i| format!("{i:03}-")).collect();
        let redactor = redactor(&[&secret]);
        for columns in [64, 76] {
            let text = STANDARD.encode(&secret).into_bytes();
            let wrapped: Vec<_> = text.chunks(columns).map(|line| std::str::from_utf8(line).unwrap()).collect();
            assert_eq!(redactor.redact(&wrapped.join("\n")), vec!["***"; wrapped.len()].join("\n"), "{columns}");
        }
    }

    #[test]
    fn overlapping_and_nested_secrets_are_masked_together() {
        let redactor = redactor(&["hunter2", "hunter2-and-more", "cdef", "abcd", "aaaa"]);
        for (text, shown) in [
            ("<hunter2>", "<***>"),
            ("<hunter2-and-more>", "<***>"),
            ("<hunter2-and-les>", "<***-and-les>"),
            ("abcdef!", "***!"),
            ("aaaaaaaaab", "***b"),
        ] {
            assert_eq!(redactor.redact(text), shown);
            for cut in 0..text.len() {
                assert_eq!(in_chunks(&redactor, &[&text.as_bytes()[..cut], &text.as_bytes()[cut..]]), shown, "{text} cut at {cut}");
            }
            let bytes: Vec<&[u8]> = text.as_bytes().chunks(1).collect();
            assert_eq!(in_chunks(&redactor, &bytes), shown, "{text} byte by byte");
        }
    }

    #[test]
    fn a_secret_longer_than_what_a_stream_holds_back_is_masked_once() {
        let secret: String = (0..2000).map(|i| format!("{i:04}")).collect();
        let redactor = redactor(&[&secret]);
        let text = format!("<{secret}>");
        assert_eq!(redactor.redact(&text), "<***>");
        let chunks: Vec<&[u8]> = text.as_bytes().chunks(700).collect();
        assert_eq!(in_chunks(&redactor, &chunks), "<***>");
    }

    #[test]
    fn text_that_cannot_begin_a_secret_is_not_held_back() {
        let redactor = redactor(&["hunter2"]);
        let mut stream = redactor.stream();
        assert_eq!(stream.push(b"downloading 7% "), b"downloading 7% ");
        assert_eq!(stream.push(b"no hunt"), b"no ");
        assert_eq!(stream.push(b"ing"), b"hunting");
    }

    #[test]
    fn a_secret_added_while_a_stream_runs_is_masked_from_then_on() {
        let redactor = redactor(&[]);
        let mut stream = redactor.stream();
        assert_eq!(stream.push(b"hunter2 "), b"hunter2 ");
        redactor.add(b"hunter2").unwrap();
        assert_eq!(stream.push(b"hunter2 "), b"*** ");
    }

    #[test]
    fn short_values_are_ignored_and_huge_ones_refused() {
        assert_eq!(redactor(&["abc", ""]).redact("abc"), "abc");
        assert!(matches!(Redactor::new().add(&vec![b'x'; LARGEST + 1]), Err(Error::SecretTooLarge { .. })));
    }

    #[test]
    fn debug_output_does_not_name_a_secret() {
        assert_eq!(format!("{:?}", redactor(&["hunter2"])), "Redactor");
    }
}
