//! Marks: the place in a text where a variable would have stood whose value only another tool knows.

/// From Unicode's private use area; what a file itself has of them is taken for marks as well, and is not understood then.
const OPEN: char = '\u{f0f0}';
const CLOSE: char = '\u{f0f1}';

pub(super) fn mark(name: &str) -> String {
    format!("{OPEN}{name}{CLOSE}")
}

/// The variables whose marks are in a text.
pub(super) fn names(text: &str) -> Vec<String> {
    text.split(OPEN).skip(1).filter_map(|part| part.split_once(CLOSE)).map(|(name, _)| name.to_owned()).collect()
}

/// How many bytes the mark takes that a text begins with.
pub(super) fn length(text: &str) -> Option<usize> {
    text.starts_with(OPEN).then(|| text.find(CLOSE).map(|at| at + CLOSE.len_utf8()))?
}

/// What stands behind the last `:` of an image's name that marks may stand in.
pub(super) fn names_in_tag(text: &str) -> Vec<String> {
    let tag = text.rsplit_once(':').map(|(_, tag)| tag).filter(|tag| !tag.contains('/'));
    tag.map(names).unwrap_or_default()
}

/// The first variable that a text is made of.
pub(super) fn unknown(text: &str) -> Option<String> {
    names(text).into_iter().next()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_found_again() {
        let text = format!("{}/org/app:v{}-{}", mark("HOST"), mark("A"), mark("B"));
        assert_eq!(names(&text), ["HOST", "A", "B"]);
        assert_eq!(names_in_tag(&text), ["A", "B"]);
        assert_eq!(names_in_tag(&format!("host:{}/app", mark("PORT"))), [""; 0]);
        assert_eq!((unknown(&text).as_deref(), unknown("x")), (Some("HOST"), None));
    }
}
