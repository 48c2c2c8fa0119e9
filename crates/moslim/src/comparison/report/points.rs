//! The points of all methods as a table for other programs.

use std::io::Write;

use super::Compared;
use super::summary::mean_level;
use crate::comparison::measured::{Measured, Outcome, Point};

/// CSV with one row per budget, method, seed and point; levels are means over prompts, and what is not a number is empty.
pub(super) fn to_csv(comparison: &Compared<'_>) -> String {
    let names = |kind: &str| {
        let objectives = comparison.schema.objectives().iter();
        objectives.map(|objective| format!("{kind}_{}", objective.name)).collect::<Vec<_>>()
    };
    let mut writer = csv::Writer::from_writer(Vec::new());
    let first = ["budget", "method", "seed", "point", "asked"].map(String::from).to_vec();
    let last = ["kl", "mean_length"].map(String::from).to_vec();
    write(&mut writer, &[first, names("weight"), names("gold"), names("proxy"), last].concat());
    for outcome in comparison.outcomes {
        for measured in &outcome.measured {
            for (index, point) in measured.points.iter().enumerate() {
                write(&mut writer, &row(comparison, outcome, measured, index, point));
            }
        }
    }
    String::from_utf8(writer.into_inner().expect("memory takes all rows")).expect("texts make a text")
}

fn row(
    comparison: &Compared<'_>,
    outcome: &Outcome,
    measured: &Measured,
    index: usize,
    point: &Point,
) -> Vec<String> {
    let objectives = 0..comparison.schema.objectives().len();
    let mut row = vec![
        outcome.budget.name().to_string(),
        outcome.method.clone(),
        measured.seed.to_string(),
        index.to_string(),
        point.asked.clone(),
    ];
    row.extend(
        objectives
            .clone()
            .map(|objective| point.weights.get(objective).map_or(String::new(), |&weight| number(weight))),
    );
    row.extend(objectives.clone().map(|objective| number(mean_level(&point.gold, objective))));
    row.extend(objectives.map(|objective| number(mean_level(&point.proxy, objective))));
    row.extend([point.kl, point.mean_length].map(number));
    row
}

fn number(value: f64) -> String {
    if value.is_finite() { value.to_string() } else { String::new() }
}

fn write(writer: &mut csv::Writer<impl Write>, row: &[String]) {
    writer.write_record(row).expect("rows of one length, written to memory");
}

#[cfg(test)]
mod tests {
    use super::super::sample::Sample;
    use super::*;
    use crate::{BudgetName, MethodName};

    #[test]
    fn one_row_per_point_and_texts_are_quoted() {
        let mut sample = Sample::new(&[MethodName::Moslim], &[BudgetName::Samples], &[1, 2]).with(
            BudgetName::Samples,
            "moslim",
            &[&[[0.5, 0.75], [1.0, 0.25]], &[[0.5, 0.5]]],
        );
        sample.last().measured[0].points[1].asked = "λ = 0.5, \"all\"".into();
        sample.last().measured[1].points[0].kl = f64::NAN;
        sample.last().measured[1].points[0].proxy.clear();
        assert_eq!(
            to_csv(&sample.comparison()),
            "budget,method,seed,point,asked,weight_helpfulness,weight_honesty,gold_helpfulness,gold_honesty,\
             proxy_helpfulness,proxy_honesty,kl,mean_length\n\
             samples,moslim,1,0,as the weights say,0,1,0.5,0.75,0.5,0.5,2,12\n\
             samples,moslim,1,1,\"λ = 0.5, \"\"all\"\"\",1,0,1,0.25,0.5,0.5,2,12\n\
             samples,moslim,2,0,as the weights say,0,1,0.5,0.5,,,,12\n"
        );
    }
}
