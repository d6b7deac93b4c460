//! What a source of COPY or ADD stands for, as BuildKit expands it (dockerfile2llb's `dispatchCopy` over fsutil's `copy`).

use super::error::{Error, shown};
use super::pattern::{Pattern, clean_in_root, has_wildcards};
use super::pattern_list::PatternList;
use super::resolve::resolve;
use super::taken::Taken;
use super::tree::{Match, Node, NodeKind, Tree, TreePath};
use super::walk::{join, split};

/// How a source is read.
#[derive(Debug, Clone, Default)]
pub struct SelectOptions {
    /// `*`, `?` and `[…]` are wildcards. Without it the source is one literal path.
    pub wildcards: bool,
    /// `--parents`: the source is a pattern with `**`, and the directories of what it matches are kept, from `/./` on.
    pub parents: bool,
    /// `--exclude`: patterns counted from the source directory; files that a wildcard matches are judged by their names.
    pub exclude: PatternList,
}

/// Walks below a directory.
type Walk<'w, I> = dyn Fn(&[u8], Taken<'_, I>) -> Result<Vec<I>, Error> + 'w;

/// Expands `source`, a path from the tree's root after word expansion (`./`, a leading slash and `..` are fine).
///
/// Matches are sorted. Links on the way and in the last place are followed inside the tree; links below a directory are
/// kept. A plain path that does not exist is [`Error::NotFound`]; a wildcard that matches nothing selects nothing.
/// With `--parents` every match is the directory before the pivot, `parents` is empty, and `below` names what is kept
/// with its directories: copied as any directory's content is.
pub fn select(tree: &dyn Tree, source: &[u8], options: &SelectOptions) -> Result<Vec<Match>, Error> {
    select_with(tree, source, options, &|directory, mut taken: Taken<'_, (TreePath, Node)>| {
        tree.walk(directory, &mut |path, node| taken.meet(path, node.kind == NodeKind::Directory, || (path.to_vec(), node.clone())))?;
        Ok(taken.finish())
    })
}

/// As [`select`], with what is below a directory as `walk` has it: it meets all that is below the path and returns what was taken.
pub(super) fn select_with<I>(tree: &dyn Tree, source: &[u8], options: &SelectOptions, walk: &Walk<'_, I>) -> Result<Vec<Match<I>>, Error> {
    if options.parents {
        return select_with_parents(tree, source, options, walk);
    }
    let source = clean_in_root(source);
    if !options.wildcards || !has_wildcards(&source) {
        return Ok(vec![found(tree, source, options, walk)?]);
    }
    let mut matches = Vec::new();
    for name in expand(tree, &source)? {
        let found = found(tree, name, options, walk)?;
        if found.node.kind == NodeKind::Directory || !options.exclude.matches(split(&found.name).1) {
            matches.push(found);
        }
    }
    Ok(matches)
}

fn found<I>(tree: &dyn Tree, name: TreePath, options: &SelectOptions, walk: &Walk<'_, I>) -> Result<Match<I>, Error> {
    let path = resolve(tree, &name)?;
    let node = lookup(tree, &path)?.ok_or_else(|| Error::not_found(&name, &path))?;
    let below = match node.kind {
        NodeKind::Directory => walk(&path, Taken::new(None, &options.exclude))?,
        _ => Vec::new(),
    };
    Ok(Match { path, name, node, parents: None, below })
}

fn select_with_parents<I>(tree: &dyn Tree, source: &[u8], options: &SelectOptions, walk: &Walk<'_, I>) -> Result<Vec<Match<I>>, Error> {
    // The first `/./` is the pivot; a source that begins with `./` has none.
    let pivot = source.windows(3).position(|window| window == b"/./");
    let (base, pattern) = pivot.map_or((&b""[..], source), |at| (&source[..at], &source[at + 3..]));
    let (base, pattern) = (clean_in_root(base), clean_in_root(pattern));
    let literal = !options.wildcards || !(has_wildcards(&base) || has_wildcards(&pattern));
    let include = PatternList::new([if pattern.is_empty() { b"**".as_slice() } else { &pattern }])?;
    let bases = if options.wildcards && has_wildcards(&base) { expand(tree, &base)? } else { vec![base.clone()] };
    let mut matches = Vec::new();
    for name in bases {
        let path = resolve(tree, &name)?;
        let node = lookup(tree, &path)?.ok_or_else(|| Error::not_found(&name, &path))?;
        if node.kind == NodeKind::Directory {
            let below = walk(&path, Taken::new(Some(&include), &options.exclude))?;
            matches.push(Match { path, name, node, parents: Some(TreePath::new()), below });
        }
    }
    let required = literal && !pattern.is_empty();
    let exists = |found: &Match<I>| lookup(tree, &join(&found.path, &pattern)).map(|node| node.is_some());
    if required && !matches.first().map_or(Ok(false), exists)? {
        let name = join(&base, &pattern);
        return Err(Error::not_found(&name, &name));
    }
    Ok(matches)
}

