#![no_main]
#[path = "../../src/fuzz.rs"]
#[allow(dead_code, reason = "each target uses one function of it")]
mod fuzz;
libfuzzer_sys::fuzz_target!(|input: &[u8]| fuzz::cms(input));
