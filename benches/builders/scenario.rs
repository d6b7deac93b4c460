//! The scenarios: what is built, in which order, and what is told of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::brik::{BRIK, NO_CACHE, ROOTLESS, RUNNERS};
use crate::builder::FIRST_TAG;
use crate::edit::Edits;
use crate::inputs::{self, Inputs};
use crate::process::run;

/// Builds that follow each other, with one registry.
pub struct Scenario {
    pub family: &'static str,
    pub phases: Vec<Phase>,
    /// Whether builders read and write a cache in the registry.
    pub shared_cache: bool,
    /// Who takes part.
    field: Field,
    directory: PathBuf,
    /// A monorepo of the user's in place of the generated one.
    monorepo: Option<PathBuf>,
    edits: Edits,
    write: fn(&Path) -> std::io::Result<()>,
}

/// One build of a scenario.
pub struct Phase {
    /// Its row in the table.
    pub row: &'static str,
    pub change: Change,
    /// Whether the builder has forgotten all before it. The registry has not.
    pub fresh: bool,
    pub tag: &'static str,
    pub tell: Tell,
}

pub enum Change {
    Nothing,
    /// One file of one service.
    OneFile,
    /// One file from which the same is built as before.
    SameOutput,
}

/// What a row tells besides the common columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tell {
    /// The phase only prepares the next one: not even a row.
    Nothing,
    Row,
    /// Wall milliseconds, divided by the number of RUNs.
    MillisecondsARun(u32),
    /// Bytes of the largest layer.
    LargestLayer,
    /// A bare walk of the context beside it.
    StatWalk,
    /// Digests and keys in the registry.
    Shelf,
}

#[derive(PartialEq, Eq)]
enum Field {
    Everybody,
    /// And brik once more, as an unprivileged user.
    EverybodyAndRootless,
    /// And brik once more, without its cache repositories.
    EverybodyAndNoCache,
    OnlyBrik,
    /// brik, and four of it at once.
    Runners,
}

fn phase(row: &'static str, tell: Tell) -> Phase {
    Phase { row, change: Change::Nothing, fresh: false, tag: FIRST_TAG, tell }
}

fn fresh(row: &'static str, change: Change, tag: &'static str) -> Phase {
    Phase { row, change, fresh: true, tag, tell: Tell::Row }
}

/// Of the generated services, what the first stage of one sees and its image does not.
const NOTES: &str = "services/service-0/notes.txt";

impl Scenario {
    /// Their inputs lie below `scratch`. The user's monorepo, with the files of it that change, takes the place of the eight services.
    pub fn all(scratch: &Path, monorepo: Option<(&Path, &Edits)>) -> Vec<Self> {
        let scenario = |family, field, phases, write| {
            let (monorepo, edits) = (None, Edits::default());
            Self { family, phases, shared_cache: false, field, directory: scratch.join("inputs").join(family), monorepo, edits, write }
        };
        let services = |family, field, phases, generated: Edits, write| {
            let edits = monorepo.map_or(generated, |(_, edits)| edits.clone());
            Self { monorepo: monorepo.map(|(directory, _)| directory.to_owned()), edits, ..scenario(family, field, phases, write) }
        };
        let noted = Edits { one_file: None, same_output: Some(NOTES.into()) };
        let shared =
            |family, field, phases| Self { shared_cache: true, ..services(family, field, phases, noted.clone(), inputs::noted_services) };
        use Field::{Everybody, EverybodyAndNoCache, EverybodyAndRootless, OnlyBrik, Runners};
        let has_same_output = monorepo.is_none_or(|(_, edits)| edits.same_output.is_some());
        let mut on_fresh_runners = vec![
            phase("8 services, cold, cache filled", Tell::Nothing),
            fresh("8 services, fresh runner, no-op, new tag", Change::Nothing, "no-op"),
            fresh("8 services, fresh runner, one file, new tag", Change::OneFile, "one-file"),
        ];
        if has_same_output {
            on_fresh_runners.push(fresh("8 services, fresh runner, same output, new tag", Change::SameOutput, "same-output"));
        }
        vec![
            services(
                "services",
                Everybody,
                vec![
                    phase("8 services, cold, push", Tell::Row),
                    phase("8 services, no-op, push", Tell::Row),
                    Phase { change: Change::OneFile, ..phase("8 services, one file, push", Tell::Row) },
                ],
                Edits::default(),
                inputs::services,
            ),
            scenario(
                "many",
                Everybody,
                vec![phase("100,000 files, cold, push", Tell::Row), phase("100,000 files, no-op, push", Tell::StatWalk)],
                inputs::many,
            ),
            scenario("runs", EverybodyAndRootless, vec![phase("30 trivial RUNs, push", Tell::MillisecondsARun(30))], inputs::runs),
            scenario("big", Everybody, vec![phase("1 GiB COPY, push", Tell::LargestLayer)], inputs::big),
            scenario("base", Everybody, vec![phase("300 MiB base pulled for one RUN, push", Tell::Row)], inputs::base),
            scenario(
                "wide",
                OnlyBrik,
                vec![
                    phase("200 services x 10 Steps, cold, push", Tell::Nothing),
                    phase("200 services x 10 Steps, all cached, push", Tell::Row),
                ],
                inputs::wide,
            ),
            shared("fill", EverybodyAndNoCache, vec![phase("8 services, cold, cache filled", Tell::Row)]),
            shared("fresh", Everybody, on_fresh_runners),
            shared(
                "runners",
                Runners,
                vec![
                    phase("8 services, cold, same commit", Tell::Shelf),
                    fresh("8 services, fresh runner after these", Change::Nothing, "after"),
                ],
            ),
        ]
    }

    pub fn is_for(&self, builder: &str) -> bool {
        match builder {
            BRIK => true,
            ROOTLESS => self.field == Field::EverybodyAndRootless,
            NO_CACHE => self.field == Field::EverybodyAndNoCache,
            RUNNERS => self.field == Field::Runners,
            _ => !matches!(self.field, Field::OnlyBrik | Field::Runners),
        }
    }

    /// Writes the inputs, unless an earlier run has.
    pub fn prepare(&self) -> Result<Inputs, String> {
        let failed = |error: std::io::Error| format!("cannot write {}: {error}", self.directory.display());
        if !self.directory.exists() {
            let unfinished = self.directory.with_extension("tmp");
            let _ = fs::remove_dir_all(&unfinished);
            fs::create_dir_all(self.directory.parent().unwrap_or(&unfinished)).map_err(failed)?;
            match &self.monorepo {
                Some(monorepo) => run(std::process::Command::new("cp").arg("-a").arg(monorepo).arg(&unfinished))?,
                None => (self.write)(&unfinished).map_err(failed)?,
            }
            fs::write(unfinished.join("brik.toml"), inputs::brik_toml()).map_err(failed)?;
            fs::rename(&unfinished, &self.directory).map_err(failed)?;
        }
        Inputs::of(&self.directory, &self.edits).map_err(failed)
    }

    /// Removes what [`Self::prepare`] has written.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
