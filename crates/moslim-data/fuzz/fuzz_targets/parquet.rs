//! A `.parquet` file of any bytes.
#![no_main]

#[path = "../../tests/hostile_file/mod.rs"]
mod hostile_file;

use moslim_data::OnError;

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| {
    hostile_file::read("a.parquet", bytes, None, OnError::Skip);
});
