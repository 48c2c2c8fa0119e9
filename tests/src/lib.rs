//! The checks of the repository's own rules live in `tests/`.
