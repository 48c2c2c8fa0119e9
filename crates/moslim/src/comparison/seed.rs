//! A comparison with one seed: its start policy and reward model, and every method on them.

use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

use moslim_data::ObjectiveSchema;
use moslim_lm::read_json;

use super::contender::Contender;
use super::ground::Ground;
use super::measured::{Measured, SharedGround};
use super::measuring::{Found, Measuring};
use super::separate::{self, Separate};
use super::workshop::Workshop;
use super::{Comparison, SEEDS, methods};
use crate::checkpoints::Settings;
use crate::evaluation::{Judge, head_reports};
use crate::file_name::file_name;
use crate::run::{Base, RECIPE};
use crate::stages::{prepare, read_start, with_fitting_held_out};
use crate::{
    Available, ComparisonRecipe, Datasets, Error, MethodName, Plan, Recipe, RewardModels, Run, Surroundings,
};

/// The file of a method's measurement, and of what all methods with a seed share.
const MEASURED: &str = "measured.json";
const GROUND: &str = "ground.json";

/// The file of what decides the trainings in a method's folder.
const SETTINGS: &str = "settings.json";

/// How the measurement of a method is called in its manifest.
const STAGE: &str = "compare";

/// Everything with one seed.
pub(super) struct Seed {
    datasets: Datasets,
    /// The run that all methods start from.
    base: Base,
    recipe: Recipe,
    folder: std::path::PathBuf,
}

impl Seed {
    /// Makes start policy and reward model, unless they are there.
    pub(super) fn prepared(
        comparison: &Comparison,
        seed: u64,
        contenders: &[Contender],
        available: Available,
    ) -> Result<Self, Error> {
        let folder = comparison.folder.join(SEEDS).join(seed.to_string());
        let recipe = comparison.recipe.with(&[format!("seed={seed}")])?;
        let datasets = Datasets::of(&recipe)?;
        let run = when_free(comparison, seed, || {
            let surroundings = comparison.surroundings.clone();
            match comparison.resume && folder.join(RECIPE).exists() {
                true => Run::resume(&folder, &comparison.changes, surroundings),
                false => Run::new(recipe.clone(), &folder, surroundings),
            }
        })?;
        let run = with_recipe_of_now(run, &recipe, comparison)?.part_of("compare", &comparison.folder);
        for contender in contenders {
            Plan::of(&contender.recipe, &datasets, &run.device)?.check(available, false)?;
        }
        run.progress.say(&format!("seed {seed}: {}", folder.display()));
        prepare(&run, &datasets)?;
        // What is measured under one budget is not done again under the next.
        let base = run.base().resuming();
        let seed = Self { datasets, base, recipe, folder };
        seed.write_ground(&run, contenders)?;
        Ok(seed)
    }

    /// The objectives.
    pub(super) fn schema(&self) -> &ObjectiveSchema {
        &self.datasets.schema
    }

    /// The seed.
    fn number(&self) -> u64 {
        self.recipe.seed
    }

    /// What all methods share.
    pub(super) fn ground(&self) -> Result<SharedGround, Error> {
        Ok(read_json(&self.folder.join(GROUND))?)
    }

    /// Trains further reward models, if a method asks for them, and measures what all methods share, unless that was done.
    fn write_ground(&self, run: &Run, contenders: &[Contender]) -> Result<(), Error> {
        let separate = match contenders.iter().any(|one| one.reward_models() == RewardModels::Separate) {
            false => Separate::default(),
            true => {
                let start = read_start(run, &run.device)?;
                separate::train(&self.base, &self.folder, &run.recipe, &self.datasets, &start)?
            }
        };
        let path = self.folder.join(GROUND);
        let decided_by = decides_the_ground(&run.recipe);
        if run.resume && path.exists() {
            let shared: SharedGround = read_json(&path)?;
            if shared.separate_accuracy == separate.accuracy && shared.decided_by == decided_by {
                return Ok(());
            }
        }
        let comparison = super::comparison_of(&run.recipe)?;
        let comparison = &ComparisonRecipe { reward_models: RewardModels::Shared, ..comparison.clone() };
        let ground = Ground::of(run, comparison, &self.datasets)?;
        let held_out = with_fitting_held_out(run, &self.datasets, &ground.start)?;
        let judge = Judge::of(run)?;
        let start = Measuring { ground: &ground, judge: &judge, held_out: &held_out }.start()?;
        let heads = head_reports(run, &held_out, &ground.judgement.classifier().models()[0])?;
        let accuracy = heads.into_iter().map(|head| head.measures.intensity_accuracy);
        let seconds =
            run.seconds()?.into_iter().filter_map(|(stage, seconds)| Some((stage, seconds.as_f64()?)));
        let mut seconds: BTreeMap<String, f64> = seconds.collect();
        if !separate.accuracy.is_empty() {
            seconds.insert("separate_reward_models".into(), separate.seconds);
        }
        let shared = SharedGround {
            seed: self.number(),
            decided_by,
            seconds,
            accuracy: ground.names().into_iter().zip(accuracy).collect(),
            separate_accuracy: separate.accuracy,
            start,
        };
        run.write(GROUND, &json(&shared))
    }

