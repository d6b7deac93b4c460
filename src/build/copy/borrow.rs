//! Files that a layer borrows instead of having them copied: nothing of this run needs them on disk.

use std::sync::Arc;

use super::CopyError;
use super::directory::Directory;
use super::job::Writer;
use super::metadata::{ids, touch};
use crate::image::{BorrowedFile, BorrowedFiles, Lender};
use crate::source::tree::Node;

/// Takes files of a tree for a layer.
pub struct Borrower<'a, 'l> {
    pub files: &'a mut BorrowedFiles<'l>,
    pub lender: Arc<dyn Lender + 'l>,
}

impl Writer<'_, '_, '_> {
    /// Borrows a regular file, unless files are copied. What was there under its name is gone already.
    pub(super) fn borrowed(&mut self, directory: &Directory, name: &[u8], source: &[u8], node: &Node) -> Result<bool, CopyError> {
        let mtime = node.mtime;
        let (mode, owner) = (self.mode_of(node), self.job.owner.unwrap_or((node.uid, node.gid)));
        let Some(borrower) = &mut self.borrower else { return Ok(false) };
        ids(owner).map_err(|e| CopyError::write("change the owner of", directory.path_of(name), e))?;
        if !borrower.files.knows(relative(directory)) {
            // As a file that is made in it does; an overlay copies a directory up by that.
            touch(directory)?;
        }
        let link = node.hardlink.map(|id| *self.borrowed_links.entry(id).or_insert_with(|| borrower.files.next_link()));
        let (lender, source) = (borrower.lender.clone(), source.to_vec());
        borrower.files.insert(relative(directory), name, BorrowedFile { lender, source, mode, owner, size: node.size, mtime, link });
        self.stats.bytes += node.size;
        Ok(true)
    }

    /// To be called where something else is written under a name.
    pub(super) fn forget_borrowed(&mut self, directory: &Directory, name: &[u8]) {
        if let Some(borrower) = &mut self.borrower {
            borrower.files.remove(relative(directory), name);
        }
    }

    /// Refuses a directory that was made in the place of a borrowed file, which the kernel knows nothing of.
    pub(super) fn refuse_borrowed(&self, directory: &Directory) -> Result<(), CopyError> {
        let path = directory.path();
        let (parent, name) = super::job::split(path);
        match self.borrower.as_ref().is_some_and(|borrower| borrower.files.contains(parent.strip_prefix(b"/").unwrap_or(parent), name)) {
            true => Err(CopyError::NotADirectory { path: path.to_vec().into() }),
            false => Ok(()),
        }
    }
}

/// The path of a directory relative to the root.
fn relative(directory: &Directory) -> &[u8] {
    directory.path().strip_prefix(b"/").unwrap_or(b"")
}

#[cfg(test)]
mod tests {
    use std::fs::File;
    use std::io;

    use super::*;
    use crate::build::copy::testing::{Destination, job, matched};
    use crate::build::copy::write_matches;
    use crate::image::{LayerOptions, Mtime, TocWriter, write_layer};
    use crate::source::tree::{Match, Tree};

    impl Lender for &Destination {
        fn open(&self, path: &[u8]) -> io::Result<File> {
            Tree::open(*self, path)
        }

        fn unchanged(&self, path: &[u8], file: &File) -> io::Result<()> {
            Tree::unchanged(*self, path, file)
        }

        fn lends_xattrs(&self) -> bool {
            false
        }
    }

    /// The layer of several COPY sources into a root that `prepare` has filled, or the error. The root is an upper directory here.
    fn layer(source: &Destination, prepare: fn(&Destination), copies: &[(&[&str], &str)], borrow: bool) -> Result<Vec<u8>, String> {
        let root = Destination::new();
        prepare(&root);
        let mut files = BorrowedFiles::default();
        for (paths, destination) in copies {
            let matches: Vec<Match> = paths.iter().map(|path| matched(source, path)).collect();
            let borrower = borrow.then(|| Borrower { files: &mut files, lender: Arc::new(source) });
            write_matches(&job(source, &matches, &root, destination), borrower).map_err(|error| error.to_string())?;
        }
        let mut tar = Vec::new();
        let options = LayerOptions { mtime: Mtime::Normalized(0), owner_xattr: false, own_marks: true };
        write_layer(root.path("").as_path(), &files, &options, &mut tar, &mut TocWriter::new(io::sink()).unwrap())
            .map_err(|error| error.to_string())?;
        let copied = |name: &str| !borrow || root.list().iter().all(|line| !line.ends_with(&format!("{name} f640")));
        assert!(copied("a") && copied("b"), "a borrowed file was copied: {:?}", root.list());
        Ok(tar)
    }

    #[test]
    fn a_layer_that_borrows_is_the_layer_that_copies() {
        let source = Destination::new();
        for (name, content) in
            [("d/a", "one"), ("d/sub/b", "two"), ("d/sub-b/c", ""), ("e/a", "other"), ("f/a/x", "in a directory"), ("file", "f")]
        {
            source.file(name, content);
            source.chmod(name, 0o640);
        }
        source.hardlink("d/a", "d/sub/linked");
        source.hardlink("d/a", "e/linked");
        source.link("a", "d/link");
        source.link("nowhere", "g/a");
        source.fifo("d/fifo");
        let empty: fn(&Destination) = |_| {};
        let old: fn(&Destination) = |root| {
            root.file("there/sub/old", "old");
            root.file("there/new", "replaced");
            root.link("sub", "there/to-sub");
            root.directory("there/file");
        };
        for (prepare, copies) in [
            (empty, &[(&["d"][..], "/")][..]),
            (empty, &[(&["d", "e"], "/x/"), (&["file"], "/x/y/z")]),
            (empty, &[(&["d"], "/x"), (&["e"], "/x"), (&["file"], "/x/a")]),
            // A file where a link was, and a link where a file was.
            (empty, &[(&["d"], "/x"), (&["file"], "/x/link"), (&["g"], "/x")]),
            // A directory where a file was, and a file where a directory was.
            (empty, &[(&["d"], "/x"), (&["f"], "/x")]),
            (empty, &[(&["f"], "/x"), (&["d"], "/x")]),
            (empty, &[(&["file"], "/x"), (&["d"], "/x")]),
            (empty, &[(&["file"], "/x"), (&["file"], "/x/y")]),
            (empty, &[(&["file"], "/x"), (&["file"], "/x/")]),
            (empty, &[(&["d/a"], "/x"), (&["e/a"], "/x"), (&["e/linked", "d/sub/linked"], "/y/")]),
            (old, &[(&["d"], "/there"), (&["file"], "/there/new")]),
            (old, &[(&["file"], "/there/to-sub/new"), (&["d/sub"], "/there/to-sub")]),
            (old, &[(&["file"], "/there/")]),
        ] {
            assert_eq!(layer(&source, prepare, copies, true), layer(&source, prepare, copies, false), "{copies:?}");
        }
    }
}
