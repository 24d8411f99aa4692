#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| simpleton_fuzz::checks::documents(input));
