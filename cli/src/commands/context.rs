//! Commands for contexts.

use std::path::PathBuf;

use conclave_api::problem::{Code, Problem};
use conclave_client::Failure;
use serde::Serialize;

use super::Done;
use crate::{
    args::{self, Global},
    context::{self, Context, Contexts, session_file},
    output::{self, Columns},
};

/// A context in a list.
#[derive(Serialize)]
struct Shown {
    name: String,
    current: bool,
    /// How the caller shows who they are: `token`, `identity`, `session` or `none`.
    login: &'static str,
    #[serde(flatten)]
    context: Context,
}

pub(super) fn run(global: &Global, command: args::Context) -> Done {
    match command {
        args::Context::List => list(global),
        args::Context::Use { name } => {
            let mut contexts = Contexts::read()?;
            let nodes = contexts.get(&name)?.nodes.clone();
            contexts.current = Some(name.clone());
            contexts.write()?;
            output::success(global, &format!("{name}: in use, asks {nodes}"));
            Ok(0)
        }
        args::Context::Add { name, nodes, authority, token, identity } => {
            let context = Context {
                nodes,
                authority,
                token: token.map(absolute).transpose()?,
                identity: identity.map(absolute).transpose()?,
            };
            add(global, name, context)
        }
        args::Context::Remove { name } => {
            let mut contexts = Contexts::read()?;
            contexts.get(&name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            end_session(&name)?;
            contexts.write()?;
            output::success(global, &format!("{name}: removed"));
            Ok(0)
        }
    }
}

fn add(global: &Global, name: String, context: Context) -> Done {
    context::check_name(&name)?;
    let needs_login = context.addresses()?.iter().any(conclave_client::Address::needs_token);
    let has_authority = context.authority.is_some() || context.token.is_some();
    if needs_login && !has_authority {
        let title = "a context with https addresses needs the authority of the cluster";
        return Err(Box::new(
            Problem::new(Code::Malformed, title)
                .why("without it nobody could tell the cluster from another one")
                .hint("--authority SHA-256: conclave status -o json on a member shows it as fingerprint    or: --token FILE"),
        ));
    }
    let mut contexts = Contexts::read()?;
    let replaced = contexts.contexts.get(&name);
    if replaced.is_some_and(|old| !context.keeps_session_of(old)) {
        end_session(&name)?;
    }
    let login = login(&name, &context);
    contexts.contexts.insert(name.clone(), context);
    // The first one is the one that is meant.
    let current = contexts.current.get_or_insert_with(|| name.clone()) == &name;
    contexts.write()?;
    output::success(global, &format!("{name}: kept{}", if current { ", in use" } else { "" }));
    if needs_login && login == "none" {
        output::advice(global, &format!("Next: conclave login USER --save -c {name}"));
    } else if !current {
        output::advice(global, &format!("Next: conclave context use {name}"));
    }
    Ok(0)
}

fn list(global: &Global) -> Done {
    let contexts = Contexts::read()?;
    let shown: Vec<Shown> = contexts
        .contexts
        .into_iter()
        .map(|(name, context)| Shown {
            current: contexts.current.as_ref() == Some(&name),
            login: login(&name, &context),
            name,
            context,
        })
        .collect();
    let columns = Columns {
        kind: "Context",
        head: &["", "NAME", "NODES", "LOGIN"],
        wide: &["AUTHORITY", "TOKEN", "IDENTITY"],
        name: |one: &Shown| one.name.clone(),
    };
    output::list(global, &columns, &shown, |one, _| {
        let path = |path: &Option<PathBuf>| {
            path.as_ref().map_or_else(|| "-".to_owned(), |path| path.display().to_string())
        };
        vec![
            if one.current { "*" } else { "" }.to_owned(),
            one.name.clone(),
            one.context.nodes.clone(),
            one.login.to_owned(),
            one.context.authority.clone().unwrap_or_else(|| "-".to_owned()),
            path(&one.context.token),
            path(&one.context.identity),
        ]
    });
    if shown.is_empty() {
        output::advice(
            global,
            "Next: conclave context add NAME --nodes https://HOST:7443 --token FILE",
        );
    }
    Ok(0)
}

fn login(name: &str, context: &Context) -> &'static str {
    match context {
        Context { token: Some(_), .. } => "token",
        Context { identity: Some(_), .. } => "identity",
        _ if session_file(name).is_ok_and(|file| file.exists()) => "session",
        _ => "none",
    }
}

/// Removes the session that is kept for a context, if there is one.
pub(super) fn end_session(name: &str) -> Result<(), Failure> {
    let file = session_file(name)?;
    match std::fs::remove_file(&file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            Err(super::unwritable(&file, &error))
        }
        _ => Ok(()),
    }
}

/// A context is used from any directory. A link stays one: what it leads to may be replaced.
fn absolute(path: PathBuf) -> Result<PathBuf, Failure> {
    let absolute = std::fs::metadata(&path).and_then(|_| std::path::absolute(&path));
    absolute.map_err(|error| super::file_problem(&path, error.to_string()))
}
