//! What is taken of all that lies below the directory of a source.

use super::pattern_list::{PatternList, Verdict};

/// Meets what a walk finds, parents before children, and keeps of each `I` what is taken.
pub(super) struct Taken<'p, I> {
    /// Nothing but what it takes, and the directories on the way.
    include: Option<&'p PatternList>,
    exclude: &'p PatternList,
    /// The directories that the walk is in, the first one that it began with.
    levels: Vec<Level<I>>,
    out: Vec<I>,
}

struct Level<I> {
    include: Verdict,
    exclude: Verdict,
    /// Not taken itself: it joins the rest before the first of its content that is.
    pending: Option<I>,
}

impl<'p, I> Taken<'p, I> {
    pub fn new(include: Option<&'p PatternList>, exclude: &'p PatternList) -> Self {
        let top = Level { include: Verdict::default(), exclude: Verdict::default(), pending: None };
        Self { include, exclude, levels: vec![top], out: Vec::new() }
    }

    /// Meets `item`, which lies at `path`. Whether the walk is to enter it.
    pub fn meet(&mut self, path: &[u8], is_directory: bool, item: impl FnOnce() -> I) -> bool {
        if self.include.is_none() && self.exclude.is_empty() {
            self.out.push(item());
            return is_directory;
        }
        self.levels.truncate(1 + path.iter().filter(|&&b| b == b'/').count());
        let Some(above) = self.levels.last() else { return false };
        let included = self.include.is_none_or(|list| list.takes(path, &above.include));
        let taken = included && !self.exclude.takes(path, &above.exclude);
        let mut pending = None;
        if taken {
            self.out.extend(self.levels.iter_mut().filter_map(|level| level.pending.take()));
            self.out.push(item());
        } else if is_directory {
            pending = Some(item());
        }
        is_directory && self.enter(path, pending)
    }

    pub fn finish(self) -> Vec<I> {
        self.out
    }

    /// Whether something below the directory may be taken.
    fn enter(&mut self, path: &[u8], pending: Option<I>) -> bool {
        let Some(above) = self.levels.last() else { return false };
        let include = self.include.map(|list| list.judge(path, &above.include));
        let exclude = self.exclude.judge(path, &above.exclude);
        let included = match (self.include, &include) {
            (Some(list), Some(verdict)) => verdict.matched || list.may_differ_below(path, verdict),
            _ => true,
        };
        let may = included && (!exclude.matched || self.exclude.may_differ_below(path, &exclude));
        if may {
            self.levels.push(Level { include: include.unwrap_or_default(), exclude, pending });
        }
        may
    }
}
