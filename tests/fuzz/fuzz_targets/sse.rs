//! libFuzzer's way to [`fuzz::targets::sse`].
#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| fuzz::targets::sse(data));
