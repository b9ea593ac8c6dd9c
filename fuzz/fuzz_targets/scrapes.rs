#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| socketserver_properties::scrapes::check(bytes));
