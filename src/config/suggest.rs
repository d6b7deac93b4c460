//! Did-you-mean: the nearest known word by edit distance.

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
        .map(|c| (distance(&word, &c.to_lowercase().replace('-', "_")), c));
    distances.filter(|&(edits, _)| edits <= tolerance).min().map(|(_, candidate)| candidate)
}

/// Optimal string alignment: insertions, deletions, substitutions and swaps of neighbours.
fn distance(a: &str, b: &str) -> usize {
    let (a, b): (Vec<char>, Vec<char>) = (a.chars().collect(), b.chars().collect());
    let mut rows = vec![(0..=b.len()).collect::<Vec<_>>()];
    for i in 1..=a.len() {
        let mut row = vec![i];
        for j in 1..=b.len() {
            let substitution = rows[i - 1][j - 1] + usize::from(a[i - 1] != b[j - 1]);
            let mut best = substitution.min(rows[i - 1][j] + 1).min(row[j - 1] + 1);
            if i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] {
                best = best.min(rows[i - 2][j - 2] + 1);
            }
            row.push(best);
        }
        rows.push(row);
    }
    rows[a.len()][b.len()]
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
