#![doc = include_str!("../README.md")]

mod adapter_folder;
mod cache;
mod checkpoint;
mod config;
mod error;
mod family;
mod generate;
mod gradients;
mod linear;
mod lora;
mod model;
mod model_folder;
mod optimizer;
mod rope;
mod rows;
mod sequence;
mod sft;
mod special_tokens;
mod template;
mod tokenizer;
mod tokenizer_training;

pub use cache::KvCache;
pub use checkpoint::{load_weights, read_json, save_weights, write_folder, write_json};
pub use config::{ModelConfig, TokenIds};
pub use error::LmError;
pub use family::Family;
pub use generate::{Generated, SamplingParams, TokenRng, generate};
pub use gradients::sum_gradients;
pub use lora::{LoraConfig, TargetModules};
pub use model::{CausalLm, Decoder, normal};
pub use model_folder::ModelFolder;
pub use optimizer::{LrSchedule, Optimizer, OptimizerConfig};
pub use rope::RopeScaling;
pub use rows::{HiddenStates, Padding};
pub use sequence::{Exchange, ResponseLogprobs, final_states, response_distributions, response_logprobs};
pub use sft::{EpochBatches, sft_gradients};
pub use special_tokens::SpecialTokens;
pub use template::{ChatTemplate, Message, Rendered};
pub use tokenizer::Tokenizer;
pub use tokenizer_training::TokenizerKind;

pub use moslim_kernels::in_parallel;
