//! Reading of files of any program.

use conclave_pki::{
    certificate::Certificate,
    chain::{self, ChainError},
    key::PrivateKey,
    limits::CERTIFICATES_MAX,
};
use der::{
    Decode, Encode, Reader, SliceReader, Tag, TagNumber,
    asn1::{AnyRef, OctetStringRef},
};
use zeroize::Zeroizing;

use super::{
    Identity, KeyLabel, Pkcs12Error, ber,
    derive::{Passphrase, Work},
    mac,
    scheme::Keyed,
    shown,
    syntax::{
        Attribute, CERT_BAG, CertBag, ContentInfo, DATA, ENCRYPTED_DATA, ENVELOPED_DATA,
        EncryptedData, EncryptedPrivateKeyInfo, FRIENDLY_NAME, KEY_BAG, LOCAL_KEY_ID, Pfx,
        SAFE_CONTENTS_BAG, SHROUDED_KEY_BAG, SIGNED_DATA, SafeBag, X509_CERTIFICATE,
    },
};
use crate::limits::{BAG_ATTRIBUTES_MAX, BAG_DEPTH_MAX, BAGS_MAX, PKCS12_BYTES_MAX, SAFES_MAX};

/// The parts of a file, in messages.
const SAFE: &str = "a list of entries";
const KEY: &str = "the private key";

/// Reads a file in DER or BER: the one private key, or the one with the localKeyID `chosen`, with
/// its certificate and chain in order. Certificates outside its chain are left out; of two issuers
/// of one name, the one valid at `at` (seconds since 1970) is taken.
///
/// Takes at most [`crate::limits::PKCS12_HASHES_MAX`] hashes. A file without a MAC is read too, but
/// then a wrong passphrase is known by what it decrypts to.
pub fn read(
    file: &[u8],
    passphrase: &str,
    chosen: Option<&[u8]>,
    at: u64,
) -> Result<Identity, Pkcs12Error> {
    if file.len() > PKCS12_BYTES_MAX {
        return Err(Pkcs12Error::TooLarge { bytes: file.len() });
    }
    let file = ber::to_der(file).ok_or(Pkcs12Error::Damaged { place: "the file" })?;
    let pfx = Pfx::from_der(&file).map_err(|_| Pkcs12Error::Damaged { place: "the file" })?;
    if pfx.version != 3 {
        return Err(Pkcs12Error::Unsupported { what: format!("version {}", pfx.version) });
    }
    let content = octets(&pfx.content, "the content")?;
    let mut opener = Opener { passphrase: Passphrase::new(passphrase)?, work: Work::new() };
    if let Some(mac) = &pfx.mac {
        mac::verify(mac, content, &mut opener.passphrase, &mut opener.work)?;
    }
    opened(&mut opener, content, chosen, at).map_err(|error| match error {
        Pkcs12Error::OtherPassphrase { .. } if pfx.mac.is_none() => Pkcs12Error::Passphrase,
        other => other,
    })
}

/// A passphrase, and the work that is left for it.
struct Opener<'a> {
    passphrase: Passphrase<'a>,
    work: Work,
}

/// The entries of a file. Keys are still encrypted, so that only the chosen one costs work.
#[derive(Default)]
struct Found {
    keys: Vec<FoundKey>,
    /// Each with its localKeyID.
    certificates: Vec<(Option<Vec<u8>>, Certificate)>,
    bags: usize,
}

struct FoundKey {
    label: KeyLabel,
    /// PKCS#8.
    der: Zeroizing<Vec<u8>>,
    is_encrypted: bool,
}

/// Reads the AuthenticatedSafe (RFC 7292 §4.1).
fn opened(
    opener: &mut Opener<'_>,
    content: &[u8],
    chosen: Option<&[u8]>,
    at: u64,
) -> Result<Identity, Pkcs12Error> {
    let damaged = |_| Pkcs12Error::Damaged { place: "the content" };
    let content = ber::to_der(content).ok_or(Pkcs12Error::Damaged { place: "the content" })?;
    let safes: Vec<ContentInfo<'_>> = Vec::from_der(&content).map_err(damaged)?;
    if safes.len() > SAFES_MAX {
        return Err(Pkcs12Error::TooMany { what: "safes", max: SAFES_MAX });
    }
    let mut found = Found::default();
    for safe in &safes {
        let bags = if safe.content_type == ENCRYPTED_DATA {
            opener.decrypted_safe(safe)?
        } else {
            ber::to_der(octets(safe, SAFE)?).ok_or(Pkcs12Error::Damaged { place: SAFE })?
        };
        found.add(&bags, 0)?;
    }
    let key = found.chosen(chosen)?;
    let private = opener.private_key(&key)?;
    let certificates = ordered(&private, key.label.local_key_id, found.certificates, at)?;
    Identity::new(private, certificates, key.label.name)
}

