//! FromAsCasing.

use super::reading::Reading;
use super::warning::Warnings;

pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    for stage in &reading.file.stages {
        let (from, Some(keyword)) = (&stage.statement.keyword, &stage.as_keyword) else { continue };
        // A FROM of mixed case is the matter of ConsistentInstructionCasing.
        let matches = match from.text.as_str() {
            "from" => keyword.text == "as",
            "FROM" => keyword.text == "AS",
            _ => true,
        };
        if !matches {
            let message = format!("'{}' and '{}' keywords' casing do not match", keyword.text, from.text);
            warnings.about(&stage.statement, keyword.span, message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn as_follows_from() {
        expect(
            "FromAsCasing",
            &bare(),
            &[
                ("\nFROM scratch as base2\n\nFROM scratch AS base3\n", &[(2, "'as' and 'FROM' keywords' casing do not match")]),
                ("\nfrom scratch AS base\n\nfrom scratch as base2\n", &[(2, "'AS' and 'from' keywords' casing do not match")]),
                ("FROM scratch As b", &[(1, "'As' and 'FROM' keywords' casing do not match")]),
                ("From scratch as b\nFROM scratch\n", &[]),
            ],
        );
    }
}
