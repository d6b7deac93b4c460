//! Random COPY and ADD instructions.

use fastrand::Rng;

use super::context::{Context, choose};
use super::stage::{Stage, What};

/// Where files come from.
pub enum From<'a> {
    Context(&'a Context),
    Stage(&'a Stage),
}

/// What is copied: arguments, and whether one file is what they match for sure.
struct Sources {
    names: Vec<String>,
    one_file: bool,
}

pub fn generate(rng: &mut Rng, stage: &mut Stage, from: From) -> Option<String> {
    let instruction = match from {
        From::Context(_) if rng.u8(..) < 60 => "ADD",
        _ => "COPY",
    };
    let sources = match &from {
        From::Context(context) => of_context(rng, context),
        From::Stage(other) => of_stage(rng, other)?,
    };
    let Destination { path, exists } = destination(rng, stage, &sources);
    let mut words = vec![instruction.to_owned()];
    if let From::Stage(other) = &from {
        words.push(format!("--from={}", choose(rng, &[&other.name, other.index()])));
    }
    // An archive among the sources of ADD is unpacked: BuildKit gives its files that owner too, buildah leaves them theirs.
    let only_copies = instruction == "COPY" || sources.one_file;
    if only_copies && rng.u8(..) < 50 {
        let owners = ["1:2", "7", "0:50", "guest", "guest:staff"];
        // Names are looked up in the image.
        words.push(format!("--chown={}", choose(rng, if stage.shell { &owners } else { &owners[..3] })));
    }
    // The directories that COPY has to make get the mode as well, in BuildKit; buildah makes them 0755.
    if exists && only_copies && rng.u8(..) < 50 {
        words.push(format!("--chmod={}", choose(rng, &["0640", "755", "4711", "1777"])));
    }
    let path = if rng.u8(..) < 20 { format!("${{UNSET:-{path}}}") } else { path };
    words.extend(arguments(rng, sources.names, path));
    Some(words.join(" "))
}

/// `ADD` of an archive.
pub fn archive(rng: &mut Rng, stage: &mut Stage, context: &Context) -> Option<String> {
    let name = context.archive()?;
    let directory = stage.any(rng, &[What::Directory, What::LinkToDirectory]);
    let destination = match directory {
        Some(directory) if rng.bool() => format!("{directory}/"),
        _ => {
            let slot = stage.new_slot();
            stage.set(&slot, What::Directory);
            slot + if rng.bool() { "/" } else { "" }
        }
    };
    Some(format!("ADD {name} {destination}"))
}

fn arguments(rng: &mut Rng, mut names: Vec<String>, destination: String) -> Vec<String> {
    names.push(destination);
    match rng.u8(..) < 60 {
        true => {
            let quoted: Vec<String> = names.iter().map(|name| format!("{name:?}")).collect();
            vec![format!("[{}]", quoted.join(", "))]
        }
        false => names,
    }
}

fn of_context(rng: &mut Rng, context: &Context) -> Sources {
    let (files, directories, links) = (context.files(), context.directories(), context.symlinks_to_something());
    let one = |name: String| Sources { names: vec![name], one_file: true };
    let several = |names: Vec<String>| Sources { names, one_file: false };
    match rng.u8(0..12) {
        0..3 => one(choose(rng, &files)),
        3 => one(format!("./{}", choose(rng, &files))),
        4 => one(format!("/../{}", choose(rng, &files))),
        5 => several(vec![choose(rng, &directories)]),
        6 => several(vec![format!("{}/", choose(rng, &directories))]),
        7 => several(vec![choose(rng, &[".", "./", "/", "*", "d*"]).to_owned()]),
        8 => several(vec![choose(rng, &files), choose(rng, &directories)]),
        9 if !links.is_empty() => several(vec![choose(rng, &links)]),
        // A pattern that matches nothing is fine with BuildKit, and not with buildah.
        _ if context.ignores => several(vec![choose(rng, &directories)]),
        _ => {
            let path = choose(rng, &[files, directories].concat());
            several(vec![pattern(rng, &path)])
        }
    }
}

fn of_stage(rng: &mut Rng, stage: &Stage) -> Option<Sources> {
    let one_file = rng.bool();
    let wanted = if one_file { &[What::File, What::LinkToFile][..] } else { &[What::Directory, What::LinkToDirectory][..] };
    let path = stage.any(rng, wanted)?;
    match rng.u8(0..6) {
        0 => Some(Sources { names: vec![pattern(rng, &path)], one_file: false }),
        1 if !one_file => Some(Sources { names: vec![format!("{path}/")], one_file }),
        2 => Some(Sources { names: vec![path.trim_start_matches('/').to_owned()], one_file }),
        _ => Some(Sources { names: vec![path], one_file }),
    }
}

/// A pattern that matches `path`, and maybe more.
fn pattern(rng: &mut Rng, path: &str) -> String {
    let (parent, name) = path.rsplit_once('/').map_or(("", path), |(parent, _)| path.split_at(parent.len() + 1));
    let first: String = name.chars().take(1).collect();
    let rest: String = name.chars().skip(1).collect();
    let name = choose(rng, &[format!("{first}*"), format!("?{rest}"), format!("[{first}x]{rest}"), "*".to_owned()]);
    format!("{parent}{name}")
}

struct Destination {
    path: String,
    /// Whether no directory has to be made for it.
    exists: bool,
}

fn destination(rng: &mut Rng, stage: &mut Stage, sources: &Sources) -> Destination {
    let there = |path: String| Destination { path, exists: true };
    match rng.u8(0..8) {
        0 => {
            let name = if sources.one_file && rng.bool() { "file" } else { "" };
            return Destination { path: format!("/deep{}/p/{name}", stage.fresh()), exists: false };
        }
        1 => return Destination { path: choose(rng, &[".", "./", "/", "/tmp/"]).to_owned(), exists: stage.shell },
        _ => {}
    }
    let existing = stage.any(rng, &[What::Directory, What::LinkToDirectory]);
    if let Some(directory) = existing.filter(|_| rng.bool()) {
        // Without a slash only where it may stand for a directory.
        let slash = if rng.bool() && sources.names.len() == 1 && !is_pattern(&sources.names[0]) { "" } else { "/" };
        return there(directory + slash);
    }
    // Not over a link to a file: BuildKit replaces the file that it leads to, buildah the link.
    let over = stage.any(rng, &[What::File]);
    if let Some(file) = over.filter(|_| sources.one_file && rng.bool()) {
        return there(file);
    }
    let (exists, slot) = (sources.one_file && !stage.slots.is_empty(), stage.new_slot());
    stage.set(&slot, if sources.one_file { What::File } else { What::Directory });
    Destination { path: slot + if sources.one_file { "" } else { "/" }, exists }
}

fn is_pattern(name: &str) -> bool {
    name.contains(['*', '?', '['])
}
