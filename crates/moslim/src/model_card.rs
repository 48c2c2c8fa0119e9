//! `README.md` of a run's model folders: what a model came from, how it was made, and what was measured of it.

mod policy_method;

use std::path::Path;

use moslim_data::{PromptCodec, Request, Turn};
use moslim_reward_model::HeadConfig;
use serde_json::Value;

use self::policy_method::policy_method;
use crate::manifest::{GROWN, PLAIN_TEXT};
use crate::run::{
    ADAPTER_FOLDER, JUDGE_FOLDER, POLICY_FOLDER, REWARD_ADAPTER_FOLDER, REWARD_MODEL_FOLDER, START_FOLDER,
};
use crate::{DataRecipe, Datasets, Error, ModelRecipe, Recipe, Run};

/// The card's name in a folder.
pub(crate) const CARD: &str = "README.md";

/// A folder that gets a card.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    Start,
    RewardModel,
    Judge,
    Policy,
    Adapter,
    RewardAdapter,
}

impl Part {
    fn title(self) -> &'static str {
        match self {
            Self::Start => "language model before policy optimisation",
            Self::RewardModel => "multi-head reward model",
            Self::Judge => "multi-head reward model that judges",
            Self::Policy => "policy that is asked for levels",
            Self::Adapter => "adapter of the policy",
            Self::RewardAdapter => "adapter of the reward model",
        }
    }

    /// What the folder holds and what reads it.
    fn description(self) -> &'static str {
        match self {
            Self::Start => {
                "A causal language model in Hugging Face's layout: where policy optimisation starts, and what it is held to."
            }
            Self::RewardModel => {
                "Classifies an answer to a question, with one head per objective over a shared backbone; \
                 it never sees what was asked for.\n\
                 The rows of `score.weight` are the outputs of all heads one after the other, as `id2label` names them; \
                 `objectives.json` says how they become probabilities."
            }
            Self::Judge => {
                "Classifies answers as the reward model does, but was trained on questions that nothing else has seen, \
                 and only measures."
            }
            Self::Policy => {
                "A causal language model in Hugging Face's layout that answers at the levels asked for in the prompt.\n\
                 `request.json` says how they are asked for."
            }
            Self::Adapter => {
                "The low-rank adapter of the policy in PEFT's layout, for the model in `start/` of the same run."
            }
            Self::RewardAdapter => {
                "The low-rank adapter of the reward model in PEFT's layout, with its heads as `score`, for the model in `start/` of the \
                 same run read as a sequence classifier."
            }
        }
    }

    /// Whether it needs the weights of another model.
    fn is_adapter(self) -> bool {
        matches!(self, Self::Adapter | Self::RewardAdapter)
    }

    /// Whether it answers.
    fn is_asked(self) -> bool {
        matches!(self, Self::Policy | Self::Adapter)
    }

    fn metadata(self) -> &'static str {
        match self {
            Self::Start | Self::Policy => "library_name: transformers\npipeline_tag: text-generation",
            Self::RewardModel | Self::Judge => "pipeline_tag: text-classification",
            Self::Adapter => "library_name: peft\npipeline_tag: text-generation",
            Self::RewardAdapter => "library_name: peft\npipeline_tag: text-classification",
        }
    }
}

