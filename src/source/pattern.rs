//! One path pattern in Go's language, matched over bytes in time linear in pattern × path (no backtracking).
//!
//! Two dialects share it: Go's `filepath.Match` (COPY wildcards) and moby's patternmatcher (`.dockerignore`, `--exclude`,
//! `--parents`), which adds `**`. In both, `?` and `*` stop at a slash, a class such as `[^a]` does not.

/// A pattern that Go refuses.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("invalid pattern {pattern:?}: {reason}")]
pub struct PatternError {
    pub pattern: String,
    pub reason: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Token {
    Char(u32),
    /// `?`: one character but a slash.
    Any,
    Class {
        negated: bool,
        ranges: Vec<(u32, u32)>,
    },
    /// `*`: characters but slashes.
    Star,
    /// A final `**`: everything.
    Rest,
    /// `**/` is two tokens: `Maybe` skips both or enters `Through`, which reads on and leaves behind any slash.
    Maybe,
    Through,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Dialect {
    Match,
    Moby,
}

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
    /// The literal bytes that every match starts and ends with: most paths are refused by these alone.
    head: Vec<u8>,
    tail: Vec<u8>,
    literal: bool,
}

impl Pattern {
    /// A pattern for one path component, as Go's `filepath.Match` reads it.
    pub fn component(pattern: &[u8]) -> Result<Self, PatternError> {
        Self::parse(pattern, Dialect::Match)
    }

    /// A pattern of moby's patternmatcher; `pattern` is clean (see [`clean`]).
    pub fn moby(pattern: &[u8]) -> Result<Self, PatternError> {
        Self::parse(pattern, Dialect::Moby)
    }

    fn parse(pattern: &[u8], dialect: Dialect) -> Result<Self, PatternError> {
        let tokens =
            tokens(pattern, dialect).map_err(|reason| PatternError { pattern: String::from_utf8_lossy(pattern).into_owned(), reason })?;
        let literals = |tokens: &mut dyn Iterator<Item = &Token>| -> Vec<u32> {
            tokens.map_while(|token| if let Token::Char(c) = token { Some(*c) } else { None }).collect()
        };
        let head = encode(literals(&mut tokens.iter()).into_iter());
        let tail = encode(literals(&mut tokens.iter().rev()).into_iter().rev());
        let literal = tokens.iter().all(|token| matches!(token, Token::Char(_)));
        Ok(Self { tokens, head, tail, literal })
    }

    pub fn matches(&self, path: &[u8]) -> bool {
        if self.literal {
            return path == self.head;
        }
        if !path.starts_with(&self.head) || !path.ends_with(&self.tail) {
            return false;
        }
        self.run(path)
    }

    /// Whether some path below the directory `dir` could match; never false where one does.
    pub fn may_match_below(&self, dir: &[u8]) -> bool {
        let inside = |longer: &[u8], dir: &[u8]| dir.is_empty() || (longer.starts_with(dir) && longer.get(dir.len()) == Some(&b'/'));
        inside(&self.head, dir) || (!self.literal && [dir, b"/"].concat().starts_with(&self.head))
    }

    /// Simulates the pattern as an automaton: `current[i]` says that the tokens before `i` match what was read so far.
    fn run(&self, path: &[u8]) -> bool {
        let mut current = vec![false; self.tokens.len() + 1];
        let mut next = current.clone();
        current[0] = true;
        self.close(&mut current);
        let mut rest = path;
        while let Some((c, length)) = decode(rest) {
            rest = &rest[length..];
            next.fill(false);
            let mut alive = false;
            for (i, token) in self.tokens.iter().enumerate().filter(|&(i, _)| current[i]) {
                let (stays, leaves) = token.reads(c);
                next[i] |= stays;
                next[i + 1] |= leaves;
                alive |= stays || leaves;
            }
            if !alive {
                return false;
            }
            self.close(&mut next);
            std::mem::swap(&mut current, &mut next);
        }
        current[self.tokens.len()]
    }

