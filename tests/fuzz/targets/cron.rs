#![no_main]

libfuzzer_sys::fuzz_target!(|text: &str| paas::fuzzing::cron(text));