/// The card of a folder of a run; `results` are those of `report/results.json`, once there are any.
///
/// # Errors
/// If a file of the data cannot be read.
pub(crate) fn model_card(
    run: &Run,
    datasets: &Datasets,
    part: Part,
    results: Option<&Value>,
) -> Result<String, Error> {
    let base = match datasets.files.iter().find(|file| file.what.starts_with(GROWN)) {
        Some(file) if part == Part::RewardModel => Base::grown(&file.name),
        _ => Base::of(run)?,
    };
    let license = base.license.iter().map(|license| format!("license: {license}"));
    // An adapter belongs to the model in `start/`, which is the base only if nothing was trained before.
    let hub_name = base.hub_name.filter(|_| !part.is_adapter() || !trains_the_start(&run.recipe));
    let base_model = hub_name.iter().map(|name| format!("base_model: {name}"));
    let metadata: Vec<String> = license.chain(base_model).chain([part.metadata().into()]).collect();
    let mut sections = vec![
        format!("---\n{}\ntags:\n- moslim\n---", metadata.join("\n")),
        format!("# {}\n\n{}", part.title(), part.description()),
    ];
    if part.is_asked() {
        sections.push(asking(run, datasets)?);
    }
    sections.push(objectives(datasets));
    sections.push(format!("## Base model\n\n{}", base.description));
    sections.push(data(run, datasets));
    sections.push(method(run, part));
    sections.push(match results {
        Some(results) => measured(datasets, part, results),
        None => "## Measured\n\nNothing yet.".into(),
    });
    sections.push(format!(
        "## Settings\n\nMade by moslim {} with this recipe:\n\n```toml\n{}```\n",
        env!("CARGO_PKG_VERSION"),
        run.recipe.to_toml()
    ));
    Ok(sections.join("\n\n"))
}

/// Writes the cards of a run's folders again, with what was measured.
///
/// # Errors
/// If a file of the data cannot be read, or a card cannot be written.
pub(crate) fn rewrite_cards(run: &Run, datasets: &Datasets, results: &Value) -> Result<(), Error> {
    let parts = [
        (START_FOLDER, Part::Start),
        (REWARD_MODEL_FOLDER, Part::RewardModel),
        (JUDGE_FOLDER, Part::Judge),
        (POLICY_FOLDER, Part::Policy),
        (ADAPTER_FOLDER, Part::Adapter),
        (REWARD_ADAPTER_FOLDER, Part::RewardAdapter),
    ];
    for (name, part) in parts {
        if run.folder.join(name).exists() {
            let card = model_card(run, datasets, part, Some(results))?;
            run.write(&format!("{name}/{CARD}"), card.as_bytes())?;
        }
    }
    Ok(())
}

/// Whether the start policy is another model than the base.
pub(crate) fn trains_the_start(recipe: &Recipe) -> bool {
    recipe.pretraining.is_some() || recipe.sft.is_some() || recipe.conditional_sft.is_some()
}

/// The model that a run began with.
struct Base {
    description: String,
    license: Option<String>,
    hub_name: Option<String>,
}

impl Base {
    /// A reward model that learned more.
    fn grown(file: &str) -> Self {
        let folder = Path::new(file).parent().unwrap_or(Path::new(file)).display();
        Self { description: format!("The reward model in `{folder}`."), license: None, hub_name: None }
    }

    fn of(run: &Run) -> Result<Self, Error> {
        match &run.recipe.model {
            ModelRecipe::New { hidden_size, num_hidden_layers, .. } => Ok(Self {
                description: format!(
                    "None: {num_hidden_layers} fresh layers of the Llama family, {hidden_size} wide, and a tokenizer \
                     trained on the data."
                ),
                license: None,
                hub_name: None,
            }),
            ModelRecipe::Folder { path, license } => {
                let license = license.clone().or(stated_license(&crate::model_folder(path)?));
                let name = path.display().to_string();
                let id = name.split('@').next().unwrap_or(&name).to_string();
                Ok(Self {
                    description: format!("`{name}`, licence: {}.", or_not_stated(license.as_deref())),
                    license,
                    hub_name: (!path.exists()).then_some(id),
                })
            }
        }
    }
}

/// The licence in the metadata of a folder's card.
fn stated_license(folder: &Path) -> Option<String> {
    let card = std::fs::read_to_string(folder.join(CARD)).ok()?;
    let (metadata, _) = card.strip_prefix("---")?.split_once("\n---")?;
    let license = metadata.lines().find_map(|line| line.strip_prefix("license:"))?;
    let license = license.trim().trim_matches(['"', '\'']);
    // A list or a text of many lines is not taken apart.
    license.starts_with(|c: char| c.is_ascii_alphanumeric()).then(|| license.into())
}

