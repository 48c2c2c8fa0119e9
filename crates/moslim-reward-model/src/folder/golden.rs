//! Answers with what became of them, written beside the weights and computed again when these are read.

use std::path::Path;

use moslim_lm::{Exchange, LmError};
use serde::{Deserialize, Serialize};

use crate::RewardModelFolder;

/// An answer, what every head put out for it, and how that was read.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Golden {
    pub prompt: Vec<u32>,
    pub response: Vec<u32>,
    /// `[head][output]`
    outputs: Vec<Vec<f64>>,
    /// `[head][level]`
    #[serde(default)]
    probabilities: Vec<Vec<f64>>,
}

/// How far a number may lie from the written one: other processors round otherwise.
const TOLERANCE: f64 = 1e-3;

impl RewardModelFolder {
    pub(super) fn golden_answers(&self) -> Vec<Golden> {
        let answers: Vec<Exchange<'_>> =
            self.golden.iter().map(|(prompt, response)| Exchange { prompt, response }).collect();
        let golden = self.golden.iter().zip(self.model.outputs(&answers));
        let golden = golden.map(|((prompt, response), outputs)| Golden {
            prompt: prompt.clone(),
            response: response.clone(),
            probabilities: self.readers.iter().zip(&outputs).map(|(r, o)| r.probabilities(o)).collect(),
            outputs,
        });
        golden.collect()
    }

    /// Whether the model says what it said when it was written.
    pub(super) fn check_golden(&self, path: &Path, golden: &[Golden]) -> Result<(), LmError> {
        let wrong = |found: String, expected: String| LmError::Config {
            path: path.into(),
            field: "golden",
            found,
            expected,
        };
        let n_tokens = self.config.vocab_size as u32;
        let context = self.config.max_position_embeddings;
        for Golden { prompt, response, .. } in golden {
            let n = prompt.len() + response.len();
            let unknown = prompt.iter().chain(response).find(|token| **token >= n_tokens);
            if prompt.is_empty() || response.is_empty() || n > context || unknown.is_some() {
                let found = unknown.map_or(format!("{n} tokens"), |token| format!("token {token}"));
                return Err(wrong(found, format!("up to {context} tokens below {n_tokens}")));
            }
        }
        for (index, (found, golden)) in self.golden_answers().iter().zip(golden).enumerate() {
            for (what, found, expected) in [
                ("outputs", &found.outputs, &golden.outputs),
                ("probabilities", &found.probabilities, &golden.probabilities),
            ] {
                if what == "probabilities" && expected.is_empty() {
                    continue;
                }
                let [found, expected] = [found, expected].map(|heads| heads.concat());
                let differ = |(found, expected): (&f64, &f64)| {
                    // Written so that what is not a number differs.
                    let close = (found - expected).abs() <= TOLERANCE * expected.abs().max(1.0);
                    !close
                };
                if found.len() != expected.len() || found.iter().zip(&expected).any(differ) {
                    return Err(wrong(
                        format!("{what} {found:?} for answer {}", index + 1),
                        format!("{expected:?}, which the model put out when it was written"),
                    ));
                }
            }
        }
        Ok(())
    }
}
