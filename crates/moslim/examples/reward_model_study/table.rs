//! Numbers over seeds as a Markdown table.

use std::collections::BTreeMap;

use moslim_data::ObjectiveSchema;

use crate::ground::Found;

/// Numbers by row and column, over seeds, in the order in which they came.
#[derive(Default)]
pub struct Table {
    rows: Vec<String>,
    columns: Vec<String>,
    cells: BTreeMap<(String, String), Vec<f64>>,
}

impl Table {
    pub fn add(&mut self, row: &str, column: &str, value: f64) {
        for (name, names) in [(row, &mut self.rows), (column, &mut self.columns)] {
            if !names.iter().any(|known| known == name) {
                names.push(name.into());
            }
        }
        self.cells.entry((row.into(), column.into())).or_default().push(value);
    }

    pub fn add_found(&mut self, row: &str, schema: &ObjectiveSchema, found: &[Found]) {
        for (objective, found) in schema.objectives().iter().zip(found).filter(|(_, found)| found.n > 0.0) {
            let short = &objective.name[..objective.name.len().min(4)];
            self.add(row, &format!("{short} accuracy"), found.accuracy);
            self.add(row, &format!("{short} MAE"), found.mae);
            self.add(row, &format!("{short} ECE"), found.ece);
            self.add(row, &format!("{short} ECE, calibrated"), found.ece_calibrated);
        }
    }

    /// Means over seeds, with half the range where there are several.
    #[allow(clippy::print_stdout)]
    pub fn print(&self) {
        println!("| | {} |", self.columns.join(" | "));
        println!("|---{}|", "|---".repeat(self.columns.len()));
        for row in &self.rows {
            let cell = |column: &String| match self.cells.get(&(row.clone(), column.clone())) {
                None => String::new(),
                Some(values) => {
                    let mean = values.iter().sum::<f64>() / values.len() as f64;
                    let low = values.iter().copied().fold(f64::INFINITY, f64::min);
                    let high = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
                    match values.len() {
                        1 => format!("{mean:.3}"),
                        _ => format!("{mean:.3} ± {:.3}", (high - low) / 2.0),
                    }
                }
            };
            println!("| {row} | {} |", self.columns.iter().map(cell).collect::<Vec<_>>().join(" | "));
        }
    }
}

/// Says that a row is done for a seed.
#[allow(clippy::print_stderr)]
pub fn done(seed: u64, row: &str) {
    eprintln!("seed {seed}: {row}");
}
