//! The fused operations on flex, through the public functions.

mod against_composed;
mod against_reference;
mod reference;
mod repeatable;
mod support;
