//! One head: what it is, and its weights.

use burn::module::{Module, Param};
use burn::nn::Linear;
use burn::tensor::activation::silu;
use burn::tensor::{Device, Tensor, TensorData};
use moslim_lm::normal;
use rand::Rng;
use serde::{Deserialize, Serialize};

use crate::calibration::Readout;

/// A head as a recipe asks for it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct HeadConfig {
    /// What it learns and how its outputs are read.
    #[serde(default)]
    pub kind: HeadKind,
    /// Width of a layer of its own, `h + W₂ silu(W₁ h)`, before the linear map; none if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hidden_size: Option<usize>,
}

/// What a head learns and how its outputs are read.
///
/// All kinds end in a probability of every level, so that measures and mappings are the same for all of them.
/// A label may lie between two levels; `K` is the number of levels, `y` the label counted from 0.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum HeadKind {
    /// K logits and cross-entropy, as in the paper; a label between two levels is shared by both (two-hot).
    #[default]
    #[serde(alias = "two_hot")]
    Softmax,
    /// As `Softmax`, and a share of the target goes to the neighbours of the label, half to each; at an end all to the one.
    SmoothedSoftmax {
        /// The share, from 0 to below 1.
        smoothing: f64,
    },
    /// K logits and cross-entropy with a normal distribution around the label, cut at the levels' borders
    /// ([Farebrother et al. 2024](https://arxiv.org/abs/2403.03950)).
    HlGauss {
        /// Its deviation, in levels; 0.75 is the source's advice.
        sigma: f64,
    },
    /// One score s and K − 1 ascending thresholds b: P(level > c) = σ(s − b_c), each with its own binary cross-entropy
    /// ([CORAL](https://arxiv.org/abs/1901.07884)).
    Ordinal,
    /// One number, the level, and its squared error; read as a normal distribution around it.
    Regression,
    /// One score of which only differences between two answers to one prompt are learned:
    /// `−ln σ(s₊ − s₋ − margin · Δ)` with Δ the levels between the two, 1 where only the order is known.
    BradleyTerry {
        /// The margin per level; 0 for none.
        #[serde(default)]
        margin: f64,
    },
}

impl HeadKind {
    /// The number of outputs of a head with so many levels.
    pub fn n_outputs(&self, n_levels: usize) -> usize {
        match self {
            Self::Softmax | Self::SmoothedSoftmax { .. } | Self::HlGauss { .. } => n_levels,
            Self::Ordinal | Self::Regression | Self::BradleyTerry { .. } => 1,
        }
    }

    /// Whether it learns from pairs of answers instead of labels.
    pub fn compares(&self) -> bool {
        matches!(self, Self::BradleyTerry { .. })
    }

    /// How outputs are read before anything is fitted to labels.
    pub(crate) fn unfitted_readout(&self, n_levels: usize) -> Readout {
        match self {
            Self::Softmax | Self::SmoothedSoftmax { .. } | Self::HlGauss { .. } => Readout::softmax(n_levels),
            Self::Ordinal | Self::BradleyTerry { .. } => {
                Readout::Cumulative { slope: 1.0, thresholds: even_thresholds(n_levels) }
            }
            Self::Regression => Readout::Gaussian { deviation: 0.5, n_levels },
        }
    }

    /// The setting that is out of its range, what was found, and what was expected.
    pub(crate) fn mistake(&self) -> Option<(&'static str, f64, &'static str)> {
        let wrong = |is_wrong: bool, mistake| is_wrong.then_some(mistake);
        match *self {
            Self::SmoothedSoftmax { smoothing } => {
                wrong(!(0.0..1.0).contains(&smoothing), ("smoothing", smoothing, "a share from 0 to below 1"))
            }
            Self::HlGauss { sigma } => {
                wrong(!(sigma > 0.0 && sigma.is_finite()), ("sigma", sigma, "a finite number above 0"))
            }
            Self::BradleyTerry { margin } => {
                wrong(!(margin >= 0.0 && margin.is_finite()), ("margin", margin, "a finite number from 0 on"))
            }
            Self::Softmax | Self::Ordinal | Self::Regression => None,
        }
    }
}

/// The weights of a head.
#[derive(Module, Debug)]
pub struct RewardHead {
    /// A layer of its own before the linear map.
    pub(crate) mlp: Option<HeadMlp>,
    /// `[hidden_size, n_outputs]`, without bias
    pub(crate) score: Linear,
    /// The first threshold, and the logarithms of the distances of the others, of an ordinal head, in units of
    /// [`THRESHOLD_SPEED`]. `[K − 1]`
    pub(crate) thresholds: Option<Param<Tensor<1>>>,
    #[module(skip)]
    pub(crate) kind: HeadKind,
    pub(crate) n_levels: usize,
}

/// `h + W₂ silu(W₁ h)`; W₂ starts at 0.
#[derive(Module, Debug)]
pub(crate) struct HeadMlp {
    up: Linear,
    down: Linear,
}

impl HeadMlp {
    /// With all weights 0, to be filled.
    pub(crate) fn zeros(hidden_size: usize, width: usize, device: &Device) -> Self {
        Self {
            up: linear(Tensor::zeros([hidden_size, width], device)),
            down: linear(Tensor::zeros([width, hidden_size], device)),
        }
    }

    fn new(hidden_size: usize, width: usize, rng: &mut impl Rng, device: &Device) -> Self {
        let deviation = (1.0 / hidden_size as f64).sqrt();
        let up = linear(normal([hidden_size, width], deviation, rng, device));
        Self { up, ..Self::zeros(hidden_size, width, device) }
    }
}

