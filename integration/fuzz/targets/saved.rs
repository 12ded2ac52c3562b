#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| gate64_fuzz::saved(data));
