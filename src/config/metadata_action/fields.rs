//! A line as comma-separated values of `name=value`.

use std::ops::Range;

use crate::config::template::TemplateError;

/// An attribute with its bytes in the line. A value without a name is called `value`.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Field<'a> {
    pub name: &'a str,
    pub value: &'a str,
    pub name_span: Range<usize>,
    pub value_span: Range<usize>,
}

impl Field<'_> {
    pub fn wrong(&self, reason: &str, help: Option<String>) -> TemplateError {
        TemplateError::new(self.value_span.clone(), reason, help)
    }
}

/// Bytes of a line. What it says is read by rules that a longer one could keep busy.
const LONGEST_LINE: usize = 4096;

/// Splits at commas; one that belongs to a value stands in a field that is quoted as a whole: `"pattern={{date 'D, YYYY'}}"`.
///
/// # Errors
/// Where a quote is not closed, or does not stand around a whole field, and where the line is too long.
pub(super) fn fields(line: &str) -> Result<Vec<Field<'_>>, TemplateError> {
    if line.len() > LONGEST_LINE {
        return Err(TemplateError::new(0..line.len(), format!("a line has at most {LONGEST_LINE} bytes"), None));
    }
    let mut fields = Vec::new();
    let mut at = 0;
    while at < line.len() {
        let rest = &line[at..];
        let (start, end, next) = match rest.strip_prefix('"') {
            Some(quoted) => {
                let length = quoted.find('"').ok_or_else(|| TemplateError::new(at..line.len(), "this quote is never closed", None))?;
                let end = at + 1 + length;
                if !matches!(line.as_bytes().get(end + 1), None | Some(b',')) {
                    return Err(TemplateError::new(end..end + 1, "a quote stands around a whole field", None));
                }
                (at + 1, end, end + 2)
            }
            None => {
                let end = at + rest.find(',').unwrap_or(rest.len());
                (at, end, end + 1)
            }
        };
        fields.push(field(line, start..end));
        at = next;
    }
    Ok(fields)
}

fn field(line: &str, at: Range<usize>) -> Field<'_> {
    let text = &line[at.clone()];
    match text.find('=') {
        Some(equals) => {
            let (name_span, value_span) = (trimmed(line, at.start..at.start + equals), trimmed(line, at.start + equals + 1..at.end));
            Field { name: &line[name_span.clone()], value: &line[value_span.clone()], name_span, value_span }
        }
        None => {
            let value_span = trimmed(line, at);
            Field { name: "value", value: &line[value_span.clone()], name_span: value_span.clone(), value_span }
        }
    }
}

fn trimmed(line: &str, at: Range<usize>) -> Range<usize> {
    let text = &line[at.clone()];
    let start = at.start + text.len() - text.trim_start().len();
    start..start + text.trim().len()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_split_at_commas_and_the_first_equals_sign() {
        let pairs = |line| fields(line).unwrap().into_iter().map(|field| (field.name, field.value)).collect::<Vec<_>>();
        assert_eq!(pairs("type=raw, foo"), [("type", "raw"), ("value", "foo")]);
        assert_eq!(pairs("a=b=c,"), [("a", "b=c")]);
        assert_eq!(pairs("\"a=b,c\",d=\"e\""), [("a", "b,c"), ("d", "\"e\"")]);
        assert_eq!(pairs(""), []);
        assert!(fields("\"a\"b").is_err() && fields("\"a").is_err());
        assert!(fields(&"[".repeat(LONGEST_LINE)).is_ok() && fields(&"[".repeat(LONGEST_LINE + 1)).is_err());
    }
}
