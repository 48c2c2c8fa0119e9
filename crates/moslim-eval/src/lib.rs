#![doc = include_str!("../README.md")]

pub mod chart;
pub mod classification;
pub mod controllability;
pub mod dial;
pub mod overoptimization;
pub mod pareto;
pub mod report;
pub mod stats;
