//! Faults of the node itself, as problems: each names what failed and what to do next.

use std::path::Path;

use conclave_api::problem::{Code, Problem};
use conclave_raft::{LogOpenError, StartError};

/// An error of this node itself, not of the caller.
pub(crate) fn internal(what: &str, error: impl std::fmt::Display) -> Problem {
    Problem::new(Code::X007, what).detail(error.to_string())
}

/// Why a State cannot be opened, and what to do next.
pub(crate) fn state_problem(dir: &Path, error: &conclave_store_sled::OpenError) -> Problem {
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

/// Nothing is lost and nothing was changed.
pub(crate) fn disk_full(title: &str) -> Problem {
    Problem::new(Code::F004, title)
        .why("nothing was changed; TLS goes on with what is known")
        .hint("make room on the disk of data_dir: the node goes on by itself, or start it again")
}

/// Nothing is lost, so nothing must be thrown away.
fn later_version(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::F002, "the data of this node was written by a later version")
        .detail(causes(error))
        .hint("start the version that wrote it, or a later one; the data is whole")
}

/// An error with its causes.
pub(crate) fn causes(error: &dyn std::error::Error) -> String {
    let mut detail = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        detail = format!("{detail}: {error}");
        cause = error.source();
    }
    detail
}

/// The data cannot be read as it was written.
pub(crate) fn damaged(error: &dyn std::error::Error) -> Problem {
    Problem::new(Code::F002, "the data of this node cannot be used")
        .detail(causes(error))
        .why("a node that lost what it had acknowledged must not vote again under its number")
        .hint("move data_dir away and let the node join anew; the other nodes have everything")
}

/// Why Raft cannot start, and what to do next.
pub(crate) fn start_problem(error: &StartError) -> Problem {
    match error {
        StartError::Log(log @ LogOpenError::LaterVersion { .. }) => later_version(log),
        StartError::Log(log @ LogOpenError::DiskFull { .. }) => {
            disk_full("the disk of this node has too little room to start").detail(causes(log))
        }
        StartError::Log(log) => damaged(log),
        StartError::Network { bind, .. } => {
            Problem::new(Code::N001, format!("cannot open UDP {bind} for other nodes"))
                .detail(error.to_string())
                .hint("is another node running here? see [cluster] bind")
        }
        other => internal("cannot take part in the cluster", other),
    }
}
