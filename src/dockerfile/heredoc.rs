//! Here-documents: which words of an instruction announce one, and its body.

use std::ops::Range;

use super::Span;
use super::lexer::{split_raw, split_unexpanded};
use super::word::WordError;

/// The body of a here-document, which follows the lines of its instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Heredoc {
    /// The terminator, without quotes. COPY and ADD make a file of this name.
    pub name: String,
    /// Whether COPY and ADD expand variables in the body: no part of the terminator is quoted. RUN never expands it.
    pub expand: bool,
    /// `<<-`: leading tabs do not count.
    pub chomp: bool,
    /// The body as written, with its line ends, without the terminator's line.
    pub content: String,
    /// The bytes of the body.
    pub span: Span,
}

impl Heredoc {
    /// The body that is meant: without leading tabs if `<<-` says so.
    pub fn body(&self) -> String {
        if !self.chomp {
            return self.content.clone();
        }
        self.content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("heredoc terminator: {0}")]
pub struct HeredocError(pub WordError);

/// What `<<NAME` announces.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Announcement {
    pub name: String,
    pub expand: bool,
    pub chomp: bool,
}

/// Reads a whole word of the form `[digits]<<[-]NAME`.
pub(super) fn announcement(word: &str) -> Result<Option<Announcement>, HeredocError> {
    let Some(rest) = word.trim_start_matches(|char: char| char.is_ascii_digit()).strip_prefix("<<") else { return Ok(None) };
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    let rest = rest.trim_start_matches([' ', '\t', '\n', '\r', '\u{c}']);
    if rest.is_empty() || rest.contains('<') {
        return Ok(None);
    }
    let unquoted = split_unexpanded(rest, false).map_err(HeredocError)?;
    let quoted = split_unexpanded(rest, true).map_err(HeredocError)?;
    let ([name], [raw]) = (&unquoted[..], &quoted[..]) else { return Ok(None) };
    // Escaped quotes are in both forms; quotes that quote are in one only.
    let quotes = |text: &str| text.matches(['\'', '"']).count();
    Ok(Some(Announcement { name: name.clone(), expand: quotes(name) == quotes(raw), chomp }))
}

/// Something, and the bytes of the line that it is about.
type At<T> = (T, Range<usize>);

/// The here-documents that the words of a line announce, in order, and the bytes of the line that do. A line whose quoting is broken
/// announces none.
pub(super) fn announcements(line: &str) -> Result<Vec<At<Announcement>>, At<HeredocError>> {
    let mut found = Vec::new();
    let mut after = 0;
    for word in split_raw(line).unwrap_or_default() {
        // Raw words are pieces of the line, but for escapes in double quotes, which the lexer doubles, as BuildKit's does.
        let start = line[after..].find(&word).map(|at| after + at);
        let bytes = start.map_or(after..after, |start| start..start + word.len());
        after = bytes.end;
        match announcement(&word) {
            Ok(announced) => found.extend(announced.map(|announced| (announced, bytes))),
            Err(error) => return Err((error, bytes)),
        }
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminators_are_recognised() {
        for word in ["<<EOF", "<<'EOF'", "<<\"EOF\"", "<<-EOF", "<<-'EOF'", "<<EO\"F\"", "<< EOF", "<<- EOF", "4<<EOF"] {
            assert_eq!(announcement(word).unwrap().expect(word).name, "EOF", "{word}");
        }
        for word in ["", "EOF", "<<", "<<-", "<EOF", "<<<EOF", "<<EOF sh", "x<<EOF"] {
            assert_eq!(announcement(word), Ok(None), "{word}");
        }
        for word in ["<<'EOF", "<<\"EOF", "<<EOF'", "<<EOF\""] {
            assert!(announcement(word).is_err(), "{word}");
        }
    }

    #[test]
    fn only_unquoted_terminators_expand() {
        let cases = [("<<eof", "eof", true), ("<<eo\\'f", "eo'f", true), ("<<eo'f'", "eof", false), ("<<'e'o\\'f", "eo'f", false)];
        for (word, name, expand) in cases {
            let found = announcement(word).unwrap().expect(word);
            assert_eq!((found.name.as_str(), found.expand), (name, expand), "{word}");
        }
        assert_eq!(announcement("<<$EOF").unwrap().unwrap().name, "$EOF");
    }

    #[test]
    fn lines_announce_in_order() {
        let cases: &[(&str, &[&str])] = &[
            ("RUN <<EOF <<EOF2", &["EOF", "EOF2"]),
            ("RUN << -EOF", &["-EOF"]),
            ("RUN <<  EOF  > foo", &["EOF"]),
            ("RUN '<<EOF'", &[]),
            ("RUN \"<<EOF\"", &[]),
            ("RUN cat<<EOF", &[]),
            ("RUN it's <<EOF", &[]),
            ("COPY <<'one two' /x", &["one two"]),
        ];
        for (line, names) in cases {
            let found: Vec<String> = announcements(line).unwrap().into_iter().map(|(found, _)| found.name).collect();
            assert_eq!(found, *names, "{line}");
        }
    }

    #[test]
    fn escapes_in_quotes_shift_nothing() {
        let line = r#"RUN printf "\n\n\n" é <<EOF"#;
        let found = announcements(line).unwrap();
        assert_eq!((found.len(), &line[found[0].1.clone()]), (1, "<<EOF"));
    }

    #[test]
    fn a_chomped_body_loses_its_leading_tabs() {
        let content = "\t\ta\tb\n\n\tc\n".to_owned();
        let mut heredoc = Heredoc { name: "E".into(), expand: true, chomp: true, content, span: Span::default() };
        assert_eq!(heredoc.body(), "a\tb\n\nc\n");
        heredoc.chomp = false;
        assert_eq!(heredoc.body(), "\t\ta\tb\n\n\tc\n");
    }
}
