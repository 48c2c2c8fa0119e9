//! A reward model learns what can be seen, keeps what it learned in its folder, and leaves heads without labels alone.

mod folder;
mod learning;
mod support;
mod training;
mod uncertainty;