fn or_not_stated(license: Option<&str>) -> &str {
    license.unwrap_or("not stated")
}

fn asking(run: &Run, datasets: &Datasets) -> Result<String, Error> {
    let codec = PromptCodec::new(run.recipe.codec.clone(), &datasets.schema)?;
    let highest = datasets.schema.n_levels().into_iter().map(|n| Some((n - 1) as f64));
    let request = Request { levels: highest.collect() };
    let turn = match run.recipe.codec.turn {
        Turn::User => "the question",
        Turn::System => "the system turn",
    };
    Ok(format!(
        "## Ask for levels\n\n```text\nmoslim generate --model . --prompt \"...\" --want {}\n```\n\n\
         What is not named is left open.\nThe request is written into {turn}, which then reads\n\n```text\n{}\n```\n\n\
         before the chat template is applied.",
        request.describe(&datasets.schema),
        codec.render("...", &request)?
    ))
}

fn objectives(datasets: &Datasets) -> String {
    let objectives = datasets.schema.objectives().iter();
    let rows = objectives.map(|objective| vec![objective.name.clone(), objective.levels.join(", ")]);
    format!("## Objectives\n\n{}", table(&["objective", "levels, from the lowest"], rows))
}

fn data(run: &Run, datasets: &Datasets) -> String {
    let recipe = &run.recipe;
    let (drawn, license) = match &recipe.data {
        DataRecipe::Testbed { world, sft_answers, labeled_answers, .. } => {
            let drawn = format!(
                "Drawn from the made-up world `{world:?}` of moslim-testbed, seed {}: {sft_answers} answers and \
                 {labeled_answers} labelled answers; licence: that of moslim.\n\n",
                recipe.seed
            );
            (drawn, None)
        }
        DataRecipe::Files { license, .. } => (String::new(), license.as_deref()),
    };
    let of_texts = recipe.pretraining.as_ref().and_then(|pretraining| pretraining.license.as_deref());
    let rows = datasets.files.iter().map(|file| {
        let license = match file.what.as_str() {
            PLAIN_TEXT => of_texts,
            what if what.starts_with(GROWN) => None,
            _ => license,
        };
        let name = file.name.rsplit('/').next().unwrap_or_default();
        let name = if file.name.starts_with("hf://") { &file.name } else { name };
        let (bytes, hash) = (file.bytes.to_string(), format!("`{}`", file.sha256));
        vec![file.what.clone(), format!("`{name}`"), bytes, hash, or_not_stated(license).into()]
    });
    let files = match datasets.files.is_empty() {
        true => String::new(),
        false => table(&["what", "file", "bytes", "SHA-256", "licence"], rows),
    };
    format!("## Data\n\n{}", [drawn, files].concat().trim_end())
}

fn method(run: &Run, part: Part) -> String {
    let recipe = &run.recipe;
    let weights = match &recipe.lora {
        Some(lora) => format!("low-rank adapters of rank {}", lora.r),
        None => "all weights".into(),
    };
    let mut steps = Vec::new();
    if recipe.pretraining.is_some() {
        steps.push("- Pretraining on plain text.".into());
    }
    if let Some(sft) = &recipe.sft {
        let epochs = sft.num_train_epochs;
        steps.push(format!(
            "- Supervised fine-tuning on answers without any request: {epochs} epoch(s), {weights}."
        ));
    }
    if let Some(sft) = &recipe.conditional_sft {
        let epochs = sft.training.num_train_epochs;
        steps.push(format!(
            "- Supervised fine-tuning on labelled answers with their levels as the request: {epochs} epoch(s), {weights}."
        ));
    }
    if part != Part::Start {
        let fit = match &recipe.data {
            DataRecipe::Files { judge, .. } if part == Part::Judge => judge.as_ref(),
            _ => &recipe.reward_model,
        };
        let epochs = fit.num_train_epochs;
        let head = |head: &HeadConfig| serde_json::to_string(&head.kind).unwrap_or_default().replace('"', "");
        let others = fit.heads.iter().map(|(name, config)| format!(", {name} {}", head(config)));
        let heads = [head(&fit.head)].into_iter().chain(others).collect::<String>();
        steps.push(format!(
            "- A reward model from there: heads ({heads}) on the labels there are, {epochs} epoch(s), {weights}."
        ));
    }
    if part.is_asked() {
        steps.push(policy_method(&recipe.policy, &weights.to_string()));
    }
    if steps.is_empty() {
        steps.push("None: the base model as it is.".into());
    }
    format!("## Method\n\n{}", steps.join("\n"))
}

