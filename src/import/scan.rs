//! The Dockerfiles of a repository, and the directory that each is written for.

use std::fs;
use std::path::Path;

use super::aside::{aside, names};
use super::found::{Found, base_name, parent};
use super::left::{Fate, Left, Leftovers};
use crate::dockerfile::{Dockerfile, InstructionKind, parse};

/// Directories within each other.
const DEEPEST: usize = 8;

/// Directories that are read; more is no repository but a disk.
const MOST_DIRECTORIES: usize = 20_000;

/// Bytes of a Dockerfile.
const LARGEST: u64 = 1 << 20;

/// Directories of other people's files, and of what tools have made.
const FOREIGN: [&str; 6] = ["node_modules", "vendor", "third_party", "target", "dist", "venv"];

/// Dockerfiles as images to build, sorted by path, and those that are none.
pub(super) fn dockerfiles(root: &Path, name_of_root: &str) -> (Vec<Found>, Vec<Left>) {
    let mut scan = Scan { root, directories: 0, files: Vec::new(), left: Vec::new() };
    scan.directory(".", DEEPEST);
    if scan.directories >= MOST_DIRECTORIES {
        scan.leave(".", Fate::Lost, format!("only {MOST_DIRECTORIES} directories were searched for Dockerfiles"));
    }
    let mut files = std::mem::take(&mut scan.files);
    files.sort();
    let plain: Vec<String> = files.iter().filter(|path| variant(base_name(path)) == Some("")).map(|path| parent(path).to_owned()).collect();
    let aside = aside(&files, |path| scan.parsed(path).map(|dockerfile| names(&dockerfile)).unwrap_or_default());
    let mut found = Vec::new();
    for path in &files {
        let (directory, variant) = (parent(path), variant(base_name(path)).unwrap_or_default());
        if let Some(name) = aside.get(path) {
            scan.leave(path, Fate::Otherwise, format!("below {name}/"));
        } else if !variant.is_empty() && plain.iter().any(|other| other == directory) {
            scan.leave(
                path,
                Fate::Lost,
                "a second Dockerfile beside another: an image of its own needs a table with `context` and `dockerfile`".to_owned(),
            );
        } else {
            let name = match (variant, directory) {
                ("", ".") => name_of_root.to_owned(),
                ("", _) => base_name(directory).to_owned(),
                (variant, _) => variant.to_owned(),
            };
            match scan.context_of(path) {
                Ok(context) => found.push(Found { name, file: path.clone(), context, dockerfile: path.clone(), ..Found::default() }),
                Err(problem) => scan.leave(path, Fate::Lost, problem),
            }
        }
    }
    (found, scan.left)
}

/// What a Dockerfile's name says besides: `worker` of `Dockerfile.worker` and of `worker.Dockerfile`, nothing of `Dockerfile`; `None` of
/// what is none.
fn variant(name: &str) -> Option<&str> {
    let name = ["Dockerfile", "dockerfile", "Containerfile"].iter().find_map(|plain| {
        if name == *plain { Some("") } else { name.strip_prefix(&format!("{plain}.")).or_else(|| name.strip_suffix(&format!(".{plain}"))) }
    });
    name.filter(|variant| !matches!(*variant, "dockerignore" | "md" | "j2" | "tmpl" | "template" | "in" | "erb" | "orig" | "bak"))
}

struct Scan<'a> {
    root: &'a Path,
    directories: usize,
    files: Vec<String>,
    left: Vec<Left>,
}

impl Scan<'_> {
    fn leave(&mut self, path: &str, fate: Fate, why: String) {
        let mut left = Leftovers::of(path);
        left.of_file("", fate, why);
        self.left.extend(left.into_vec());
    }

    /// Links are not followed, and other repositories, hidden and unreadable directories hold nothing.
    fn directory(&mut self, path: &str, levels: usize) {
        self.directories += 1;
        let Ok(entries) = fs::read_dir(self.root.join(path)) else { return };
        for entry in entries.flatten() {
            let (Ok(kind), Ok(name)) = (entry.file_type(), entry.file_name().into_string()) else { continue };
            let whole = if path == "." { name.clone() } else { format!("{path}/{name}") };
            if variant(&name).is_some() && entry.path().is_file() {
                self.files.push(whole);
            } else if kind.is_dir() && levels > 0 && self.directories < MOST_DIRECTORIES {
                let foreign = name.starts_with('.') || FOREIGN.contains(&name.as_str()) || entry.path().join(".git").exists();
                if !foreign {
                    self.directory(&whole, levels - 1);
                }
            }
        }
    }

    /// The Dockerfile's own directory, or the top where only that has what it copies.
    fn context_of(&self, path: &str) -> Result<String, String> {
        let sources = sources(&self.parsed(path)?);
        let has_all = |directory: &str| sources.iter().all(|source| self.root.join(directory).join(source).symlink_metadata().is_ok());
        let own = parent(path);
        Ok(if !has_all(own) && has_all(".") { ".".to_owned() } else { own.to_owned() })
    }

    fn parsed(&self, path: &str) -> Result<Dockerfile, String> {
        let file = self.root.join(path);
        let size = fs::metadata(&file).map_err(|error| error.to_string())?.len();
        if size > LARGEST {
            return Err(format!("it is larger than {LARGEST} bytes"));
        }
        let text = fs::read(&file).map_err(|error| error.to_string())?;
        parse(&text).map_err(|errors| format!("it is no Dockerfile: {}", errors.first().map_or_else(String::new, ToString::to_string)))
    }
}

