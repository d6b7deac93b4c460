//! Medians over the rounds, each builder's ratio to brik, and the counts of the round under strace.

use std::collections::BTreeMap;
use std::fmt;

use crate::builder::BRIK;
use crate::measure::{Counts, Figures};
use crate::scenario::Tell;

#[derive(Default)]
pub struct Table {
    /// In the order of the scenarios.
    rows: Vec<(&'static str, Tell)>,
    builders: Vec<&'static str>,
    figures: BTreeMap<(&'static str, &'static str), Vec<Figures>>,
    counts: BTreeMap<(&'static str, &'static str), Counts>,
}

impl Table {
    pub fn add(&mut self, (row, tell): (&'static str, Tell), builder: &'static str, figures: Figures) {
        if !self.rows.contains(&(row, tell)) {
            self.rows.push((row, tell));
        }
        if !self.builders.contains(&builder) {
            self.builders.push(builder);
        }
        self.figures.entry((row, builder)).or_default().push(figures);
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

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "| scenario | builder | wall s | CPU s | own CPU s | wall / brik | CPU / brik | requests | uploads | MB up | MB down | peak MiB \
             | forks | programs | files | besides |"
        )?;
        writeln!(f, "|---|---|{}", "---:|".repeat(13) + "---|")?;
        for (row, tell) in &self.rows {
            let brik = self.figures.get(&(*row, BRIK));
            for builder in &self.builders {
                let Some(figures) = self.figures.get(&(*row, *builder)) else { continue };
                let of = |value: fn(&Figures) -> f64| median(figures, value);
                let ratio = |value: fn(&Figures) -> f64| match brik {
                    Some(brik) if *builder != BRIK => format!("{:.2}", median(figures, value) / median(brik, value)),
                    _ => String::new(),
                };
                let count =
                    |count: fn(&Counts) -> usize| self.counts.get(&(*row, *builder)).map(count).map_or("–".to_owned(), |n| n.to_string());
                let besides = match tell {
                    Tell::MillisecondsARun(runs) => format!("{:.1} ms a RUN", of(|figures| figures.wall * 1e3) / f64::from(*runs)),
                    Tell::LargestLayer => format!("layer of {:.0} bytes", of(|figures| figures.traffic.largest as f64)),
                    Tell::Nothing | Tell::Row | Tell::StatWalk => String::new(),
                };
                writeln!(
                    f,
                    "| {row} | {builder} | {:.3} | {:.3} | {:.2} | {} | {} | {:.0} | {:.0} | {:.2} | {:.2} | {:.0} | {} | {} | {} | {besides} |",
                    of(|figures| figures.wall),
                    of(|figures| figures.cpu),
                    of(|figures| figures.own_cpu),
                    ratio(|figures| figures.wall),
                    ratio(|figures| figures.cpu),
                    of(|figures| figures.traffic.requests as f64),
                    of(|figures| figures.traffic.uploads as f64),
                    of(|figures| figures.traffic.bytes_up as f64 / MB),
                    of(|figures| figures.traffic.bytes_down as f64 / MB),
                    of(|figures| figures.memory as f64 / MIB),
                    count(|counts| counts.forks),
                    count(|counts| counts.programs),
                    count(|counts| counts.files),
                )?;
            }
        }
        Ok(())
    }
}
