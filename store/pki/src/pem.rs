//! PEM blocks with their line numbers (RFC 7468), so that an error can name the line.
//!
//! Files lose their line ends on the way through variables, JSON and YAML. Blocks are therefore
//! found anywhere, and a line end may be a space, `\\n` as two characters, or missing. Content
//! between or after the frames of a block never gets into a message: a label is one of a fixed
//! list.

use der::pem::LineEnding;
use zeroize::Zeroizing;

use crate::{
    base64,
    content::{self, Foreign},
    limits::PEM_BYTES_MAX,
};

const BEGIN: &str = "-----BEGIN ";
const DASHES: &str = "-----";

/// Known labels. Any other label is reported as unknown, without its text.
const LABELS: [&str; 21] = [
    "CERTIFICATE",
    "X509 CERTIFICATE",
    "TRUSTED CERTIFICATE",
    "CERTIFICATE REQUEST",
    "NEW CERTIFICATE REQUEST",
    "X509 CRL",
    "PRIVATE KEY",
    "ENCRYPTED PRIVATE KEY",
    "RSA PRIVATE KEY",
    "EC PRIVATE KEY",
    "DSA PRIVATE KEY",
    "OPENSSH PRIVATE KEY",
    "ANY PRIVATE KEY",
    "EC PARAMETERS",
    "DH PARAMETERS",
    "DSA PARAMETERS",
    "PUBLIC KEY",
    "RSA PUBLIC KEY",
    "PKCS7",
    "PKCS #7 SIGNED DATA",
    "CMS",
];
/// Label of a block of an unknown kind.
const UNKNOWN: &str = "of an unknown kind";
/// Longest unknown label; longer text before dashes is not a label.
const LABEL_BYTES_MAX: usize = 64;

