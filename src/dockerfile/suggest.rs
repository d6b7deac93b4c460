//! Did-you-mean, with BuildKit's measure: the nearest option less than three edits away.

const MAX_DISTANCE: usize = 3;

/// The option nearest to `value`, unless one equals it. Options are tried in order; the first of equally near ones wins.
pub(super) fn nearest<'a>(value: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut best_distance = MAX_DISTANCE;
    for option in options {
        if option == value {
            return None;
        }
        // The length alone rules out long values, so that the table below stays small.
        if value.chars().take(option.len() + MAX_DISTANCE).count() >= option.len() + MAX_DISTANCE {
            continue;
        }
        let distance = edit_distance(value, option);
        if distance < best_distance {
            best_distance = distance;
            best = Some(option);
        }
    }
    best
}

/// Levenshtein's distance in characters.
fn edit_distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, left_char) in left.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = above + 1;
        for (column, right_char) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(left_char != *right_char);
            diagonal = row[column + 1];
            row[column + 1] = replaced.min(diagonal + 1).min(row[column] + 1);
        }
    }
    row[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_option_within_two_edits_is_suggested() {
        let options = ["entrypoint", "run", "env"];
        assert_eq!(nearest("fntrypoint", options), Some("entrypoint"));
        assert_eq!(nearest("rum", options), Some("run"));
        assert_eq!(nearest("badcmd", options), None);
        assert_eq!(nearest("env", options), None);
        assert_eq!(nearest(&"x".repeat(100_000), options), None);
    }
}
