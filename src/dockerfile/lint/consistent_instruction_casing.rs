//! ConsistentInstructionCasing.

use super::super::ast::Word;
use super::reading::Reading;
use super::warning::Warnings;

/// ARGs before the first FROM neither count nor are looked at (BuildKit).
pub(super) fn check(reading: &Reading, warnings: &mut Warnings) {
    let keywords: Vec<&Word> = reading
        .file
        .stages
        .iter()
        .flat_map(|stage| std::iter::once(&stage.statement).chain(stage.instructions.iter().map(|instruction| &instruction.statement)))
        .map(|statement| &statement.keyword)
        .collect();
    let is_lower = |word: &Word| !word.text.contains(|c: char| c.is_ascii_uppercase());
    let is_upper = |word: &Word| !word.text.contains(|c: char| c.is_ascii_lowercase());
    let count = |is: &dyn Fn(&Word) -> bool| keywords.iter().filter(|word| is(word)).count();
    let (most, fits): (_, &dyn Fn(&Word) -> bool) =
        if count(&is_lower) > count(&is_upper) { ("lowercase", &is_lower) } else { ("uppercase", &is_upper) };
    for word in keywords.iter().filter(|word| !fits(word)) {
        warnings.about_file(word.span, format!("Command '{}' should match the case of the command majority ({most})", word.text));
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{bare, expect};

    #[test]
    fn the_majority_decides_and_capitals_a_tie() {
        expect(
            "ConsistentInstructionCasing",
            &bare(),
            &[
                (
                    "\nFrom scratch as base\nFROM scratch AS base2\n",
                    &[(2, "Command 'From' should match the case of the command majority (uppercase)")],
                ),
                (
                    "\nFROM scratch\ncopy Dockerfile /foo\nCOPY Dockerfile /bar\n",
                    &[(3, "Command 'copy' should match the case of the command majority (uppercase)")],
                ),
                (
                    "\nfrOM scratch as base\nfrom scratch as base2\n",
                    &[(2, "Command 'frOM' should match the case of the command majority (lowercase)")],
                ),
                (
                    "\nfrom scratch\nCOPY Dockerfile /foo\ncopy Dockerfile /bar\n",
                    &[(3, "Command 'COPY' should match the case of the command majority (lowercase)")],
                ),
                ("FROM scratch\nuser a\n", &[(2, "Command 'user' should match the case of the command majority (uppercase)")]),
                ("arg a\nFROM scratch\nCOPY a /b\nONBUILD run x\n", &[]),
                ("\nfrom scratch\ncopy Dockerfile /foo\ncopy Dockerfile /bar\n", &[]),
                ("\nFROM alpine\nRUN <<'EOT'\nenv\nEOT\n", &[]),
            ],
        );
    }
}
