//! Problems for faults of the node itself. Each names the fault and the next step.

use std::path::Path;

use conclave_api::problem::{Code, Problem};
use conclave_raft::{LogOpenError, StartError};

/// Makes the problem for an internal error, which the caller did not cause.
pub fn internal(what: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::Internal, what).detail(error.to_string())
}

/// Makes the problem for a State that cannot be opened.
pub fn state_problem(dir: &Path, error: &conclave_store_sled::OpenError) -> Problem {
    let problem = state_error_problem(error);
    let detail = problem.detail.clone().unwrap_or_default();
    problem.detail(format!("{}: {detail}", dir.join("db").display()))
}

fn state_error_problem(error: &conclave_store_sled::OpenError) -> Problem {
    if error.is_of_later_version() {
        later_version(error)
    } else if error.is_disk_full() {
        disk_full("the disk of this node has too little room to start").detail(causes(error))
    } else {
        damaged(error)
    }
}

/// Makes the problem for a full disk: nothing is lost and nothing was changed.
pub(crate) fn disk_full(title: &str) -> Problem {
    Problem::new(Code::DiskFull, title)
        .why("nothing was changed; TLS goes on with what is known")
        .hint("make room on the disk of data_dir: the node goes on by itself, or start it again")
}

/// Makes the problem for data of a later version. The data is whole, so the hint must not advise to
/// discard it.
pub(crate) fn later_version(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::DataUnusable, "the data of this node was written by a later version")
        .detail(causes(error))
        .hint("start the version that wrote it, or a later one; the data is whole")
}

/// Formats an error with its causes.
pub fn causes(error: &dyn std::error::Error) -> String {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    detail
}

/// Makes the problem for damaged data.
pub(crate) fn damaged(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::DataUnusable, "the data of this node cannot be used")
        .detail(causes(error))
        .why("a node that lost what it had acknowledged must not vote again under its number")
        .hint(
            "while the other nodes decide: move data_dir away, on one of them make a token with \
             conclave join-token create, then conclave cluster join HOST:PORT --replace NAME; or \
             conclave node remove NAME. Only if they have no quorum: conclave explain recover",
        )
}

/// Makes the problem for a Raft that cannot start.
pub(crate) fn start_problem(error: &StartError) -> Problem {
    match error {
        StartError::Log(log @ LogOpenError::LaterVersion { .. }) => later_version(log),
        StartError::Log(log @ LogOpenError::DiskFull { .. }) => {
            disk_full("the disk of this node has too little room to start").detail(causes(log))
        }
        StartError::Log(log) => damaged(log),
        StartError::Network { bind, .. } => {
            Problem::new(Code::PortUnavailable, format!("cannot open UDP {bind} for other nodes"))
                .detail(error.to_string())
                .hint("is another node running here? see [cluster] bind")
        }
        other => internal("cannot take part in the cluster", other),
    }
}
