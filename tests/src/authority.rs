//! Authorities that issue what a test needs.

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose, RevokedCertParams,
    SerialNumber, date_time_ymd,
};

/// An authority, with the one above it.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    /// Its certificate.
    pub certificate: Certificate,
}

/// A new authority, below another or by itself.
pub fn authority(name: &str, above: Option<&Authority>) -> Authority {
    authority_with(name, above, KeyPair::generate().unwrap(), |_| {})
}

/// The same, with a key and other parameters: two with one name and one key are cross-signed.
pub fn authority_with(
    name: &str,
    above: Option<&Authority>,
    key: KeyPair,
    change: impl FnOnce(&mut CertificateParams),
) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.distinguished_name.push(DnType::CommonName, name);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    change(&mut params);
    let certificate = match above {
        Some(above) => {
            params.use_authority_key_identifier_extension = true;
            params.signed_by(&key, &above.issuer)
        }
        None => params.self_signed(&key),
    };
    Authority { issuer: Issuer::new(params, key), certificate: certificate.unwrap() }
}

/// What an authority issued.
pub struct Issued {
    /// Certificate, PEM.
    pub certificate: String,
    /// Private key, PEM.
    pub key: String,
}

impl Authority {
    /// A certificate for the key.
    pub fn issue(&self, key: KeyPair, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.use_authority_key_identifier_extension = true;
        params.not_before = date_time_ymd(2026, 1, 1);
        params.not_after = date_time_ymd(2036, 1, 1);
        change(&mut params);
        let certificate = params.signed_by(&key, &self.issuer).unwrap();
        Issued { certificate: certificate.pem(), key: key.serialize_pem() }
    }

    /// A certificate for a client.
    pub fn client(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Issued {
        self.issue(KeyPair::generate().unwrap(), |params| {
            params.distinguished_name.push(DnType::CommonName, name);
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
            change(params);
        })
    }

    /// A list that revokes the certificate with this serial number.
    pub fn revoke(&self, serial: u64) -> String {
        self.revoke_until(serial, 2036)
    }

    /// The same, to be looked at until that year.
    pub fn revoke_until(&self, serial: u64, year: i32) -> String {
        let entry = RevokedCertParams {
            serial_number: SerialNumber::from(serial),
            revocation_time: date_time_ymd(2026, 1, 2),
            reason_code: None,
            invalidity_date: None,
        };
        let params = CertificateRevocationListParams {
            this_update: date_time_ymd(2026, 1, 2),
            next_update: date_time_ymd(year, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: vec![entry],
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        params.signed_by(&self.issuer).unwrap().pem().unwrap()
    }
}
