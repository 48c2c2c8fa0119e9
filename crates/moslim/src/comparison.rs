//! Several methods on one ground: trained, measured and compared.

mod budget;
mod contender;
mod curve;
mod dial;
mod ground;
mod measured;
mod measuring;
mod methods;
mod report;
mod seed;
mod separate;
mod workshop;

use std::path::{Path, PathBuf};

use moslim_data::ObjectiveSchema;

use self::budget::Budgets;
use self::contender::Contender;
use self::measured::{Outcome, SharedGround};
use self::report::{Compared, Report};
use self::seed::Seed;
use crate::evaluation::Judge;
use crate::run::RECIPE;
use crate::{Available, ComparisonRecipe, Datasets, Error, Recipe, Surroundings, make_room, write_whole};

/// The folder of the seeds in that of a comparison.
const SEEDS: &str = "seeds";

/// The files of the report.
const RESULTS: &str = "report/results.json";
const PAGE: &str = "report/index.html";
const POINTS: &str = "report/points.csv";

/// A comparison in its folder.
#[derive(Clone, Debug)]
pub struct Comparison {
    recipe: Recipe,
    /// The methods that are trained; all if empty.
    only: Vec<String>,
    folder: PathBuf,
    resume: bool,
    changes: Vec<String>,
    surroundings: Surroundings,
}

impl Comparison {
    /// Begins a comparison in a folder, which must hold none unless it may be replaced; of the methods of these names alone if there
    /// are any.
    ///
    /// # Errors
    /// If the recipe has no table `comparison`, a method is none of it, the folder is in use, or a file cannot be written.
    pub fn new(
        recipe: Recipe,
        only: Vec<String>,
        folder: &Path,
        overwrite: bool,
        surroundings: Surroundings,
    ) -> Result<Self, Error> {
        let comparison =
            Self { recipe, only, folder: folder.into(), resume: false, changes: vec![], surroundings };
        comparison.check()?;
        make_room(folder, overwrite)?;
        comparison.write_recipe()?;
        Ok(comparison)
    }

    /// Goes on with the comparison in a folder, by its own recipe with `changes`.
    ///
    /// # Errors
    /// If there is none, its recipe is malformed, or a method is none of it.
    pub fn resume(
        folder: &Path,
        changes: &[String],
        only: Vec<String>,
        surroundings: Surroundings,
    ) -> Result<Self, Error> {
        let path = folder.join(RECIPE);
        if !path.exists() {
            return Err(Error::Unusable {
                place: folder.display().to_string(),
                found: format!("no {RECIPE}"),
                expected: "the folder of a comparison".into(),
            });
        }
        let recipe = Recipe::read(&path.display().to_string(), changes)?;
        let (folder, changes) = (folder.into(), changes.to_vec());
        let comparison = Self { recipe, only, folder, resume: true, changes, surroundings };
        comparison.check()?;
        Ok(comparison)
    }

    /// Whether a folder is that of a comparison, or of one of its seeds.
    pub fn is_in(folder: &Path) -> bool {
        let is_comparison = |folder: &Path| folder.join(SEEDS).is_dir() && folder.join(RECIPE).exists();
        let above = folder.parent().filter(|above| above.file_name().is_some_and(|name| name == SEEDS));
        is_comparison(folder) || above.and_then(Path::parent).is_some_and(is_comparison)
    }

    /// Refuses what cannot be compared, before anything is written.
    fn check(&self) -> Result<(), Error> {
        let contenders = Contender::all_of(&self.recipe)?;
        if let Some(unknown) =
            self.only.iter().find(|name| contenders.iter().all(|known| known.name != **name))
        {
            let known: Vec<&str> = contenders.iter().map(|contender| contender.name.as_str()).collect();
            return Err(Error::Unusable {
                place: "--only".into(),
                found: unknown.clone(),
                expected: format!("methods and variants of the recipe: {}", known.join(", ")),
            });
        }
        match Datasets::of(&self.recipe)?.schema.len() {
            n @ (0 | 1) => Err(Error::Unusable {
                place: "objectives".into(),
                found: n.to_string(),
                expected: "at least 2, or there is nothing to weigh".into(),
            }),
            _ => Ok(()),
        }
    }

