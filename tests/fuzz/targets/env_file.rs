#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| paas::fuzzing::env_file(bytes));
