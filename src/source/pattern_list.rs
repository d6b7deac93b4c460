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
    /// As written, clean and without the `!`.
    text: Vec<u8>,
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
        self.rules.push(Rule { pattern: Pattern::moby(body)?, text: body.to_owned(), exception });
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

    /// Whether nothing at or below `path` can be left, as far as the patterns alone tell: the judgement of BuildKit's check
    /// CopyIgnoredFile. `path` is clean, or `.` or `/` for the root, and may hold wildcards, which stand for themselves.
    pub fn leaves_nothing_of(&self, path: &[u8]) -> bool {
        let whole = |rule: &Rule| !rule.exception && matches!(&rule.text[..], b"*" | b"**" | b"**/*");
        if matches!(path, b"." | b"/") && !self.rules.iter().any(whole) {
            return false;
        }
        let from_root = path.strip_prefix(b"/").unwrap_or(path);
        let (base, _) = literal_prefix(if from_root == b"." { b"" } else { from_root });
        if self.rules.iter().any(|rule| rule.exception && may_bring_back(&rule.text, &base)) {
            return false;
        }
        let parents = path.iter().enumerate().filter(|&(_, &b)| b == b'/').map(|(at, _)| &path[..at]);
        let paths: Vec<&[u8]> = parents.chain([path]).collect();
        // The last word counts, whether it is about the path or about a directory above.
        let last = self.rules.iter().rfind(|rule| paths.iter().any(|path| rule.pattern.matches(path)));
        last.is_some_and(|rule| !rule.exception)
    }

    /// Judges the directory `path`, whose parent was judged before.
    pub(super) fn judge(&self, path: &[u8], parent: &Verdict) -> Verdict {
        let mut rules = vec![false; self.rules.len()];
        let matched = self.outcome(path, parent, |rule| rules[rule] = true);
        Verdict { matched, rules }
    }

    /// Whether the list takes `path`, whose parent directory was judged before.
    pub(super) fn takes(&self, path: &[u8], parent: &Verdict) -> bool {
        self.outcome(path, parent, |_| {})
    }

    fn outcome(&self, path: &[u8], parent: &Verdict, mut matches: impl FnMut(usize)) -> bool {
        let mut taken = false;
        for (i, rule) in self.rules.iter().enumerate() {
            let inherited = parent.rules.get(i).is_some_and(|&matched| matched);
            // A rule that cannot change the outcome is not tried, and then counts as unmatched for what lies below, too.
            if inherited || (rule.exception == taken && rule.pattern.matches(path)) {
                matches(i);
                taken = !rule.exception;
            }
        }
        taken
    }

    /// Whether something below the directory could be judged otherwise than the directory.
    pub(super) fn may_differ_below(&self, directory: &[u8], verdict: &Verdict) -> bool {
        (self.has_exceptions || !verdict.matched)
            && self.rules.iter().any(|rule| rule.exception == verdict.matched && rule.pattern.may_match_below(directory))
    }
}

/// Whether an exception could be about something at or below `base` (the empty path is the root). Wildcards may mean anything
/// below what stands before them.
fn may_bring_back(exception: &[u8], base: &[u8]) -> bool {
    let within =
        |path: &[u8], base: &[u8]| base.is_empty() || path.strip_prefix(base).is_some_and(|rest| rest.is_empty() || rest[0] == b'/');
    let (prefix, wildcards) = literal_prefix(exception);
    within(&prefix, base) || (wildcards && within(base, &prefix))
}

/// The components before the first that has a wildcard, without escapes; and whether there is one.
fn literal_prefix(pattern: &[u8]) -> (Vec<u8>, bool) {
    let mut prefix = Vec::new();
    for (index, part) in pattern.split(|&b| b == b'/').enumerate() {
        if part.iter().any(|b| b"*?[".contains(b)) {
            return (prefix, true);
        }
        prefix.extend((index > 0).then_some(b'/'));
        let mut bytes = part.iter();
        while let Some(&byte) = bytes.next() {
            prefix.extend(if byte == b'\\' { bytes.next().copied() } else { Some(byte) });
        }
    }
    (prefix, false)
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
    fn what_a_list_leaves_nothing_of_is_judged_as_buildkits_check_judges_it() {
        // From BuildKit's testCopyIgnoredFiles, testCopyIgnoredFileContextRoot and testCopyIgnoredFileNegation.
        let cases: &[(&[&str], &str, bool)] = &[
            (&["Dockerfile"], "Dockerfile", true),
            (&["foobar"], "Dockerfile", false),
            (&["**", "!Dockerfile"], "Dockerfile", false),
            (&["**", "!Dockerfile"], ".", false),
            (&[".*"], ".", false),
            (&["*"], ".", true),
            (&["**"], "/", true),
            (&["sub", "!sub/b.txt"], "sub/a.txt", true),
            (&["sub", "!other.txt"], "sub/a.txt", true),
            (&["!sub/b.txt", "sub"], "sub/a.txt", true),
            (&["sub", "!sub/a.txt"], "sub", false),
            (&["sub", "!sub/a.txt"], ".", false),
            (&["sub", "!sub/a.txt"], "sub/a.txt", false),
            (&["sub", "!sub/a.txt"], "sub/*.txt", false),
            (&["sub", "!other/a.txt"], "sub/*.txt", true),
            (&["sub", "!*/keep.txt"], "sub", false),
            (&["su.b", "!su\\.b/keep.txt"], "su.b", false),
            (&["a", "!a"], "a/b", false),
            (&["subway", "!sub"], "subway", true),
            (&[], "a", false),
        ];
        for (patterns, path, expected) in cases {
            assert_eq!(PatternList::new(*patterns).unwrap().leaves_nothing_of(path.as_bytes()), *expected, "{patterns:?} {path}");
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
