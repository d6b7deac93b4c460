//! The instructions of two builds, matched: which one of the last build is the counterpart of each one now.

use std::collections::BTreeMap;

/// An instruction: its stage, and its text.
pub(super) type Line<'t> = (&'t str, &'t str);

/// For every line of `new` the index of its counterpart in `old`, each at most once: lines that read the same, first within a stage,
/// then over all stages; and of what is left between them in a stage, by position where as many were replaced as there are now, else by
/// the kind of instruction.
pub(super) fn align(old: &[Line<'_>], new: &[Line<'_>]) -> Vec<Option<usize>> {
    let mut matched = Matched { counterparts: vec![None; new.len()], taken: vec![false; old.len()] };
    let same_text = |before: usize, now: usize| old[before].1 == new[now].1;
    let before = by_stage(old);
    let stages: Vec<(Vec<usize>, Vec<usize>)> =
        by_stage(new).into_iter().filter_map(|(stage, now)| Some((before.get(stage)?.clone(), now))).collect();
    for (before, now) in &stages {
        matched.add(common(before, now, same_text));
    }
    let (rest_before, rest) = matched.left(0..old.len(), 0..new.len());
    let anchors = matched.counterparts.clone();
    matched.add(common(&rest_before, &rest, same_text));
    for (before, now) in &stages {
        for (before, now) in gaps(before, now, &anchors) {
            let (before, now) = matched.left(before, now);
            matched.add(match before.len() == now.len() {
                true => before.into_iter().zip(now).collect(),
                false => common(&before, &now, |before, now| kind(old[before].1) == kind(new[now].1)),
            });
        }
    }
    matched.counterparts
}

struct Matched {
    counterparts: Vec<Option<usize>>,
    taken: Vec<bool>,
}

impl Matched {
    fn add(&mut self, pairs: Vec<(usize, usize)>) {
        for (before, now) in pairs {
            self.counterparts[now] = Some(before);
            self.taken[before] = true;
        }
    }

    /// Those that have no counterpart yet.
    fn left(&self, before: impl IntoIterator<Item = usize>, now: impl IntoIterator<Item = usize>) -> (Vec<usize>, Vec<usize>) {
        let before = before.into_iter().filter(|before| !self.taken[*before]).collect();
        (before, now.into_iter().filter(|now| self.counterparts[*now].is_none()).collect())
    }
}

fn by_stage<'t>(lines: &[Line<'t>]) -> BTreeMap<&'t str, Vec<usize>> {
    let mut stages: BTreeMap<&str, Vec<usize>> = BTreeMap::new();
    lines.iter().enumerate().for_each(|(index, (stage, _))| stages.entry(stage).or_default().push(index));
    stages
}

/// What lies between the lines of a stage that `anchors` match.
fn gaps(before: &[usize], now: &[usize], anchors: &[Option<usize>]) -> Vec<(Vec<usize>, Vec<usize>)> {
    let mut gaps = Vec::new();
    let mut before = before.iter().copied();
    for stretch in now.chunk_by(|_, next| anchors[*next].is_none()) {
        // A stretch begins with a line that has a counterpart, but for the first one.
        let anchor = anchors[stretch[0]];
        if let Some(anchor) = anchor {
            let skipped: Vec<usize> = before.by_ref().take_while(|index| *index != anchor).collect();
            match gaps.last_mut() {
                Some((open, _)) => *open = skipped,
                None => gaps.push((skipped, Vec::new())),
            }
        }
        gaps.push((Vec::new(), stretch[usize::from(anchor.is_some())..].to_vec()));
    }
    if let Some((open, _)) = gaps.last_mut() {
        *open = before.collect();
    }
    gaps
}

/// `RUN` of `RUN make`.
fn kind(text: &str) -> &str {
    text.split(' ').next().unwrap_or_default()
}

/// A table of more cells is not made: then only what the lists begin and end with is found.
const MOST_CELLS: usize = 4 << 20;

