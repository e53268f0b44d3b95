//! Replies (RFC 5321 §4.2, enhanced codes of RFC 3463).

use std::time::Duration;

use crate::{
    Outcome,
    limits::{REPLY_LINE_BYTES_MAX, REPLY_LINES_MAX},
    wire::{Wire, WireError},
};

/// Reply of at least one line.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Reply {
    code: u16,
    /// Texts behind the code, without line ends.
    lines: Vec<Vec<u8>>,
}

impl Reply {
    pub(crate) fn new(code: u16, text: impl Into<String>) -> Reply {
        Reply { code, lines: vec![text.into().into_bytes()] }
    }

    pub(crate) fn of_lines(code: u16, lines: Vec<String>) -> Reply {
        Reply { code, lines: lines.into_iter().map(String::into_bytes).collect() }
    }

    /// Reads a reply, whose lines must all have one code.
    pub(crate) async fn read(wire: &mut Wire, patience: Duration) -> Result<Reply, WireError> {
        let mut reply = Reply { code: 0, lines: Vec::new() };
        while reply.lines.len() < REPLY_LINES_MAX {
            let line = wire.line(REPLY_LINE_BYTES_MAX, patience).await?;
            let (code, text) = line.split_at_checked(3).ok_or(WireError::Malformed)?;
            let code = str::from_utf8(code).ok().and_then(|code| code.parse().ok());
            let code = code.filter(|code| (200..600).contains(code)).ok_or(WireError::Malformed)?;
            let is_other = !reply.lines.is_empty() && reply.code != code;
            let is_plain = text.iter().all(|byte| !matches!(byte, b'\r' | b'\n' | 0));
            let (is_last, text) = match text.split_first() {
                None => (true, text),
                Some((b' ', text)) => (true, text),
                Some((b'-', text)) => (false, text),
                Some(_) => return Err(WireError::Malformed),
            };
            if is_other || !is_plain {
                return Err(WireError::Malformed);
            }
            reply.code = code;
            reply.lines.push(text.to_vec());
            if is_last {
                return Ok(reply);
            }
        }
        Err(WireError::Malformed)
    }

    pub(crate) fn code(&self) -> u16 {
        self.code
    }

    /// Returns whether it is 2xx.
    pub(crate) fn is_positive(&self) -> bool {
        (200..300).contains(&self.code)
    }

    /// Returns the outcome that a refusal is; none for other replies.
    pub(crate) fn refusal(&self) -> Option<Outcome> {
        match self.code {
            400..500 => Some(Outcome::Deferred),
            500..600 => Some(Outcome::Rejected),
            _ => None,
        }
    }

    pub(crate) fn lines(&self) -> &[Vec<u8>] {
        &self.lines
    }

    /// Returns the reply of the mailbox server as one about a recipient. 421 says that its own
    /// connection ends, which ours does not; what is neither yes nor no is a failure for now.
    pub(crate) fn about_recipient(self) -> Reply {
        match self.code {
            421 => Reply { code: 451, ..self },
            200..300 | 400..600 => self,
            _ => Reply::new(451, "4.3.0 The mailbox server gave an unexpected reply"),
        }
    }

    /// Returns the reply as it is sent.
    pub(crate) fn bytes(&self) -> Vec<u8> {
        let mut all = Vec::new();
        for (at, line) in self.lines.iter().enumerate() {
            let sign = if at + 1 == self.lines.len() { " " } else { "-" };
            all.extend(format!("{}{sign}", self.code).into_bytes());
            all.extend(line);
            all.extend(b"\r\n");
        }
        all
    }
}
