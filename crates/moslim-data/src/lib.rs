#![doc = include_str!("../README.md")]

mod codec;
mod counts;
mod formats;
mod inspect;
mod items;
mod mapping;
mod objective;
mod preference_data;
mod prompt;
mod record;
mod record_json;
mod request;
mod rows;
mod sampler;
mod schema;
mod split;
mod value_path;
mod write;

pub use codec::{CodecError, PromptCodec, PromptCodecConfig, Turn};
pub use counts::{balanced_weights, level_counts, majority_share};
pub use formats::Format;
pub use inspect::{
    Example, InspectOptions, InspectedFile, Inspection, LabelCounts, LengthPercentiles, Together,
};
pub use items::{Dropped, OnError, ReadError, read_records};
pub use mapping::{
    AnswerMapping, Bins, Bounds, ComparisonMapping, Even, Extreme, LabelAt, LabelMeaning, Mapping,
    MappingError, NameAt, OneOf, PromptMapping, RankingMapping, Side, Speakers, TextAt, TextPart,
};
pub use objective::{Level, Objective};
pub use preference_data::{Pairs, PreferenceData, ReadOptions};
pub use prompt::{Prompt, SpokenTurn};
pub use record::{Comparison, Item, LabeledResponse, Source};
pub use record_json::RecordError;
pub use request::{Request, RequestError};
pub use rows::{FileError, Place, RowError, RowNumber, RowValue, can_read, read_rows};
pub use sampler::{AskedLevels, PreferenceSampler, RequestMix, SamplerError, between_levels};
pub use schema::{NameError, ObjectiveSchema, SchemaError};
pub use split::{is_held_out, split_by_prompt};
pub use value_path::ValuePath;
pub use write::{WriteError, check_output_name, write_comparisons, write_records};
