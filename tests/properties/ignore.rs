//! `.dockerignore`, and the lists of patterns of `--exclude` and `--parents`.

use brik::source::{IgnoreFile, PatternList};

use super::reference;

/// Above this the reference would take too long.
const SMALL: usize = 120;

/// `input` is an ignore file and, after a NUL each, paths to try on it.
pub fn check(input: &[u8]) {
    let mut parts = input.split(|byte| *byte == 0);
    let file = parts.next().unwrap_or_default();
    let paths: Vec<&[u8]> = parts.collect();
    match IgnoreFile::parse(file) {
        Ok(ignore) => {
            assert!(!ignore.excludes(b""), "the root is always there");
            paths.iter().for_each(|path| _ = ignore.excludes(path));
        }
        Err(error) => {
            assert!(error.span.start <= error.span.end && error.span.end <= file.len());
            let line = file[..error.span.start].iter().filter(|byte| **byte == b'\n').count() + 1;
            assert_eq!(error.line, line);
            assert!(!file[error.span].contains(&b'\n'));
        }
    }
    let lines: Vec<&[u8]> = file.split(|byte| *byte == b'\n').collect();
    let list = PatternList::new(&lines);
    for path in &paths {
        _ = list.as_ref().map(|list| list.matches(path));
        if let (Some(patterns), Ok(path)) = (tame(&lines), std::str::from_utf8(path)) {
            agree(&patterns, path);
        }
    }
}

/// brik and the reference say the same of `path`.
pub fn agree(patterns: &[String], path: &str) {
    let size = patterns.iter().map(String::len).sum::<usize>() + path.len();
    let stars = patterns.iter().map(|pattern| pattern.matches('*').count()).max().unwrap_or_default();
    if size > SMALL || stars > 5 {
        return;
    }
    let found = PatternList::new(patterns).ok().map(|list| list.matches(path.as_bytes()));
    assert_eq!(found, reference::excludes(patterns, path), "{patterns:?} on {path:?}");
}

/// The lines as patterns, if they are such that cleaning leaves them as they are: the reference does not clean.
fn tame(lines: &[&[u8]]) -> Option<Vec<String>> {
    let text = |line: &&[u8]| String::from_utf8(line.to_vec()).ok();
    let patterns: Vec<String> = lines.iter().filter(|line| !line.is_empty()).map(text).collect::<Option<_>>()?;
    let clean = |pattern: &String| {
        let parts = pattern.strip_prefix('!').unwrap_or(pattern);
        pattern.trim_ascii() == pattern
            && !parts.is_empty()
            && !parts.split('/').any(|part| matches!(part, "" | "." | ".."))
            && !pattern.starts_with("!/")
    };
    patterns.iter().all(clean).then_some(patterns)
}
