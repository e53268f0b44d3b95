//! Text formats of join tokens and access tokens.

use conclave_store::id::{Fingerprint, TokenId};
use zeroize::Zeroizing;

/// A join token: `cvj_ID.SECRET.FINGERPRINT`. The secret is proved, never sent. The fingerprint is
/// that of the cluster's authority, so that a joining node cannot be lured into another cluster.
pub struct JoinTokenText {
    /// Public id.
    pub id: TokenId,
    /// The secret.
    pub secret: Zeroizing<[u8; 32]>,
    /// SHA-256 of the cluster's authority.
    pub authority: Fingerprint,
}

impl JoinTokenText {
    /// Parses the text of a join token.
    pub fn parse(text: &str) -> Option<JoinTokenText> {
        let (id, secret, authority) = parts(text, "cvj_")?;
        Some(JoinTokenText { id, secret: Zeroizing::new(secret.0), authority })
    }

    /// Returns the text of the token, with its secret.
    pub fn text(&self) -> String {
        let secret = Fingerprint(*self.secret);
        format!("cvj_{}.{}.{}", self.id, secret, self.authority)
    }
}

/// Formats an access token: `cvt_ID.SECRET.FINGERPRINT`.
pub fn access_token_text(id: TokenId, secret: [u8; 32], authority: Fingerprint) -> String {
    format!("cvt_{id}.{}.{authority}", Fingerprint(secret))
}

/// Parses id and secret of an access token. A fingerprint after them is only for the token's holder
/// and is ignored.
pub fn parse_access_token(text: &str) -> Option<(TokenId, [u8; 32])> {
    let mut fields = text.strip_prefix("cvt_")?.splitn(3, '.');
    let id = TokenId::parse(fields.next()?)?;
    let secret = Fingerprint::parse(fields.next()?)?;
    Some((id, secret.0))
}

fn parts(text: &str, prefix: &str) -> Option<(TokenId, Fingerprint, Fingerprint)> {
    let mut fields = text.trim().strip_prefix(prefix)?.split('.');
    let id = TokenId::parse(fields.next()?)?;
    let secret = Fingerprint::parse(fields.next()?)?;
    let authority = Fingerprint::parse(fields.next()?)?;
    fields.next().is_none().then_some((id, secret, authority))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_join_token_reads_back_whole_or_not_at_all() {
        let token = JoinTokenText {
            id: TokenId([1; 8]),
            secret: Zeroizing::new([2; 32]),
            authority: Fingerprint([3; 32]),
        };
        let text = token.text();
        let read = JoinTokenText::parse(&format!("{text}\n")).unwrap();
        assert_eq!((read.id, *read.secret, read.authority), (token.id, [2; 32], token.authority));
        for cut in 0..text.len() {
            assert!(JoinTokenText::parse(&text[..cut]).is_none(), "cut at {cut}");
        }
    }
}
