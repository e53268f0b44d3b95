//! Time that this thread had the processor, so that a busy machine does not count.

/// What `work` gave, and milliseconds of it.
pub fn measured<T>(work: impl FnOnce() -> T) -> (f64, T) {
    let before = nanoseconds();
    let made = work();
    ((nanoseconds() - before) / 1e6, made)
}

/// The first number of schedstat (proc(5)).
fn nanoseconds() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    text.split_whitespace().next().unwrap().parse().unwrap()
}
