//! Writing of files, in the layout of OpenSSL and Windows: the certificates encrypted together, and
//! the key by itself.

use der::{
    Encode, Tag, TagNumber,
    asn1::{Any, AnyRef, OctetString, OctetStringRef, SetOfVec},
};
use ring::digest;
use x509_cert::spki::{AlgorithmIdentifierOwned, AlgorithmIdentifierRef, ObjectIdentifier};

use super::{
    Identity, Pkcs12Error, Protection,
    derive::{Cost, Passphrase, Work},
    mac,
    scheme::Keyed,
    syntax::{
        AES_256_CBC, Attribute, CERT_BAG, CertBag, ContentInfo, DATA, DigestInfo, ENCRYPTED_DATA,
        EncryptedContentInfo, EncryptedData, EncryptedPrivateKeyInfo, FRIENDLY_NAME, HMAC_SHA256,
        LOCAL_KEY_ID, MacData, PBES2, PBKDF2, Pbes2Parameters, Pbkdf2Parameters, Pfx,
        Pkcs12Parameters, SHA1, SHA1_3DES, SHA256, SHROUDED_KEY_BAG, SafeBag, X509_CERTIFICATE,
    },
};
use crate::limits::PKCS12_ITERATIONS;

const SALT_BYTES: usize = 16;

/// Writes a file with salts from `fill`. It has the attributes localKeyID and, if there is a name,
/// friendlyName, by which Windows, macOS and Java find the certificate of the key. Takes a part of
/// a second. The passphrase must not be empty; dialogs of Windows take at most 32 characters.
pub fn write(
    identity: &Identity,
    passphrase: &str,
    protection: Protection,
    fill: &mut dyn FnMut(&mut [u8]),
) -> Result<Vec<u8>, Pkcs12Error> {
    if passphrase.is_empty() {
        return Err(Pkcs12Error::PassphraseForm { bytes: 0 });
    }
    let writer = Writer { passphrase: Passphrase::new(passphrase)?, protection };
    let damaged = |_| Pkcs12Error::Damaged { place: "the new file" };
    let attributes = attributes(identity).map_err(damaged)?;
    let mut work = Work::new();
    let key = writer.key_safe(identity, &attributes, &mut work, fill)?;
    let certificates = certificate_bags(identity, &attributes).map_err(damaged)?;
    let certificates = writer.encrypted(&certificates, &mut work, fill)?;
    let safes = encoded_safes(&certificates, &key).map_err(damaged)?;
    writer.file(&safes, &mut work, fill)
}

struct Writer<'a> {
    passphrase: Passphrase<'a>,
    protection: Protection,
}

/// A ciphertext with its algorithm.
struct Encrypted {
    algorithm: AlgorithmIdentifierOwned,
    data: Vec<u8>,
}

impl Writer<'_> {
    fn encrypted(
        &self,
        plaintext: &[u8],
        work: &mut Work,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Encrypted, Pkcs12Error> {
        const DAMAGED: Pkcs12Error = Pkcs12Error::Damaged { place: "the new file" };
        let mut random = [0; 2 * SALT_BYTES];
        fill(&mut random);
        let (salt, iv) = random.split_at(SALT_BYTES);
        let algorithm = match self.protection {
            Protection::Modern => pbes2(salt, iv),
            Protection::Legacy => triple_des(salt),
        }
        .map_err(|_| DAMAGED)?;
        let keyed = Keyed::derive(borrowed(&algorithm), &self.passphrase, work)?;
        let data = keyed.encrypt(plaintext).ok_or(DAMAGED)?;
        Ok(Encrypted { algorithm, data })
    }

    /// Encodes SafeContents with the one key.
    fn key_safe(
        &self,
        identity: &Identity,
        attributes: &Any,
        work: &mut Work,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, Pkcs12Error> {
        let encrypted = self.encrypted(identity.key.pkcs8_der(), work, fill)?;
        let encode = || {
            let info = EncryptedPrivateKeyInfo {
                algorithm: borrowed(&encrypted.algorithm),
                data: OctetStringRef::new(&encrypted.data)?,
            };
            let (bag_id, value) = (SHROUDED_KEY_BAG, Any::encode_from(&info)?);
            let attributes = Some(attributes.to_ref());
            vec![SafeBag { bag_id, value: value.to_ref(), attributes }].to_der()
        };
        encode().map_err(|_: der::Error| Pkcs12Error::Damaged { place: "the new file" })
    }

    /// Encodes the whole file, with its MAC.
    fn file(
        &self,
        safes: &[u8],
        work: &mut Work,
        fill: &mut dyn FnMut(&mut [u8]),
    ) -> Result<Vec<u8>, Pkcs12Error> {
        let mut salt = [0; SALT_BYTES];
        fill(&mut salt);
        let (hash, oid): (&'static digest::Algorithm, ObjectIdentifier) = match self.protection {
            Protection::Modern => (&digest::SHA256, SHA256),
            Protection::Legacy => (&digest::SHA1_FOR_LEGACY_USE_ONLY, SHA1),
        };
        let cost = Cost { salt: &salt, iterations: PKCS12_ITERATIONS };
        let mac = mac::make(hash, safes, &self.passphrase, cost, work)?;
        let encode = || {
            let algorithm = AlgorithmIdentifierRef { oid, parameters: Some(AnyRef::NULL) };
            let digest = OctetStringRef::new(mac.as_ref())?;
            let mac = MacData {
                mac: DigestInfo { algorithm, digest },
                salt: OctetStringRef::new(&salt)?,
                iterations: PKCS12_ITERATIONS,
            };
            let content = data(safes)?;
            let content = ContentInfo { content_type: DATA, content: content.to_ref() };
            Pfx { version: 3, content, mac: Some(mac) }.to_der()
        };
        encode().map_err(|_: der::Error| Pkcs12Error::Damaged { place: "the new file" })
    }
}

fn borrowed(algorithm: &AlgorithmIdentifierOwned) -> AlgorithmIdentifierRef<'_> {
    let parameters = algorithm.parameters.as_ref().map(Any::to_ref);
    AlgorithmIdentifierRef { oid: algorithm.oid, parameters }
}

