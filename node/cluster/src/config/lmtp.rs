//! The section `[lmtp]` of the configuration: the proxy that stores mail encrypted.

use conclave_api::problem::Problem;
use conclave_mail::{Place, Settings, WithoutCertificate};
use conclave_smime::cms::Cipher;
use serde::Deserialize;

use super::setting_problem;

#[derive(Deserialize, Default)]
#[serde(deny_unknown_fields)]
pub(super) struct LmtpSection {
    listen: Option<String>,
    upstream: Option<String>,
    without_certificate: Option<String>,
    cipher: Option<String>,
    offer_dsn: Option<bool>,
}

impl LmtpSection {
    /// Checks the section. Returns the settings of the proxy; none: it is off.
    pub(super) fn check(&self) -> Result<Option<Settings>, Problem> {
        let without_certificate = match self.without_certificate.as_deref() {
            None | Some("defer") => WithoutCertificate::Defer,
            Some("pass") => WithoutCertificate::Pass,
            Some("reject") => WithoutCertificate::Reject,
            Some(other) => {
                let why = format!("{other:?} is none of \"pass\", \"defer\", \"reject\"");
                return Err(setting_problem("[lmtp] without_certificate", why));
            }
        };
        let cipher = match self.cipher.as_deref() {
            None | Some("aes256-cbc") => Cipher::Aes256Cbc,
            Some("aes256-gcm") => Cipher::Aes256Gcm,
            Some(other) => {
                let why = format!("{other:?} is neither \"aes256-cbc\" nor \"aes256-gcm\"");
                return Err(setting_problem("[lmtp] cipher", why));
            }
        };
        let Some(listen) = place("[lmtp] listen", self.listen.as_deref())? else {
            let has_others = self.upstream.is_some()
                || self.without_certificate.is_some()
                || self.cipher.is_some()
                || self.offer_dsn.is_some();
            return match has_others {
                true => Err(setting_problem("[lmtp] listen", "the other settings need it")),
                false => Ok(None),
            };
        };
        let setting = "[lmtp] upstream";
        let upstream = place(setting, self.upstream.as_deref())?.ok_or_else(|| {
            setting_problem(setting, "the proxy needs a mailbox server")
                .hint("upstream = \"unix:/run/dovecot/lmtp\"")
        })?;
        if listen == upstream {
            return Err(setting_problem(setting, format!("{upstream} is the proxy itself")));
        }
        let offers_dsn = self.offer_dsn.unwrap_or(false);
        Ok(Some(Settings { listen, upstream, without_certificate, cipher, offers_dsn }))
    }
}

fn place(setting: &str, text: Option<&str>) -> Result<Option<Place>, Problem> {
    let place = text.map(Place::parse).transpose();
    place.map_err(|error| setting_problem(setting, error))
}
