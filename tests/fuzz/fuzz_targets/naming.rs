//! libFuzzer's way to [`fuzz::targets::naming`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::naming(data));
