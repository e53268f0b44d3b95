//! Parsing of TLS versions and algorithm names, for the TLS settings and the configuration file.

use conclave_api::problem::{Code, Problem};
use conclave_store::record::TlsVersion;

fn refused(title: impl Into<String>) -> Problem {
    Problem::new(Code::TlsSettingInvalid, title)
}

/// Parses a setting of the oldest accepted version.
pub(crate) fn version(text: &str) -> Result<TlsVersion, Problem> {
    match text {
        "1.2" => Ok(TlsVersion::V1_2),
        "1.3" => Ok(TlsVersion::V1_3),
        "1.0" | "1.1" => Err(refused(format!("TLS {text} is not offered by this server"))
            .why("RFC 8996: TLS 1.0 and TLS 1.1 must not be used")
            .hint("1.2 or 1.3 are possible")),
        other => {
            Err(refused(format!("unknown TLS version {other:?}")).hint("1.2 or 1.3 are possible"))
        }
    }
}

/// Returns the names in their normal form, without duplicates. Each must be known to the program.
/// Without `asked` returns `before`.
pub fn names(
    what: &str,
    asked: Option<&[String]>,
    known: &[&str],
    before: &[String],
) -> Result<Vec<String>, Problem> {
    let Some(asked) = asked else { return Ok(before.to_vec()) };
    let mut names: Vec<String> = Vec::with_capacity(asked.len());
    for name in asked {
        let Some(found) = known.iter().find(|known| known.eq_ignore_ascii_case(name)) else {
            return Err(refused(format!("this program has no {what} {name:?}"))
                .detail(format!("it has {}", known.join(", ")))
                .hint("names are those of the IANA registry; --help tells more"));
        };
        if !names.iter().any(|name| name == found) {
            names.push((*found).to_owned());
        }
    }
    Ok(names)
}

/// Whether a cipher suite is one of TLS 1.3.
pub(crate) fn is_tls13(cipher_suite: &str) -> bool {
    !cipher_suite.contains("_WITH_")
}
