//! What the policies of a method do, by the judge and by the reward model.

use std::collections::BTreeMap;
use std::time::Instant;

use burn::module::Module;
use moslim_baselines::{PreferenceMap, Weights};
use moslim_data::{Level, Prompt, Request};
use moslim_eval::stats::mean;
use moslim_lm::{CausalLm, Exchange, Generated, TokenRng, generate, in_parallel, response_logprobs};

use super::curve::Curves;
use super::dial::{Asked, Dial, Takes, levels_of};
use super::ground::Ground;
use super::measured::{AskedAnswer, Control, LookUp, Point, ShownAnswer, column_means};
use crate::evaluation::{Asking, Judge, as_request, requests};
use crate::run::Purpose;
use crate::{Datasets, Error};

/// Questions of training on which it is looked up what to ask for.
const LOOKED_AT: usize = 200;

/// Streams of random numbers, of which every policy that answers requests for levels has two of its own.
const POINT_STREAM: u64 = 0;
const LOOKED_AT_STREAM: u64 = 1;
const CONTROL_STREAMS: u64 = 2;

/// Answers of a point that the report shows.
const SHOWN: usize = 4;

/// Answers whose log-probabilities are computed together.
const BATCH: usize = 32;

/// Who measures: the questions, the judge, and the ground.
pub(super) struct Measuring<'a> {
    pub ground: &'a Ground<'a>,
    pub judge: &'a Judge,
    /// The held-out questions that leave room for an answer.
    pub held_out: &'a Datasets,
}

/// One answer to every question, in their order.
struct Answered<'p> {
    prompts: Vec<&'p Prompt>,
    answers: Vec<Generated>,
    texts: Vec<String>,
}

impl Answered<'_> {
    /// Questions with what was answered.
    fn pairs(&self) -> Vec<(&Prompt, &str)> {
        self.prompts.iter().copied().zip(self.texts.iter().map(String::as_str)).collect()
    }
}

/// What was measured of a method.
pub(super) struct Found {
    pub points: Vec<Point>,
    pub control: Control,
    pub curves: Option<Curves>,
    pub look_up: LookUp,
}

