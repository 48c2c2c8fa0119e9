//! A `.parquet` file of any bytes.
#![no_main]

#[path = "../../tests/hostile_file/mod.rs"]
mod hostile_file;

use moslim_data::OnError;

libfuzzer_sys::fuzz_target!(
    // A panic of the Parquet library that becomes an error is none of the target's; others still abort it.
    init: std::panic::set_hook(Box::new(|_| ())),
    |bytes: &[u8]| {
        hostile_file::read("a.parquet", bytes, None, OnError::Skip);
    }
);
