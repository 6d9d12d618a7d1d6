//! libFuzzer's way to [`fuzz::targets::scan`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::scan(data));
