#![doc = include_str!("../README.md")]

mod adamw;
mod adapter_folder;
mod batches;
mod cache;
mod checkpoint;
mod checkpointing;
mod config;
mod conversation;
mod decoding;
mod error;
mod family;
mod folder;
mod footprint;
mod frame;
mod generate;
mod gradients;
mod layer;
mod linear;
mod lora;
mod lora_factors;
mod lora_targets;
mod model;
mod model_folder;
mod optimizer;
mod precision;
mod rope;
mod rows;
mod sampling;
mod sequence;
mod sft;
mod special_tokens;
mod stops;
mod template;
mod text_stream;
mod token_ids;
mod tokenizer;
mod tokenizer_training;
mod training_state;

pub use batches::EpochBatches;
pub use cache::KvCache;
pub use checkpoint::{
    check_file_size, check_size, load_weights, load_weights_from, save_weights, save_weights_as,
};
pub use config::ModelConfig;
pub use error::LmError;
pub use family::Family;
pub use folder::{UNFINISHED, read_json, write_folder, write_json, write_text};
pub use footprint::BYTES_PER_NUMBER;
pub use generate::{Generated, generate, generate_each, packed_bytes, rows_at_once, stream};
pub use gradients::{sum_gradients, take_gradients, with_parameters_of_its_own};
pub use lora::{LoraConfig, TargetModules};
pub use lora_factors::LoraFactors;
pub use model::{CausalLm, Decoder, normal};
pub use model_folder::ModelFolder;
pub use optimizer::{LrSchedule, Optimizer, OptimizerConfig};
pub use precision::Precision;
pub use rope::RopeScaling;
pub use rows::Padding;
pub use sampling::{SamplingParams, TokenRng};
pub use sequence::{
    Exchange, ResponseLogprobs, final_states, logprobs_of_states, predicting_states, response_distributions,
    response_grid, response_logprobs,
};
pub use sft::sft_gradients;
pub use special_tokens::SpecialTokens;
pub use stops::Stops;
pub use template::{ChatTemplate, Message};
pub use text_stream::TextStream;
pub use token_ids::TokenIds;
pub use tokenizer::Tokenizer;
pub use tokenizer_training::TokenizerKind;
pub use training_state::{load_module, load_training, save_module, save_training};

pub use moslim_kernels::{in_parallel, n_lanes};