/// Returns the content of a ContentInfo of type data.
fn octets<'a>(info: &ContentInfo<'a>, place: &'static str) -> Result<&'a [u8], Pkcs12Error> {
    let what = match info.content_type {
        DATA => {
            let octets = info.content.decode_as::<&OctetStringRef>();
            return octets
                .map(OctetStringRef::as_bytes)
                .map_err(|_| Pkcs12Error::Damaged { place });
        }
        SIGNED_DATA => "a signature in place of the passphrase".to_owned(),
        ENVELOPED_DATA => "encryption to a public key".to_owned(),
        other => format!("content of type {other}"),
    };
    Err(Pkcs12Error::Unsupported { what })
}

impl Opener<'_> {
    /// Decrypts SafeContents in EncryptedData (RFC 5652 §8).
    fn decrypted_safe(
        &mut self,
        safe: &ContentInfo<'_>,
    ) -> Result<Zeroizing<Vec<u8>>, Pkcs12Error> {
        const DAMAGED: Pkcs12Error = Pkcs12Error::Damaged { place: SAFE };
        let data: EncryptedData<'_> = safe.content.decode_as().map_err(|_| DAMAGED)?;
        let keyed = Keyed::derive(data.content.algorithm, &self.passphrase, &mut self.work)?;
        let content = data.content.content;
        let whole = |constructed| Tag::ContextSpecific { constructed, number: TagNumber(0) };
        let decrypted = match content.header().tag() {
            tag if tag == whole(false) => keyed.decrypt(content.value()),
            tag if tag == whole(true) => {
                keyed.decrypt(&ber::joined(content.value()).ok_or(DAMAGED)?)
            }
            _ => return Err(DAMAGED),
        };
        decrypted
            .and_then(|plain| ber::to_der(&plain))
            .ok_or(Pkcs12Error::OtherPassphrase { place: SAFE })
    }

    fn private_key(&mut self, key: &FoundKey) -> Result<PrivateKey, Pkcs12Error> {
        let made = |der: &[u8]| PrivateKey::from_pkcs8_der(der).map_err(Pkcs12Error::Key);
        if !key.is_encrypted {
            return made(&key.der);
        }
        let info = EncryptedPrivateKeyInfo::from_der(&key.der)
            .map_err(|_| Pkcs12Error::Damaged { place: KEY })?;
        let keyed = Keyed::derive(info.algorithm, &self.passphrase, &mut self.work)?;
        let plain = keyed
            .decrypt(info.data.as_bytes())
            .and_then(|plain| ber::to_der(&plain))
            .ok_or(Pkcs12Error::OtherPassphrase { place: KEY })?;
        made(&plain)
    }
}

impl Found {
    /// Adds the bags of SafeContents (RFC 7292 §4.2).
    fn add(&mut self, contents: &[u8], depth: usize) -> Result<(), Pkcs12Error> {
        let damaged = |_| Pkcs12Error::Damaged { place: "an entry" };
        let bags: Vec<SafeBag<'_>> = Vec::from_der(contents).map_err(damaged)?;
        self.bags += bags.len();
        if self.bags > BAGS_MAX {
            return Err(Pkcs12Error::TooMany { what: "entries", max: BAGS_MAX });
        }
        for bag in bags {
            match bag.bag_id {
                KEY_BAG | SHROUDED_KEY_BAG => self.keys.push(FoundKey {
                    label: label(bag.attributes)?,
                    der: Zeroizing::new(bag.value.to_der().map_err(damaged)?),
                    is_encrypted: bag.bag_id == SHROUDED_KEY_BAG,
                }),
                CERT_BAG => self.add_certificate(&bag)?,
                SAFE_CONTENTS_BAG if depth < BAG_DEPTH_MAX => {
                    let inner = Zeroizing::new(bag.value.to_der().map_err(damaged)?);
                    self.add(&inner, depth + 1)?;
                }
                SAFE_CONTENTS_BAG => return Err(Pkcs12Error::Damaged { place: "an entry" }),
                // Revocation lists, secrets of other kinds.
                _ => {}
            }
        }
        Ok(())
    }

