//! Subjects of certificates and requests, from the attributes given by users.

use der::{
    Any, Encode,
    asn1::{Ia5StringRef, PrintableStringRef, SetOfVec, Utf8StringRef},
};
use x509_cert::{
    attr::AttributeTypeAndValue,
    name::{RdnSequence, RelativeDistinguishedName},
};

use super::{Attributes, IssueError};
use crate::name::{CITY, COMMON_NAME, COUNTRY, EMAIL, ORGANIZATION, PROVINCE, UNIT, is_email};

/// Returns the subject with these attributes, DER.
pub(crate) fn from_attributes(attributes: &Attributes) -> Result<Vec<u8>, IssueError> {
    let fields = [
        (COUNTRY, "country", &attributes.country, 2),
        (PROVINCE, "province", &attributes.province, 128),
        (CITY, "city", &attributes.city, 128),
        (ORGANIZATION, "organization", &attributes.organization, 64),
        (UNIT, "unit", &attributes.unit, 64),
        (COMMON_NAME, "common name", &Some(attributes.common_name.clone()), 64),
        (EMAIL, "contact", &attributes.contact, 255),
    ];
    let mut sequence = RdnSequence::default();
    for (oid, field, value, max) in fields {
        let Some(value) = value.as_deref().filter(|value| !value.is_empty()) else { continue };
        let invalid = |why| IssueError::Attribute { field, why };
        // RFC 5280 bounds a common name. A longer host name is in the subject alternative names
        // only.
        if oid == COMMON_NAME && value.chars().count() > max {
            continue;
        }
        if value.chars().count() > max {
            return Err(invalid("it is too long"));
        }
        let encoded = match oid {
            COUNTRY if value.len() != 2 || !value.bytes().all(|b| b.is_ascii_alphabetic()) => {
                return Err(invalid("two letters are expected"));
            }
            EMAIL if !is_email(value) => return Err(invalid("an e-mail address is expected")),
            EMAIL => Ia5StringRef::new(value).and_then(|text| Any::encode_from(&text)),
            _ => match PrintableStringRef::new(value) {
                Ok(text) => Any::encode_from(&text),
                Err(_) => Utf8StringRef::new(value).and_then(|text| Any::encode_from(&text)),
            },
        };
        let value = encoded.map_err(|_| invalid("it cannot be encoded"))?;
        let mut set = SetOfVec::new();
        set.insert(AttributeTypeAndValue { oid, value }).map_err(|_| invalid("it is twice"))?;
        sequence.push(RelativeDistinguishedName::from(set));
    }
    sequence.to_der().map_err(|_| IssueError::Encode)
}

/// Returns whether a subject, DER, has no attributes.
pub(crate) fn is_empty(subject_der: &[u8]) -> bool {
    subject_der == [0x30, 0]
}
