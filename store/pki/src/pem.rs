//! PEM blocks with their lines (RFC 7468), so that a mistake can be pointed at.

use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::Zeroizing;

use crate::limits::PEM_BYTES_MAX;

/// One block.
pub(crate) struct Block {
    pub(crate) label: String,
    /// Line of the BEGIN, from 1.
    pub(crate) line: usize,
    pub(crate) der: Zeroizing<Vec<u8>>,
}

/// Why an input has no blocks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PemError {
    TooLarge {
        bytes: usize,
    },
    /// It begins as DER does.
    Der,
    /// No BEGIN anywhere.
    None,
    /// A block without its END.
    Cut {
        line: usize,
        label: String,
    },
    /// A block that is not base64 inside.
    Damaged {
        line: usize,
        label: String,
    },
    /// Old encryption inside a block.
    Encrypted {
        line: usize,
    },
}

/// All blocks in order.
pub(crate) fn blocks(input: &[u8]) -> Result<Vec<Block>, PemError> {
    if input.len() > PEM_BYTES_MAX {
        return Err(PemError::TooLarge { bytes: input.len() });
    }
    let text = String::from_utf8_lossy(input);
    let mut blocks = Vec::new();
    let mut open: Option<Open> = None;
    for (number, line) in text.lines().enumerate().map(|(place, line)| (place + 1, line.trim())) {
        if let Some(label) = framed(line, "-----BEGIN ") {
            if let Some(open) = open {
                return Err(PemError::Cut { line: open.line, label: open.label });
            }
            open = Some(Open { label: label.to_owned(), line: number, text: Zeroizing::default() });
        } else if let Some(block) = &mut open {
            if line.starts_with("Proc-Type:") && line.contains("ENCRYPTED") {
                return Err(PemError::Encrypted { line: number });
            }
            if framed(line, "-----END ") == Some(&block.label) {
                blocks.extend(open.take().map(Open::close).transpose()?);
            } else if line.starts_with("-----") {
                return Err(PemError::Cut { line: block.line, label: block.label.clone() });
            } else {
                block.text.push_str(line);
            }
        }
    }
    match open {
        Some(open) => Err(PemError::Cut { line: open.line, label: open.label }),
        None if blocks.is_empty() && input.starts_with(&[0x30]) => Err(PemError::Der),
        None if blocks.is_empty() => Err(PemError::None),
        None => Ok(blocks),
    }
}

struct Open {
    label: String,
    line: usize,
    text: Zeroizing<String>,
}

impl Open {
    fn close(self) -> Result<Block, PemError> {
        // The decoder knows fixed labels; what the bytes are is decided by our own label.
        let pem = Zeroizing::new(format!(
            "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
            self.text.as_str()
        ));
        match PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()) {
            Ok(decoded) if !decoded.secret_pkcs8_der().is_empty() => {
                let der = Zeroizing::new(decoded.secret_pkcs8_der().to_vec());
                Ok(Block { label: self.label, line: self.line, der })
            }
            _ => Err(PemError::Damaged { line: self.line, label: self.label }),
        }
    }
}

/// The label of a BEGIN or END line.
fn framed<'a>(line: &'a str, prefix: &str) -> Option<&'a str> {
    line.strip_prefix(prefix)?.strip_suffix("-----")
}

/// One block.
pub(crate) fn encode(label: &str, der: &[u8]) -> String {
    let body = base64(der);
    format!("-----BEGIN {label}-----\n{body}-----END {label}-----\n")
}

/// Base64 in lines of 64 (RFC 7468 §2).
fn base64(der: &[u8]) -> String {
    const ALPHABET: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut text = String::with_capacity(der.len() * 3 / 2);
    for line in der.chunks(48) {
        for group in line.chunks(3) {
            let [a, b, c] = [0, 1, 2].map(|place| group.get(place).copied().unwrap_or(0));
            let bits = u32::from(a) << 16 | u32::from(b) << 8 | u32::from(c);
            for place in 0..4 {
                let sextet = usize::try_from(bits >> (18 - 6 * place) & 63).unwrap_or(0);
                let letter = ALPHABET.get(sextet).filter(|_| place <= group.len());
                text.push(letter.map_or('=', |byte| char::from(*byte)));
            }
        }
        text.push('\n');
    }
    text
}
