//! What a policy does at every position that can be asked for.

use moslim_data::{PreferenceSampler, Prompt, Request};
use moslim_eval::dial::DialPoint;
use moslim_lm::TokenRng;

use super::asking::{Control, answer};
use super::judge::Judge;
use crate::run::Purpose;
use crate::stages::same_tokens;
use crate::{Datasets, Error, PolicyFolder, Run};

/// Where the space between two levels is looked at.
const BETWEEN: [f64; 3] = [0.2, 0.5, 0.8];

/// The positions of every objective from the lowest to the highest: its levels, from answers that were measured already, and
/// positions between them where the wording has a text for them that the model can tell apart.
pub(super) fn dial(
    run: &Run,
    datasets: &Datasets,
    policy: &PolicyFolder,
    judge: &Judge,
    one_asked: &Control,
) -> Result<Vec<Vec<DialPoint>>, Error> {
    let mix = &run.recipe.policy.requests;
    let sampler = PreferenceSampler::new(mix.clone(), &datasets.schema)?;
    let mut dial = Vec::new();
    let mut asked: Vec<(&Prompt, Request)> = Vec::new();
    for (index, control) in one_asked.judged.iter().enumerate() {
        let trained = sampler.levels(index);
        let rows = control.matrix.rows();
        let point = |(level, counts): (usize, &Vec<usize>)| {
            DialPoint::new(level as f64, trained.contains(&level), counts)
        };
        let mut points: Vec<DialPoint> = rows.iter().enumerate().map(point).collect();
        let below = |level: usize| BETWEEN.map(|fraction| level as f64 + fraction);
        let between: Vec<f64> = (0..rows.len() - 1).flat_map(below).collect();
        if can_be_asked(policy, index, rows.len(), &between) {
            let span = trained.iter().min().zip(trained.iter().max());
            for (place, &position) in between.iter().enumerate() {
                let inside = span.is_some_and(|(&lowest, &highest)| {
                    (lowest as f64..highest as f64).contains(&position) && mix.fractional > 0.0
                });
                points.push(DialPoint::new(position, inside, &vec![0; rows.len()]));
                let mut request = Request::free(&datasets.schema);
                request.levels[index] = Some(position);
                // Every question asks for one of the positions.
                let questions = datasets.held_out_prompts.iter().skip(place).step_by(between.len());
                asked.extend(questions.map(|question| (question, request.clone())));
            }
        }
        dial.push(points);
    }
    let (questions, requests): (Vec<&Prompt>, Vec<Request>) = asked.into_iter().unzip();
    let rng = TokenRng::new(run.seed(Purpose::Evaluation), 3);
    let sampling = &run.recipe.policy.training.sampling;
    let responses = answer(policy, &questions, &requests, sampling, &rng)?.0;
    let texts: Vec<(&Prompt, &str)> =
        questions.iter().copied().zip(responses.iter().map(String::as_str)).collect();
    let levels = judge.levels(&texts)?;
    for (index, points) in dial.iter_mut().enumerate() {
        for point in points.iter_mut().filter(|point| point.position.fract() != 0.0) {
            let mut counts = vec![0; datasets.schema.objectives()[index].n_levels()];
            let rows = requests.iter().zip(&levels);
            let its = rows.filter(|(request, _)| request.levels[index] == Some(point.position));
            its.for_each(|(_, levels)| counts[levels[index]] += 1);
            *point = DialPoint::new(point.position, point.trained, &counts);
        }
        points.sort_by(|a, b| a.position.total_cmp(&b.position));
    }
    Ok(dial)
}

/// Whether positions between levels have a text and the model reads each as something of its own.
fn can_be_asked(policy: &PolicyFolder, objective: usize, n_levels: usize, between: &[f64]) -> bool {
    let whole = (0..n_levels).map(|level| level as f64);
    matches!(same_tokens(policy, objective, whole.chain(between.iter().copied())), Ok(None))
}
