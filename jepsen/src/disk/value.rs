//! Values to write: from one byte to 64 KiB, all of them valid input.

use std::hash::{DefaultHasher, Hash, Hasher};

use clap::ValueEnum;
use rcgen::{BasicConstraints, CertificateParams, CustomExtension, DnType, IsCa, KeyPair};
use ring::digest::{SHA256, digest};

use crate::chance::Chance;

/// OID of an unknown extension, for padding a certificate to the desired size.
const PADDING: [u64; 8] = [1, 3, 6, 1, 4, 1, 55_555, 1];
/// Certificates in each half of the pool.
const CERTIFICATES: u64 = 24;
/// Padding of the largest trusted certificate, chosen so that a command stays below 64 KiB.
const PADDING_BYTES_MAX: u64 = 56 * 1024;
/// Padding of the largest certificate for chains, chosen so that four of them stay below 48 KiB.
const LINK_BYTES_MAX: u64 = 11 * 1024;

/// Sizes of values.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Size {
    /// Names and a few aliases: below 1 KiB.
    Small,
    /// 8 to 22 KiB.
    Medium,
    /// Chains and trusted certificates up to 56 KiB.
    Large,
    /// All of them.
    Mixed,
}

/// A certificate to trust or to put into a chain.
#[derive(Debug, Clone)]
pub(crate) struct Certificate {
    pub(crate) pem: String,
    pub(crate) sha256: String,
}

/// Certificates of many sizes, made once.
#[derive(Debug)]
pub(crate) struct Pool {
    /// Certificates to trust.
    pub(crate) trusted: Vec<Certificate>,
    /// Certificates to put into chains.
    pub(crate) links: Vec<Certificate>,
}

impl Pool {
    pub(crate) fn make() -> anyhow::Result<Pool> {
        let sized = |most: u64| {
            (1..=CERTIFICATES).map(move |number| certificate(number, most * number / CERTIFICATES))
        };
        Ok(Pool {
            trusted: sized(PADDING_BYTES_MAX).collect::<anyhow::Result<_>>()?,
            links: sized(LINK_BYTES_MAX).collect::<anyhow::Result<_>>()?,
        })
    }
}

fn certificate(number: u64, padding: u64) -> anyhow::Result<Certificate> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.distinguished_name.push(DnType::CommonName, format!("Authority {number} {padding}"));
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let mut chance = Chance::new(number);
    let random = (0..padding).map(|_| u8::try_from(chance.below(256)).unwrap_or(0)).collect();
    params.custom_extensions = vec![CustomExtension::from_oid_content(&PADDING, random)];
    let made = params.self_signed(&KeyPair::generate()?)?;
    let sha256 = digest(&SHA256, made.der());
    let sha256 = sha256.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    Ok(Certificate { pem: made.pem(), sha256 })
}

/// Returns random aliases for a domain; `size` decides their number and length.
pub(crate) fn aliases(size: Size, name: &str, chance: &mut Chance) -> Vec<String> {
    let (count, length) = match size {
        Size::Small => (chance.below(3), 1 + chance.below(40)),
        _ => (40 + chance.below(61), 180 + chance.below(40)),
    };
    let tag = chance.below(1_000_000);
    (0..count).map(|number| long_name(&format!("a{number}x{tag}"), length, name)).collect()
}

/// Returns a name of about this length, in labels of at most 60 bytes.
fn long_name(first: &str, length: u64, below: &str) -> String {
    let mut name = first.to_owned();
    let wanted = usize::try_from(length).unwrap_or(0);
    while name.len() + 1 + below.len() < wanted {
        let left = wanted - name.len() - 1 - below.len();
        name.push('.');
        name.push_str(&"y".repeat(left.clamp(1, 60)));
    }
    format!("{name}.{below}")
}

/// Returns a short fingerprint of the parts, independent of their order.
pub(crate) fn fingerprint(parts: impl Iterator<Item = String>) -> String {
    let mut parts: Vec<String> = parts.collect();
    parts.sort();
    let mut hasher = DefaultHasher::new();
    parts.hash(&mut hasher);
    format!("{} parts {:016x}", parts.len(), hasher.finish())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_are_legal_and_as_large_as_they_say() {
        let pool = Pool::make().unwrap();
        // Base64 encodes three bytes in four.
        let bytes = |one: &Certificate| one.pem.len() * 3 / 4;
        let largest = pool.trusted.iter().map(bytes).max().unwrap();
        assert!((56 * 1024..60 * 1024).contains(&largest), "{largest}");
        assert!(pool.links.iter().all(|one| bytes(one) * 4 < 48 * 1024));
        let mut chance = Chance::new(1);
        for _ in 0..100 {
            let names = aliases(Size::Medium, "d1.example", &mut chance);
            let bytes: usize = names.iter().map(String::len).sum();
            assert!((7_000..23_000).contains(&bytes), "{bytes}");
            assert!(names.iter().all(|name| name.len() <= 253));
            assert!(names.iter().all(|name| name.split('.').all(|label| label.len() <= 63)));
        }
    }
}
