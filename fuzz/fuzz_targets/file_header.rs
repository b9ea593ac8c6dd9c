#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| socketserver_properties::file_header::check(bytes));
