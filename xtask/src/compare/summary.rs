//! Ratios and their spread.

use serde_json::{Value, json};

use crate::numbers::{bytes, median, seconds};
use crate::side::{Execution, Ready};

/// All executions of one work.
pub struct Rounds {
    ready: Ready,
    ours: Vec<Execution>,
    theirs: Vec<Execution>,
}

/// One line of the results; a ratio above 1 is in our favour.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    work: String,
    unit: &'static str,
    ours: f64,
    theirs: Option<f64>,
    /// The median over the rounds of theirs by ours, with the lowest and the highest.
    ratio: Option<[f64; 3]>,
    /// The ratio if our side took only what nobody gets around.
    floor: Option<f64>,
}

impl Rounds {
    /// No execution yet.
    pub fn new(ready: &Ready) -> Self {
        Self { ready: *ready, ours: vec![], theirs: vec![] }
    }

    /// Adds one of each side.
    pub fn push(&mut self, ours: Execution, theirs: Option<Execution>) {
        self.ours.push(ours);
        self.theirs.extend(theirs);
    }

    /// Floating point operations per second of the fastest execution of either side.
    pub fn best_rate(&self) -> f64 {
        let seconds = self.ours.iter().chain(&self.theirs).map(|execution| execution.seconds);
        self.ready.floating_point_operations / seconds.fold(f64::INFINITY, f64::min)
    }

    /// The time; the floor is that of the arithmetic at `rate` operations per second.
    pub fn time(&self, work: &str, shape: &str, model: &str, rate: f64) -> Row {
        let least = self.ready.floating_point_operations / rate;
        self.row(format!("{work}/{model}/{shape}"), "s", |execution| Some(execution.seconds), Some(least))
    }

    /// The memory, of the works for which it counts: of the whole process, or beyond what was there before.
    pub fn memory(&self, work: &str, shape: &str, model: &str) -> Option<Row> {
        let name = |what: &str| format!("{work}, {what}/{model}/{shape}");
        let known = self.ours.iter().all(|execution| execution.peak_bytes.is_some());
        match work {
            _ if !known => None,
            "rloo" => {
                let least = self.ready.least_bytes;
                Some(self.row(name("peak memory"), "bytes", |execution| execution.peak_bytes, least))
            }
            "logprobs" => {
                let beyond = |execution: &Execution| Some(execution.peak_bytes? - execution.base_bytes?);
                Some(self.row(name("memory beyond its inputs"), "bytes", beyond, None))
            }
            _ => None,
        }
    }

    fn row(
        &self,
        work: String,
        unit: &'static str,
        value: impl Fn(&Execution) -> Option<f64>,
        least: Option<f64>,
    ) -> Row {
        let ours: Vec<f64> = self.ours.iter().filter_map(&value).collect();
        let theirs: Vec<f64> = self.theirs.iter().filter_map(&value).collect();
        let mut ratios: Vec<f64> = ours.iter().zip(&theirs).map(|(ours, theirs)| theirs / ours).collect();
        ratios.sort_by(f64::total_cmp);
        let ratio = (!ratios.is_empty()).then(|| [median(&ratios), ratios[0], ratios[ratios.len() - 1]]);
        let theirs = (!theirs.is_empty()).then(|| median(&theirs));
        let floor = theirs.zip(least).map(|(theirs, least)| theirs / least);
        Row { work, unit, ours: median(&ours), theirs, ratio, floor }
    }
}

impl Row {
    /// The keys of the results.
    pub fn to_json(&self) -> Value {
        let [ratio, low, high] = self.ratio.map_or([None; 3], |ratio| ratio.map(Some));
        json!({
            "work": self.work,
            "ours": self.ours,
            "theirs": self.theirs,
            "unit": self.unit,
            "ratio": ratio,
            "low": low,
            "high": high,
            "floor": self.floor,
        })
    }
}

/// The rows as a Markdown table.
pub fn table(rows: &[Row]) -> String {
    let mut lines = vec![
        "| work | ours | theirs | ratio | lowest to highest | ratio at the floor |".to_owned(),
        "|---|---|---|---|---|---|".to_owned(),
    ];
    for row in rows {
        let amount = |value: f64| match row.unit {
            "bytes" => bytes(value),
            _ => seconds(value),
        };
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "–".into());
        lines.push(format!(
            "| {} | {} | {} | {} | {} | {} |",
            row.work,
            amount(row.ours),
            or_dash(row.theirs.map(amount)),
            or_dash(row.ratio.map(|[ratio, ..]| format!("{ratio:.2}"))),
            or_dash(row.ratio.map(|[_, low, high]| format!("{low:.2} to {high:.2}"))),
            or_dash(row.floor.map(|floor| format!("{floor:.2}"))),
        ));
    }
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rounds() -> Rounds {
        let ready = Ready { floating_point_operations: 4e9, least_bytes: Some(50.0), ..Ready::default() };
        let execution = |seconds, peak| Execution { seconds, base_bytes: Some(60.0), peak_bytes: Some(peak) };
        let mut rounds = Rounds::new(&ready);
        for (ours, theirs) in [(2.0, 3.0), (1.0, 4.0), (4.0, 4.0)] {
            rounds.push(execution(ours, 100.0), Some(execution(theirs, 200.0 * theirs)));
        }
        rounds
    }

    #[test]
    fn ratios_are_taken_round_by_round() {
        let rounds = rounds();
        assert_eq!(rounds.best_rate(), 4e9);
        let row = rounds.time("train", "16x128", "llama-7m", 8e9);
        assert_eq!(row.work, "train/llama-7m/16x128");
        // 3/2, 4/1 and 4/4; at 8 GFLOP/s the arithmetic takes half a second.
        assert_eq!((row.ours, row.theirs, row.ratio), (2.0, Some(4.0), Some([1.5, 1.0, 4.0])));
        assert_eq!(row.floor, Some(8.0));
        assert_eq!(rounds.memory("train", "", ""), None);
        let memory = rounds.memory("rloo", "", "").unwrap();
        assert_eq!((memory.ours, memory.ratio), (100.0, Some([8.0, 6.0, 8.0])));
        assert_eq!(memory.floor, Some(16.0));
        // 740/40 and 540/40.
        let beyond = rounds.memory("logprobs", "", "").unwrap();
        assert_eq!((beyond.ours, beyond.ratio), (40.0, Some([18.5, 13.5, 18.5])));
    }

    #[test]
    fn our_side_alone_has_no_ratio() {
        let mut rounds = Rounds::new(&Ready::default());
        rounds.push(Execution { seconds: 0.5, base_bytes: None, peak_bytes: None }, None);
        rounds.push(Execution { seconds: 1.0, base_bytes: None, peak_bytes: None }, None);
        let row = rounds.time("rloo", "x", "m", 1.0);
        assert_eq!((row.ours, row.theirs, row.ratio, row.floor), (0.75, None, None, None));
        assert_eq!(rounds.memory("rloo", "x", "m"), None);
        assert_eq!(table(&[row]).lines().last().unwrap(), "| rloo/m/x | 750.0 ms | – | – | – | – |");
    }
}
