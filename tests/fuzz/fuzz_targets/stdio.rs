//! libFuzzer's way to [`fuzz::targets::stdio`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::stdio(data));
