#![doc = include_str!("../README.md")]

mod codec;
mod counts;
mod jsonl;
mod objective;
mod record;
mod record_json;
mod request;
mod sampler;
mod schema;
mod split;

pub use codec::{CodecError, PromptCodec, PromptCodecConfig, Turn};
pub use counts::{level_counts, majority_share};
pub use jsonl::{DataError, RecordReader, read_records, write_records};
pub use objective::{Level, Objective};
pub use record::LabeledResponse;
pub use record_json::RecordError;
pub use request::{Request, RequestError};
pub use sampler::{PreferenceSampler, RequestMix, SamplerError};
pub use schema::{NameError, ObjectiveSchema, SchemaError};
pub use split::split_by_prompt;
