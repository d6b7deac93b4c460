//! Directories that are called as if their Dockerfiles were there to be looked at or to be tested with, and which of them are services.

use std::collections::{BTreeMap, BTreeSet};

use super::found::parent;
use crate::dockerfile::{Dockerfile, InstructionKind, Mount};

const NAMES: [&str; 8] = ["doc", "docs", "example", "examples", "fixtures", "test", "testdata", "tests"];

/// The Dockerfiles among `files` that are no services, each with the name in its path that says so.
///
/// A directory of such a name is a service's where it lies beside those of others, or where one of them names it: what `names` says of a
/// Dockerfile is what it names in FROM and `--from`. What lies deeper is none in any case: `examples/python` is not the `python` of a FROM.
pub(super) fn aside(files: &[String], names: impl Fn(&str) -> BTreeSet<String>) -> BTreeMap<String, &'static str> {
    let name_of = |path: &String| parent(path).split('/').find_map(|part| NAMES.into_iter().find(|name| *name == part));
    let (mut aside, mut services) = (BTreeMap::new(), Vec::new());
    for path in files {
        match name_of(path) {
            Some(name) => drop(aside.insert(path.clone(), name)),
            None => services.push(path.clone()),
        }
    }
    let own = |path: &str, name: &str| parent(path).split('/').position(|part| part == name) == Some(parent(path).matches('/').count());
    let homes: BTreeSet<&str> = services.iter().map(|path| parent(path)).filter(|directory| *directory != ".").map(parent).collect();
    let mut more: Vec<String> =
        aside.iter().filter(|(path, name)| own(path, name) && homes.contains(parent(parent(path)))).map(|(path, _)| path.clone()).collect();
    aside.retain(|path, _| !more.contains(path));
    more.extend(services);
    // What names another one may be such a service itself.
    while !more.is_empty() && aside.iter().any(|(path, name)| own(path, name)) {
        let named: BTreeSet<String> = more.iter().flat_map(|path| names(path)).collect();
        let found = aside.iter().filter(|(path, name)| own(path, name) && named.contains(**name)).map(|(path, _)| path.clone());
        more = found.collect();
        aside.retain(|path, _| !more.contains(path));
    }
    aside
}

/// What a Dockerfile names in FROM, `--from` and `from=` that is none of its stages.
pub(super) fn names(dockerfile: &Dockerfile) -> BTreeSet<String> {
    let mut names = BTreeSet::new();
    for (index, stage) in dockerfile.stages.iter().enumerate() {
        names.extend(Some(&stage.from.text).filter(|name| dockerfile.stage_before(name, index).is_none()).cloned());
        for instruction in &stage.instructions {
            let sources: Vec<String> = match &instruction.kind {
                InstructionKind::Copy(copy) => copy.from.iter().map(|from| from.text.clone()).collect(),
                InstructionKind::Run(run) => {
                    let mounts = run.mounts.iter().filter_map(|word| Mount::parse(&word.text, &mut |value| Ok(value.to_owned())).ok());
                    mounts.filter_map(|mount| mount.from).collect()
                }
                _ => continue,
            };
            names.extend(sources.into_iter().filter(|name| dockerfile.stage_by_name_or_index(name).is_none()));
        }
    }
    names
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is aside of these Dockerfiles, each of which is a path and what it names.
    fn told(files: &[(&str, &[&str])]) -> Vec<String> {
        let paths: Vec<String> = files.iter().map(|(directory, _)| format!("{directory}/Dockerfile")).collect();
        let names = |path: &str| {
            let named = files.iter().find(|(directory, _)| *directory == parent(path)).map(|(_, names)| *names);
            named.unwrap_or_default().iter().map(|name| (*name).to_owned()).collect()
        };
        aside(&paths, names).into_iter().map(|(path, name)| format!("{} below {name}", parent(&path))).collect()
    }

    #[test]
    fn beside_others_it_is_a_service() {
        assert_eq!(told(&[("services/api", &[]), ("services/docs", &[])]), [""; 0]);
        assert_eq!(told(&[("api", &[]), ("docs", &[])]), [""; 0]);
        assert_eq!(told(&[("api", &[]), ("services/docs", &[])]), ["services/docs below docs"]);
        assert_eq!(told(&[(".", &[]), ("docs", &[])]), ["docs below docs"]);
        assert_eq!(told(&[("services/docs", &[]), ("services/tests", &[])]), ["services/docs below docs", "services/tests below tests"]);
    }

    #[test]
    fn what_lies_deeper_is_none() {
        let files: [(&str, &[&str]); 4] =
            [("services/api", &["python"]), ("docs/examples", &[]), ("examples/python", &[]), ("tests/x/docs", &[])];
        assert_eq!(told(&files), ["docs/examples below docs", "examples/python below examples", "tests/x/docs below tests"]);
    }

    #[test]
    fn what_others_name_is_a_service_and_what_that_names() {
        let files: [(&str, &[&str]); 4] =
            [(".", &["docs"]), ("docs", &["fixtures"]), ("data/fixtures", &[]), ("more/tests", &["testdata"])];
        assert_eq!(told(&files), ["more/tests below tests"]);
    }

    #[test]
    fn stages_are_no_names_from_outside() {
        let text = "FROM base AS docs\nFROM docs\nCOPY --from=docs a b\nCOPY --from=0 a b\nCOPY --from=site a b\n\
                    RUN --mount=from=tools,target=/t --mount=type=cache,target=/c x\n";
        let names = names(&crate::dockerfile::parse(text.as_bytes()).unwrap());
        assert_eq!(names.iter().map(String::as_str).collect::<Vec<_>>(), ["base", "site", "tools"]);
    }
}
