//! Did-you-mean, with BuildKit's measure: the nearest option less than three edits away. Two letters that changed places are one edit.

use strsim::osa_distance;

const MAX_DISTANCE: usize = 3;

/// The option nearest to `value`, unless one equals it. Options are tried in order; the first of equally near ones wins.
pub(super) fn nearest<'a>(value: &str, options: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let mut best = None;
    let mut best_distance = MAX_DISTANCE;
    for option in options {
        if option == value {
            return None;
        }
        // The length alone rules out long values, so that measuring takes no time to speak of.
        if value.chars().take(option.len() + MAX_DISTANCE).count() >= option.len() + MAX_DISTANCE {
            continue;
        }
        let distance = osa_distance(value, option);
        if distance < best_distance {
            best_distance = distance;
            best = Some(option);
        }
    }
    best
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_nearest_option_within_two_edits_is_suggested() {
        let options = ["entrypoint", "env", "run"];
        for (value, expected) in [
            ("fntrypoint", Some("entrypoint")),
            ("rum", Some("run")),
            ("rnu", Some("run")),
            ("etnrypiont", Some("entrypoint")),
            ("badcmd", None),
            ("env", None),
        ] {
            assert_eq!(nearest(value, options), expected, "{value}");
        }
        assert_eq!(nearest(&"x".repeat(100_000), options), None);
    }
}