    fn write_recipe(&self) -> Result<(), Error> {
        std::fs::create_dir_all(&self.folder).map_err(Error::io(&self.folder))?;
        write_whole(&self.folder.join(RECIPE), self.recipe.to_toml().as_bytes())
    }

    /// Trains and measures what is not done yet, and writes the report.
    ///
    /// # Errors
    /// Those of trainings, and at once if the models cannot fit into the memory that is `available`.
    pub fn run(&self, available: Available) -> Result<(), Error> {
        let contenders = Contender::all_of(&self.recipe)?;
        let comparison = comparison_of(&self.recipe)?;
        let mut grounds: Vec<SharedGround> = Vec::new();
        let mut outcomes: Vec<Outcome> = Vec::new();
        let mut budgets = Budgets::new(&contenders[0], &self.only);
        let mut conclusion = String::new();
        for &seed in &comparison.seeds {
            let seed = Seed::prepared(self, seed, &contenders, available)?;
            grounds.push(seed.ground()?);
            for &budget in &comparison.budgets {
                for contender in &contenders {
                    let Some(found) = seed.under_budget(budget, contender, &mut budgets)? else { continue };
                    let place = outcomes
                        .iter()
                        .position(|outcome| outcome.budget == budget && outcome.method == contender.name);
                    match place {
                        Some(place) => {
                            outcomes[place].reached &= found.reached;
                            outcomes[place].measured.push(found.measured);
                        }
                        None => outcomes.push(Outcome {
                            budget,
                            method: contender.name.clone(),
                            measured: vec![found.measured],
                            reached: found.reached,
                        }),
                    }
                }
            }
            let schema = seed.schema();
            let judge = Judge::name_for(&self.recipe.data);
            let report =
                Compared { recipe: &self.recipe, schema, judge, grounds: &grounds, outcomes: &outcomes };
            conclusion = self.write_report(&report)?;
        }
        // Changes that were meant hold from now on; those that were refused do not.
        self.write_recipe()?;
        let page = self.folder.join(PAGE);
        self.surroundings.progress.say(&format!("{conclusion}\nreport: {}", page.display()));
        Ok(())
    }

    /// Writes the report of what there is, and returns its conclusion.
    fn write_report(&self, compared: &Compared<'_>) -> Result<String, Error> {
        let Report { results, page, points, conclusion } = compared.report()?;
        let results = serde_json::to_string_pretty(&results).expect("results serialize");
        for (name, content) in [(RESULTS, &results), (PAGE, &page), (POINTS, &points)] {
            let path = self.folder.join(name);
            let parent = path.parent().expect("a file of the report has a parent");
            std::fs::create_dir_all(parent).map_err(Error::io(parent))?;
            write_whole(&path, content.as_bytes())?;
        }
        Ok(conclusion)
    }
}

/// The table of a comparison.
fn comparison_of(recipe: &Recipe) -> Result<&ComparisonRecipe, Error> {
    recipe.comparison.as_ref().ok_or_else(|| Error::Unusable {
        place: "recipe".into(),
        found: "no table comparison".into(),
        expected: "one, as in the embedded recipe `compare`".into(),
    })
}

/// The words that prompts of baselines may have beside those of questions, for tokenizers that know no others.
pub(crate) fn prompt_words(recipe: &Recipe, schema: &ObjectiveSchema) -> Vec<String> {
    let Some(comparison) = &recipe.comparison else { return vec![] };
    let names: Vec<&str> = schema.objectives().iter().map(|objective| objective.name.as_str()).collect();
    let sentences = comparison.personalized.sentences.values().flatten();
    let of_sentences = sentences.flat_map(|sentence| sentence.split_whitespace().map(String::from));
    let numbers = methods::number_words(names.len());
    numbers.into_iter().chain(methods::instruction_words(&names)).chain(of_sentences).collect()
}
