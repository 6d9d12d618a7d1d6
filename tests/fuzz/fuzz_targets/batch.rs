//! libFuzzer's way to [`fuzz::targets::batch`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::batch(data));