    /// Follows the moves that read nothing; they only lead forward, so that one pass is enough.
    fn close(&self, states: &mut [bool]) {
        for (i, token) in self.tokens.iter().enumerate() {
            if states[i] {
                states[i + 1] |= matches!(token, Token::Star | Token::Rest | Token::Maybe);
                if matches!(token, Token::Maybe) {
                    states[i + 2] = true;
                }
            }
        }
    }
}

impl Token {
    /// Reading `c`: may the automaton stay at this token, and may it go on to the next.
    fn reads(&self, c: u32) -> (bool, bool) {
        let slash = c == u32::from(b'/');
        match self {
            Self::Char(wanted) => (false, *wanted == c),
            Self::Any => (false, !slash),
            Self::Class { negated, ranges } => (false, ranges.iter().any(|&(low, high)| low <= c && c <= high) != *negated),
            Self::Star => (!slash, false),
            Self::Rest => (true, false),
            Self::Maybe => (false, false),
            Self::Through => (true, slash),
        }
    }
}

/// The first character of `bytes` and its length. A byte that is no UTF-8 is a character of its own, beyond Unicode.
fn decode(bytes: &[u8]) -> Option<(u32, usize)> {
    let first = *bytes.first()?;
    if first.is_ascii() {
        return Some((u32::from(first), 1));
    }
    for length in 2..=bytes.len().min(4) {
        if let Ok(text) = std::str::from_utf8(&bytes[..length]) {
            return text.chars().next().map(|c| (u32::from(c), length));
        }
    }
    Some((BEYOND_UNICODE + u32::from(first), 1))
}

const BEYOND_UNICODE: u32 = 0x11_0000;

fn encode(characters: impl Iterator<Item = u32>) -> Vec<u8> {
    let mut out = Vec::new();
    for c in characters {
        match char::from_u32(c) {
            Some(c) => out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes()),
            None => out.push((c - BEYOND_UNICODE) as u8),
        }
    }
    out
}

fn tokens(pattern: &[u8], dialect: Dialect) -> Result<Vec<Token>, &'static str> {
    let mut out = Vec::new();
    let mut rest = pattern;
    while let Some((c, length)) = decode(rest) {
        let at_start = rest.len() == pattern.len();
        rest = &rest[length..];
        match u8::try_from(c).unwrap_or(0) {
            b'*' if dialect == Dialect::Moby && rest.first() == Some(&b'*') => {
                rest = &rest[1..];
                let slash = rest.first() == Some(&b'/');
                rest = &rest[usize::from(slash)..];
                // moby matches a leading `**name` by suffix where nothing else is special: `**file` takes `myfile`, too.
                let suffix_only = at_start && !slash && !rest.iter().any(|b| b"*?[]\\".contains(b));
                if rest.is_empty() || suffix_only { out.push(Token::Rest) } else { out.extend([Token::Maybe, Token::Through]) }
            }
            b'*' => out.push(Token::Star),
            b'?' => out.push(Token::Any),
            b'[' => out.push(class(&mut rest)?),
            b'\\' => out.push(Token::Char(escaped(&mut rest)?)),
            _ => out.push(Token::Char(c)),
        }
    }
    Ok(out)
}

fn class(rest: &mut &[u8]) -> Result<Token, &'static str> {
    let negated = rest.first() == Some(&b'^');
    *rest = &rest[usize::from(negated)..];
    let mut ranges = Vec::new();
    loop {
        if rest.first() == Some(&b']') && !ranges.is_empty() {
            *rest = &rest[1..];
            return Ok(Token::Class { negated, ranges });
        }
        let low = class_character(rest)?;
        let high = if rest.first() == Some(&b'-') {
            *rest = &rest[1..];
            class_character(rest)?
        } else {
            low
        };
        if high < low {
            return Err("a character range runs backwards");
        }
        ranges.push((low, high));
    }
}

