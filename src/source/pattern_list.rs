//! An ordered list of patterns with `!` exceptions, as moby's patternmatcher evaluates it: the last match wins, and a path
//! is matched where its parent directory is.

use super::pattern::{Pattern, PatternError, clean};

#[derive(Debug, Clone, Default)]
pub struct PatternList {
    rules: Vec<Rule>,
    has_exceptions: bool,
}

#[derive(Debug, Clone)]
struct Rule {
    pattern: Pattern,
    exception: bool,
}

/// Which rules matched a directory: its entries are judged on top of that. The default is that of the root.
#[derive(Debug, Clone, Default)]
pub(super) struct Verdict {
    pub matched: bool,
    rules: Vec<bool>,
}

impl PatternList {
    /// Compiles patterns in order; blank ones are skipped.
    pub fn new<P: AsRef<[u8]>>(patterns: impl IntoIterator<Item = P>) -> Result<Self, PatternError> {
        let mut list = Self::default();
        for pattern in patterns {
            list.push(pattern.as_ref())?;
        }
        Ok(list)
    }

    pub(super) fn push(&mut self, pattern: &[u8]) -> Result<(), PatternError> {
        let trimmed = pattern.trim_ascii();
        if trimmed.is_empty() {
            return Ok(());
        }
        let cleaned = clean(trimmed);
        let (exception, body) = cleaned.strip_prefix(b"!").map_or((false, cleaned.as_slice()), |body| (true, body));
        if body.is_empty() {
            return Err(PatternError { pattern: "!".to_owned(), reason: "nothing follows the `!`" });
        }
        self.rules.push(Rule { pattern: Pattern::moby(body)?, exception });
        self.has_exceptions |= exception;
        Ok(())
    }

    pub fn is_empty(&self) -> bool {
        self.rules.is_empty()
    }

    /// Whether the list takes `path`, judged from the root downwards as BuildKit's walk does.
    pub fn matches(&self, path: &[u8]) -> bool {
        let ends = path.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| at).chain([path.len()]);
        ends.fold(Verdict::default(), |parent, end| self.judge(&path[..end], &parent)).matched
    }

    /// Judges `path`, whose parent directory was judged before.
    pub(super) fn judge(&self, path: &[u8], parent: &Verdict) -> Verdict {
        let mut verdict = Verdict { matched: false, rules: vec![false; self.rules.len()] };
        for (i, rule) in self.rules.iter().enumerate() {
            let inherited = parent.rules.get(i).is_some_and(|&matched| matched);
            // A rule that cannot change the outcome is not tried, and then counts as unmatched for what lies below, too.
            if inherited || (rule.exception == verdict.matched && rule.pattern.matches(path)) {
                verdict.rules[i] = true;
                verdict.matched = !rule.exception;
            }
        }
        verdict
    }

    /// Whether something below the directory could be judged otherwise than the directory.
    pub(super) fn may_differ_below(&self, directory: &[u8], verdict: &Verdict) -> bool {
        (self.has_exceptions || !verdict.matched)
            && self.rules.iter().any(|rule| rule.exception == verdict.matched && rule.pattern.may_match_below(directory))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_match_wins_and_parents_count() {
        let cases: &[(&[&str], &[&str], &[&str])] = &[
            (&["docs"], &["docs", "docs/a/b"], &["doc", "a/docs"]),
            (&["docs/", "!docs/README.md"], &["docs/a"], &["docs/README.md", "README.md"]),
            (&["docs/*", "!docs/README.md"], &["docs/a", "docs/a/README.md"], &["docs", "docs/README.md"]),
            (&["!a.go", "*.go"], &["a.go", "b.go"], &["a/b.go"]),
            (&["*.go", "!a.go"], &["b.go"], &["a.go"]),
            (&["**", "!util/web"], &["x", "util/x"], &["util/web", "util/web/a"]),
            (&["**", "!util/web", "util/web/a"], &["util/web/a/b"], &["util/web/b"]),
            (&["**", "!dist/*.whl"], &["dist/x"], &["dist/a-1.0+g0.whl"]),
            (&["subdir", "!*/sub1*", "!subdir/sub3*"], &["subdir/sub2"], &["subdir/sub1.txt", "subdir/sub3"]),
            (&["a", "", "  "], &["a"], &["b"]),
            (&["  a\t"], &["a"], &["b"]),
            (&["./a/../b"], &["b"], &["a"]),
            (&["**/node_modules"], &["node_modules/x", "a/b/node_modules/c/d"], &["a/node_modules2"]),
            // BuildKit does not try `!dir` where `dir` is not matched, and remembers that below.
            (&["dir/sub", "!dir"], &["dir/sub"], &["dir"]),
        ];
        for (patterns, yes, no) in cases {
            let list = PatternList::new(*patterns).unwrap();
            for path in *yes {
                assert!(list.matches(path.as_bytes()), "{patterns:?} should take {path}");
            }
            for path in *no {
                assert!(!list.matches(path.as_bytes()), "{patterns:?} should leave {path}");
            }
        }
    }

    #[test]
    fn a_lone_exclamation_mark_is_an_error() {
        assert!(PatternList::new(["!"]).is_err());
    }

    #[test]
    fn an_excluded_directory_is_entered_only_for_exceptions_below_it() {
        for (patterns, directory, expected) in [
            (&["a"][..], "a", false),
            (&["a", "!b/c"], "a", false),
            (&["a", "!a/b"], "a", true),
            (&["a", "!*/b"], "a", true),
            (&["a", "!**/b"], "a", true),
        ] {
            let list = PatternList::new(patterns).unwrap();
            let verdict = list.judge(directory.as_bytes(), &Verdict::default());
            assert_eq!(list.may_differ_below(directory.as_bytes(), &verdict), expected, "{patterns:?}");
        }
    }
}
