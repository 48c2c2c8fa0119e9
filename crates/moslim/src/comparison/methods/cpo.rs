//! CPO: fine-tuning on answers with their own levels in the prompt, then DPO on pairs whose better answer depends on the condition.

use moslim_baselines::{Cdpo, CdpoObjective, ReleasedTerm, Wanted, cdpo_loss, draw_condition};
use moslim_data::Request;
use moslim_eval::classification::most_probable;
use rand::RngExt;

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::workshop::{Example, Pair, Pool, Workshop};
use crate::Error;
use crate::run::Purpose;

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let recipe = &ground.recipe.cpo;
    let policy = shop.kept("policy", |shop, number| {
        let mut rng = ground.run.rng(Purpose::ComparisonDraws);
        let Pool { per_prompt, answers, probabilities } = shop.pool(samples)?;
        // The ratings are the reward model's: the most probable levels.
        let ratings: Vec<Vec<Option<f64>>> = probabilities
            .iter()
            .map(|heads| heads.0.iter().map(|head| Some(most_probable(head) as f64)).collect())
            .collect();
        let mut wanted = || -> Vec<Wanted> {
            let one = |_| if rng.random_bool(recipe.free) { Wanted::Free } else { Wanted::Any };
            (0..ground.n_objectives()).map(one).collect()
        };

        let mut examples: Vec<Example> = Vec::new();
        for (answer, ratings) in answers.iter().zip(&ratings).filter(|(answer, _)| answer.finished) {
            let own = wanted().into_iter().zip(ratings);
            let levels = own.map(|(wanted, &rating)| rating.filter(|_| wanted == Wanted::Any)).collect();
            examples.push((ground.start.encode(answer.prompt, &Request { levels })?, answer.tokens.clone()));
        }
        let conditional =
            shop.fine_tuned("cpsft", &ground.recipe.fine_tuning, ground.trainable(number)?, &examples)?;

        let objective =
            |name: String| CdpoObjective { omega: 1.0, lambda: 1.0, released: released_term(&name) };
        let cdpo = Cdpo::new(ground.names().into_iter().map(objective).collect(), recipe.mode)?;
        let mut conditions = ground.run.member_rng(Purpose::ComparisonDraws, 1);
        let mut pairs: Vec<Pair> = Vec::new();
        for (answers, ratings) in answers.chunks(per_prompt).zip(ratings.chunks(per_prompt)) {
            // Every answer is in one pair, so that the pairs have as many answers as were sampled.
            for (two, of_two) in answers.chunks_exact(2).zip(ratings.chunks_exact(2)) {
                let Some(levels) = draw_condition(ratings, &wanted(), &mut conditions)? else { continue };
                let Some(&(chosen, rejected)) = cdpo.pairs(of_two, &levels)?.first() else { continue };
                pairs.push(Pair {
                    prompt: ground.start.encode(two[0].prompt, &Request { levels })?,
                    chosen: two[chosen].tokens.clone(),
                    rejected: two[rejected].tokens.clone(),
                });
            }
        }
        shop.tuned_on_pairs("cdpo", conditional, &pairs, |_, chosen, rejected| {
            cdpo_loss(chosen, rejected, recipe.beta)
        })
    })?;
    let wording = Box::new(|asked: &Asked, prompt: &_| ground.start.encode(prompt, asked.levels()));
    Ok(Box::new(OnePolicy { takes: Takes::Levels, policy, wording }))
}

/// The term of the released code that an objective of this name has.
fn released_term(name: &str) -> ReleasedTerm {
    match name {
        "honesty" => ReleasedTerm::Honesty,
        "harmlessness" => ReleasedTerm::Harmlessness,
        _ => ReleasedTerm::Helpfulness,
    }
}