/// The paths that a source with wildcards names. Up to the first wildcard links are followed, from there on they are not:
/// BuildKit walks from that directory.
fn expand(tree: &dyn Tree, source: &[u8]) -> Result<Vec<TreePath>, Error> {
    let components: Vec<&[u8]> = source.split(|&b| b == b'/').collect();
    let literal = components.iter().take_while(|component| !has_wildcards(component)).count();
    let (prefix, rest) = components.split_at(literal);
    let prefix = prefix.join(&b'/');
    let base = resolve(tree, &prefix)?;
    if lookup(tree, &base)?.is_none() {
        return Err(Error::not_found(&prefix, &base));
    }
    let mut paths = vec![base];
    for component in rest {
        let pattern = Pattern::component(component)?;
        let mut matched = Vec::new();
        for directory in paths {
            if lookup(tree, &directory)?.is_some_and(|node| node.kind == NodeKind::Directory) {
                let names = children(tree, &directory)?.into_iter().filter(|name| pattern.matches(name));
                matched.extend(names.map(|name| join(&directory, &name)));
            }
        }
        paths = matched;
    }
    Ok(paths)
}

fn lookup(tree: &dyn Tree, path: &[u8]) -> Result<Option<Node>, Error> {
    tree.lookup(path).map_err(|source| Error::Read { path: shown(path).into(), source })
}

