//! libFuzzer's way to [`fuzz::targets::uri`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::uri(data));
