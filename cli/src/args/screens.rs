//! What each help screen shows: only options that the command uses.

use clap::{Command, CommandFactory};

use super::Args;

/// Commands that never ask a node.
const WITHOUT_NODE: [&str; 12] = [
    "demo",
    "config init",
    "config check",
    "server run",
    "cluster recover",
    "csr show",
    "cert check",
    "explain",
    "completion",
    "backup keygen",
    "backup inspect",
    "backup verify",
];
/// Commands whose output has one form.
const ONE_FORM: [&str; 5] = ["demo", "config init", "server run", "completion", "man"];
/// Commands about objects that exist in the cluster and in a single node.
const SCOPED: [&str; 6] = ["domain", "key", "csr", "cert", "chain", "client-auth"];
/// Last words of the commands that ask for confirmation.
const CONFIRMED: [&str; 8] =
    ["delete", "remove", "revoke", "flush", "apply", "recover", "upgrade", "rotate-authority"];
/// Objects that have a version.
const VERSIONED: [&str; 10] =
    ["domain", "key", "csr", "cert", "chain", "client-auth", "trust", "tls", "smime", "account"];
/// Commands of those groups that change what has no version.
const UNVERSIONED: [&str; 6] =
    ["domain create", "csr create", "tls flush", "smime set", "smime recovery", "account create"];
/// Option `--scope` of commands about trusted certificates.
const TRUST_SCOPE: &str = "Set of trusted certificates: builtin, server, cluster or domain:NAME";

/// Returns the whole command line. Options that a command has no use for are hidden in its help.
/// They are taken nevertheless, so that a script may give them to every command.
pub(crate) fn command() -> Command {
    let mut root = Args::command();
    let shared: Vec<clap::Arg> =
        root.get_arguments().filter(|arg| arg.is_global_set()).cloned().collect();
    let names: Vec<String> = root.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in names {
        root = root.mut_subcommand(name.clone(), |sub| fitted(sub, &name, &shared));
    }
    root
}

/// Fits the options of a command and of those below it.
fn fitted(mut command: Command, path: &str, shared: &[clap::Arg]) -> Command {
    let below: Vec<String> =
        command.get_subcommands().map(|sub| sub.get_name().to_owned()).collect();
    for name in &below {
        let path = format!("{path} {name}");
        command = command.mut_subcommand(name, |sub| fitted(sub, &path, shared));
    }
    let is_group = !below.is_empty();
    let has_own = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    // Each command gets its own copy. Otherwise it would inherit that of its group, which is hidden.
    let fitting: Vec<clap::Arg> = shared
        .iter()
        .filter(|arg| !has_own(arg.get_id().as_str()))
        .map(|arg| {
            let id = arg.get_id().as_str();
            let arg = match is_reworded(path, id) {
                true => arg.clone().help(trust_scope(path)),
                false => arg.clone(),
            };
            arg.hide(!is_used(&command, path, id, is_group))
        })
        .collect();
    command = command.args(fitting);
    let group = path.split(' ').next().unwrap_or_default();
    let last = path.rsplit(' ').next().unwrap_or_default();
    let hidden = |id: &str| match id {
        "yes" => !CONFIRMED.contains(&last),
        "if_version" => !VERSIONED.contains(&group) || UNVERSIONED.contains(&path),
        _ => false,
    };
    command.mut_args(|arg| match hidden(arg.get_id().as_str()) {
        true => arg.hide(true),
        false => arg,
    })
}

/// Returns whether the option has another text here than elsewhere.
fn is_reworded(path: &str, id: &str) -> bool {
    id == "scope" && path.starts_with("trust ")
}

fn trust_scope(path: &str) -> String {
    let default = match path {
        "trust list" | "trust add" | "trust remove" | "trust show" => "cluster",
        _ => "builtin",
    };
    format!("{TRUST_SCOPE} [default: {default}]")
}

fn is_used(command: &Command, path: &str, id: &str, is_group: bool) -> bool {
    let has = |id: &str| command.get_arguments().any(|arg| arg.get_id() == id);
    let group = path.split(' ').next().unwrap_or_default();
    let last = path.rsplit(' ').next().unwrap_or_default();
    match id {
        "help" => true,
        // A list of commands has no options of its own.
        _ if is_group => false,
        "version" => false,
        "output" | "quiet" => !ONE_FORM.contains(&path),
        "no_input" => CONFIRMED.contains(&last) || path == "cluster join",
        "address" | "token_file" | "timeout" | "stale" | "scope"
            if path == "man" || WITHOUT_NODE.contains(&path) =>
        {
            false
        }
        "stale" => {
            let reads = !has("dry_run") && !matches!(group, "cluster" | "join-token");
            path == "backup create" || reads && last != "create" && path != "backup restore"
        }
        "scope" => SCOPED.contains(&group) || is_reworded(path, id),
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_do_not_contradict_each_other() {
        command().debug_assert();
    }

    /// Calls `check` with every command that does something.
    fn each(command: &Command, check: &mut impl FnMut(&Command)) {
        if command.get_subcommands().next().is_none() {
            check(command);
        }
        command
            .get_subcommands()
            .filter(|sub| sub.get_name() != "help")
            .for_each(|sub| each(sub, check));
    }

    #[test]
    fn every_command_has_a_sentence_and_two_examples() {
        each(&command(), &mut |command| {
            let name = command.get_name();
            assert!(command.get_about().is_some(), "{name} says nothing");
            let after = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let examples = after.lines().filter(|line| line.contains("conclave "));
            assert!(after.starts_with("Examples:\n  "), "{name}: {after}");
            assert!(examples.count() >= 2, "{name} has too few examples");
        });
    }

    #[test]
    fn every_argument_has_a_word() {
        let mut all = command();
        all.build();
        each(&all, &mut |command| {
            for arg in command.get_arguments() {
                let (name, arg_name) = (command.get_name(), arg.get_id());
                assert!(arg.get_help().is_some(), "{name}: {arg_name} has no text");
            }
        });
    }

    #[test]
    fn an_unused_option_is_taken_but_not_shown() {
        let mut all = command();
        all.build();
        let shown = |words: &[&str]| {
            let leaf = words.iter().fold(&all, |at, word| at.find_subcommand(word).unwrap());
            leaf.clone().render_help().to_string()
        };
        assert!(!shown(&["explain"]).contains("--address"));
        assert!(!shown(&["domain", "create"]).contains("--yes"));
        assert!(shown(&["domain", "create"]).contains("--address"));
        assert!(shown(&["domain", "delete"]).contains("--yes"));
        assert!(shown(&["trust", "list"]).contains("builtin, server, cluster or domain:NAME"));
        assert!(shown(&["cluster", "join"]).contains("holds the join token"));
        let read = |words: &[&str]| {
            use clap::FromArgMatches;
            Args::from_arg_matches(&command().try_get_matches_from(words).unwrap()).unwrap()
        };
        let args = read(&["conclave", "explain", "K002", "--address", "unix:/a", "--no-input"]);
        assert!(args.global.no_input && args.global.address.as_deref() == Some("unix:/a"));
        let args = read(&["conclave", "trust", "list", "--scope", "server"]);
        assert_eq!(args.global.scope.as_deref(), Some("server"));
        let args = read(&["conclave", "--scope", "server", "trust", "list"]);
        assert_eq!(args.global.scope.as_deref(), Some("server"));
    }
}
