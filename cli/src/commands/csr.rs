//! Commands for signing requests.

use conclave_api::{certificate::SelfSign, key::Generate};
use conclave_client::Change;
use serde::Serialize;

use super::{Asking, Done, check_writable, file, write_file};
use crate::{
    args::{Csr, Fields, Requesting},
    output::{self, Columns},
};

/// A possible common name of a request.
#[derive(Serialize)]
struct CommonName {
    common_name: String,
}

pub(super) async fn run(asking: &Asking, command: Csr) -> Done {
    let global = &asking.global;
    let Requesting { name, mut of, new_key, list_names, fields, out } = match command {
        Csr::Show { file } => return file::show_request(global, &file),
        Csr::Create(requesting) => *requesting,
    };
    if let Some(algorithm) = &new_key {
        let is_rsa = algorithm.starts_with("rsa");
        of.family = Some(if is_rsa { "rsa" } else { "ec" }.to_owned());
    }
    let client = asking.client()?.with_family(of.family);
    if list_names {
        let choices = client.common_names(&name).await?.common_names.into_iter();
        let choices: Vec<CommonName> =
            choices.map(|common_name| CommonName { common_name }).collect();
        let columns = Columns {
            kind: "CommonName",
            head: &["COMMON NAME"],
            wide: &[],
            name: |one: &CommonName| one.common_name.clone(),
        };
        output::list(global, &columns, &choices, |one, _| vec![one.common_name.clone()]);
        return Ok(0);
    }
    // Before a key is made for it.
    if let Some(out) = &out {
        check_writable(out)?;
    }
    let csr = match new_key {
        Some(algorithm) => {
            let generate = Generate { algorithm: Some(algorithm) };
            // This changes nothing if such a key waits already: then the request is for that key.
            client.set_pending_key(&name, &generate, &Change::default()).await?;
            client.with_pending().create_csr(&name, &self_sign(fields, None)).await?
        }
        None => client.create_csr(&name, &self_sign(fields, None)).await?,
    };
    if let Some(out) = &out {
        write_file(Some(out), &csr.pem)?;
    }
    if output::object_of(global, "SigningRequest", &name, &csr) {
        return Ok(0);
    }
    if let Some(out) = out {
        let (out, names) = (out.display(), csr.names.join(" "));
        let common_name = match csr.common_name.as_str() {
            "" => "no CN".to_owned(),
            name => format!("CN {name}"),
        };
        let algorithm = &csr.algorithm;
        output::advice(global, &format!("Wrote {out}  ({common_name}, SAN {names}, {algorithm})"));
    } else {
        write_file(None, &csr.pem)?;
    }
    output::advice(
        global,
        &format!("Next: send it to your authority, then: conclave cert import {name} CERT.pem"),
    );
    Ok(0)
}

/// Converts the fields to the form of the API.
pub(super) fn self_sign(fields: Fields, days: Option<u32>) -> SelfSign {
    SelfSign {
        country: fields.country,
        province: fields.province,
        city: fields.city,
        organization: fields.organization,
        unit: fields.unit,
        contact: fields.contact,
        // The common name of the domain would be among its names.
        common_name: fields.common_name.or_else(|| fields.only_san.then(String::new)),
        names: fields.san,
        only_names: fields.only_san,
        days,
    }
}