fn measured(datasets: &Datasets, part: Part, results: &Value) -> String {
    let of_classes = |section| {
        vec![
            ("accuracy", [section, "intensity_accuracy"]),
            ("always the most frequent level", [section, "majority"]),
            ("balanced accuracy", [section, "balanced_accuracy"]),
            ("expected calibration error", [section, "ece"]),
        ]
    };
    let columns: Vec<(&str, [&str; 2])> = match part {
        Part::RewardModel | Part::RewardAdapter => of_classes("reward_model"),
        Part::Judge => of_classes("judge_model"),
        Part::Start => vec![
            ("mean level of plain answers", ["start", "mean_level"]),
            ("Spearman, one asked", ["start", "spearman"]),
            ("exact, one asked", ["start", "exact"]),
        ],
        Part::Policy | Part::Adapter => vec![
            ("Spearman, one asked", ["policy", "spearman"]),
            ("before", ["start", "spearman"]),
            ("exact, one asked", ["policy", "exact"]),
            ("before", ["start", "exact"]),
            ("Spearman, all asked", ["policy_all_asked", "spearman"]),
            ("exact, all asked", ["policy_all_asked", "exact"]),
        ],
    };
    let of_what = match part {
        Part::RewardModel | Part::RewardAdapter | Part::Judge => "On answers to held-out questions:".into(),
        _ => format!(
            "The level asked for against the level achieved by the judgement of {}, on held-out questions at the \
             temperature of training:",
            results["judge"].as_str().unwrap_or_default()
        ),
    };
    let header: Vec<&str> =
        [&"objective"].into_iter().chain(columns.iter().map(|(name, _)| name)).copied().collect();
    let rows = datasets.schema.objectives().iter().map(|objective| {
        let cells = columns.iter().map(|(_, [section, measure])| {
            let found = results[section][&objective.name][measure].as_f64();
            found.map_or("–".into(), |found| format!("{found:.3}"))
        });
        [objective.name.clone()].into_iter().chain(cells).collect()
    });
    format!("## Measured\n\n{of_what}\n\n{}", table(&header, rows))
}

/// A table in Markdown.
fn table(header: &[&str], rows: impl Iterator<Item = Vec<String>>) -> String {
    let line = |cells: &[String]| format!("| {} |", cells.join(" | "));
    let header: Vec<String> = header.iter().map(|cell| (*cell).into()).collect();
    let rule = format!("|{}", "---|".repeat(header.len()));
    let lines: Vec<String> = [line(&header), rule].into_iter().chain(rows.map(|row| line(&row))).collect();
    lines.join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_licence_is_read_from_the_metadata_alone() {
        let folder = tempfile::tempdir().unwrap();
        let license = |card: &str| {
            std::fs::write(folder.path().join(CARD), card).unwrap();
            stated_license(folder.path())
        };
        assert_eq!(
            license("---\nlanguage: en\nlicense: apache-2.0\n---\n# A").as_deref(),
            Some("apache-2.0")
        );
        assert_eq!(license("---\nlicense: 'mit'\r\n---\n").as_deref(), Some("mit"));
        for card in
            ["# A\nlicense: mit", "---\nlanguage: en\n---\nlicense: mit\n", "---\nlicense:\n- a\n---", ""]
        {
            assert_eq!(license(card), None, "{card}");
        }
        std::fs::remove_file(folder.path().join(CARD)).unwrap();
        assert_eq!(stated_license(folder.path()), None);
    }
}
