#![doc = include_str!("../README.md")]

mod rewarded_soups;

pub use rewarded_soups::{RewardedSoup, SoupError};
