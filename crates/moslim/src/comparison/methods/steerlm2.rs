//! SteerLM 2.0: a conditional model whose answers are weighed by how much more the classifier and the start policy have of them.

use burn::module::Module;
use burn::tensor::Tensor;
use moslim_baselines::{SteerWeights, attribute_logprob, steerlm2_loss};
use moslim_data::{PreferenceSampler, Prompt, Request};
use moslim_eval::classification::most_probable;
use moslim_lm::{CausalLm, Exchange, in_parallel, response_logprobs, sum_gradients};

use super::super::dial::{Asked, Dial, OnePolicy, Takes};
use super::super::workshop::{Answer, Example, REFERENCE, Workshop};
use crate::Error;
use crate::run::Purpose;

/// No class is less probable than this, so that a single answer cannot have all the weight.
const LEAST_PROBABILITY: f64 = 1e-6;

/// The answers of the first conditional model to one prompt.
struct Group {
    prompt: Vec<u32>,
    answers: Vec<Vec<u32>>,
    /// log P(a|x, y)
    attributes: Vec<f64>,
    /// log P(y|x) of the start policy
    prior: Vec<f64>,
    /// log Q'(y|a, x)
    proposal: Vec<f64>,
}

pub(super) fn train<'a>(shop: &mut Workshop<'a>, samples: usize) -> Result<Box<dyn Dial + 'a>, Error> {
    let ground = shop.ground;
    let run = ground.run;
    let first_samples = (ground.recipe.steerlm2.first_share * samples as f64) as usize;
    let per_prompt = run.recipe.policy.training.num_generations;
    let policy = shop.kept("policy", |shop, number| {
        let mut rng = run.rng(Purpose::Requests);
        let sampler = PreferenceSampler::new(run.recipe.policy.requests.clone(), &ground.datasets.schema)?;

        // Q': fine-tuned on answers of the start policy, asked for the levels that they have, as far as a drawn request names them.
        let pool = shop.pool(first_samples)?;
        let mut examples: Vec<Example> = Vec::new();
        for (answer, heads) in pool.answers.iter().zip(&pool.probabilities) {
            let drawn = sampler.sample(&mut rng).levels;
            let own = drawn.into_iter().zip(&heads.0);
            let levels = own.map(|(drawn, head)| drawn.map(|_| most_probable(head) as f64)).collect();
            if answer.finished {
                examples
                    .push((ground.start.encode(answer.prompt, &Request { levels })?, answer.tokens.clone()));
            }
        }
        let first =
            shop.fine_tuned("first", &ground.recipe.fine_tuning, ground.trainable(number)?, &examples)?;

        let n_prompts = ((samples - first_samples) / per_prompt).max(1);
        let mut asked: Vec<(&Prompt, Request)> = Vec::new();
        for prompt in shop.questions(n_prompts) {
            let request = sampler.sample(&mut rng);
            if !request.is_free() {
                asked.push((prompt, request));
            }
        }
        let groups = groups(shop, &first, &asked, per_prompt)?;
        steered(shop, first, &groups, per_prompt)
    })?;
    let wording = Box::new(|asked: &Asked, prompt: &_| ground.start.encode(prompt, asked.levels()));
    Ok(Box::new(OnePolicy { takes: Takes::Levels, policy, wording }))
}