/// What the context has to have: plain paths that COPY and ADD name.
fn sources(dockerfile: &Dockerfile) -> Vec<String> {
    let instructions = dockerfile.stages.iter().flat_map(|stage| &stage.instructions);
    let transfers = instructions.filter_map(|instruction| match &instruction.kind {
        InstructionKind::Copy(copy) if copy.from.is_none() => Some(&copy.transfer),
        InstructionKind::Add(add) => Some(&add.transfer),
        _ => None,
    });
    let words = transfers.flat_map(|transfer| &transfer.sources).map(|word| word.text.as_str());
    let plain = words
        .filter(|text| !text.contains(['$', '*', '?', '[', '\\', '"', '\'', '\0']) && !text.contains("://") && !text.starts_with("git@"));
    plain.filter_map(|text| super::found::normal(text.trim_start_matches('/'))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn repository(files: &[(&str, &str)]) -> tempfile::TempDir {
        let root = tempfile::tempdir().unwrap();
        for (path, text) in files {
            let path = root.path().join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, text).unwrap();
        }
        root
    }

    fn told(files: &[(&str, &str)]) -> (Vec<String>, Vec<String>) {
        let root = repository(files);
        let (found, left) = dockerfiles(root.path(), "top");
        (found.iter().map(|f| format!("{} {} {}", f.name, f.context, f.dockerfile)).collect(), left.iter().map(Left::to_string).collect())
    }

    #[test]
    fn names_of_dockerfiles_are_known() {
        for (name, expected) in [
            ("Dockerfile", Some("")),
            ("dockerfile", Some("")),
            ("Containerfile", Some("")),
            ("Dockerfile.worker", Some("worker")),
            ("worker.Dockerfile", Some("worker")),
            ("Dockerfile.dockerignore", None),
            ("Dockerfile.j2", None),
            ("docker-compose.yml", None),
            ("MyDockerfile", None),
        ] {
            assert_eq!(variant(name), expected, "{name}");
        }
    }

    #[test]
    fn dockerfiles_are_images_but_for_those_of_others_and_of_examples() {
        let files = [
            ("services/api/Dockerfile", "FROM scratch\n"),
            ("services/api/Dockerfile.dev", "FROM scratch\n"),
            ("docker/Dockerfile.a", "FROM scratch\n"),
            ("docker/b.Dockerfile", "FROM scratch\n"),
            ("Dockerfile", "FROM scratch\n"),
            ("node_modules/x/Dockerfile", "FROM scratch\n"),
            (".hidden/Dockerfile", "FROM scratch\n"),
            ("sub/.git/HEAD", ""),
            ("sub/Dockerfile", "FROM scratch\n"),
            ("examples/x/Dockerfile", "FROM scratch\n"),
            ("broken/Dockerfile", "NOT A DOCKERFILE\n"),
        ];
        let (found, left) = told(&files);
        assert_eq!(
            found,
            [
                "top . Dockerfile",
                "a docker docker/Dockerfile.a",
                "b docker docker/b.Dockerfile",
                "api services/api services/api/Dockerfile"
            ]
        );
        assert_eq!(left.len(), 3, "{left:?}");
        assert!(
            left[0].starts_with("broken/Dockerfile: it is no Dockerfile") && left[1] == "examples/x/Dockerfile: below examples/",
            "{left:?}"
        );
    }

    #[test]
    fn a_dockerfile_that_copies_from_the_top_is_built_there() {
        let files = [
            ("a/Dockerfile", "FROM scratch\nCOPY a/src /src\nCOPY shared /shared\n"),
            ("a/src/x", ""),
            ("shared/x", ""),
            ("b/Dockerfile", "FROM scratch\nCOPY ./x missing* /\nCOPY --from=a nothing /\n"),
            ("b/x", ""),
            ("c/Dockerfile", "FROM scratch\nCOPY nowhere /\n"),
        ];
        assert_eq!(told(&files).0, ["a . a/Dockerfile", "b b b/Dockerfile", "c c c/Dockerfile"]);
    }
}
