//! libFuzzer's way to [`fuzz::targets::splice`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::splice(data));
