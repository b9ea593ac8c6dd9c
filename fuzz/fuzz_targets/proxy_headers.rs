#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| socketserver_properties::proxy_headers::check(bytes));
