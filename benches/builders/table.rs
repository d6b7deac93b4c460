//! Tables: medians over the rounds, each builder's ratio to brik, and the counts of the round under strace.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::brik::BRIK;
use crate::measure::{Counts, Figures};
use crate::scenario::Tell;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Row {
    pub name: &'static str,
    pub tell: Tell,
    /// Which decides about the columns.
    pub shared_cache: bool,
}

#[derive(Default)]
pub struct Table {
    /// In the order of the scenarios.
    rows: Vec<Row>,
    builders: Vec<&'static str>,
    figures: BTreeMap<(&'static str, &'static str), Vec<Figures>>,
    counts: BTreeMap<(&'static str, &'static str), Counts>,
}

impl Table {
    pub fn add(&mut self, row: Row, builder: &'static str, figures: Figures) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        if !self.builders.contains(&builder) {
            self.builders.push(builder);
        }
        self.figures.entry((row.name, builder)).or_default().push(figures);
    }

    pub fn add_counts(&mut self, row: &'static str, builder: &'static str, counts: Counts) {
        self.counts.insert((row, builder), counts);
    }
}

fn median(figures: &[Figures], value: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = figures.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}

const MB: f64 = 1e6;
const MIB: f64 = (1 << 20) as f64;

/// What a cell is made of.
struct Cell<'t> {
    tell: Tell,
    builder: &'static str,
    figures: &'t [Figures],
    brik: Option<&'t Vec<Figures>>,
    counts: Option<&'t Counts>,
}

impl Cell<'_> {
    fn of(&self, decimals: usize, value: fn(&Figures) -> f64) -> String {
        format!("{:.decimals$}", median(self.figures, value))
    }

    fn ratio(&self, value: fn(&Figures) -> f64) -> String {
        let brik = self.brik.filter(|_| self.builder != BRIK);
        brik.map_or(String::new(), |brik| format!("{:.2}", median(self.figures, value) / median(brik, value)))
    }

    fn count(&self, count: fn(&Counts) -> usize) -> String {
        self.counts.map(count).map_or("–".to_owned(), |n| n.to_string())
    }

    fn besides(&self) -> String {
        match self.tell {
            Tell::MillisecondsARun(runs) => format!("{:.1} ms a RUN", median(self.figures, |figures| figures.wall * 1e3) / f64::from(runs)),
            Tell::LargestLayer => format!("layer of {} bytes", self.of(0, |figures| figures.traffic.largest as f64)),
            Tell::Shelf => {
                let alone = self.brik.and_then(|brik| brik.first()).map(|figures| &figures.shelf);
                let shelves = self.figures.iter().map(|figures| figures.shelf.beside(alone.unwrap_or(&figures.shelf)));
                let different: BTreeSet<String> = shelves.collect();
                different.into_iter().collect::<Vec<_>>().join(" or ")
            }
            Tell::Nothing | Tell::Row | Tell::StatWalk => String::new(),
        }
    }
}

type Column = (&'static str, fn(&Cell<'_>) -> String);

/// Of builds with the builder's own state.
const LOCAL: &[Column] = &[
    ("wall s", |cell| cell.of(3, |figures| figures.wall)),
    ("CPU s", |cell| cell.of(3, |figures| figures.cpu)),
    ("own CPU s", |cell| cell.of(2, |figures| figures.own_cpu)),
    ("wall / brik", |cell| cell.ratio(|figures| figures.wall)),
    ("CPU / brik", |cell| cell.ratio(|figures| figures.cpu)),
    ("requests", |cell| cell.of(0, |figures| figures.traffic.requests as f64)),
    ("uploads", |cell| cell.of(0, |figures| figures.traffic.uploads as f64)),
    ("MB up", |cell| cell.of(2, |figures| figures.traffic.bytes_up as f64 / MB)),
    ("MB down", |cell| cell.of(2, |figures| figures.traffic.bytes_down as f64 / MB)),
    ("peak MiB", |cell| cell.of(0, |figures| figures.memory as f64 / MIB)),
    ("forks", |cell| cell.count(|counts| counts.forks)),
    ("programs", |cell| cell.count(|counts| counts.programs)),
    ("files", |cell| cell.count(|counts| counts.files)),
    ("besides", |cell| cell.besides()),
];

/// Of builds with a cache in the registry.
const SHARED: &[Column] = &[
    ("wall s", |cell| cell.of(3, |figures| figures.wall)),
    ("CPU s", |cell| cell.of(3, |figures| figures.cpu)),
    ("wall / brik", |cell| cell.ratio(|figures| figures.wall)),
    ("CPU / brik", |cell| cell.ratio(|figures| figures.cpu)),
    ("requests", |cell| cell.of(0, |figures| figures.traffic.requests as f64)),
    ("a service", |cell| cell.of(1, |figures| figures.traffic.requests as f64 / figures.services as f64)),
    ("uploads", |cell| cell.of(0, |figures| figures.traffic.uploads as f64)),
    ("again", |cell| cell.of(0, |figures| figures.traffic.again as f64)),
    ("mounts", |cell| cell.of(0, |figures| figures.traffic.mounts as f64)),
    ("MB up", |cell| cell.of(2, |figures| figures.traffic.bytes_up as f64 / MB)),
    ("MB down", |cell| cell.of(2, |figures| figures.traffic.bytes_down as f64 / MB)),
    ("layer bytes up", |cell| cell.of(0, |figures| figures.traffic.layers_up as f64)),
    ("layer bytes down", |cell| cell.of(0, |figures| figures.traffic.layers_down as f64)),
    ("peak MiB", |cell| cell.of(0, |figures| figures.memory as f64 / MIB)),
    ("besides", |cell| cell.besides()),
];

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (columns, shared) in [(LOCAL, false), (SHARED, true)] {
            let rows: Vec<Row> = self.rows.iter().copied().filter(|row| row.shared_cache == shared).collect();
            if !rows.is_empty() {
                let heads: Vec<&str> = columns.iter().map(|(head, _)| *head).collect();
                writeln!(f, "| scenario | builder | {} |", heads.join(" | "))?;
                writeln!(f, "|---|---|{}---|", "---:|".repeat(columns.len() - 1))?;
                self.lines(f, &rows, columns)?;
                writeln!(f)?;
            }
        }
        Ok(())
    }
}

impl Table {
    fn lines(&self, f: &mut fmt::Formatter<'_>, rows: &[Row], columns: &[Column]) -> fmt::Result {
        for Row { name, tell, .. } in rows.iter().copied() {
            for builder in &self.builders {
                let Some(figures) = self.figures.get(&(name, *builder)) else { continue };
                let (brik, counts) = (self.figures.get(&(name, BRIK)), self.counts.get(&(name, *builder)));
                let cell = Cell { tell, builder, figures, brik, counts };
                let cells: Vec<String> = columns.iter().map(|(_, column)| column(&cell)).collect();
                writeln!(f, "| {name} | {builder} | {} |", cells.join(" | "))?;
            }
        }
        Ok(())
    }
}
