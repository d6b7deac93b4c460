//! Did-you-mean: the nearest known word by edit distance, where two letters that changed places are one edit.

use strsim::osa_distance;

/// Words longer than this are nobody's typing error (and bound the work).
const LONGEST: usize = 64;

/// `did you mean …?` where a candidate is near enough: a third of the word, at most three edits.
pub fn did_you_mean<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    nearest(word, candidates).map(|candidate| format!("did you mean `{candidate}`?"))
}

fn nearest<'a>(word: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let word = word.to_lowercase().replace('-', "_");
    if word.chars().count() > LONGEST {
        return None;
    }
    let tolerance = (word.chars().count().div_ceil(3)).min(3);
    let distances = candidates
        .into_iter()
        .filter(|candidate| candidate.len() <= LONGEST)
        .map(|c| (osa_distance(&word, &c.to_lowercase().replace('-', "_")), c));
    distances.filter(|&(edits, _)| edits <= tolerance).min().map(|(_, candidate)| candidate)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_words_are_suggested_and_far_ones_are_not() {
        let keys = ["registry", "registries", "members", "tags", "target", "platforms", "cache", "java-api"];
        for (word, expected) in [
            ("registy", Some("registry")),
            ("tag", Some("tags")),
            ("platform", Some("platforms")),
            ("cahce", Some("cache")),
            ("Members", Some("members")),
            ("java_api", Some("java-api")),
            ("volumes", None),
            ("x", None),
            ("", None),
        ] {
            assert_eq!(nearest(word, keys), expected, "{word}");
        }
        assert_eq!(nearest(&"t".repeat(100_000), keys), None);
    }
}
