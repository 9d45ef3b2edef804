//! See `zen_lead_fuzz::watch`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zen_lead_fuzz::watch::run(bytes));
