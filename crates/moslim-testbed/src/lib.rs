#![doc = include_str!("../README.md")]

mod answer;
mod draw;
mod gold;
mod labels;
mod lexicon;
mod local;
mod lookup;
mod plan;
mod question;
mod reading;
mod world;

pub use gold::Gold;
pub use labels::{LabelOptions, LabelOptionsError, MissingPattern};
pub use lexicon::vocabulary;
pub use world::{Split, World, WorldKind};