/// A PEM block.
pub(crate) struct Block {
    pub(crate) label: &'static str,
    /// Line of the BEGIN, from 1.
    pub(crate) line: usize,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Reason why an input has no blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PemError {
    TooLarge {
        bytes: usize,
    },
    /// The input is of another form than PEM.
    Foreign(Foreign),
    /// The input has no BEGIN.
    None,
    /// A block without its END.
    Cut {
        line: usize,
        label: &'static str,
    },
    /// A block without valid base64.
    Damaged {
        line: usize,
        label: &'static str,
    },
    /// A BEGIN or END line that is not whole, or has no other one.
    Frame {
        line: usize,
        /// The line, if it has nothing but words of frames.
        text: Option<String>,
    },
    /// A block with the encryption from before PKCS#8.
    Encrypted {
        line: usize,
    },
}

/// Returns all blocks in order.
pub(crate) fn blocks(input: &[u8]) -> Result<Vec<Block>, PemError> {
    blocks_within(input, PEM_BYTES_MAX)
}

/// Returns all blocks of an input of at most `bytes_max` bytes, in order.
pub(crate) fn blocks_within(input: &[u8], bytes_max: usize) -> Result<Vec<Block>, PemError> {
    if input.len() > bytes_max {
        return Err(PemError::TooLarge { bytes: input.len() });
    }
    if content::is_utf16(input) {
        return Err(PemError::Foreign(Foreign::Utf16));
    }
    let text = Zeroizing::new(String::from_utf8_lossy(input).into_owned());
    let mut blocks = Vec::new();
    let (mut rest, mut line) = (text.as_str(), 1);
    while let Some((before, begun)) = split_begin(rest, !blocks.is_empty()) {
        check_between(before, line)?;
        line += line_ends(before);
        let (block, behind) = read_block(begun, line)?;
        line += line_ends(begun.get(..begun.len() - behind.len()).unwrap_or_default());
        blocks.push(block);
        rest = behind;
    }
    check_between(rest, line)?;
    if !blocks.is_empty()
        && let Some(found) = content::foreign(behind_last_block(input))
    {
        return Err(PemError::Foreign(found));
    }
    match (blocks.is_empty(), content::foreign(input)) {
        (false, _) => Ok(blocks),
        (true, Some(found)) => Err(PemError::Foreign(found)),
        (true, None) => Err(PemError::None),
    }
}

/// Splits a text at its next BEGIN. Where files were joined and the dashes of an END have become
/// those of the BEGIN behind it, the BEGIN is at once there.
fn split_begin(rest: &str, is_after_block: bool) -> Option<(&str, &str)> {
    match rest.strip_prefix("BEGIN ") {
        Some(begun) if is_after_block => Some(("", begun)),
        _ => rest.split_once(BEGIN),
    }
}

/// Refuses a BEGIN or END between two blocks that belongs to no block: its dashes or its other line
/// were lost, and the block would be left out in silence.
fn check_between(text: &str, line: usize) -> Result<(), PemError> {
    let is_of_frame = |at: usize, word: &str| {
        let behind = text.get(at + word.len()..).unwrap_or_default();
        LABELS.iter().any(|label| {
            behind.strip_prefix(label).is_some_and(|behind| behind.trim_start().starts_with('-'))
        })
    };
    let found = ["BEGIN ", "END "].into_iter().filter_map(|word| {
        text.match_indices(word).map(|(at, _)| at).find(|at| is_of_frame(*at, word))
    });
    let Some(at) = found.min() else { return Ok(()) };
    let (before, behind) = text.split_at(at);
    let before_on_line = before.rsplit(['\n', '\r']).next().unwrap_or_default();
    let behind_on_line = behind.split(['\n', '\r']).next().unwrap_or_default();
    let text = frame_words(&format!("{before_on_line}{behind_on_line}"));
    Err(PemError::Frame { line: line + line_ends(before), text })
}

/// Returns what follows the last END line. A file in DER form that was appended to one in PEM form
/// must not get lost in silence.
fn behind_last_block(input: &[u8]) -> &[u8] {
    const END: &[u8] = b"-----END ";
    let last = input.windows(END.len()).rposition(|window| window == END).unwrap_or(0);
    let line = input.get(last..).unwrap_or_default();
    let length = line.iter().position(|byte| *byte == b'\n').map_or(line.len(), |at| at + 1);
    line.get(length..).unwrap_or_default().trim_ascii_start()
}

/// Returns a line that has nothing but dashes, BEGIN, END and known labels. Only such a line may be
/// shown: any other one may be part of a key.
fn frame_words(line: &str) -> Option<String> {
    let line = line.trim();
    let mut rest: String = line.chars().filter(|c| !matches!(c, '-' | ' ')).collect();
    let mut words: Vec<String> = LABELS.iter().map(|label| label.replace(' ', "")).collect();
    words.extend(["BEGIN".to_owned(), "END".to_owned()]);
    // The longest first: one label may begin like another one.
    words.sort_by_key(|word| std::cmp::Reverse(word.len()));
    while let Some(behind) = words.iter().find_map(|word| rest.strip_prefix(word.as_str())) {
        rest = behind.to_owned();
    }
    rest.is_empty().then(|| line.to_owned())
}

/// Reads one block from after its BEGIN. Returns it with the text after its END.
fn read_block(begun: &str, line: usize) -> Result<(Block, &str), PemError> {
    let (label, text) = split_label(begun);
    let cut = PemError::Cut { line, label };
    let Some((body, behind)) = text.split_once(DASHES) else { return Err(cut) };
    // The frame after the body must be the END of this same block.
    let Some(ending) = behind.strip_prefix("END ") else { return Err(cut) };
    let (end_label, behind) = split_label(ending);
    if end_label != label {
        return Err(cut);
    }
    if let Some((before, header)) = body.split_once("Proc-Type:")
        && header.lines().next().is_some_and(|header| header.contains("ENCRYPTED"))
    {
        return Err(PemError::Encrypted { line: line + line_ends(before) });
    }
    let der = base64::decode(body).ok_or(PemError::Damaged { line, label })?;
    Ok((Block { label, line, der }, behind))
}

/// Splits a text into the label at its beginning and the rest after the dashes.
fn split_label(text: &str) -> (&'static str, &str) {
    let Some((label, behind)) = text.split_once(DASHES) else { return (UNKNOWN, text) };
    let known = LABELS.iter().find(|known| **known == label.trim());
    match known {
        Some(known) => (known, behind),
        None if label.len() <= LABEL_BYTES_MAX => (UNKNOWN, behind),
        None => (UNKNOWN, text),
    }
}

fn line_ends(text: &str) -> usize {
    text.bytes().filter(|byte| *byte == b'\n').count()
}

/// Encodes one block.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    der::pem::encode_string(label, LineEnding::LF, der).unwrap_or_default()
}

#[cfg(test)]
mod tests;
