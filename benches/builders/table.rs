//! Medians over the rounds, and each builder's ratio to brik.

use std::collections::BTreeMap;
use std::fmt;

use crate::measure::Figures;

#[derive(Default)]
pub struct Table {
    /// In the order of the scenarios.
    rows: Vec<&'static str>,
    cells: BTreeMap<(&'static str, &'static str), Vec<Figures>>,
    builders: Vec<&'static str>,
}

impl Table {
    pub fn add(&mut self, row: &'static str, builder: &'static str, figures: Figures) {
        if !self.rows.contains(&row) {
            self.rows.push(row);
        }
        if !self.builders.contains(&builder) {
            self.builders.push(builder);
        }
        self.cells.entry((row, builder)).or_default().push(figures);
    }
}

fn median(cells: &[Figures], value: impl Fn(&Figures) -> f64) -> f64 {
    let mut values: Vec<f64> = cells.iter().map(value).collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => f64::NAN,
        n if n % 2 == 1 => values[n / 2],
        n => (values[n / 2 - 1] + values[n / 2]) / 2.0,
    }
}

impl fmt::Display for Table {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "| scenario | builder | wall s | CPU s | wall / brik | CPU / brik | requests | MB up | MB down | peak RSS MB |")?;
        writeln!(f, "|---|---|---|---|---|---|---|---|---|---|")?;
        for row in &self.rows {
            let brik = self.cells.get(&(*row, "brik"));
            for builder in &self.builders {
                let Some(cells) = self.cells.get(&(*row, *builder)) else { continue };
                let wall = median(cells, |figures| figures.wall);
                let cpu = median(cells, |figures| figures.cpu);
                let ratio = |value: f64, of: fn(&Figures) -> f64| match brik {
                    Some(brik) if *builder != "brik" => format!("{:.1}", value / median(brik, of)),
                    _ => String::new(),
                };
                writeln!(
                    f,
                    "| {row} | {builder} | {wall:.2} | {cpu:.2} | {} | {} | {:.0} | {:.2} | {:.2} | {:.0} |",
                    ratio(wall, |figures| figures.wall),
                    ratio(cpu, |figures| figures.cpu),
                    median(cells, |figures| figures.traffic.requests as f64),
                    median(cells, |figures| figures.traffic.bytes_up as f64 / 1e6),
                    median(cells, |figures| figures.traffic.bytes_down as f64 / 1e6),
                    median(cells, |figures| figures.memory as f64 / f64::from(1 << 20)),
                )?;
            }
        }
        Ok(())
    }
}
