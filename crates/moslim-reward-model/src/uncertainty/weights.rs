//! The files of a reward model's uncertainty.

use std::path::{Path, PathBuf};

use burn::module::Module;
use burn::nn::Linear;
use burn::tensor::{Device, Tensor};
use moslim_data::ObjectiveSchema;
use moslim_lm::{LmError, ModelConfig, check_file_size, load_weights_from, save_weights_as};
use serde::{Deserialize, Serialize};

use super::{EnsembleMember, HeadPosterior, MOST_OPINIONS, Uncertainty};
use crate::folder::check_heads;
use crate::head::{HeadMlp, linear};
use crate::{HeadConfig, HeadReader, RewardHead, RewardModelFolder};

/// `uncertainty` in `objectives.json`; weights lie beside it.
#[derive(Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(crate) enum UncertaintyFile {
    Laplace { draws: usize, seed: u64 },
    HeadEnsemble { readers: Vec<Vec<HeadReader>> },
    ModelEnsemble { members: usize },
}

const WEIGHTS: &str = "uncertainty.safetensors";

#[derive(Module, Debug)]
struct Posteriors {
    heads: Vec<HeadPosterior>,
}

#[derive(Module, Debug)]
struct Ensemble {
    members: Vec<Member>,
}

#[derive(Module, Debug)]
struct Member {
    heads: Vec<HeadWeights>,
}

#[derive(Module, Debug)]
struct HeadWeights {
    mlp: Option<HeadMlp>,
    score: Linear,
}

/// What the uncertainty of a model belongs to.
pub(crate) struct Owner<'a> {
    /// Its folder.
    pub folder: &'a Path,
    /// The file that says what it is.
    pub path: &'a Path,
    pub config: &'a ModelConfig,
    pub schema: &'a ObjectiveSchema,
    pub heads: &'a [HeadConfig],
}

/// The folder of a member of an ensemble of models, counted from 1.
fn member_folder(folder: &Path, member: usize) -> PathBuf {
    folder.join("members").join(member.to_string())
}

impl UncertaintyFile {
    /// Writes the weights into an existing folder; returns what is to stand beside them.
    pub(crate) fn write(uncertainty: &Uncertainty, folder: &Path) -> Result<Self, LmError> {
        let path = folder.join(WEIGHTS);
        match uncertainty {
            Uncertainty::Laplace { posteriors, draws, seed } => {
                save_weights_as(&Posteriors { heads: posteriors.clone() }, &path)?;
                Ok(Self::Laplace { draws: *draws, seed: *seed })
            }
            Uncertainty::Heads(members) => {
                let of_head =
                    |head: &RewardHead| HeadWeights { mlp: head.mlp.clone(), score: head.score.clone() };
                let of_member =
                    |member: &EnsembleMember| Member { heads: member.heads.iter().map(of_head).collect() };
                save_weights_as(&Ensemble { members: members.iter().map(of_member).collect() }, &path)?;
                Ok(Self::HeadEnsemble {
                    readers: members.iter().map(|member| member.readers.clone()).collect(),
                })
            }
            Uncertainty::Models(models) => {
                for (index, model) in models.iter().enumerate() {
                    let member = member_folder(folder, index + 1);
                    std::fs::create_dir_all(&member).map_err(LmError::io(&member))?;
                    model.write_into(&member)?;
                }
                Ok(Self::ModelEnsemble { members: models.len() })
            }
        }
    }

    /// Reads what [`write`](Self::write) wrote.
    pub(crate) fn read(self, owner: &Owner<'_>, device: &Device) -> Result<Uncertainty, LmError> {
        let Owner { folder, path, config, schema, heads } = *owner;
        let d = config.hidden_size;
        let weights = folder.join(WEIGHTS);
        let wrong = |found: String, expected: String| LmError::Config {
            path: path.into(),
            field: "uncertainty",
            found,
            expected,
        };
        let n = match &self {
            Self::Laplace { draws, .. } => *draws,
            Self::HeadEnsemble { readers } => readers.len(),
            Self::ModelEnsemble { members } => *members,
        };
        if n == 0 || n > MOST_OPINIONS {
            return Err(wrong(format!("{n} opinions"), format!("1 to {MOST_OPINIONS}")));
        }
        let outputs: Vec<usize> =
            heads.iter().zip(schema.n_levels()).map(|(h, n)| h.kind.n_outputs(n)).collect();
        match self {
            Self::Laplace { draws, seed } => {
                let numbers = |m: &usize| (d * d + 2 * d + m * m + m + 1) as f64;
                check_file_size(&weights, outputs.iter().map(numbers).sum())?;
                let zeros = |m: &usize| HeadPosterior::zeros(d, *m, device);
                let mut posteriors = Posteriors { heads: outputs.iter().map(zeros).collect() };
                load_weights_from(&mut posteriors, &weights)?;
                match posteriors.heads.iter().all(HeadPosterior::is_sound) && draws % 2 == 0 {
                    true => Ok(Uncertainty::Laplace { posteriors: posteriors.heads, draws, seed }),
                    false => Err(wrong(
                        format!("{draws} draws from {}", weights.display()),
                        "an even number of draws, and finite numbers that are not negative".into(),
                    )),
                }
            }
            Self::HeadEnsemble { readers } => {
                readers.iter().try_for_each(|readers| check_heads(path, schema, heads, readers))?;
                let numbers = |(head, m): (&HeadConfig, &usize)| {
                    (m + 2 * head.hidden_size.unwrap_or(0)) as f64 * d as f64
                };
                let of_member: f64 = heads.iter().zip(&outputs).map(numbers).sum();
                check_file_size(&weights, of_member * readers.len() as f64)?;
                let zeros = |(head, m): (&HeadConfig, &usize)| HeadWeights {
                    mlp: head.hidden_size.map(|inner| HeadMlp::zeros(d, inner, device)),
                    score: linear(Tensor::zeros([d, *m], device)),
                };
                let member = || Member { heads: heads.iter().zip(&outputs).map(zeros).collect() };
                let mut ensemble = Ensemble { members: readers.iter().map(|_| member()).collect() };
                load_weights_from(&mut ensemble, &weights)?;
                let members = ensemble.members.into_iter().zip(readers).map(|(member, readers)| {
                    let parts = member.heads.into_iter().zip(heads).zip(&readers).zip(schema.n_levels());
                    let heads = parts.map(|(((weights, config), reader), n_levels)| {
                        let HeadWeights { mlp, score } = weights;
                        RewardHead::from_parts(
                            config.kind.clone(),
                            n_levels,
                            mlp,
                            score,
                            &reader.thresholds(),
                        )
                    });
                    EnsembleMember { heads: heads.collect(), readers: readers.clone() }
                });
                Ok(Uncertainty::Heads(members.collect()))
            }
            Self::ModelEnsemble { members } => {
                let read = |member: usize| {
                    let folder = member_folder(folder, member);
                    let (model, _) = RewardModelFolder::read_parts(&folder, device)?;
                    let ModelConfig { vocab_size, max_position_embeddings, .. } = model.config;
                    let reads_the_same = (vocab_size, max_position_embeddings)
                        == (config.vocab_size, config.max_position_embeddings);
                    match model.schema == *schema && reads_the_same {
                        true => Ok(model),
                        false => Err(wrong(
                            format!("other objectives or another vocabulary in {}", folder.display()),
                            "those of the model itself".into(),
                        )),
                    }
                };
                Ok(Uncertainty::Models((1..=members).map(read).collect::<Result<_, LmError>>()?))
            }
        }
    }
}