    fn add_certificate(&mut self, bag: &SafeBag<'_>) -> Result<(), Pkcs12Error> {
        let damaged = |_| Pkcs12Error::Damaged { place: "a certificate" };
        let inner: CertBag<'_> = bag.value.decode_as().map_err(damaged)?;
        if inner.cert_id != X509_CERTIFICATE {
            return Ok(());
        }
        if self.certificates.len() == CERTIFICATES_MAX {
            return Err(Pkcs12Error::TooMany { what: "certificates", max: CERTIFICATES_MAX });
        }
        let der: &OctetStringRef = inner.value.decode_as().map_err(damaged)?;
        let certificate =
            Certificate::from_der(der.as_bytes()).map_err(Pkcs12Error::Certificate)?;
        self.certificates.push((label(bag.attributes)?.local_key_id, certificate));
        Ok(())
    }

    /// Takes the only key, or the one that is chosen.
    fn chosen(&mut self, id: Option<&[u8]>) -> Result<FoundKey, Pkcs12Error> {
        if self.keys.is_empty() {
            return Err(Pkcs12Error::NoKey);
        }
        let mut fitting: Vec<usize> = (0..self.keys.len()).collect();
        if let Some(id) = id {
            let is_it = |key: &FoundKey| key.label.local_key_id.as_deref() == Some(id);
            fitting.retain(|at| self.keys.get(*at).is_some_and(is_it));
        }
        match fitting.as_slice() {
            [at] => Ok(self.keys.swap_remove(*at)),
            _ => {
                let keys = self.keys.drain(..).map(|key| key.label).collect();
                Err(Pkcs12Error::SeveralKeys { keys })
            }
        }
    }
}

/// Reads the two attributes that name a key (RFC 2985 §5.5). Unknown or odd ones are left out, as
/// other programs do.
fn label(attributes: Option<AnyRef<'_>>) -> Result<KeyLabel, Pkcs12Error> {
    let damaged = |_| Pkcs12Error::Damaged { place: "an attribute" };
    let mut label = KeyLabel { local_key_id: None, name: None };
    let Some(attributes) = attributes else { return Ok(label) };
    if attributes.header().tag() != Tag::Set {
        return Err(Pkcs12Error::Damaged { place: "an attribute" });
    }
    let mut reader = SliceReader::new(attributes.value()).map_err(damaged)?;
    for _ in 0..BAG_ATTRIBUTES_MAX {
        if reader.is_finished() {
            return Ok(label);
        }
        let attribute = Attribute::decode(&mut reader).map_err(damaged)?;
        let first = SliceReader::new(attribute.values.value())
            .and_then(|mut values| AnyRef::decode(&mut values));
        let Ok(value) = first else { continue };
        match (attribute.id, value.header().tag()) {
            (FRIENDLY_NAME, Tag::BmpString) => label.name = Some(bmp(value.value())),
            (LOCAL_KEY_ID, Tag::OctetString) => label.local_key_id = Some(value.value().to_vec()),
            _ => {}
        }
    }
    Err(Pkcs12Error::TooMany { what: "attributes of one entry", max: BAG_ATTRIBUTES_MAX })
}

fn bmp(bytes: &[u8]) -> String {
    let units = bytes.chunks_exact(2).filter_map(|pair| pair.try_into().ok());
    let chars = char::decode_utf16(units.map(u16::from_be_bytes));
    shown(chars.map(|char| char.unwrap_or(char::REPLACEMENT_CHARACTER)))
}

/// Returns the certificate of the key and its chain. Of several certificates of the key, takes the
/// one with the key's localKeyID.
fn ordered(
    key: &PrivateKey,
    id: Option<Vec<u8>>,
    mut certificates: Vec<(Option<Vec<u8>>, Certificate)>,
    at: u64,
) -> Result<Vec<Certificate>, Pkcs12Error> {
    certificates.sort_by_key(|(of, _)| id.is_none() || *of != id);
    let certificates = certificates.into_iter().map(|(_, certificate)| certificate).collect();
    let (leaf, rest) = chain::split_bundle(certificates, key.public_key_der())
        .filter(|(leaf, _)| leaf.matches(key))
        .ok_or(Pkcs12Error::NoCertificate)?;
    let chain = match chain::check(Some(&leaf), &rest, at) {
        Ok(()) => rest,
        Err(
            ChainError::Order { should }
            | ChainError::LinkMissing { should, .. }
            | ChainError::Stray { should, .. },
        ) => should.iter().filter_map(|place| rest.get(*place).cloned()).collect(),
        Err(other) => return Err(Pkcs12Error::Chain(other)),
    };
    Ok([vec![leaf], chain].concat())
}
