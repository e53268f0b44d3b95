//! What fuzzing once found worth keeping, again: no panic, and bounds of time and memory.

use std::{path::Path, sync::Mutex};

use conclave_tests::{fuzz, hostile, measured};
use peak_alloc::PeakAlloc;

#[global_allocator]
static ALLOCATED: PeakAlloc = PeakAlloc;

/// One at a time, so that the peak of memory is that of one.
static ALONE: Mutex<()> = Mutex::new(());

/// Milliseconds and bytes that one input may take: those of path validation, several times over
/// where a target reads its input in several ways. A key says itself how much the derivation from
/// its passphrase costs, up to `PASSPHRASE_*_MAX`.
fn bounds(target: &str) -> (f64, usize) {
    let (milliseconds, bytes) = match target {
        "key" | "pkcs12" => (10_000.0, 192_000_000),
        "pem" | "certificate" => (200.0, 32_000_000),
        // Reads and writes it in seven ways.
        "message" => (350.0, 32_000_000),
        _ => (50.0, 32_000_000),
    };
    // Ten times as much in the development profile, which does not optimise the workspace.
    (if cfg!(debug_assertions) { milliseconds * 10.0 } else { milliseconds }, bytes)
}

fn check(target: &str, run: fuzz::Target, name: &str, input: &[u8]) -> (f64, usize) {
    let _alone = ALONE.lock();
    let before = ALLOCATED.current_usage();
    ALLOCATED.reset_peak_usage();
    let (milliseconds, ()) = measured(|| run(input));
    let used = ALLOCATED.peak_usage().saturating_sub(before);
    let (milliseconds_max, bytes_max) = bounds(target);
    assert!(milliseconds <= milliseconds_max, "{target}/{name} takes {milliseconds} ms");
    assert!(used <= bytes_max, "{target}/{name} takes {used} bytes");
    (milliseconds, used)
}

#[test]
fn every_input_of_the_corpora_is_borne() {
    for (target, run) in fuzz::TARGETS {
        let corpus = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/corpus").join(target);
        let (mut count, mut slowest, mut largest) = (0, 0.0_f64, 0);
        for file in std::fs::read_dir(corpus).unwrap().map(Result::unwrap) {
            let name = file.file_name().into_string().unwrap();
            let (milliseconds, used) =
                check(target, run, &name, &std::fs::read(file.path()).unwrap());
            (count, slowest, largest) = (count + 1, slowest.max(milliseconds), largest.max(used));
        }
        println!("{target:12} {count:5} inputs, at most {slowest:.1} ms and {largest} bytes");
        assert!(count >= 20, "the corpus of {target} is lost");
    }
}

#[test]
fn a_megabyte_of_any_text_is_borne() {
    const MEGABYTE: usize = 1024 * 1024;
    let filled = |unit: &[u8]| unit.repeat(MEGABYTE / unit.len());
    let block = |label: &str| format!("-----BEGIN {label}-----\nMAA=\n-----END {label}-----\n");
    let inputs = [
        ("no text", filled(&[0xff])),
        ("lines", filled(b"\n")),
        (
            "a block without end",
            [b"-----BEGIN X-----\n".to_vec(), vec![b'A'; MEGABYTE - 40]].concat(),
        ),
        (
            "short lines",
            [b"-----BEGIN X-----\n".to_vec(), b"A\n".repeat(MEGABYTE / 2 - 20)].concat(),
        ),
        ("begins", filled(b"-----BEGIN X-----\n")),
        ("blocks of keys", filled(block("PRIVATE KEY").as_bytes())),
        ("blocks of certificates", filled(block("CERTIFICATE").as_bytes())),
        ("blocks of lists", filled(block("X509 CRL").as_bytes())),
        (
            "a long label",
            format!("-----BEGIN {}-----\nMAA=\n", "X".repeat(MEGABYTE - 40)).into_bytes(),
        ),
        ("sequences within sequences", filled(&[0x30, 0x80])),
        ("nothing but sequences", filled(&[0x30, 0])),
    ];
    for (name, input) in inputs {
        for (target, run) in fuzz::TARGETS {
            check(target, run, name, &input);
        }
    }
}

#[test]
fn hostile_chains_are_borne_by_all_that_reads_chains() {
    for question in hostile() {
        for pem in [&question.leaf, &question.intermediates, &question.anchors] {
            // At most as many as one chain may have.
            let count = 64;
            let end = pem.match_indices("-----BEGIN").nth(count).map_or(pem.len(), |(at, _)| at);
            check("certificate", fuzz::certificate, question.name, &pem.as_bytes()[..end]);
            check("pem", fuzz::pem, question.name, pem.as_bytes());
        }
        for crl in &question.crls {
            check("crl", fuzz::crl, question.name, crl);
        }
    }
}
