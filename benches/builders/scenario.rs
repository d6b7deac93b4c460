//! The scenarios: what is built, in which order, and what is told of it.

use std::fs;
use std::path::{Path, PathBuf};

use crate::builder::{BRIK, ROOTLESS};
use crate::inputs::{self, Inputs};
use crate::process::run;

/// Builds that follow each other on one builder's state.
pub struct Scenario {
    pub family: &'static str,
    pub phases: Vec<Phase>,
    /// Who takes part.
    field: Field,
    directory: PathBuf,
    /// A monorepo of the user's in place of the generated one.
    monorepo: Option<PathBuf>,
    write: fn(&Path) -> std::io::Result<()>,
}

/// One build of a scenario.
pub struct Phase {
    /// Its row in the table.
    pub row: &'static str,
    pub change: Change,
    pub tell: Tell,
}

pub enum Change {
    Nothing,
    /// One file of the first service.
    OneFile,
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
}

#[derive(PartialEq, Eq)]
enum Field {
    Everybody,
    /// And brik once more, as an unprivileged user.
    EverybodyAndRootless,
    OnlyBrik,
}

fn phase(row: &'static str, tell: Tell) -> Phase {
    Phase { row, change: Change::Nothing, tell }
}

impl Scenario {
    /// Their inputs lie below `scratch`.
    pub fn all(scratch: &Path, monorepo: Option<&Path>) -> Vec<Self> {
        let scenario = |family, field, phases, write| {
            let monorepo = monorepo.filter(|_| family == "services").map(Path::to_owned);
            Self { family, phases, field, directory: scratch.join("inputs").join(family), monorepo, write }
        };
        use Field::{Everybody, EverybodyAndRootless, OnlyBrik};
        vec![
            scenario(
                "services",
                Everybody,
                vec![
                    phase("8 services, cold, push", Tell::Row),
                    phase("8 services, no-op, push", Tell::Row),
                    Phase { row: "8 services, one file, push", change: Change::OneFile, tell: Tell::Row },
                ],
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
        ]
    }

    pub fn is_for(&self, builder: &str) -> bool {
        match builder {
            BRIK => true,
            ROOTLESS => self.field == Field::EverybodyAndRootless,
            _ => self.field != Field::OnlyBrik,
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
        Inputs::of(&self.directory).map_err(failed)
    }

    /// Removes what [`Self::prepare`] has written.
    pub fn clear(&self) {
        let _ = fs::remove_dir_all(&self.directory);
    }
}
