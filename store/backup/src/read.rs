//! Reading of a backup. Nothing of a file is believed before its signature has been verified:
//! callers [`inspect`] first and then [`read`].

use std::io::{self, BufReader, Read};

use conclave_store::{
    record::{Record, RowKey},
    scope::Scope,
    wire::WireError,
};

use crate::{
    FORMAT, Header, Identities, Item, MAGIC, Numbers,
    body::{Held, TRAILER_BYTES},
    frame::{self, Frame},
    limits::{HEADER_BYTES_MAX, WINDOW_LOG_MAX},
};

/// Reason why a file is not a whole backup, or cannot be opened.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BackupError {
    /// The file cannot be read to its end.
    #[error("the backup cannot be read to its end")]
    Read(#[source] io::Error),
    /// The file begins differently.
    #[error("this is not a backup of Conclave")]
    Magic,
    /// A later version of the program wrote the file.
    #[error("format {0} of backups is not known to this program, which knows {FORMAT}")]
    Format(u8),
    /// The header is damaged.
    #[error("the header of the backup is damaged")]
    Header,
    /// The signature is not that of the authority over this file.
    #[error("the backup was changed, cut or extended after it was made: its signature is wrong")]
    Signature,
    /// None of the identities opens the file.
    #[error("none of the identities opens this backup")]
    Identity,
    /// The body is damaged, though the file is signed.
    #[error("the content of the backup is damaged")]
    Body(#[source] io::Error),
    /// A frame has an unknown form.
    #[error("the content has a form that this program does not know, after {0} rows")]
    Frame(u64),
    /// A row cannot be read.
    #[error("row {row} cannot be read")]
    Row {
        /// Its number, from 0.
        row: u64,
        /// The reason.
        #[source]
        source: WireError,
    },
    /// A row comes twice, or out of order.
    #[error("row {0} is out of order")]
    Order(u64),
    /// Rows are missing.
    #[error("the backup holds {found} rows, but its header says {expected}")]
    Numbers {
        /// Rows found.
        found: u64,
        /// Rows announced.
        expected: u64,
    },
    /// The caller of [`read`] ended it.
    #[error("reading was ended")]
    Ended,
}

impl BackupError {
    /// Returns whether the file is probably intact, but was written by a later version.
    pub fn is_of_later_version(&self) -> bool {
        match self {
            BackupError::Format(_) | BackupError::Frame(_) => true,
            BackupError::Row { source, .. } => source.is_of_later_version(),
            _ => false,
        }
    }
}

/// A backup whose signature is right.
pub struct Inspected {
    /// Its header.
    pub header: Header,
    /// Offset of the body in the file.
    pub body_offset: u64,
    /// Bytes of the body.
    pub body_bytes: u64,
    /// Bytes of the whole file.
    pub bytes: u64,
}

/// Reads a whole file and verifies its signature. Needs no private key.
pub fn inspect(input: impl Read) -> Result<Inspected, BackupError> {
    let mut held = Held::new(input);
    let header = header_of(&mut held)?;
    let body_offset = held.count();
    let body_bytes = io::copy(&mut held, &mut io::sink()).map_err(BackupError::Read)?;
    let trailer = u64::try_from(TRAILER_BYTES).unwrap_or_default();
    let bytes = body_offset.saturating_add(body_bytes).saturating_add(trailer);
    check_signature(held, &header)?;
    Ok(Inspected { header, body_offset, body_bytes, bytes })
}

/// Reads only the header of a file. It is not verified.
pub fn read_header(input: impl Read) -> Result<Header, BackupError> {
    header_of(&mut Held::new(input))
}

/// Opens a backup and gives its keys and rows to `each` in order, until that returns false.
///
/// A caller that acts on them must have verified the signature before, by [`inspect`]. It is
/// verified once more at the end, because the file may have been replaced in between.
pub fn read(
    input: impl Read,
    identities: &Identities,
    each: &mut dyn FnMut(&Header, Item) -> bool,
) -> Result<Header, BackupError> {
    let mut held = Held::new(input);
    let header = header_of(&mut held)?;
    let decryptor = age::Decryptor::new_buffered(BufReader::new(&mut held)).map_err(refused)?;
    let decrypted = decryptor.decrypt(identities.of_age()).map_err(refused)?;
    let mut body = zstd::stream::read::Decoder::new(decrypted).map_err(BackupError::Body)?;
    body.window_log_max(WINDOW_LOG_MAX).map_err(BackupError::Body)?;
    read_body(&mut body, &header, each)?;
    // The end of the encryption is authenticated as well.
    let rest = io::copy(&mut body, &mut io::sink()).map_err(BackupError::Body)?;
    if rest > 0 {
        return Err(BackupError::Frame(header.rows));
    }
    drop(body);
    check_signature(held, &header)?;
    Ok(header)
}

fn refused(error: age::DecryptError) -> BackupError {
    match error {
        age::DecryptError::NoMatchingKeys => BackupError::Identity,
        age::DecryptError::Io(error) => BackupError::Body(error),
        other => BackupError::Body(io::Error::other(other)),
    }
}

fn check_signature(held: Held<impl Read>, header: &Header) -> Result<(), BackupError> {
    match held.check_signature(&header.authority).map_err(BackupError::Read)? {
        true => Ok(()),
        false => Err(BackupError::Signature),
    }
}

fn header_of(held: &mut Held<impl Read>) -> Result<Header, BackupError> {
    let magic: [u8; MAGIC.len()] = begin(held, BackupError::Magic)?;
    if magic != MAGIC {
        return Err(BackupError::Magic);
    }
    let [format] = begin(held, BackupError::Header)?;
    if format != FORMAT {
        return Err(BackupError::Format(format));
    }
    let length = u32::from_be_bytes(begin(held, BackupError::Header)?);
    let length = usize::try_from(length).unwrap_or(usize::MAX);
    if length > HEADER_BYTES_MAX {
        return Err(BackupError::Header);
    }
    let mut bytes = vec![0; length];
    held.read_exact(&mut bytes).map_err(|error| cut(error, BackupError::Header))?;
    Header::decode(&bytes).ok_or(BackupError::Header)
}

fn begin<const N: usize>(
    held: &mut Held<impl Read>,
    short: BackupError,
) -> Result<[u8; N], BackupError> {
    let mut bytes = [0; N];
    held.read_exact(&mut bytes).map_err(|error| cut(error, short))?;
    Ok(bytes)
}

fn cut(error: io::Error, short: BackupError) -> BackupError {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => short,
        _ => BackupError::Read(error),
    }
}

