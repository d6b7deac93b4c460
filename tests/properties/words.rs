//! Word expansion.

use brik::dockerfile::Expander;

/// A small environment: a value that needs splitting, one that looks like a variable, an empty one.
pub fn environment(name: &str) -> Option<String> {
    let value = match name {
        "A" | "PATH" => "/usr/bin:/bin",
        "B" => "two words",
        "C" => "$A ${B} '\"\\",
        "D" => "a*b?c/d/e.tar.gz",
        "EMPTY" => "",
        "LONG" => return Some("x/".repeat(2_000)),
        _ => return None,
    };
    Some(value.to_owned())
}

/// Checks that `text` expands in all ways to bounded, plausible results.
pub fn check(text: &str) {
    for escape in ['\\', '`'] {
        let expander = Expander { escape };
        let word = expander.word(text, &environment);
        let words = expander.words(text, &environment);
        assert_eq!(word.is_ok(), words.is_ok(), "one word and many fail together: {text:?}");
        // BuildKit's scanner drops a byte order mark at the start.
        let bare = text.strip_prefix('\u{feff}').unwrap_or(text);
        match word {
            Ok(found) => {
                assert!(found.text.len() <= (2 << 20) + 32 * text.len(), "{} bytes out of {}", found.text.len(), text.len());
                assert!(found.matched.is_sorted() && found.unmatched.is_sorted());
                assert!(!found.matched.iter().any(|name| found.unmatched.contains(name)), "{text:?}: {found:?}");
                if !bare.contains(['$', '\'', '"', escape]) {
                    assert_eq!(found.text, bare, "nothing to expand");
                }
            }
            Err(error) => assert_eq!(error.word, text),
        }
        for word in words.into_iter().flatten() {
            assert!(!word.is_empty(), "an empty word of {text:?}");
        }
    }
    let body = Expander::default().heredoc_body(text, &environment);
    if !text.contains(['$', '\\', '\u{feff}']) {
        assert_eq!(body.map(|found| found.text).as_deref(), Ok(text), "nothing to expand");
    }
}