fn data(content: &[u8]) -> der::Result<Any> {
    Any::encode_from(&OctetStringRef::new(content)?)
}

fn pbes2(salt: &[u8], iv: &[u8]) -> der::Result<AlgorithmIdentifierOwned> {
    let hmac = AlgorithmIdentifierRef { oid: HMAC_SHA256, parameters: Some(AnyRef::NULL) };
    let kdf = Any::encode_from(&Pbkdf2Parameters {
        salt: OctetStringRef::new(salt)?,
        iterations: PKCS12_ITERATIONS,
        key_bytes: None,
        prf: Some(hmac),
    })?;
    let iv = data(iv)?;
    let parameters = Any::encode_from(&Pbes2Parameters {
        kdf: AlgorithmIdentifierRef { oid: PBKDF2, parameters: Some(kdf.to_ref()) },
        scheme: AlgorithmIdentifierRef { oid: AES_256_CBC, parameters: Some(iv.to_ref()) },
    })?;
    Ok(AlgorithmIdentifierOwned { oid: PBES2, parameters: Some(parameters) })
}

fn triple_des(salt: &[u8]) -> der::Result<AlgorithmIdentifierOwned> {
    let salt = OctetStringRef::new(salt)?;
    let parameters = Pkcs12Parameters { salt, iterations: PKCS12_ITERATIONS };
    let parameters = Some(Any::encode_from(&parameters)?);
    Ok(AlgorithmIdentifierOwned { oid: SHA1_3DES, parameters })
}

/// Encodes the attributes of the key and its certificate.
fn attributes(identity: &Identity) -> der::Result<Any> {
    let leaf = identity.certificates.first().map(|leaf| leaf.der()).unwrap_or_default();
    // Any bytes would do. The hash is what OpenSSL and NSS take, and what they show.
    let id = digest::digest(&digest::SHA1_FOR_LEGACY_USE_ONLY, leaf);
    let id = Any::encode_from(&SetOfVec::try_from(vec![OctetString::new(id.as_ref())?])?)?;
    let name: Vec<u8> = identity
        .name
        .iter()
        .flat_map(|name| name.encode_utf16())
        .flat_map(u16::to_be_bytes)
        .collect();
    let name = Any::new(Tag::BmpString, name)?;
    let name = Any::encode_from(&SetOfVec::try_from(vec![name])?)?;
    let mut all = vec![Attribute { id: LOCAL_KEY_ID, values: id.to_ref() }];
    if identity.name.is_some() {
        all.push(Attribute { id: FRIENDLY_NAME, values: name.to_ref() });
    }
    Any::encode_from(&SetOfVec::try_from(all)?)
}

/// Encodes SafeContents with all certificates; only that of the key has attributes.
fn certificate_bags(identity: &Identity, attributes: &Any) -> der::Result<Vec<u8>> {
    let values = identity.certificates.iter().map(|certificate| {
        let value = data(certificate.der())?;
        Any::encode_from(&CertBag { cert_id: X509_CERTIFICATE, value: value.to_ref() })
    });
    let values: Vec<Any> = values.collect::<der::Result<_>>()?;
    let bags: Vec<SafeBag<'_>> = values
        .iter()
        .enumerate()
        .map(|(at, value)| SafeBag {
            bag_id: CERT_BAG,
            value: value.to_ref(),
            attributes: (at == 0).then(|| attributes.to_ref()),
        })
        .collect();
    bags.to_der()
}

/// Encodes the AuthenticatedSafe.
fn encoded_safes(certificates: &Encrypted, key: &[u8]) -> der::Result<Vec<u8>> {
    let tag = Tag::ContextSpecific { constructed: false, number: TagNumber(0) };
    let content = EncryptedContentInfo {
        content_type: DATA,
        algorithm: borrowed(&certificates.algorithm),
        content: AnyRef::new(tag, &certificates.data)?,
    };
    let certificates = Any::encode_from(&EncryptedData { version: 0, content })?;
    let key = data(key)?;
    vec![
        ContentInfo { content_type: ENCRYPTED_DATA, content: certificates.to_ref() },
        ContentInfo { content_type: DATA, content: key.to_ref() },
    ]
    .to_der()
}
