//! MODPO: DPO on the pairs of one objective, with the others as a margin, once per weighting.
//!
//! The pairs are those of the objective that counts most, so that every weighting has one; the margin of another objective is
//! the implicit reward of a policy trained by DPO on its pairs, which is also the policy of all weight on it.

use burn::module::Module;
use moslim_baselines::{ModpoLoss, Weights, implicit_reward};
use moslim_eval::classification::most_probable;
use moslim_lm::CausalLm;
use moslim_rl::ops::PreferenceLoss;

use super::super::dial::Dial;
use super::super::ground::Ground;
use super::super::workshop::{Pair, Pool, Workshop};
use super::per_weighting::{PerWeighting, name_of};
use crate::Error;

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let recipe = &ground.recipe.modpo;
    let pool = shop.pool(samples)?;
    let n = ground.n_objectives();
    let names = ground.names();
    let mixed: Vec<&Weights> = ground.weightings.iter().filter(|weights| alone(weights).is_none()).collect();
    // Every training learns from another part of the pool, as MORLHF's from samples of their own, or all from the whole.
    let n_parts = if recipe.reuse_pairs { 1 } else { n + mixed.len() };
    let pairs_of =
        |objective: usize, training: usize| pairs(ground, &pool, objective, training % n_parts, n_parts);

    let mut single = Vec::new();
    for (objective, name) in names.iter().enumerate() {
        let pairs = pairs_of(objective, objective)?;
        single.push(shop.kept(name, |shop, number| {
            shop.tuned_on_pairs(name, ground.trainable(number)?, &pairs, |_, chosen, rejected| {
                PreferenceLoss::Sigmoid.of(chosen - rejected, recipe.beta)
            })
        })?);
    }
    shop.note_resident("margin models", (n - 1) * ground.start.lm.model.num_params());
    let mut policies = Vec::new();
    for weights in &ground.weightings {
        if let Some(objective) = alone(weights) {
            policies.push((weights.clone(), single[objective].clone()));
            continue;
        }
        let first = most_weighted(weights);
        let others: Vec<usize> = (0..n).filter(|&objective| objective != first).collect();
        let reordered =
            [first].iter().chain(&others).map(|&objective| weights.as_slice()[objective]).collect();
        let loss = ModpoLoss::new(Weights::new(reordered)?, recipe.beta, recipe.loss)?;
        let training = n + policies.iter().filter(|(done, _)| alone(done).is_none()).count();
        let pairs = pairs_of(first, training)?;
        let name = name_of(weights);
        let policy = shop.kept(&name, |shop, number| {
            let margins = margins(shop, &single, &others, &pairs, recipe.beta)?;
            let margins = loss.weighted_margins(&margins)?;
            shop.tuned_on_pairs(&name, ground.trainable(number)?, &pairs, |rows, chosen, rejected| {
                let of_rows: Vec<f64> = rows.iter().map(|&row| margins[row]).collect();
                loss.of(chosen, rejected, &of_rows)
            })
        })?;
        policies.push((weights.clone(), policy));
    }
    Ok(Box::new(PerWeighting { ground, policies }))
}

/// The objective that has all weight, if one has.
fn alone(weights: &Weights) -> Option<usize> {
    weights.as_slice().iter().position(|&weight| weight == 1.0)
}

/// The objective that counts most; of equals the first.
fn most_weighted(weights: &Weights) -> usize {
    let weights = weights.as_slice();
    (1..weights.len()).fold(0, |best, other| if weights[other] > weights[best] { other } else { best })
}

/// The pairs of an objective in the part of the pool that a training learns from: of every two answers the one of the higher level
/// is preferred, equals make none.
fn pairs(
    ground: &Ground<'_>,
    pool: &Pool<'_>,
    objective: usize,
    part: usize,
    n_parts: usize,
) -> Result<Vec<Pair>, Error> {
    let answers = pool.answers.chunks(pool.per_prompt).zip(pool.probabilities.chunks(pool.per_prompt));
    let mut pairs = Vec::new();
    for (answers, probabilities) in answers.skip(part).step_by(n_parts) {
        for (two, of_two) in answers.chunks_exact(2).zip(probabilities.chunks_exact(2)) {
            let [first, second] = [0, 1].map(|place| most_probable(&of_two[place].0[objective]));
            if first == second {
                continue;
            }
            let [chosen, rejected] = if first > second { [0, 1] } else { [1, 0] };
            pairs.push(Pair {
                prompt: ground.plain(two[0].prompt)?,
                chosen: two[chosen].tokens.clone(),
                rejected: two[rejected].tokens.clone(),
            });
        }
    }
    Ok(pairs)
}

/// The implicit rewards of both answers of every pair. `[n_pairs][2][n_others]`
fn margins(
    shop: &mut Workshop<'_>,
    single: &[CausalLm],
    others: &[usize],
    pairs: &[Pair],
    beta: f64,
) -> Result<Vec<[Vec<f64>; 2]>, Error> {
    let start = &shop.ground.start.lm.model;
    let tokens: Vec<_> = pairs.iter().map(Pair::tokens).collect();
    let reference = shop.pair_references(start, &tokens)?;
    let of_others = others.iter().map(|&other| shop.pair_references(&single[other], &tokens));
    let of_others: Vec<Vec<[f64; 2]>> = of_others.collect::<Result<_, _>>()?;
    let of_answer = |pair: usize, side: usize| {
        let reward =
            |logprobs: &Vec<[f64; 2]>| implicit_reward(logprobs[pair][side], reference[pair][side], beta);
        of_others.iter().map(reward).collect()
    };
    Ok((0..pairs.len()).map(|pair| [of_answer(pair, 0), of_answer(pair, 1)]).collect())
}
