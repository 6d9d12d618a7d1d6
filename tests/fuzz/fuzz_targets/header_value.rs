//! libFuzzer's way to [`fuzz::targets::header_value`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::header_value(data));
