//! brik against a second builder, Debian's buildah, on Dockerfiles that nobody wrote by hand.
//!
//! A seed makes a case (`generate`): a small context tree, and a Dockerfile of random instructions that both builders know. Both
//! build it, and every difference in files and configuration is told (`compare`). The truth is BuildKit's, not buildah's: where
//! the two are known to differ, the generator does not go, and says why there.
//!
//! `BRIK_DIFFERENTIAL=500` runs that many seeds, `BRIK_DIFFERENTIAL=17..18` only number 17.

mod archive;
mod buildah;
mod compare;
mod context;
mod copy;
mod generate;
mod run;
mod settings;
mod stage;

use std::io::Write;
use std::ops::Range;
use std::sync::Mutex;
use std::thread;
use std::time::Instant;

use crate::support::{Project, tools};
use buildah::Buildah;
use generate::Case;

const SEEDS: Range<u64> = 0..16;

/// How both builders met a case.
enum Outcome {
    SameImage,
    BothRefuse,
    Different(String),
}

#[test]
fn brik_and_buildah_build_the_same_image() {
    if !tools::installed(&["buildah", "unshare"]) {
        return;
    }
    let began = Instant::now();
    let seeds = seeds();
    let queue = Mutex::new(seeds.clone());
    let outcomes: Vec<Outcome> = thread::scope(|scope| {
        let workers: Vec<_> = (0..2).map(|_| scope.spawn(|| work(&queue))).collect();
        workers.into_iter().flat_map(|worker| worker.join().expect("a worker ends")).collect()
    });
    let refused = outcomes.iter().filter(|outcome| matches!(outcome, Outcome::BothRefuse)).count();
    let different: Vec<&String> =
        outcomes.iter().filter_map(|outcome| if let Outcome::Different(text) = outcome { Some(text) } else { None }).collect();
    if std::env::var_os(VARIABLE).is_some() {
        say(&format!(
            "seeds {seeds:?}: {} same images, {refused} refused by both, {} different, {:.0} s",
            outcomes.len() - refused - different.len(),
            different.len(),
            began.elapsed().as_secs_f32()
        ));
    }
    assert!(different.is_empty(), "{}", different.iter().map(|text| text.as_str()).collect::<Vec<_>>().join("\n"));
    let compared = seeds != SEEDS || refused * 4 <= outcomes.len();
    assert!(compared, "{refused} of {} Dockerfiles are refused by both builders: little is compared", outcomes.len());
}

const VARIABLE: &str = "BRIK_DIFFERENTIAL";

/// `N` or `FROM..TO` in the environment.
fn seeds() -> Range<u64> {
    let Ok(text) = std::env::var(VARIABLE) else { return SEEDS };
    let number = |text: &str| text.trim().parse::<u64>().unwrap_or_else(|_| panic!("{VARIABLE}={text}: neither a number nor a range"));
    match text.split_once("..") {
        Some((from, to)) => number(from)..number(to),
        None => 0..number(&text),
    }
}

/// Takes seeds from the queue until there are none left. Both stores live as long as the worker, as they do for people.
fn work(queue: &Mutex<Range<u64>>) -> Vec<Outcome> {
    let (buildah, store) = (Buildah::start(), Project::empty());
    let next = || queue.lock().expect("no worker panics here").next();
    std::iter::from_fn(next).map(|seed| judge(&Case::of(seed), &buildah, &store)).collect()
}

fn judge(case: &Case, buildah: &Buildah, store: &Project) -> Outcome {
    let project = Project::dockerfile(&case.dockerfile);
    case.context.write(&project.path(""));
    let arguments = case.arguments.iter().flat_map(|argument| ["--build-arg", argument]);
    let run = project.build(arguments).store(&store.store()).run();
    let theirs = buildah.build(case, &project.path(""));
    let told = match (run.code, theirs) {
        (Some(0), Ok(theirs)) => {
            let differences = compare::differences(&project.built(), &theirs);
            if differences.is_empty() {
                return Outcome::SameImage;
            }
            format!("brik | buildah\n{}", differences.join("\n"))
        }
        (Some(1), Err(_)) => return Outcome::BothRefuse,
        (Some(0), Err(error)) => format!("only buildah refuses:\n{error}"),
        (code, Ok(_)) => format!("only brik refuses ({code:?}):\n{}", run.stderr),
        (code, Err(error)) => format!("brik ended with {code:?}:\n{}\nbuildah:\n{error}", run.stderr),
    };
    let seed = case.seed;
    Outcome::Different(format!(
        "== seed {seed} ({VARIABLE}={seed}..{}; layers {})\n{}-- context\n{}\n-- {told}\n",
        seed + 1,
        case.layers,
        case.dockerfile,
        case.context
    ))
}

/// Past the capture of the test harness.
fn say(line: &str) {
    let _ = std::io::stderr().write_all(format!("differential: {line}\n").as_bytes());
}
