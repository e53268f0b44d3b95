//! Sockets where TLS ends.

use conclave_api::listener::Add;

use super::{Asking, Done, change, confirm};
use crate::{args::Listener, output};

pub(super) async fn run(asking: &Asking, command: Listener) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Listener::Add { name, bind, upstream, changing } => {
            let add = Add { name: name.clone(), bind, upstream };
            let done = client.add_listener(&add, &change(&changing)).await?;
            output::change(
                global,
                &format!("listener {name}: {} -> {}", add.bind, add.upstream),
                &done,
            );
        }
        Listener::List => {
            let listeners = client.listeners().await?.items;
            let head = ["NAME", "PROTOCOL", "BIND", "UPSTREAM", "OPEN HERE", "PROBLEMS"];
            output::list(global, &listeners, &head, |one| {
                let problems =
                    if one.problems.is_empty() { "-".to_owned() } else { one.problems.join("; ") };
                vec![
                    one.name.clone(),
                    one.protocol.clone(),
                    one.bind.clone(),
                    one.upstream.clone(),
                    one.open.join(" "),
                    problems,
                ]
            });
        }
        Listener::Remove { name, changing } => {
            confirm(global, &changing, &format!("the listener {name} from every node"), &name)?;
            let done = client.remove_listener(&name, &change(&changing)).await?;
            output::change(global, &format!("listener {name}: removed"), &done);
        }
    }
    Ok(0)
}
