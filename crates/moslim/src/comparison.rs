//! Several methods on one ground.

mod measured;
mod report;