impl Measuring<'_> {
    /// Measures a method at every weighting, and what it does with requests for levels.
    pub(super) fn of(&self, dial: &dyn Dial) -> Result<Found, Error> {
        let weightings = &self.ground.weightings;
        let prompts: Vec<&Prompt> = self.held_out.held_out_prompts.iter().collect();
        let mut points: Vec<(Point, Vec<Vec<Level>>)> = Vec::new();
        let mut seen: BTreeMap<String, usize> = BTreeMap::new();
        let mut look_up = LookUp::default();
        for (weights, asked) in weightings.iter().zip(self.asked(dial, &mut look_up)?) {
            self.ground.run.check_interrupted("comparison")?;
            let words = match dial.words(&asked)? {
                Some(words) => words,
                None => asked.in_words(&self.ground.datasets.schema),
            };
            // Different weights can be the same request, which is answered once.
            let point = match seen.get(&words) {
                Some(&same) => {
                    let (point, levels) = points[same].clone();
                    (Point { weights: weights.as_slice().to_vec(), ..point }, levels)
                }
                None => self.point(dial, &asked, weights, words.clone(), &prompts)?,
            };
            seen.entry(words).or_insert(points.len());
            points.push(point);
        }
        let curves = match dial.takes() {
            Takes::Weights => Some(self.curves(dial, &mut look_up)?),
            Takes::Levels | Takes::Both => None,
        };
        let control = Control {
            one: self.control(dial, Asking::One, curves.as_ref(), &points)?,
            all: self.control(dial, Asking::All, curves.as_ref(), &points)?,
        };
        let points = points.into_iter().map(|(point, _)| point).collect();
        Ok(Found { points, control, curves, look_up })
    }

    /// What a method is asked for by people who weigh the objectives so, for every weighting.
    fn asked(&self, dial: &dyn Dial, look_up: &mut LookUp) -> Result<Vec<Asked>, Error> {
        let Ground { recipe, datasets, weightings, .. } = self.ground;
        if dial.takes() != Takes::Levels {
            return Ok(weightings.iter().cloned().map(Asked::Weights).collect());
        }
        let by_map = |map| weightings.iter().map(move |weights| levels_of(weights, map, &datasets.schema));
        if let Some(map) = recipe.levels_of_weights.map() {
            return by_map(map).map(|request| Ok(Asked::Levels(request?))).collect();
        }
        let highest = datasets.schema.n_levels().into_iter().map(|n| Some((n - 1) as f64)).collect();
        let mut candidates = vec![Request { levels: highest }];
        for map in [PreferenceMap::Linear, PreferenceMap::L2, PreferenceMap::Linf] {
            for request in by_map(map) {
                let request = request?;
                if !candidates.contains(&request) {
                    candidates.push(request);
                }
            }
        }
        let candidates: Vec<Asked> = candidates.into_iter().map(Asked::Levels).collect();
        let found = candidates.iter().map(|asked| self.rewards_in_training(dial, asked, look_up));
        let found: Vec<Vec<f64>> = found.collect::<Result<_, Error>>()?;
        let best = |weights: &Weights| {
            let utility = |rewards: &[f64]| -> f64 {
                weights.as_slice().iter().zip(rewards).map(|(weight, reward)| weight * reward).sum()
            };
            let better = |best: usize, other: usize| match utility(&found[other]) > utility(&found[best]) {
                true => other,
                false => best,
            };
            candidates[(0..candidates.len()).fold(0, better)].clone()
        };
        Ok(weightings.iter().map(best).collect())
    }

    /// The mean rewards of answers to questions of training, by the reward model: nobody may look at what is measured.
    fn rewards_in_training(
        &self,
        dial: &dyn Dial,
        asked: &Asked,
        look_up: &mut LookUp,
    ) -> Result<Vec<f64>, Error> {
        let started = Instant::now();
        let ground = self.ground;
        let prompts: Vec<&Prompt> = ground.prompts.iter().copied().take(LOOKED_AT).collect();
        let reads = prompts.iter().map(|prompt| dial.prompt(asked, prompt)).collect::<Result<Vec<_>, _>>()?;
        let answered = self.answered(&dial.policy(asked)?, prompts, &reads, LOOKED_AT_STREAM)?;
        let judged = ground.judgement.classify(&answered.pairs())?;
        let rewards: Vec<Vec<f64>> = judged.iter().map(|answer| ground.rewards(answer)).collect();
        look_up.answers += rewards.len();
        look_up.seconds += started.elapsed().as_secs_f64();
        Ok(column_means(&rewards))
    }

    fn point(
        &self,
        dial: &dyn Dial,
        asked: &Asked,
        weights: &Weights,
        words: String,
        prompts: &[&Prompt],
    ) -> Result<(Point, Vec<Vec<Level>>), Error> {
        let reads = prompts.iter().map(|prompt| dial.prompt(asked, prompt)).collect::<Result<Vec<_>, _>>()?;
        let answered = self.answered(&dial.policy(asked)?, prompts.to_vec(), &reads, POINT_STREAM)?;
        self.as_point(&answered, weights.as_slice().to_vec(), words)
    }

    /// The start policy, which is asked for nothing.
    pub(super) fn start(&self) -> Result<Point, Error> {
        let prompts: Vec<&Prompt> = self.held_out.held_out_prompts.iter().collect();
        let reads = prompts.iter().map(|prompt| self.ground.plain(prompt)).collect::<Result<Vec<_>, _>>()?;
        let answered = self.answered(&self.ground.start.lm.model, prompts, &reads, POINT_STREAM)?;
        Ok(self.as_point(&answered, vec![], "nothing".into())?.0)
    }

    fn as_point(
        &self,
        answered: &Answered<'_>,
        weights: Vec<f64>,
        asked: String,
    ) -> Result<(Point, Vec<Vec<Level>>), Error> {
        let ground = self.ground;
        let Answered { prompts, answers, texts } = answered;
        let levels = self.judge.levels(&answered.pairs())?;
        let judged = ground.judgement.classify(&answered.pairs())?;
        let shown = (0..prompts.len().min(SHOWN)).map(|row| ShownAnswer {
            question: prompts[row].to_string(),
            response: texts[row].clone(),
            levels: levels[row].clone(),
        });
        let lengths: Vec<f64> = answers.iter().map(|answer| answer.tokens.len() as f64).collect();
        let point = Point {
            weights,
            asked,
            gold: levels.iter().map(|levels| ground.shares(levels)).collect(),
            proxy: judged.iter().map(|answer| ground.rewards(answer)).collect(),
            kl: self.divergence(answered)?,
            mean_length: mean(&lengths),
            answers: shown.collect(),
        };
        Ok((point, levels))
    }

    /// One answer of a policy to every prompt, given with what it reads.
    fn answered<'p>(
        &self,
        policy: &CausalLm,
        prompts: Vec<&'p Prompt>,
        reads: &[Vec<u32>],
        stream: u64,
    ) -> Result<Answered<'p>, Error> {
        let ground = self.ground;
        let lm = &ground.start.lm;
        let sampling = ground.run.recipe.policy.training.sampling;
        let rng = TokenRng::new(ground.run.seed(Purpose::Evaluation), stream);
        let answers = generate(&policy.valid().merged(), reads, 1, &sampling, &lm.stops(), &rng);
        let texts = answers.iter().map(|answer| lm.tokenizer.decode(&answer.tokens));
        Ok(Answered { texts: texts.collect::<Result<_, _>>()?, prompts, answers })
    }

    /// The mean of `log π(y|x, asked) − log π_start(y|x)` over the answers, in nats.
    fn divergence(&self, Answered { prompts, answers, .. }: &Answered<'_>) -> Result<f64, Error> {
        let start = self.ground.start.lm.model.valid();
        let plain = prompts.iter().map(|prompt| self.ground.plain(prompt));
        let plain: Vec<Vec<u32>> = plain.collect::<Result<_, _>>()?;
        let exchanges: Vec<Exchange<'_>> = plain
            .iter()
            .zip(answers)
            .map(|(prompt, answer)| Exchange { prompt, response: &answer.tokens })
            .collect();
        // Temperature 0 takes the most probable token of the distribution at 1.
        let temperature = match self.ground.run.recipe.policy.training.sampling.temperature {
            temperature if temperature > 0.0 => temperature,
            _ => 1.0,
        };
        let of_batch = |batch: &[Exchange<'_>]| -> Vec<f64> {
            let logprobs = response_logprobs(&start, batch, temperature).logprobs.sum_dim(1);
            logprobs.into_data().iter::<f64>().collect()
        };
        let before = in_parallel(&start.device(), exchanges.chunks(BATCH).collect(), of_batch).concat();
        let after = answers.iter().map(|answer| answer.logprobs.iter().map(|&p| f64::from(p)).sum::<f64>());
        let differences: Vec<f64> = after.zip(before).map(|(after, before)| after - before).collect();
        Ok(mean(&differences))
    }

    /// How levels follow weights, on questions of training.
    fn curves(&self, dial: &dyn Dial, look_up: &mut LookUp) -> Result<Curves, Error> {
        let ground = self.ground;
        let n_levels = ground.datasets.schema.n_levels();
        let levels = ground.weightings.iter().map(|weights| {
            let rewards = self.rewards_in_training(dial, &Asked::Weights(weights.clone()), look_up)?;
            Ok(rewards.iter().zip(&n_levels).map(|(reward, &n)| reward * (n - 1) as f64).collect())
        });
        let levels: Vec<Vec<f64>> = levels.collect::<Result<_, Error>>()?;
        Ok(Curves::fit(&ground.names(), &n_levels, &ground.weightings, &levels))
    }

    /// Answers to requests for levels; a method that takes weights has given them already, at one of its points.
    fn control(
        &self,
        dial: &dyn Dial,
        asking: Asking,
        curves: Option<&Curves>,
        points: &[(Point, Vec<Vec<Level>>)],
    ) -> Result<Vec<AskedAnswer>, Error> {
        let ground = self.ground;
        let asked = requests(self.held_out, asking, &mut ground.run.rng(Purpose::Evaluation));
        let achieved: Vec<Vec<Level>> = match curves {
            Some(curves) => asked
                .iter()
                .map(|(prompt, levels)| {
                    let nearest = curves.nearest(&as_request(levels), &ground.weightings);
                    points[nearest].1[*prompt].clone()
                })
                .collect(),
            None => self.levels_as_asked(dial, &asked, asking)?,
        };
        let answers = asked.into_iter().zip(achieved);
        Ok(answers.map(|((prompt, asked), achieved)| AskedAnswer { prompt, asked, achieved }).collect())
    }

    /// The levels of answers to requests, those of one policy written together.
    fn levels_as_asked(
        &self,
        dial: &dyn Dial,
        asked: &[(usize, Vec<Option<Level>>)],
        asking: Asking,
    ) -> Result<Vec<Vec<Level>>, Error> {
        let mut of_policy: BTreeMap<String, Vec<(usize, Asked)>> = BTreeMap::new();
        for (row, (_, levels)) in asked.iter().enumerate() {
            let request = Asked::Levels(as_request(levels));
            of_policy.entry(dial.which(&request)?).or_default().push((row, request));
        }
        let mut achieved = vec![vec![]; asked.len()];
        for (policy, rows) in of_policy.values().enumerate() {
            let prompts: Vec<&Prompt> =
                rows.iter().map(|(row, _)| &self.held_out.held_out_prompts[asked[*row].0]).collect();
            let reads = rows.iter().zip(&prompts).map(|((_, request), prompt)| dial.prompt(request, prompt));
            let reads: Vec<Vec<u32>> = reads.collect::<Result<_, _>>()?;
            let stream = CONTROL_STREAMS + asking as u64 + 2 * policy as u64;
            let answered = self.answered(&dial.policy(&rows[0].1)?, prompts, &reads, stream)?;
            for ((row, _), levels) in rows.iter().zip(self.judge.levels(&answered.pairs())?) {
                achieved[*row] = levels;
            }
        }
        Ok(achieved)
    }
}