fn class_character(rest: &mut &[u8]) -> Result<u32, &'static str> {
    match decode(rest) {
        None => Err("`[` is not closed"),
        Some((c, length)) => {
            *rest = &rest[length..];
            match u8::try_from(c).unwrap_or(0) {
                b'-' | b']' => Err("`-` and `]` need a backslash there"),
                b'\\' => escaped(rest),
                _ => Ok(c),
            }
        }
    }
}

fn escaped(rest: &mut &[u8]) -> Result<u32, &'static str> {
    let (c, length) = decode(rest).ok_or("a backslash ends it")?;
    *rest = &rest[length..];
    Ok(c)
}

/// Go's `containsWildcards`: an unescaped `*`, `?` or `[`.
pub(super) fn has_wildcards(path: &[u8]) -> bool {
    let mut bytes = path.iter();
    while let Some(byte) = bytes.next() {
        match byte {
            b'\\' => drop(bytes.next()),
            b'*' | b'?' | b'[' => return true,
            _ => {}
        }
    }
    false
}

/// Go's `filepath.Clean`: no empty or `.` components, `..` folded away where something precedes it; `.` for nothing.
pub(super) fn clean(path: &[u8]) -> Vec<u8> {
    let absolute = path.first() == Some(&b'/');
    let mut parts: Vec<&[u8]> = Vec::new();
    for part in path.split(|&b| b == b'/') {
        match part {
            b"" | b"." => {}
            b".." if parts.last().is_some_and(|&last| last != b"..") => drop(parts.pop()),
            b".." if absolute => {}
            _ => parts.push(part),
        }
    }
    let joined = parts.join(&b'/');
    match (absolute, joined.is_empty()) {
        (true, _) => [b"/", joined.as_slice()].concat(),
        (false, true) => b".".to_vec(),
        (false, false) => joined,
    }
}

