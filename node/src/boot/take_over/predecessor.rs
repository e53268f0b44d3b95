//! The running node, as the new process sees it.

use std::{
    io::{self, Read, Write},
    os::unix::net::UnixStream,
    time::Duration,
};

use conclave_api::{
    node::TakeOver,
    path,
    problem::{Code, Problem},
};
use conclave_cluster::config::Config;
use conclave_edge::socket::PassedSocket;

use super::line::{self, DATAGRAMS, RELEASED, SERVING, STOP};
use crate::{
    boot::limits::{ANSWER_BYTES_MAX, RELEASE_TIMEOUT, STEP_TIMEOUT},
    process,
};

/// End of the head of an HTTP message.
const HEAD_END: &[u8] = b"\r\n\r\n";

/// The node that runs until this process serves.
pub(crate) struct Predecessor {
    stream: UnixStream,
    sockets: Vec<PassedSocket>,
}

impl Predecessor {
    /// Asks the node at the admin socket for its listening sockets. Returns none if no node runs.
    pub(crate) fn find(
        config: &Config,
        deadline: Duration,
    ) -> Result<Option<Predecessor>, Problem> {
        let stream = match UnixStream::connect(&config.admin_socket) {
            Ok(stream) => stream,
            Err(error)
                if [io::ErrorKind::NotFound, io::ErrorKind::ConnectionRefused]
                    .contains(&error.kind()) =>
            {
                return Ok(None);
            }
            Err(error) => return Err(failed(&error)),
        };
        process::raise_descriptors();
        ask(&stream, config, deadline).map_err(|error| failed(&error))??;
        let sockets = line::receive_sockets(&stream, STEP_TIMEOUT).map_err(|e| failed(&e))?;
        Ok(Some(Predecessor { stream, sockets }))
    }

    /// Returns its listening sockets.
    pub(crate) fn take_sockets(&mut self) -> Vec<PassedSocket> {
        std::mem::take(&mut self.sockets)
    }

    /// Makes it stop everything but TLS, and waits until it has.
    pub(crate) fn stop(&self) -> Result<(), Problem> {
        let stopped = line::say(&self.stream, STOP)
            .and_then(|()| line::expect(&self.stream, RELEASED, Some(RELEASE_TIMEOUT * 2)));
        stopped.map_err(|error| failed(&error))
    }

    /// Tells it that this process accepts, and waits until it no longer reads datagrams. If it has
    /// ended meanwhile, there is nothing to wait for.
    pub(crate) fn replace(self) {
        let replaced = line::say(&self.stream, SERVING)
            .and_then(|()| line::expect(&self.stream, DATAGRAMS, Some(STEP_TIMEOUT)));
        if let Err(error) = replaced {
            tracing::warn!(event = "take_over.alone", %error, "the earlier process has gone");
        }
    }
}

fn failed(error: &io::Error) -> Problem {
    Problem::new(Code::NotTakenOver, "the running node was not taken over")
        .detail(error.to_string())
        .why("it goes on serving")
        .hint("look at its log; conclave status")
}

/// Sends the request. The inner error is the answer of a node that refuses.
fn ask(
    stream: &UnixStream,
    config: &Config,
    deadline: Duration,
) -> io::Result<Result<(), Problem>> {
    let data_dir = std::fs::canonicalize(&config.data_dir)?;
    let asked = TakeOver {
        data_dir: data_dir.to_string_lossy().into_owned(),
        deadline_s: deadline.as_secs(),
    };
    let body = serde_json::to_string(&asked)?;
    let request = format!(
        "POST {} HTTP/1.1\r\nHost: conclave\r\nConnection: upgrade\r\nUpgrade: {}\r\n\
         Content-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        path::NODE_TAKE_OVER,
        path::TAKE_OVER_PROTOCOL,
        body.len()
    );
    stream.set_write_timeout(Some(STEP_TIMEOUT))?;
    stream.set_read_timeout(Some(STEP_TIMEOUT))?;
    (&*stream).write_all(request.as_bytes())?;
    let head = read_head(stream)?;
    if head.starts_with("HTTP/1.1 101 ") {
        return Ok(Ok(()));
    }
    Ok(Err(refusal(stream, &head)?))
}

/// Reads a head byte by byte, because sockets may follow it.
fn read_head(mut stream: &UnixStream) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(HEAD_END) {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.extend(byte);
        if head.len() > ANSWER_BYTES_MAX {
            return Err(io::Error::other("its answer is too long"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

/// Reads why a node refuses.
fn refusal(mut stream: &UnixStream, head: &str) -> io::Result<Problem> {
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    });
    let mut body = vec![0; length.unwrap_or(0).min(ANSWER_BYTES_MAX)];
    stream.read_exact(&mut body)?;
    Ok(match serde_json::from_slice::<Problem>(&body) {
        Ok(problem) if problem.code == Code::NotFound => {
            Problem::new(Code::VersionTooOld, "the running node cannot be taken over")
                .why("its version is older than 0.3.0")
                .hint("restart it this once: systemctl restart conclave")
        }
        Ok(problem) => problem,
        Err(_) => {
            let status = head.lines().next().unwrap_or_default();
            Problem::new(Code::NotTakenOver, "the running node was not taken over").detail(status)
        }
    })
}
