//! Commands for CA chains of domains.

use conclave_api::{certificate::Certificate, chain::Set};

use super::{Asking, Done, change, confirm, file, in_file, removing};
use crate::{
    args::Chain,
    output::{self, Columns},
};

pub(super) async fn run(asking: &Asking, command: Chain) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Chain::Set { name, of, file, linking, changing } => {
            let set = Set {
                chain: file::certificate_text(&file)?,
                allow_broken_chain: linking.allow_broken_chain,
                sort: linking.sort,
            };
            let done =
                client.with_family(of.family).set_chain(&name, &set, &change(&changing)).await;
            let done = done.map_err(|failure| in_file(failure, &[("chain", &file)]))?;
            output::change(global, &format!("{name}: CA chain"), &done);
            output::undo(global, &done);
        }
        Chain::Show { name, of } => {
            let chain = client.with_family(of.family).chain(&name).await?;
            let columns = Columns {
                kind: "Certificate",
                head: &["ISSUED TO", "ISSUED BY", "FROM", "TILL"],
                wide: &["SERIAL", "KEY", "SHA-256"],
                name: |one: &Certificate| one.sha256.clone(),
            };
            output::list(global, &columns, &chain.certificates, |one, _| {
                let shown = [&one.subject, &one.issuer, &one.not_before, &one.not_after];
                let further = [&one.serial, &one.algorithm, &one.sha256];
                shown.into_iter().chain(further).cloned().collect()
            });
        }
        Chain::Remove { name, of, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the CA chain of {name}"), &name)?;
            let options = removing(&changing, &existing);
            let done = client.with_family(of.family).remove_chain(&name, &options).await?;
            output::change(global, &format!("{name}: CA chain removed"), &done);
            output::undo(global, &done);
        }
    }
    Ok(0)
}