fn children(tree: &dyn Tree, path: &[u8]) -> Result<Vec<Vec<u8>>, Error> {
    tree.children(path).map_err(|source| Error::Read { path: shown(path).into(), source })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::RootTree;
    use std::fs;
    use std::os::unix::fs::symlink;

    struct Made {
        _directory: tempfile::TempDir,
        tree: RootTree,
    }

    /// Files by path; `a -> b` is a link; `a/` a directory.
    fn made(paths: &[&str]) -> Made {
        let directory = tempfile::tempdir().unwrap();
        for path in paths {
            let (path, target) = path.split_once(" -> ").map_or((*path, None), |(path, target)| (path, Some(target)));
            let full = directory.path().join(path);
            fs::create_dir_all(full.parent().unwrap()).unwrap();
            match target {
                Some(target) => symlink(target, full).unwrap(),
                None if path.ends_with('/') => fs::create_dir_all(full).unwrap(),
                None => fs::write(full, path).unwrap(),
            }
        }
        Made { tree: RootTree::open(directory.path()).unwrap(), _directory: directory }
    }

    /// `name=path[below,…]` of each match, or the error.
    fn selected(made: &Made, source: &str, parents: bool, exclude: &[&str]) -> String {
        let options = SelectOptions { wildcards: true, parents, exclude: PatternList::new(exclude).unwrap() };
        let text = |path: &[u8]| String::from_utf8_lossy(path).into_owned();
        match select(&made.tree, source.as_bytes(), &options) {
            Err(error) => error.to_string(),
            Ok(matches) => matches
                .iter()
                .map(|found| {
                    let below: Vec<_> = found.below.iter().map(|(path, _)| text(path)).collect();
                    let name =
                        if found.name == found.path { text(&found.name) } else { format!("{}={}", text(&found.name), text(&found.path)) };
                    if found.node.kind == NodeKind::Directory { format!("{name}[{}]", below.join(",")) } else { name }
                })
                .collect::<Vec<_>>()
                .join(" "),
        }
    }

    #[test]
    fn plain_sources_and_wildcards_are_expanded() {
        let made = made(&["b.txt", "a.txt", "[x]", "d/c", "d/sub/e.txt", "d/link -> c", "f/", "to-d -> d", "to-a -> /a.txt", "gone -> no"]);
        for (source, expected) in [
            ("a.txt", "a.txt"),
            ("./d/../a.txt", "a.txt"),
            ("../../a.txt", "a.txt"),
            ("d", "d[c,link,sub,sub/e.txt]"),
            ("d/", "d[c,link,sub,sub/e.txt]"),
            ("d/sub/..", "d[c,link,sub,sub/e.txt]"),
            ("f", "f[]"),
            ("*.txt", "a.txt b.txt"),
            ("d*", "d[c,link,sub,sub/e.txt]"),
            ("*/*.txt", ""),
            ("*/s*/*.txt", "d/sub/e.txt"),
            ("to-*/c", ""),
            ("to-d/c*", "d/c"),
            ("to-d/c", "to-d/c=d/c"),
            ("to-a", "to-a=a.txt"),
            ("to-?", "to-a=a.txt to-d=d[c,link,sub,sub/e.txt]"),
            ("d/li*", "d/link=d/c"),
            ("[[]x]", "[x]"),
            ("nomatch*", ""),
            ("missing", "\"/missing\": not found"),
            ("a.txt/x", "\"/a.txt/x\": not found"),
            ("missing/*", "\"/missing\": not found"),
            ("a.txt/*", ""),
            ("gone", "\"/gone\": not found"),
            ("[x-]", "invalid pattern \"[x-]\": `-` and `]` need a backslash there"),
        ] {
            assert_eq!(selected(&made, source, false, &[]), expected, "{source}");
        }
    }

    #[test]
    fn the_root_is_a_directory_like_any_other() {
        let made = made(&["a", "d/b"]);
        for source in ["", ".", "/", "./"] {
            assert_eq!(selected(&made, source, false, &[]), "[a,d,d/b]", "{source}");
        }
    }

    #[test]
    fn excluded_paths_count_from_the_source_directory() {
        let made = made(&["a.txt", "b.c", "d/a.txt", "d/b.c", "d/views/x", "d/views/y"]);
        for (source, exclude, expected) in [
            (".", &["*.txt"][..], "[b.c,d,d/a.txt,d/b.c,d/views,d/views/x,d/views/y]"),
            (".", &["**/*.txt"], "[b.c,d,d/b.c,d/views,d/views/x,d/views/y]"),
            ("d", &["*.txt"], "d[b.c,views,views/x,views/y]"),
            ("d", &["views"], "d[a.txt,b.c]"),
            ("d", &["views", "!views/y"], "d[a.txt,b.c,views,views/y]"),
            ("d", &["views/*"], "d[a.txt,b.c,views]"),
            ("d", &["!**/x"], "d[a.txt,b.c,views,views/x,views/y]"),
            ("*", &["*.txt"], "b.c d[b.c,views,views/x,views/y]"),
            ("a.txt", &["*.txt"], "a.txt"),
        ] {
            assert_eq!(selected(&made, source, false, exclude), expected, "{source} without {exclude:?}");
        }
    }

    #[test]
    fn parents_are_kept_from_the_pivot_on() {
        let made = made(&["x/y/a", "x/y/b", "x/z/a", "x/f", "x2/y/a", "w/b", "link -> x"]);
        for (source, expected) in [
            ("x/y", "[x,x/y,x/y/a,x/y/b]"),
            ("./x/y/", "[x,x/y,x/y/a,x/y/b]"),
            ("/x/y/.", "[x,x/y,x/y/a,x/y/b]"),
            ("x/y/a", "[x,x/y,x/y/a]"),
            ("x/./y/a", "x[y,y/a]"),
            ("./x/./*", "x[f,y,y/a,y/b,z,z/a]"),
            ("/./x/f", "[x,x/f]"),
            ("x/./y/./a", "x[y,y/a]"),
            ("**/b", "[w,w/b,x,x/y,x/y/b]"),
            ("x*/./y/a", "x[y,y/a] x2[y,y/a]"),
            ("x*/./**/b", "x[y,y/b] x2[]"),
            ("link/./y/a", "link=x[y,y/a]"),
            ("nomatch*", "[]"),
            ("x/missing", "\"/x/missing\": not found"),
            ("missing/./x", "\"/missing\": not found"),
            ("link/y/a", "\"/link/y/a\": not found"),
            ("w/./.", "w[b]"),
        ] {
            assert_eq!(selected(&made, source, true, &[]), expected, "{source}");
        }
        assert_eq!(selected(&made, "x", true, &["x/y", "!x/y/b"]), "[x,x/f,x/y,x/y/b,x/z,x/z/a]");
    }

    #[test]
    fn without_wildcards_a_source_is_literal() {
        let made = made(&["*", "a"]);
        let matches = select(&made.tree, b"*", &SelectOptions::default()).unwrap();
        assert_eq!(matches.iter().map(|found| found.path.as_slice()).collect::<Vec<_>>(), [b"*"]);
    }
}
