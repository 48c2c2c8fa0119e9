//! The fused operations on flex, through the public functions.

mod against_composed;
mod repeatable;
mod support;
