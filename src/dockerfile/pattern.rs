//! The patterns of `${name#pattern}`, `${name%pattern}` and `${name/pattern/text}`: `*`, `?`, and `\` before `*`, `?`, `\`, `}`, `/`.
//! Wildcards do not match a line feed. There are no bracket expressions.

/// Steps of matching (characters of the value times length of the pattern) before a pattern is given up.
const WORK_LIMIT: usize = 1 << 22;

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PatternError {
    #[error("invalid escape '\\{0}'")]
    Escape(String),
    #[error("pattern takes too long to match")]
    TooMuchWork,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Token {
    Literal(char),
    AnyChar,
    AnyText,
}

#[derive(Debug, Clone)]
pub(super) struct Pattern {
    tokens: Vec<Token>,
}

impl Pattern {
    pub(super) fn new(pattern: &str) -> Result<Self, PatternError> {
        let mut tokens = Vec::new();
        let mut chars = pattern.chars().peekable();
        while let Some(char) = chars.next() {
            tokens.push(match char {
                '*' => Token::AnyText,
                '?' => Token::AnyChar,
                // These two are escaped for `${}`; the escape is no part of the pattern.
                '\\' if matches!(chars.peek(), Some('}' | '/')) => continue,
                '\\' => match chars.next() {
                    Some(escaped @ ('*' | '?' | '\\')) => Token::Literal(escaped),
                    other => return Err(PatternError::Escape(other.map(String::from).unwrap_or_default())),
                },
                other => Token::Literal(other),
            });
        }
        Ok(Self { tokens })
    }

    /// `value` without the shortest (or longest) prefix that matches.
    pub(super) fn trim_prefix(&self, value: &str, longest: bool) -> Result<String, PatternError> {
        let chars: Vec<char> = value.chars().collect();
        let end = self.match_at(&chars, 0, longest, &mut WORK_LIMIT.clone())?.unwrap_or(0);
        Ok(chars[end..].iter().collect())
    }

    /// `value` without the shortest (or longest) suffix that matches.
    pub(super) fn trim_suffix(&self, value: &str, longest: bool) -> Result<String, PatternError> {
        let reversed = Self { tokens: self.tokens.iter().rev().copied().collect() };
        let chars: Vec<char> = value.chars().rev().collect();
        let end = reversed.match_at(&chars, 0, longest, &mut WORK_LIMIT.clone())?.unwrap_or(0);
        Ok(chars[end..].iter().rev().collect())
    }

    /// `value` cut at its first match, or at every one, without the matches; the leftmost, longest match counts.
    pub(super) fn split(&self, value: &str, all: bool) -> Result<Vec<String>, PatternError> {
        let chars: Vec<char> = value.chars().collect();
        let mut work = WORK_LIMIT;
        let mut parts = Vec::new();
        let (mut search, mut copied) = (0, 0);
        while search <= chars.len() {
            let Some((start, end)) = self.find(&chars, search, &mut work)? else { break };
            // An empty match right after a match does not count (Go's regexp.ReplaceAll).
            if end > copied || start == 0 {
                parts.push(chars[copied..start].iter().collect());
                copied = end;
            }
            if !all {
                break;
            }
            search = end.max(search + 1);
        }
        parts.push(chars[copied..].iter().collect());
        Ok(parts)
    }

    fn find(&self, chars: &[char], from: usize, work: &mut usize) -> Result<Option<(usize, usize)>, PatternError> {
        let mut start = from;
        while start <= chars.len() {
            if let Some(end) = self.match_at(chars, start, true, work)? {
                return Ok(Some((start, end)));
            }
            start += 1;
            // Where `*` found nothing, it finds nothing further on in the same line.
            if self.tokens.first() == Some(&Token::AnyText) {
                while start <= chars.len() && chars[start - 1] != '\n' {
                    start += 1;
                }
            }
        }
        Ok(None)
    }

    /// The end of the match that starts at `start`. All ways to match are followed at once, so that no pattern backtracks.
    fn match_at(&self, chars: &[char], start: usize, longest: bool, work: &mut usize) -> Result<Option<usize>, PatternError> {
        let accept = self.tokens.len();
        let mut live = vec![false; accept + 1];
        let mut next = live.clone();
        live[0] = true;
        let mut best = None;
        for at in start..=chars.len() {
            *work = work.checked_sub(accept + 1).ok_or(PatternError::TooMuchWork)?;
            let mut any = false;
            // `*` may also match nothing.
            for (state, token) in self.tokens.iter().enumerate() {
                if live[state] && *token == Token::AnyText {
                    live[state + 1] = true;
                }
            }
            if live[accept] {
                best = Some(at);
                if !longest {
                    break;
                }
            }
            let Some(char) = chars.get(at) else { break };
            next.fill(false);
            for (state, token) in self.tokens.iter().enumerate() {
                let target = match *token {
                    Token::Literal(literal) if literal == *char => state + 1,
                    Token::AnyChar if *char != '\n' => state + 1,
                    Token::AnyText if *char != '\n' => state,
                    _ => continue,
                };
                if live[state] {
                    next[target] = true;
                    any = true;
                }
            }
            std::mem::swap(&mut live, &mut next);
            if !any {
                break;
            }
        }
        Ok(best)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_are_trimmed() {
        let cases = [
            ("*x*y", "xxyy", false, "y"),
            ("*", "xxyy", false, "xxyy"),
            ("*", "xxyy", true, ""),
            ("*x", "xxyy", true, "yy"),
            ("", "xxyy", true, "xxyy"),
            ("?\\?", "???y", false, "?y"),
            ("z", "xxyy", false, "xxyy"),
            ("()[]{\\}^$.\\*\\?|\\\\", "()[]{}^$.*?|\\x", false, "x"),
            ("a*c", "a\nc", false, "a\nc"),
        ];
        for (pattern, value, longest, expected) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().trim_prefix(value, longest).unwrap(), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn suffixes_are_trimmed() {
        let cases = [
            ("\\**", "xx**", true, "xx"),
            ("\\**", "xx**", false, "xx*"),
            ("\\**\\*", "a***yy*", true, "a"),
            ("x", "xxyy", false, "xxyy"),
            (".*", "a.tar.gz", false, "a.tar"),
            (".*", "a.tar.gz", true, "a"),
        ];
        for (pattern, value, longest, expected) in cases {
            assert_eq!(Pattern::new(pattern).unwrap().trim_suffix(value, longest).unwrap(), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn matches_are_replaced() {
        let cases = [
            ("/tmp", "/tmp/tmp/bar.txt", "", false, "/tmp/bar.txt"),
            ("/tmp", "/tmp/tmp/bar.txt", "", true, "/bar.txt"),
            ("/?/", "/a/foo/b/c.txt", "/", true, "/foo/c.txt"),
            ("", "xxyy", "ww", false, "wwxxyy"),
            ("", "xy", "-", true, "-x-y-"),
            ("*", "a\nb", "-", true, "-\n-"),
            ("o", "foo", "0", true, "f00"),
            ("z", "foo", "0", true, "foo"),
            ("*z", "fooz\nbar\nbaz", "-", true, "-\nbar\n-"),
        ];
        for (pattern, value, replacement, all, expected) in cases {
            let parts = Pattern::new(pattern).unwrap().split(value, all).unwrap();
            assert_eq!(parts.join(replacement), expected, "{pattern} {value}");
        }
    }

    #[test]
    fn other_escapes_are_refused() {
        for pattern in ["\\", "\\x", "\\\\\\"] {
            assert!(Pattern::new(pattern).is_err(), "{pattern}");
        }
    }

    #[test]
    fn hopeless_patterns_are_given_up() {
        let pattern = Pattern::new(&"*a".repeat(20_000)).unwrap();
        assert_eq!(pattern.split(&"a".repeat(60_000), true), Err(PatternError::TooMuchWork));
    }
}
