//! Text formats of join tokens, access tokens, and what owners of accounts hold.

use conclave_store::{
    id::{EmailAddress, Fingerprint, Generation, TokenId},
    record::Proof,
    time::UnixMillis,
};
use data_encoding::BASE64URL_NOPAD;
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

/// Formats an invitation to an account: `cvi_SECRET`.
pub fn invitation_text(secret: [u8; 32]) -> String {
    format!("cvi_{}", Fingerprint(secret))
}

/// Parses an invitation, by itself or in the address of the page that it was sent with.
pub fn parse_invitation(text: &str) -> Option<Zeroizing<[u8; 32]>> {
    let text = text.trim();
    let secret = text.rsplit_once("invitation=").map_or(text, |(_, secret)| secret);
    Some(Zeroizing::new(Fingerprint::parse(secret.strip_prefix("cvi_")?)?.0))
}

/// What a holder of the keyring has proved for some time: `EXPIRES.GENERATION.MAC`. Nothing about it
/// need be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Proved {
    /// Last moment of its validity.
    pub expires: UnixMillis,
    /// The proof.
    pub proof: Proof,
}

impl Proved {
    fn text(&self) -> String {
        let Proof { generation, mac } = self.proof;
        format!("{}.{}.{}", self.expires.0, generation.0, Fingerprint(mac))
    }

    fn parse(text: &str) -> Option<Proved> {
        let mut fields = text.split('.');
        let expires = UnixMillis(fields.next()?.parse().ok()?);
        let generation = Generation(fields.next()?.parse().ok()?);
        let mac = Fingerprint::parse(fields.next()?)?.0;
        let proved = Proved { expires, proof: Proof { generation, mac } };
        // One secret has one text.
        (proved.text() == text).then_some(proved)
    }

    /// Formats the session of an account's owner: `cva_ADDRESS.EXPIRES.GENERATION.MAC`.
    pub fn session_text(&self, address: &EmailAddress) -> String {
        let address = BASE64URL_NOPAD.encode(address.to_string().as_bytes());
        format!("cva_{address}.{}", self.text())
    }

    /// Parses the session of an account's owner.
    pub fn parse_session(text: &str) -> Option<(EmailAddress, Proved)> {
        let (address, proved) = text.strip_prefix("cva_")?.split_once('.')?;
        let address = BASE64URL_NOPAD.decode(address.as_bytes()).ok()?;
        let address = EmailAddress::parse(std::str::from_utf8(&address).ok()?).ok()?;
        Some((address, Proved::parse(proved)?))
    }
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
    fn what_owners_hold_reads_back_whole_or_not_at_all() {
        let proof = Proof { generation: Generation(12), mac: [7; 32] };
        let proved = Proved { expires: UnixMillis(1_700_000_000_000), proof };
        let address = EmailAddress::parse("Ann.Lee+x@shop.example").unwrap();
        let session = proved.session_text(&address);
        assert_eq!(Proved::parse_session(&session), Some((address, proved)));
        assert!(session.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte)));
        for cut in 0..session.len() {
            assert!(Proved::parse_session(&session[..cut]).is_none(), "cut at {cut}");
        }
        for wrong in [session.replace(".12.", ".012."), session.replace(".12.", ".+12.")] {
            assert!(Proved::parse_session(&wrong).is_none(), "{wrong}");
        }
        let invitation = invitation_text([9; 32]);
        let link = format!("https://a.example/account/enter/x?invitation={invitation}\n");
        for text in [&invitation, &link] {
            assert_eq!(*parse_invitation(text).unwrap(), [9; 32], "{text}");
        }
        for cut in 0..invitation.len() {
            assert!(parse_invitation(&invitation[..cut]).is_none(), "cut at {cut}");
        }
        assert!(parse_invitation(&session).is_none());
    }

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
