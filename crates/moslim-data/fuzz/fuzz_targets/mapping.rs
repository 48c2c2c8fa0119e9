//! A mapping, and rows that are read as it says.
#![no_main]

#[path = "../../tests/hostile_file/mod.rs"]
mod hostile_file;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| hostile_file::read_mapped(bytes));
