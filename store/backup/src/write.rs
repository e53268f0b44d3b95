//! Writing of a backup.

use std::io::{self, Write};

use conclave_pki::key::{KeyError, PrivateKey};
use conclave_store::{scope::Scope, state::State, wire};

use crate::{
    FORMAT, Header, KeyringKey, MAGIC, Numbers, Recipient,
    body::Hashing,
    frame,
    limits::{COMPRESSION, HEADER_BYTES_MAX, RECIPIENTS_MAX, ROWS_PER_PACE},
};

/// What a backup holds.
pub struct Content<'a> {
    /// Keys with which the secrets of the rows open.
    pub keys: &'a [KeyringKey],
    /// State of the cluster.
    pub shared: &'a State,
    /// State of the node alone, if it is in the backup.
    pub local: Option<&'a State>,
}

/// Reason why a backup cannot be written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WriteError {
    /// There are no recipients, or too many.
    #[error("a backup has 1 to {RECIPIENTS_MAX} recipients")]
    Recipients,
    /// The header is too long.
    #[error("the header is longer than {HEADER_BYTES_MAX} bytes")]
    Header,
    /// The output takes no more.
    #[error("the backup cannot be written to its end")]
    Write(#[from] io::Error),
    /// The authority's key does not sign.
    #[error("the authority's key does not sign")]
    Sign(#[source] KeyError),
}

/// Writes a backup to `out`, encrypted to `recipients` and signed by `authority`, the key of the
/// certificate in `header`. Calls `pace` after each [`ROWS_PER_PACE`] rows: the caller may rest
/// there, or end the work by an error.
pub fn write(
    header: &Header,
    recipients: &[Recipient],
    content: &Content<'_>,
    authority: &PrivateKey,
    pace: &mut dyn FnMut() -> io::Result<()>,
    out: impl Write,
) -> Result<(), WriteError> {
    if !(1..=RECIPIENTS_MAX).contains(&recipients.len()) {
        return Err(WriteError::Recipients);
    }
    let encryptor = age::Encryptor::with_recipients(recipients.iter().map(Recipient::of_age))
        .map_err(io::Error::other)?;
    let mut out = Hashing::new(out);
    let header = header.encode().map_err(io::Error::other)?;
    let length = u32::try_from(header.len()).ok().filter(|_| header.len() <= HEADER_BYTES_MAX);
    out.write_all(&MAGIC)?;
    out.write_all(&[FORMAT])?;
    out.write_all(&length.ok_or(WriteError::Header)?.to_be_bytes())?;
    out.write_all(&header)?;
    let encrypted = encryptor.wrap_output(out)?;
    let mut body = zstd::stream::write::Encoder::new(encrypted, COMPRESSION)?;
    write_body(content, pace, &mut body)?;
    let out = body.finish()?.finish()?;
    out.finish(|message| authority.sign(message)).map_err(WriteError::Sign)??;
    Ok(())
}

fn write_body(
    content: &Content<'_>,
    pace: &mut dyn FnMut() -> io::Result<()>,
    body: &mut dyn Write,
) -> io::Result<()> {
    for key in content.keys {
        frame::write_key(body, key)?;
    }
    let shared = write_rows(Scope::Shared, content.shared, pace, body)?;
    let local = match content.local {
        Some(local) => write_rows(Scope::Local, local, pace, body)?,
        None => 0,
    };
    frame::write_end(body, Numbers { shared, local })
}

fn write_rows(
    scope: Scope,
    state: &State,
    pace: &mut dyn FnMut() -> io::Result<()>,
    body: &mut dyn Write,
) -> io::Result<u64> {
    let mut count: u64 = 0;
    for (key, row) in state.rows() {
        let key_bytes = wire::encode_key(key).map_err(io::Error::other)?;
        let row_bytes = wire::encode_row(row.changed_at, &row.record).map_err(io::Error::other)?;
        frame::write_row(body, scope, &key_bytes, &row_bytes)?;
        count += 1;
        if count.is_multiple_of(ROWS_PER_PACE) {
            pace()?;
        }
    }
    Ok(count)
}
