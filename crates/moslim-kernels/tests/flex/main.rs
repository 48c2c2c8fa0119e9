//! The fused operations on flex, through the public functions.

mod adamw;
mod against_composed;
mod against_reference;
mod gradient_sums;
mod reference;
mod repeatable;
mod support;