fn read_body(
    body: &mut dyn Read,
    header: &Header,
    each: &mut dyn FnMut(&Header, Item) -> bool,
) -> Result<(), BackupError> {
    let mut numbers = Numbers::default();
    let mut last: Option<(Scope, RowKey)> = None;
    loop {
        let count = numbers.shared + numbers.local;
        let frame = frame::read(body).map_err(BackupError::Body)?;
        let item = match frame.ok_or(BackupError::Frame(count))? {
            Frame::Key(key) => Item::Key(key),
            Frame::Row { scope, key, record } => {
                let (key, record) = row(count, key, record)?;
                let place = (scope, key.clone());
                if last.as_ref().is_some_and(|last| *last >= place) {
                    return Err(BackupError::Order(count));
                }
                last = Some(place);
                match scope {
                    Scope::Shared => numbers.shared += 1,
                    Scope::Local => numbers.local += 1,
                }
                Item::Row { scope, key, record }
            }
            Frame::End(told) => {
                let expected =
                    Numbers { shared: header.rows, local: header.local_rows.unwrap_or(0) };
                let total = |numbers: Numbers| numbers.shared.saturating_add(numbers.local);
                return match numbers == told && numbers == expected {
                    true => Ok(()),
                    false => Err(BackupError::Numbers { found: count, expected: total(expected) }),
                };
            }
        };
        if !each(header, item) {
            return Err(BackupError::Ended);
        }
    }
}

fn row(
    row: u64,
    key: Result<RowKey, WireError>,
    record: Result<Record, WireError>,
) -> Result<(RowKey, Record), BackupError> {
    let damaged = |source| BackupError::Row { row, source };
    Ok((key.map_err(damaged)?, record.map_err(damaged)?))
}
