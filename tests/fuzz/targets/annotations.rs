//! See `zen_lead_fuzz::annotations`.

#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| zen_lead_fuzz::annotations::run(bytes));