/// The longest common subsequence of two lists, as pairs of their items.
fn common(old: &[usize], new: &[usize], same: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let head = old.iter().zip(new).take_while(|(old, new)| same(**old, **new)).count();
    let (rest, rest_new) = (&old[head..], &new[head..]);
    let tail = rest.iter().rev().zip(rest_new.iter().rev()).take_while(|(old, new)| same(**old, **new)).count();
    let (middle, middle_new) = (&rest[..rest.len() - tail], &rest_new[..rest_new.len() - tail]);
    let pairs = |old: &[usize], new: &[usize]| old.iter().copied().zip(new.iter().copied()).collect::<Vec<_>>();
    let mut found = pairs(&old[..head], &new[..head]);
    if (middle.len() + 1).saturating_mul(middle_new.len() + 1) <= MOST_CELLS {
        found.extend(longest(middle, middle_new, same));
    }
    found.extend(pairs(&old[old.len() - tail..], &new[new.len() - tail..]));
    found
}

fn longest(old: &[usize], new: &[usize], same: impl Fn(usize, usize) -> bool) -> Vec<(usize, usize)> {
    let width = new.len() + 1;
    // Of what begins at each pair of places.
    let mut lengths = vec![0u32; (old.len() + 1) * width];
    for i in (0..old.len()).rev() {
        for j in (0..new.len()).rev() {
            lengths[i * width + j] = match same(old[i], new[j]) {
                true => lengths[(i + 1) * width + j + 1] + 1,
                false => lengths[(i + 1) * width + j].max(lengths[i * width + j + 1]),
            };
        }
    }
    let (mut i, mut j, mut found) = (0, 0, Vec::new());
    while i < old.len() && j < new.len() {
        if same(old[i], new[j]) {
            found.push((old[i], new[j]));
            (i, j) = (i + 1, j + 1);
        } else if lengths[(i + 1) * width + j] >= lengths[i * width + j + 1] {
            i += 1;
        } else {
            j += 1;
        }
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Stages are separated by `|`, as in `build: RUN a, RUN b | 1: COPY c`.
    fn lines(text: &str) -> Vec<Line<'_>> {
        text.split(" | ")
            .filter_map(|part| part.split_once(": "))
            .flat_map(|(stage, lines)| lines.split(", ").map(move |line| (stage, line)))
            .collect()
    }

    #[test]
    fn every_instruction_finds_its_counterpart() {
        for (what, old, new, expected) in [
            ("the same", "0: RUN a, RUN b", "0: RUN a, RUN b", "01"),
            ("inserted", "0: RUN a, RUN b", "0: RUN a, RUN x, RUN b", "0-1"),
            ("removed", "0: RUN a, RUN x, RUN b", "0: RUN a, RUN b", "02"),
            ("replaced by position", "0: RUN a, RUN x, RUN b", "0: RUN a, COPY y, RUN b", "012"),
            ("replaced and inserted, by kind", "0: RUN a, RUN x, RUN b", "0: RUN a, COPY z, RUN y, RUN b", "0-12"),
            ("moved", "0: RUN a, RUN b, RUN c", "0: RUN b, RUN c, RUN a", "120"),
            ("twice the same", "0: RUN a, RUN a", "0: RUN a, RUN a, RUN a", "01-"),
            ("a stage renamed", "0: RUN a | 1: RUN b", "0: RUN a | end: RUN b", "01"),
            ("a stage inserted", "0: RUN b", "0: RUN a | 1: RUN b", "-0"),
            ("nothing before", "", "0: RUN a", "-"),
            ("nothing now", "0: RUN a", "", ""),
        ] {
            let found = align(&lines(old), &lines(new));
            let shown: String = found.iter().map(|found| found.map_or("-".to_owned(), |index| index.to_string())).collect();
            assert_eq!(shown, expected, "{what}");
        }
    }

    #[test]
    fn very_long_lists_are_matched_at_their_ends() {
        let texts: Vec<String> = (0..10_000).map(|n| format!("RUN {n}")).collect();
        let old: Vec<Line> = texts.iter().map(|text| ("0", text.as_str())).collect();
        let mut new = old.clone();
        (1..9_999).for_each(|at| new[at].1 = "COPY x");
        new[1].1 = "RUN 2";
        let found = align(&old, &new);
        assert_eq!((found[0], found[9_999]), (Some(0), Some(9_999)));
    }
}
