//! The comma-separated options of `--mount`: one CSV record (RFC 4180).

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum CsvError {
    #[error("bare \" in non-quoted field")]
    BareQuote,
    #[error("extraneous or missing \" in quoted field")]
    Quote,
}

pub(super) fn fields(record: &str) -> Result<Vec<String>, CsvError> {
    let mut fields = Vec::new();
    let mut rest = record;
    loop {
        let (field, after) = match rest.strip_prefix('"') {
            Some(quoted) => quoted_field(quoted)?,
            None => {
                let end = rest.find(',').unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        if !rest.starts_with('"') && field.contains('"') {
            return Err(CsvError::BareQuote);
        }
        fields.push(field);
        match after.strip_prefix(',') {
            Some(after) => rest = after,
            None if after.is_empty() => return Ok(fields),
            None => return Err(CsvError::Quote),
        }
    }
}

/// The field after its opening quote, and what follows its closing quote.
fn quoted_field(mut rest: &str) -> Result<(String, &str), CsvError> {
    let mut field = String::new();
    loop {
        let (text, after) = rest.split_once('"').ok_or(CsvError::Quote)?;
        field.push_str(text);
        match after.strip_prefix('"') {
            Some(after) => {
                field.push('"');
                rest = after;
            }
            None => return Ok((field, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn records_are_cut_at_commas_outside_of_quotes() {
        let cases: &[(&str, &[&str])] =
            &[("", &[""]), ("a,b=c", &["a", "b=c"]), ("\"a,b\",c", &["a,b", "c"]), ("\"a\"\"b\",", &["a\"b", ""])];
        for (record, expected) in cases {
            assert_eq!(fields(record).unwrap(), *expected, "{record}");
        }
        assert_eq!(fields("a\"b"), Err(CsvError::BareQuote));
        assert_eq!([fields("\"a"), fields("\"a\"b")], [Err(CsvError::Quote), Err(CsvError::Quote)]);
    }
}
