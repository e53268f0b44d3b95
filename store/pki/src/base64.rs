//! Base64 of PEM bodies, in constant time where it may be a key.

use rustls_pki_types::{PrivatePkcs8KeyDer, pem::PemObject};
use zeroize::Zeroizing;

/// Decodes a body, whatever its line ends look like.
pub(crate) fn decode(body: &str) -> Option<Zeroizing<Vec<u8>>> {
    let mut letters = Zeroizing::new(String::with_capacity(body.len()));
    let mut rest = body.chars();
    while let Some(letter) = rest.next() {
        match letter {
            // An escaped line end.
            '\\' if matches!(rest.next(), Some('n' | 'r')) => {}
            // Marks that editors and web pages leave behind, invisible to people.
            '\u{feff}' | '\u{200b}' => {}
            letter if letter.is_whitespace() => {}
            letter => letters.push(letter),
        }
    }
    // The decoder knows fixed labels only; the meaning of the bytes depends on our own label.
    let pem = Zeroizing::new(format!(
        "-----BEGIN PRIVATE KEY-----\n{}\n-----END PRIVATE KEY-----\n",
        letters.as_str()
    ));
    let decoded = PrivatePkcs8KeyDer::from_pem_slice(pem.as_bytes()).ok()?;
    let der = decoded.secret_pkcs8_der();
    (!der.is_empty()).then(|| Zeroizing::new(der.to_vec()))
}