    /// Trains and measures a method on so many samples, unless that was done; nothing if it was not and is not chosen.
    pub(super) fn measured(
        &self,
        contender: &Contender,
        samples: usize,
        is_chosen: bool,
    ) -> Result<Option<Measured>, Error> {
        let folder = self.folder.join("methods").join(file_name(&contender.name)).join(samples.to_string());
        if !is_chosen && !folder.join(MEASURED).exists() {
            return Ok(None);
        }
        let recipe = contender.recipe.with(&[format!("seed={}", self.number())])?;
        let settings = settings(&recipe, contender.method, &self.datasets);
        let run = match self.base.fork(recipe, &folder) {
            // Another program measures it.
            Err(Error::Locked(_)) if !is_chosen => return Ok(None),
            run => run?,
        };
        let path = folder.join(MEASURED);
        if run.resume && run.is_done(STAGE, &settings)? && path.exists() {
            return match read_json(&path) {
                Ok(measured) => Ok(Some(measured)),
                Err(error) => Err(Error::Unusable {
                    place: path.display().to_string(),
                    found: error.to_string(),
                    expected: "what was measured; remove the file, and it is measured again".into(),
                }),
            };
        }
        refuse_others(&run, &settings)?;
        let progress = &run.progress;
        progress.say(&format!("seed {}: {}, {samples} samples", self.number(), contender.name));
        run.note_begun(STAGE)?;
        let comparison = super::comparison_of(&run.recipe)?;
        let ground = Ground::of(&run, comparison, &self.datasets)?;
        let held_out = with_fitting_held_out(&run, &self.datasets, &ground.start)?;
        let judge = Judge::of(&run)?;
        let mut shop = Workshop::new(&ground);
        let dial = methods::train(contender.method, &mut shop, samples)?;
        let measuring = Measuring { ground: &ground, judge: &judge, held_out: &held_out };
        let Found { points, control, curves, look_up } = measuring.of(&*dial)?;
        let measured = Measured {
            method: contender.name.clone(),
            seed: self.number(),
            samples_allowed: samples,
            cost: shop.cost().clone(),
            look_up,
            points,
            control,
            curves: curves.map_or(vec![], |curves| curves.curves),
        };
        run.write(MEASURED, &json(&measured))?;
        run.drop_checkpoints()?;
        run.note_done(STAGE, &self.datasets.files, settings)?;
        Ok(Some(measured))
    }
}

/// How often it is looked whether another program is done.
const PATIENCE: Duration = Duration::from_millis(500);

/// Begins the base run, as soon as no other program of the comparison prepares it.
fn when_free(
    comparison: &Comparison,
    seed: u64,
    begin: impl Fn() -> Result<Run, Error>,
) -> Result<Run, Error> {
    let Surroundings { progress, interrupted, .. } = &comparison.surroundings;
    let mut is_told = false;
    loop {
        match begin() {
            Err(Error::Locked(_)) if !interrupted.load(Ordering::Relaxed) => {
                if !is_told {
                    progress.say(&format!("seed {seed}: waiting for another program that prepares it"));
                    is_told = true;
                }
                std::thread::sleep(PATIENCE);
            }
            begun => return begun,
        }
    }
}

/// The run with the recipe as it is now, which may name other methods than when start policy and reward model were made, but must
/// make the same of those.
fn with_recipe_of_now(mut run: Run, recipe: &Recipe, comparison: &Comparison) -> Result<Run, Error> {
    const OF_METHODS: [&str; 5] = ["policy", "mapping", "evaluation", "ablations", "comparison"];
    let [made_by, now] = [&run.recipe, recipe].map(|recipe| {
        let mut table = toml::Table::try_from(recipe).expect("a recipe is a table");
        table.retain(|key, _| !OF_METHODS.contains(&key));
        Settings::of(&table, &[])
    });
    match made_by.difference(&now, &[]) {
        Some([expected, found]) => {
            Err(Error::RecipeChanged { path: comparison.folder.join(RECIPE), found, expected })
        }
        None => {
            run.recipe = recipe.clone();
            Ok(run)
        }
    }
}

/// What decides how the start policy is measured.
fn decides_the_ground(recipe: &Recipe) -> Settings {
    let sampling = toml::Value::try_from(recipe.policy.training.sampling).expect("sampling is a table");
    let prompts = toml::Value::Integer(recipe.evaluation.prompts as i64);
    let table = [("sampling".into(), sampling), ("prompts".into(), prompts)].into_iter().collect();
    Settings::of(&table, &[])
}

/// Refuses to go on with trainings that were decided by something else; what decides those to come is noted.
fn refuse_others(run: &Run, settings: &Settings) -> Result<(), Error> {
    let path = run.folder.join(SETTINGS);
    if path.exists() {
        let before: Settings = read_json(&path)?;
        if let Some([before, now]) = before.difference(settings, &[]) {
            return Err(Error::Unusable {
                place: path.display().to_string(),
                found: format!("trainings with {before}"),
                expected: format!("{now}, as the recipe says now; put it back, or remove the folder"),
            });
        }
    }
    run.write(SETTINGS, &json(settings))
}

fn json(value: &impl serde::Serialize) -> Vec<u8> {
    serde_json::to_vec_pretty(value).expect("what was measured serializes")
}

/// What decides a measurement: the data, and everything of the recipe but which other methods, seeds and budgets there are and
/// how others are set.
fn settings(recipe: &Recipe, method: MethodName, datasets: &Datasets) -> Settings {
    const OF_ALL: [&str; 4] = ["weight_steps", "levels_of_weights", "reward_models", "personalized"];
    let mut table = toml::Table::try_from(recipe).expect("a recipe is a table");
    table.remove("ablations");
    // They make intervals from what was measured.
    if let Some(toml::Value::Table(evaluation)) = table.get_mut("evaluation") {
        evaluation.remove("resamples");
    }
    table.insert("method".into(), method.name().into());
    if let Some(toml::Value::Table(comparison)) = table.get_mut("comparison") {
        comparison.retain(|key, _| OF_ALL.contains(&key) || methods::tables(method).contains(&key));
    }
    Settings::of(&table, &datasets.files)
}