/// The path from the tree's root that `path` names there: clean, no leading slash, `..` stopping at the root.
pub(super) fn clean_in_root(path: &[u8]) -> Vec<u8> {
    let mut path = clean(&[b"/", path].concat());
    path.remove(0);
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moby_patterns_match_whole_paths() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("name", &["name"], &["names", "a/name", "name/a", ""]),
            ("**", &["a", "a/b", "/"], &[]),
            ("**/**", &["a", "a/b/c"], &[]),
            ("d/**", &["d/a", "d/a/b"], &["d", "e/d/a"]),
            ("d**", &["d", "dx", "d/a"], &["ed"]),
            ("**/d", &["d", "a/d", "a/b/d"], &["ad", "d/a", "a/bd"]),
            ("**d", &["d", "ad", "a/bd"], &["da"]),
            ("**d*", &["d1", "a/d1"], &["ad1"]),
            ("**/d/*", &["d/x", "a/d/x"], &["d", "d/x/y", "ad/x"]),
            ("**/d/**", &["d/x", "a/d/x/y"], &["d", "a/d"]),
            ("**/x*.t?t", &["x.txt", "a/b/xyz.tzt"], &["x.tt", "a/x.t/t", "ax.txt"]),
            ("**/**/*.c", &["a.c", "a/b.c", "a/b/c.c"], &["a.h"]),
            ("a**/*.c", &["a/b.c", "a/b/c.c", "ab.c", "ab/c/d.c"], &["b/a.c"]),
            ("a**b", &["ab", "a/b", "ax/b"], &["axb"]),
            ("a/*.c**", &["a/b.c", "a/b.cpp", "a/b.c/d"], &["a/d/b.c"]),
            (".*", &[".a"], &["a", ".a/b"]),
            ("a.b", &["a.b"], &["axb", "ab"]),
            ("a(b)|{c}$+^", &["a(b)|{c}$+^"], &["ab"]),
        ];
        for (pattern, yes, no) in cases {
            let compiled = Pattern::moby(pattern.as_bytes()).unwrap();
            for path in *yes {
                assert!(compiled.matches(path.as_bytes()), "{pattern} should match {path}");
            }
            for path in *no {
                assert!(!compiled.matches(path.as_bytes()), "{pattern} should not match {path}");
            }
        }
    }

    #[test]
    fn component_patterns_match_as_in_go() {
        let cases: &[(&str, &[&str], &[&str])] = &[
            ("*", &["abc", ""], &["a/b"]),
            ("*c", &["abc", "c"], &["cd"]),
            ("a*b*c?e", &["abcde", "axxbxbxcxe"], &["abce", "abcdef"]),
            ("**", &["abc"], &["a/b"]),
            ("?", &["a", "☺"], &["", "ab", "/"]),
            ("[b-d]", &["b", "c", "d"], &["a", "e", "bc"]),
            ("[^b-d]", &["a", "☺"], &["b", ""]),
            ("[a-ζ]", &["α"], &["A"]),
            ("[!a]", &["!", "a"], &["b"]),
            ("[[]x]", &["[x]"], &["x"]),
            ("a\\*b", &["a*b"], &["ab", "axb"]),
            ("[\\]\\-x]", &["]", "-", "x"], &["a", "\\"]),
            ("\\a", &["a"], &["\\a"]),
        ];
        for (pattern, yes, no) in cases {
            let compiled = Pattern::component(pattern.as_bytes()).unwrap();
            for path in *yes {
                assert!(compiled.matches(path.as_bytes()), "{pattern} should match {path}");
            }
            for path in *no {
                assert!(!compiled.matches(path.as_bytes()), "{pattern} should not match {path}");
            }
        }
    }

    #[test]
    fn patterns_that_go_refuses_are_errors() {
        for pattern in ["[", "[]a]", "[-]", "[x-]", "[-x]", "[a-b-c]", "[^", "[^bc", "a[", "a\\", "[z-a]"] {
            assert!(Pattern::moby(pattern.as_bytes()).is_err(), "{pattern}");
        }
    }

    #[test]
    fn a_byte_that_is_not_utf8_is_one_character() {
        assert!(Pattern::component(b"a?b").unwrap().matches(b"a\xffb"));
        assert!(Pattern::component(b"a\xff*").unwrap().matches(b"a\xffb"));
        assert!(!Pattern::component(b"a\xfe*").unwrap().matches(b"a\xffb"));
    }

    #[test]
    fn many_stars_on_a_long_path_end_soon() {
        let pattern = Pattern::moby("*a*b**/".repeat(40).as_bytes()).unwrap();
        let started = std::time::Instant::now();
        assert!(!pattern.matches(&[b"a/".repeat(3000), b"ab/".to_vec()].concat()));
        assert!(started.elapsed().as_secs() < 20);
    }

    #[test]
    fn a_directory_that_may_hold_matches_is_told_from_one_that_cannot() {
        for (pattern, directory, expected) in [
            ("a/b/c", "a", true),
            ("a/b/c", "a/b", true),
            ("a/b/c", "a/b/c", false),
            ("a/b/c", "a/x", false),
            ("ab", "a", false),
            ("*/x", "a", true),
            ("a/*", "ab", false),
            ("a*", "ab", true),
            ("**/x", "y/z", true),
            ("x", "", true),
        ] {
            let pattern_below = Pattern::moby(pattern.as_bytes()).unwrap().may_match_below(directory.as_bytes());
            assert_eq!(pattern_below, expected, "{pattern} below {directory}");
        }
    }

    #[test]
    fn paths_are_cleaned_as_in_go() {
        for (path, expected) in [
            ("", "."),
            (".", "."),
            ("a//b/./c/", "a/b/c"),
            ("a/../b", "b"),
            ("../a", "../a"),
            ("/../a", "/a"),
            ("/", "/"),
            ("a/../../b", "../b"),
        ] {
            assert_eq!(String::from_utf8_lossy(&clean(path.as_bytes())), expected, "{path}");
        }
        assert_eq!(clean_in_root(b"../a/./b/../c"), b"a/c");
        assert_eq!(clean_in_root(b"."), b"");
    }
}
