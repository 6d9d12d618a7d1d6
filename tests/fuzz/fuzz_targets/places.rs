//! libFuzzer's way to [`fuzz::targets::places`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::places(data));
