//! End-to-end tests and the checks of the repository's own rules live in `tests/`.
