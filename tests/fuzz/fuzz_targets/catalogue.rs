//! libFuzzer's way to [`fuzz::targets::catalogue`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::catalogue(data));