/// Samples of the first model with everything that their weights depend on.
fn groups<'a>(
    shop: &mut Workshop<'a>,
    first: &CausalLm,
    asked: &[(&'a Prompt, Request)],
    per_prompt: usize,
) -> Result<Vec<Group>, Error> {
    let ground = shop.ground;
    let prompts = asked.iter().map(|(prompt, request)| Ok((*prompt, ground.start.encode(prompt, request)?)));
    let prompts: Vec<(&Prompt, Vec<u32>)> = prompts.collect::<Result<_, Error>>()?;
    let answers = shop.answers(first, &prompts, per_prompt)?;
    let probabilities = shop.judged(&answers)?;
    let plain: Vec<Vec<u32>> =
        asked.iter().map(|(prompt, _)| ground.plain(prompt)).collect::<Result<_, Error>>()?;
    let exchanges = |reads: &dyn Fn(usize) -> Vec<u32>| -> Vec<(Vec<u32>, Vec<u32>)> {
        let exchange = |(row, answer): (usize, &Answer<'_>)| (reads(row / per_prompt), answer.tokens.clone());
        answers.iter().enumerate().map(exchange).collect()
    };
    let prior = exchanges(&|prompt| plain[prompt].clone());
    let proposal = exchanges(&|prompt| prompts[prompt].1.clone());
    let size = ground.recipe.fine_tuning.micro_batch_size;
    let start = &ground.start.lm.model;
    let (prior, proposal) = shop.timed(REFERENCE, |_| {
        Ok((answer_logprobs(start, &prior, size), answer_logprobs(first, &proposal, size)))
    })?;
    let mut groups = Vec::new();
    for (index, (_, tokens)) in prompts.into_iter().enumerate() {
        let rows = index * per_prompt..(index + 1) * per_prompt;
        let attributes = rows.clone().map(|row| {
            let floored: Vec<Vec<f64>> = probabilities[row]
                .0
                .iter()
                .map(|head| {
                    head.iter().map(|probability| probability.clamp(LEAST_PROBABILITY, 1.0)).collect()
                })
                .collect();
            attribute_logprob(&floored, &asked[index].1)
        });
        groups.push(Group {
            prompt: tokens,
            attributes: attributes.collect::<Result<_, _>>()?,
            answers: rows.clone().map(|row| answers[row].tokens.clone()).collect(),
            prior: prior[rows.clone()].to_vec(),
            proposal: proposal[rows].to_vec(),
        });
    }
    Ok(groups)
}

/// The log-probability of every answer as a whole under a model that does not learn.
fn answer_logprobs(model: &CausalLm, exchanges: &[Example], batch_size: usize) -> Vec<f64> {
    let model = model.valid();
    let of_batch = |batch: &[Example]| {
        let exchanges: Vec<Exchange<'_>> =
            batch.iter().map(|(prompt, response)| Exchange { prompt, response }).collect();
        sums(&model, &exchanges).into_data().iter::<f64>().collect::<Vec<_>>()
    };
    in_parallel(&model.device(), exchanges.chunks(batch_size).collect(), of_batch).concat()
}

/// log π(y|x) of answers. `[n]`
fn sums(model: &CausalLm, exchanges: &[Exchange<'_>]) -> Tensor<1> {
    response_logprobs(model, exchanges, 1.0).logprobs.sum_dim(1).squeeze_dim(1)
}

/// Descends the loss, a few prompts at a time.
fn steered(
    shop: &mut Workshop<'_>,
    first: CausalLm,
    groups: &[Group],
    per_prompt: usize,
) -> Result<CausalLm, Error> {
    let recipe = &shop.ground.recipe.fine_tuning;
    // A batch has as many answers as in other fine-tuning.
    let per_batch =
        crate::TuningRecipe { batch_size: (recipe.batch_size / per_prompt).max(1), ..recipe.clone() };
    shop.descended("steered", &per_batch, first, groups.len(), |policy, rows| {
        let device = policy.device();
        let (gradients, values) = sum_gradients(policy, &device, rows.to_vec(), |policy, row: usize| {
            let group = &groups[row];
            let exchanges: Vec<Exchange<'_>> =
                group.answers.iter().map(|response| Exchange { prompt: &group.prompt, response }).collect();
            let logprobs = sums(&policy.in_precision(recipe.precision), &exchanges);
            let now: Vec<f64> = logprobs.clone().into_data().iter::<f64>().collect();
            let weights = SteerWeights::new(&group.attributes, &group.prior, &group.proposal, &now);
            let Ok(weights) = weights else {
                // They are finite as long as the policy is.
                return (None, f64::NAN);
            };
            let loss = steerlm2_loss(logprobs, &weights.coefficients()) / rows.len() as f64;
            (Some(loss), weights.divergence() / rows.len() as f64)
        });
        Ok((gradients, values.into_iter().sum()))
    })
}
