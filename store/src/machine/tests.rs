//! Rules, one claim per test.
