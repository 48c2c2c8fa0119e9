//! Several methods on one ground.

mod measured;
