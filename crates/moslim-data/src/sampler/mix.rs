//! What a policy is asked for in training, as a recipe says it.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use thiserror::Error;

/// What training prompts ask for: how many objectives, by shares that sum to 1, which ones, and for which levels.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct RequestMix {
    /// Nothing is asked for, so that plain use stays intact.
    pub free: f64,
    /// One objective.
    pub one: f64,
    /// A uniformly drawn number of objectives from 2 to all but one; must be 0 with fewer than 3 objectives.
    pub some: f64,
    /// Every objective.
    pub all: f64,
    /// Of the levels that are asked for, the share that lies anywhere between the lowest and the highest one, where numbers name them.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub fractional: f64,
    /// How often an objective is asked for beside one of weight 1, where not all are; 1 where it is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub objectives: BTreeMap<String, f64>,
    /// The levels of an objective that are asked for, so that others are held out; every one where it is absent.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub levels: BTreeMap<String, AskedLevels>,
}

/// The levels of an objective that are asked for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum AskedLevels {
    /// These, equally often.
    Only(Vec<String>),
    /// These, in proportion to their weights.
    Weighted(BTreeMap<String, f64>),
}

fn is_zero(share: &f64) -> bool {
    *share == 0.0
}

/// Why a mix cannot be sampled from.
#[derive(Clone, Debug, PartialEq, Error)]
pub enum SamplerError {
    /// A share is negative or no number.
    #[error("request mix: {name}: {found}, expected a share from 0 to 1")]
    Share {
        /// The share's key.
        name: &'static str,
        /// Its value.
        found: f64,
    },
    /// The shares do not sum to 1.
    #[error("request mix: shares sum to {found}, expected 1")]
    Sum {
        /// The sum.
        found: f64,
    },
    /// A weight is no positive number, or that of a level negative.
    #[error("request mix: {name}: weight {found}, expected a number above 0")]
    Weight {
        /// What has it.
        name: String,
        /// The weight.
        found: f64,
    },
    /// There is no such objective.
    #[error("request mix: unknown objective `{found}`, expected one of {expected}")]
    Objective {
        /// The name.
        found: String,
        /// The names that there are.
        expected: String,
    },
    /// The objective has no such level.
    #[error("request mix: {objective}: level {found}, expected {expected}")]
    Level {
        /// The objective.
        objective: String,
        /// The name.
        found: String,
        /// The levels that it has.
        expected: String,
    },
    /// No level of an objective is left to ask for.
    #[error("request mix: {objective}: no level, expected at least one to ask for")]
    NoLevels {
        /// The objective.
        objective: String,
    },
    /// Nothing lies between the levels of any objective.
    #[error(
        "request mix: fractional: {found}, expected 0 where no objective has integers as levels and two to ask for"
    )]
    NoFractions {
        /// The share.
        found: f64,
    },
    /// `some` means 2 to all but one, which needs 3 objectives.
    #[error("request mix: some: {found} with {n_objectives} objective(s), expected 0 with fewer than 3")]
    TooFewForSome {
        /// The share.
        found: f64,
        /// The number of objectives.
        n_objectives: usize,
    },
}
