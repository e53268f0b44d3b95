//! Path validation takes less than 50 ms and 32 MB, for any input of up to one megabyte.

use conclave_pki::{
    certificate::read_many,
    crl::Crl,
    verify::{Purpose, Request, Rules, Subject, verify},
};
use conclave_tests::{Hostile, NOON, hostile, longest, measured};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

const BYTES_MAX: usize = 32_000_000;
/// Ten times as much in the development profile, which does not optimise the crates of the workspace.
const MILLISECONDS_MAX: f64 = if cfg!(debug_assertions) { 500.0 } else { 50.0 };

/// Reads and judges, as `trust verify` does; gives the code of what is wrong.
fn judge(question: &Hostile, rules: Rules) -> String {
    let read = |pem: &str| read_many(pem.as_bytes(), 1_000).unwrap_or_default();
    let leaf = match read_many(question.leaf.as_bytes(), 1_000) {
        Ok(mut leaf) => leaf.remove(0),
        Err(error) => return error.code().to_owned(),
    };
    let (intermediates, anchors) = (read(&question.intermediates), read(&question.anchors));
    let crls: Vec<Crl> = match question.crls.iter().map(|der| Crl::from_der(der)).collect() {
        Ok(crls) => crls,
        Err(error) => return error.code().to_owned(),
    };
    let answer = verify(&Request {
        certificate: &leaf,
        intermediates: &intermediates,
        anchors: &anchors,
        crls: &crls,
        purpose: Purpose::Server,
        name: Some(&Subject::Dns("shop.example".to_owned())),
        at: NOON,
        rules,
        depth: None,
        is_list_required: !crls.is_empty(),
    });
    answer.map_or_else(|refused| refused.reason.code().to_owned(), |_| "ok".to_owned())
}

#[test]
fn no_megabyte_takes_more_than_its_time_and_memory() {
    let mut beyond = Vec::new();
    for question in hostile() {
        let files = [&question.leaf, &question.intermediates, &question.anchors];
        let bytes = files.iter().map(|file| file.len()).sum::<usize>()
            + question.crls.iter().map(Vec::len).sum::<usize>();
        assert!(bytes <= 1_048_576, "{}: {bytes}", question.name);
        for rules in [Rules::Profile, Rules::WebPki, Rules::Path] {
            let before = ALLOCATED.current_usage();
            ALLOCATED.reset_peak_usage();
            let (milliseconds, answer) = measured(|| judge(&question, rules));
            let used = ALLOCATED.peak_usage() - before;
            let line = format!(
                "{:50} {:4} kB {rules:?} {answer:5} {milliseconds:8.1} ms {:6.1} MB",
                question.name,
                bytes / 1_000,
                used as f64 / 1e6
            );
            println!("{line}");
            if used > BYTES_MAX || milliseconds > MILLISECONDS_MAX {
                beyond.push(line);
            }
        }
    }
    assert!(beyond.is_empty(), "beyond the bounds:\n{}", beyond.join("\n"));
}

#[test]
fn the_longest_honest_chain_and_list_are_judged() {
    assert_eq!(judge(&longest(), Rules::Profile), "ok");
}