/// How many times as fast thresholds learn as weights.
///
/// Adam moves every number by about the learning rate in a step. A score is the sum of many weights, and to be sure of a level the
/// thresholds must move as far as it does: at the speed of a weight they lag behind, and no level in the middle is ever the
/// most probable.
const THRESHOLD_SPEED: f64 = 10.0;

/// Thresholds for which a score of 0 makes all levels equally likely.
fn even_thresholds(n_levels: usize) -> Vec<f64> {
    let share = |level: usize| level as f64 / n_levels as f64;
    (1..n_levels).map(|level| (share(level) / (1.0 - share(level))).ln()).collect()
}

pub(crate) fn linear(weight: Tensor<2>) -> Linear {
    Linear { weight: Param::from_tensor(weight), bias: None }
}

impl RewardHead {
    /// A fresh head.
    ///
    /// The linear map's weights are drawn from N(0, 1/(d + 1)) as in [Stiennon et al. 2020](https://arxiv.org/abs/2009.01325);
    /// thresholds start where a score of 0 makes all levels equally likely.
    pub(crate) fn new(
        config: &HeadConfig,
        hidden_size: usize,
        n_levels: usize,
        rng: &mut impl Rng,
        device: &Device,
    ) -> Self {
        let deviation = (1.0 / (hidden_size as f64 + 1.0)).sqrt();
        let score = linear(normal([hidden_size, config.kind.n_outputs(n_levels)], deviation, rng, device));
        let mlp = config.hidden_size.map(|width| HeadMlp::new(hidden_size, width, rng, device));
        Self::from_parts(config.kind.clone(), n_levels, mlp, score, &even_thresholds(n_levels))
    }

    /// A head of given weights; an ordinal one begins with these thresholds, which ascend.
    pub(crate) fn from_parts(
        kind: HeadKind,
        n_levels: usize,
        mlp: Option<HeadMlp>,
        score: Linear,
        thresholds: &[f64],
    ) -> Self {
        let thresholds = (kind == HeadKind::Ordinal).then(|| {
            let logs =
                thresholds.windows(2).map(|pair| (pair[1] - pair[0]).max(f64::from(f32::EPSILON)).ln());
            let values = thresholds.iter().take(1).copied().chain(logs);
            let values: Vec<f32> = values.map(|b| (b / THRESHOLD_SPEED) as f32).collect();
            let n = values.len();
            Param::from_tensor(Tensor::from_data(TensorData::new(values, [n]), &score.weight.device()))
        });
        Self { mlp, score, thresholds, kind, n_levels }
    }

    /// The outputs for pooled states `[n, hidden_size]`. `[n, n_outputs]`
    pub(crate) fn outputs(&self, pooled: Tensor<2>) -> Tensor<2> {
        self.score.forward(self.features(pooled))
    }

    /// What the linear map reads. `[n, hidden_size]`
    pub(crate) fn features(&self, pooled: Tensor<2>) -> Tensor<2> {
        match &self.mlp {
            None => pooled,
            Some(HeadMlp { up, down }) => pooled.clone() + down.forward(silu(up.forward(pooled))),
        }
    }

    /// The thresholds of an ordinal head, ascending. `[1, K − 1]`
    pub(crate) fn ascending_thresholds(&self) -> Option<Tensor<2>> {
        let thresholds = self.thresholds.as_ref()?.val() * THRESHOLD_SPEED;
        let [n] = thresholds.dims();
        // b_c = b_0 + Σ_{0 < j ≤ c} exp(g_j)
        let first = thresholds.clone().narrow(0, 0, 1).reshape([1, 1]);
        if n == 1 {
            return Some(first);
        }
        let distances = thresholds.narrow(0, 1, n - 1).exp().reshape([1, n - 1]);
        let up_to: Vec<f32> =
            (0..n - 1).flat_map(|j| (0..n).map(move |c| if j < c { 1.0 } else { 0.0 })).collect();
        let up_to = Tensor::<2>::from_data(TensorData::new(up_to, [n - 1, n]), &first.device());
        Some(first + distances.matmul(up_to))
    }

    /// The thresholds of an ordinal head, ascending; none for others. `[K − 1]`
    pub(crate) fn thresholds(&self) -> Vec<f64> {
        let Some(thresholds) = self.ascending_thresholds() else { return vec![] };
        let thresholds: Vec<f32> =
            thresholds.into_data().convert::<f32>().try_to_vec().expect("thresholds are floats");
        thresholds.into_iter().map(f64::from).collect()
    }

    /// How its outputs are read as training left them.
    pub(crate) fn first_readout(&self) -> Readout {
        match self.kind {
            HeadKind::Ordinal => Readout::Cumulative { slope: 1.0, thresholds: self.thresholds() },
            _ => self.kind.unfitted_readout(self.n_levels),
        }
    }

    /// The number of its outputs.
    pub(crate) fn n_outputs(&self) -> usize {
        self.kind.n_outputs(self.n_levels)
    }

    /// What a regression's output 0 means: the middle of the scale, so that a map without bias can reach all of it.
    pub(crate) fn center(&self) -> f64 {
        center(self.n_levels)
    }
}

/// The middle of a scale of so many levels, counted from 0.
pub(crate) fn center(n_levels: usize) -> f64 {
    (n_levels - 1) as f64 / 2.0
}
