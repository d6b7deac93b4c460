//! From a seed to a Dockerfile with its context. The same seed gives the same case on every machine.

use fastrand::Rng;

use super::context::{Context, choose};
use super::copy::{self, From};
use super::stage::Stage;
use super::{run, settings};

#[derive(Debug)]
pub struct Case {
    pub seed: u64,
    pub context: Context,
    /// `{busybox}` stands for the base image.
    pub dockerfile: String,
    /// `--build-arg`.
    pub arguments: [&'static str; 1],
    /// Whether buildah is to make a layer of every instruction. It matters for hard links: one that is changed in a later layer
    /// is copied up, and parts from its other names.
    pub layers: bool,
}

impl Case {
    pub fn of(seed: u64) -> Self {
        let mut rng = Rng::with_seed(seed);
        let rng = &mut rng;
        let layers = rng.u8(0..3) == 0;
        let context = Context::generate(rng, layers);
        let mut lines = Vec::new();
        let mut stages: Vec<Stage> = Vec::new();
        let indirect = rng.u8(..) < 40;
        if indirect {
            lines.push("ARG BASE={busybox}".to_owned());
        }
        for index in 0..choose(rng, &[1, 1, 2, 2, 3]) {
            let name = format!("stage{index}");
            let (base, mut stage) = match (rng.u8(0..5), stages.last()) {
                (0, _) => ("scratch".to_owned(), Stage::new(name, false, !layers)),
                // SHELL is for the children of a stage too, but buildah forgets it.
                (1 | 2, Some(last)) if !last.own_shell => {
                    let parent = last.clone();
                    (parent.name.clone(), parent.child(name))
                }
                _ if indirect => ("$BASE".to_owned(), Stage::new(name, true, !layers)),
                _ => ("{busybox}".to_owned(), Stage::new(name, true, !layers)),
            };
            lines.push(format!("FROM {base} AS {}", stage.name));
            for _ in 0..rng.usize(3..9) {
                lines.extend(instruction(rng, &mut stage, &stages, &context, layers));
            }
            stages.push(stage);
        }
        Self { seed, context, dockerfile: typeset(rng, &lines), arguments: ["ARG2=from outside"], layers }
    }
}

/// The text of a Dockerfile, with the liberties that people take.
fn typeset(rng: &mut Rng, lines: &[String]) -> String {
    let mut text = String::new();
    for line in lines {
        let (keyword, rest) = line.split_once(' ').expect("an instruction has arguments");
        let keyword = if rng.u8(..) < 40 { keyword.to_lowercase() } else { keyword.to_owned() };
        let indent = choose(rng, &["", "", "", "", "  ", "\t", "# a comment\n", "\n\n"]);
        let gap = choose(rng, &[" ", " ", " ", " ", "   ", " \\\n  ", " \\\n# a comment, and an empty line\n\n"]);
        text += &format!("{indent}{keyword}{gap}{rest}\n");
    }
    // Only where lines are continued: buildah expands words as if there were no such directive.
    let other = text.replace(" \\\n", " `\n");
    if rng.u8(..) < 60 && !other.contains('\\') { format!("# escape=`\n{other}") } else { text }
}

fn instruction(rng: &mut Rng, stage: &mut Stage, earlier: &[Stage], context: &Context, links: bool) -> Option<String> {
    match rng.u8(0..12) {
        0..4 if stage.shell => Some(run::generate(rng, stage, links)),
        4..7 => copy::generate(rng, stage, From::Context(context)),
        7 if !earlier.is_empty() => {
            let other = choose(rng, earlier);
            copy::generate(rng, stage, From::Stage(&other))
        }
        8 => copy::archive(rng, stage, context),
        _ => Some(settings::generate(rng, stage)),
    }
}
