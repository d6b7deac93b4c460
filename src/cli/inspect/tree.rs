//! The files of an image: its layers laid over each other (OCI image spec, "Applying Changesets"), and how two of them differ.

use std::collections::BTreeMap;
use std::ops::Bound;

use crate::image::{Listed, ListedKind, Listing};

/// By path.
#[derive(Debug, Default)]
pub struct Tree<'l>(BTreeMap<&'l [u8], Entry<'l>>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Entry<'l> {
    kind: ListedKind,
    mode: u32,
    owner: (u32, u32),
    size: u64,
    link: &'l [u8],
    content: [u8; 32],
}

/// A path that is not the same in two images.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Difference<'l> {
    pub path: &'l [u8],
    pub kind: DifferenceKind,
    /// Bytes before and after, of files.
    pub size: (Option<u64>, Option<u64>),
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DifferenceKind {
    Added,
    Removed,
    /// In which respects.
    Changed(Vec<&'static str>),
}

impl<'l> Tree<'l> {
    /// `layers`: lowest first.
    pub fn of(layers: &[&'l Listing]) -> Self {
        let mut tree = Self::default();
        layers.iter().for_each(|layer| tree.lay(layer));
        tree
    }

    fn lay(&mut self, layer: &'l Listing) {
        // What a layer hides is of the layers below, wherever in the layer it says so.
        for member in &layer.members {
            match member.kind {
                ListedKind::Whiteout => {
                    self.0.remove(member.path.as_slice());
                    self.clear(&member.path);
                }
                ListedKind::Opaque => self.clear(&member.path),
                _ => {}
            }
        }
        for member in layer.members.iter().filter(|member| !matches!(member.kind, ListedKind::Whiteout | ListedKind::Opaque)) {
            if member.kind != ListedKind::Directory {
                self.clear(&member.path);
            }
            let entry = self.entry(member);
            self.0.insert(&member.path, entry);
        }
    }

    /// Removes what is below a directory.
    fn clear(&mut self, directory: &[u8]) {
        let below = if directory.is_empty() { Vec::new() } else { [directory, b"/"].concat() };
        let from = (Bound::Included(below.as_slice()), Bound::Unbounded);
        let gone: Vec<&[u8]> = self.0.range::<[u8], _>(from).map(|(path, _)| *path).take_while(|path| path.starts_with(&below)).collect();
        for path in gone {
            self.0.remove(path);
        }
    }

    fn entry(&self, member: &'l Listed) -> Entry<'l> {
        // Another name of a file is that file.
        let target = (member.kind == ListedKind::Hardlink).then(|| self.0.get(member.link.as_slice())).flatten();
        let Listed { kind, mode, owner, size, content, .. } = *member;
        target.copied().unwrap_or(Entry { kind, mode, owner, size, link: &member.link, content })
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// What has to be done to `before` to have this, by path.
    pub fn since<'a>(&'a self, before: &'a Tree<'l>) -> Vec<Difference<'l>> {
        let mut differences = Vec::new();
        for (path, entry) in &self.0 {
            let old = before.0.get(path);
            let kind = match old {
                None => DifferenceKind::Added,
                Some(old) if old == entry => continue,
                Some(old) => DifferenceKind::Changed(entry.respects(old)),
            };
            differences.push(Difference { path, kind, size: (old.and_then(Entry::file_size), entry.file_size()) });
        }
        let removed = before.0.iter().filter(|(path, _)| !self.0.contains_key(*path));
        differences.extend(removed.map(|(path, old)| Difference { path, kind: DifferenceKind::Removed, size: (old.file_size(), None) }));
        differences.sort_by_key(|difference| difference.path);
        differences
    }
}

impl Entry<'_> {
    fn file_size(&self) -> Option<u64> {
        (self.kind == ListedKind::File).then_some(self.size)
    }

    fn respects(&self, old: &Self) -> Vec<&'static str> {
        let respects = [
            ("kind", self.kind != old.kind),
            ("content", self.kind == old.kind && (self.content, self.size) != (old.content, old.size)),
            ("target", self.link != old.link),
            ("mode", self.mode != old.mode),
            ("owner", self.owner != old.owner),
        ];
        respects.into_iter().filter(|(_, differs)| *differs).map(|(name, _)| name).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn listing(members: &[(&str, ListedKind, &str)]) -> Listing {
        let member = |(path, kind, text): &(&str, ListedKind, &str)| Listed {
            path: path.as_bytes().to_vec(),
            kind: *kind,
            mode: 0o644,
            owner: (0, 0),
            size: text.len() as u64,
            link: if matches!(kind, ListedKind::Hardlink | ListedKind::Symlink) { text.as_bytes().to_vec() } else { Vec::new() },
            content: *blake3::hash(text.as_bytes()).as_bytes(),
        };
        Listing { members: members.iter().map(member).collect(), uncompressed: 0 }
    }

    fn paths<'t>(tree: &Tree<'t>) -> Vec<&'t str> {
        tree.0.keys().map(|path| std::str::from_utf8(path).unwrap()).collect()
    }

    #[test]
    fn layers_hide_what_is_below_them_and_nothing_of_their_own() {
        use ListedKind::*;
        let low = listing(&[
            ("a", Directory, ""),
            ("a/b", File, "1"),
            ("a-c", File, "2"),
            ("d", Directory, ""),
            ("d/e", File, "3"),
            ("f/g", File, "4"),
        ]);
        let high = listing(&[("d/new", File, "5"), ("d", Opaque, ""), ("a", Whiteout, ""), ("f", File, "now a file")]);
        assert_eq!(paths(&Tree::of(&[&low, &high])), ["a-c", "d", "d/new", "f"]);
        let everything = listing(&[("", Opaque, ""), ("x", File, "")]);
        assert_eq!(paths(&Tree::of(&[&low, &everything])), ["x"]);
    }

    #[test]
    fn differences_say_in_what() {
        use ListedKind::*;
        let mut before = listing(&[
            ("same", File, "1"),
            ("text", File, "1"),
            ("mode", File, "1"),
            ("gone", File, "1"),
            ("kind", File, "1"),
            ("to", Symlink, "a"),
        ]);
        let mut after = listing(&[
            ("same", File, "1"),
            ("text", File, "22"),
            ("mode", File, "1"),
            ("kind", Directory, ""),
            ("to", Symlink, "b"),
            ("new", File, "333"),
        ]);
        before.members[2].mode = 0o755;
        after.members[4].content = before.members[5].content;
        let (before, after) = (Tree::of(&[&before]), Tree::of(&[&after]));
        let lines = |difference: &Difference| {
            let kind = match &difference.kind {
                DifferenceKind::Added => "added".to_owned(),
                DifferenceKind::Removed => "removed".to_owned(),
                DifferenceKind::Changed(respects) => respects.join(","),
            };
            format!("{} {kind} {:?}", String::from_utf8_lossy(difference.path), difference.size)
        };
        let lines: Vec<String> = after.since(&before).iter().map(lines).collect();
        assert_eq!(
            lines,
            [
                "gone removed (Some(1), None)",
                "kind kind (Some(1), None)",
                "mode mode (Some(1), Some(1))",
                "new added (None, Some(3))",
                "text content (Some(1), Some(2))",
                "to target (None, None)",
            ]
        );
        assert!(after.since(&after).is_empty());
    }

    #[test]
    fn another_name_of_a_file_is_that_file() {
        use ListedKind::*;
        let layer = listing(&[("a", File, "text"), ("b", Hardlink, "a")]);
        let copied = listing(&[("a", File, "text"), ("b", File, "text")]);
        assert!(Tree::of(&[&layer]).since(&Tree::of(&[&copied])).is_empty());
    }
}
