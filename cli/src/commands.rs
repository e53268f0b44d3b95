//! Commands: each sends requests and reports the results.

mod account;
mod apply;
mod audit;
mod backup;
mod cert;
mod chain;
mod check;
mod client_auth;
mod cluster;
mod context;
mod csr;
mod demo;
mod doctor;
mod document;
mod domain;
mod events;
mod export;
mod file;
mod key;
mod keyring;
mod listener;
mod message;
mod node;
mod prompt;
mod recover;
mod smime;
mod status;
mod tls;
mod token;
mod top;
mod trust;
mod user;

use std::{
    io::{IsTerminal, Read, Write},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
};

use conclave_api::problem::{Code, Problem};
use conclave_client::{AccessToken, Address, Change, Client, Failure, Options};
use serde::Serialize;

use crate::{
    advice,
    args::{
        self, Args, Changing, Cluster, Command, Config, Global, IfExists, IfMissing, Key, Server,
    },
    context::{Context, Contexts, session_file},
    output::{self, Columns},
    progress,
};

const MIB: u64 = 1024 * 1024;
/// Longest file read by a command.
const FILE_BYTES_MAX: u64 = 6 * MIB;
const SOCKET: &str = "/run/conclave/admin.sock";
/// Rights on a token file by which users other than its owner and group can use it, or its group
/// can change it.
const OTHERS: u32 = 0o027;

/// Exit code of a completed command that found something which needs attention.
const ATTENTION: u8 = 9;

/// Exit code after which a mail server tries again later (EX_TEMPFAIL of sysexits.h).
pub(crate) const TEMPORARY: u8 = 75;

/// Exit code of a completed command.
type Done = Result<u8, Failure>;

pub(crate) fn run(args: Args) -> Done {
    match args.command {
        Command::Server(Server::Run { config, take_over, deadline }) => {
            let take_over = take_over.then_some(deadline);
            let ended = conclave_node::run(&config, take_over, &|text| output::line(text));
            // A node serves whether or not its first lines could be written.
            let _ = output::lost();
            ended.map(|()| 0)
        }
        Command::Config(Config::Init) => {
            output::line(advice::CONFIG.trim_end());
            Ok(0)
        }
        Command::Config(Config::Check { file }) => {
            conclave_node::check_config(&file)?;
            let checked = CheckedFile { file: file.display().to_string(), valid: true };
            if !output::object_of(&args.global, "ConfigurationCheck", &checked.file, &checked) {
                let text = format!("{}: all settings are right", checked.file);
                output::success(&args.global, &text);
            }
            Ok(0)
        }
        Command::Completion { shell } => {
            let (mut command, mut script) = (args::command(), Vec::<u8>::new());
            clap_complete::generate(shell, &mut command, "conclave", &mut script);
            output::line(String::from_utf8_lossy(&script).trim_end());
            Ok(0)
        }
        Command::Man { directory } => {
            clap_mangen::generate_to(args::command(), &directory).map_err(|error| {
                let title = format!("cannot write to {}", directory.display());
                Problem::new(Code::FileUnusable, title).detail(error.to_string())
            })?;
            Ok(0)
        }
        Command::Cluster(Cluster::Recover { config, dry_run, yes }) => {
            recover::run(&args.global, &config, dry_run, yes)
        }
        Command::Context(command) => context::run(&args.global, command),
        Command::Explain { code, .. } => explain(&args.global, code.as_deref()),
        Command::Demo => block_on(demo::run()),
        command => {
            let global = args.global;
            block_on(async move {
                let client = client(&global, &command);
                if !global.quiet && output::is_table(&global) {
                    progress::start(waiting_for(&command));
                }
                let done = dispatch(&Asking { client, global }, command).await;
                progress::end();
                done
            })
        }
    }
}

/// Context of a command: a client, or the reason why there is none, and the output options.
pub(crate) struct Asking {
    client: Result<Client, Failure>,
    global: Global,
}

impl Asking {
    /// Returns the client. Commands on local files need none, so only here its absence is an error.
    fn client(&self) -> Result<&Client, Failure> {
        self.client.as_ref().map_err(Clone::clone)
    }
}

async fn dispatch(asking: &Asking, command: Command) -> Done {
    match command {
        Command::Status => status::status(asking).await,
        Command::Top { once, every } => top::run(asking, once, every).await,
        Command::Doctor { config } => doctor::run(asking, &config).await,
        Command::Node(command) => node::run(asking, command).await,
        Command::Cluster(command) => cluster::run(asking, command).await,
        Command::JoinToken(command) => token::join_token(asking, command).await,
        Command::Token(command) => token::token(asking, command).await,
        Command::Role(command) => user::roles(asking, command).await,
        Command::User(command) => user::run(asking, command).await,
        Command::Login(logging_in) => user::log_in(asking, logging_in).await,
        Command::Logout => user::log_out(asking).await,
        Command::Audit(command) => audit::run(asking, command).await,
        Command::Events(following) => events::run(asking, following).await,
        Command::Keyring(command) => keyring::run(asking, command).await,
        Command::Domain(command) => domain::run(asking, command).await,
        Command::Key(command) => key::run(asking, command).await,
        Command::Csr(command) => csr::run(asking, command).await,
        Command::Cert(command) => cert::run(asking, command).await,
        Command::Chain(command) => chain::run(asking, command).await,
        Command::Smime(command) => smime::run(asking, command).await,
        Command::Account(command) => account::run(asking, command).await,
        Command::Listener(command) => listener::run(asking, command).await,
        Command::Tls(command) => tls::run(asking, command).await,
        Command::ClientAuth(command) => client_auth::run(asking, command).await,
        Command::Trust(command) => trust::run(asking, command).await,
        Command::Backup(command) => backup::run(asking, command).await,
        Command::Apply(applying) => apply::run(asking, applying).await,
        Command::Export(exporting) => export::run(asking, exporting).await,
        Command::Demo
        | Command::Context(_)
        | Command::Explain { .. }
        | Command::Completion { .. }
        | Command::Man { .. }
        | Command::Server(_)
        | Command::Config(_) => Ok(0),
    }
}

fn block_on<T>(work: impl Future<Output = Result<T, Failure>>) -> Result<T, Failure> {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(|error| {
        Box::new(Problem::new(Code::Internal, "cannot start").detail(error.to_string()))
    })?;
    runtime.block_on(work)
}

/// Result of `config check`. A wrong file is an error.
#[derive(Serialize)]
struct CheckedFile {
    file: String,
    valid: bool,
}

/// An error code with its meaning.
#[derive(Serialize)]
struct Explained {
    code: &'static str,
    exit_code: u8,
    text: &'static str,
}

/// Explains one code, or all of them.
fn explain(global: &Global, code: Option<&str>) -> Done {
    let explained = |code: &Code| Explained {
        code: code.as_str(),
        exit_code: code.exit_code(),
        text: advice::explain(*code),
    };
    if let Some(text) = code.and_then(advice::topic) {
        let code = "recover";
        let found = Explained { code, exit_code: 0, text };
        if !output::object_of(global, "Explanation", code, &found) {
            output::line(text);
        }
        return Ok(0);
    }
    if let Some(code) = code {
        let wanted = code.to_ascii_uppercase();
        let found = Code::parse(&wanted).ok_or_else(|| {
            let title = format!("no error code {wanted:?}");
            Box::new(Problem::new(Code::NotFound, title).hint("conclave explain --list"))
        })?;
        let found = explained(&found);
        if !output::object_of(global, "Explanation", found.code, &found) {
            output::line(&format!("{}  {}", found.code, found.text));
        }
        return Ok(0);
    }
    let mut all: Vec<Explained> = Code::ALL.iter().map(explained).collect();
    all.sort_by_key(|one| one.code);
    let columns = Columns {
        kind: "Explanation",
        head: &["CODE", "EXIT", "MEANING"],
        wide: &[],
        name: |one: &Explained| one.code.to_owned(),
    };
    output::list(global, &columns, &all, |one, is_wide| {
        // The first sentence is enough to find a code.
        let first = one.text.split_inclusive(". ").next().unwrap_or_default().trim_end();
        let text = if is_wide { one.text } else { first };
        vec![one.code.to_owned(), one.exit_code.to_string(), text.to_owned()]
    });
    Ok(0)
}

/// Returns the value of an environment variable, if it is set and not empty.
fn environment(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|value| !value.is_empty())
}

/// Returns a client for --address, CONCLAVE_ADDRESS, a context, or the default socket. For `cluster
/// join`, --token-file is the join token and not an access token.
fn client(global: &Global, command: &Command) -> Result<Client, Failure> {
    let is_join = matches!(command, Command::Cluster(Cluster::Join { .. }));
    // For these commands --scope is a set of trusted certificates, and is part of the path.
    let is_trust = matches!(command, Command::Trust(_) | Command::Smime(args::Smime::Verify(_)));
    let is_known = |scope: &String| ["shared", "local"].contains(&scope.as_str());
    if !is_trust && !global.scope.as_ref().is_none_or(is_known) {
        let title =
            format!("--scope {:?} is not possible here", global.scope.as_deref().unwrap_or(""));
        return Err(Box::new(
            Problem::new(Code::Malformed, title).hint("--scope shared or --scope local"),
        ));
    }
    let (addresses, context) = asked(global)?;
    let given = token_file(global, is_join);
    let authority = match command {
        Command::Login(logging_in) => logging_in.authority.as_deref(),
        _ => None,
    };
    // A socket needs no token, so there a missing file is no error.
    let is_asked = addresses.iter().any(Address::needs_token);
    let is_owner_login = matches!(command, Command::Account(args::Account::Login { .. }));
    let is_login = matches!(command, Command::Login(_));
    let token: Option<AccessToken> = match (given, &context) {
        _ if !is_asked => None,
        _ if is_owner_login => Some(AccessToken::of_system()),
        (Some(file), _) => Some(read_token(global, &file)?.parse()?),
        (None, Some((name, context))) => login_of(global, name, context, is_login)?,
        (None, None) => None,
    };
    let named = authority.map(AccessToken::of_authority).transpose()?;
    if let (Some(named), Some(token)) = (&named, &token)
        && !named.is_of_same_cluster(token)
    {
        let title = "--authority names another cluster than the context or the token";
        return Err(Box::new(
            Problem::new(Code::NodeUntrusted, title).hint("conclave context list -o wide"),
        ));
    }
    let token = token.or(named);
    let options = Options {
        family: None,
        is_pending: false,
        timeout: global.timeout,
        is_stale: global.stale,
        scope: global.scope.clone().filter(|_| !is_trust),
        node_name: global.node_name.clone(),
    };
    Client::among(addresses, token.as_ref(), options)
}

/// Returns the file with the token that a command shows, if one is named. A context that is named
/// has a login of its own, which counts more than that of the environment.
fn token_file(global: &Global, is_join: bool) -> Option<PathBuf> {
    let given = global.token_file.clone().filter(|_| !is_join);
    let around = || environment("CONCLAVE_TOKEN_FILE").filter(|_| global.context.is_none());
    given.or_else(|| around().map(PathBuf::from))
}

/// A context with its name.
type Named = (String, Context);

/// Returns the addresses to ask, and the context that they are from.
fn asked(global: &Global) -> Result<(Vec<Address>, Option<Named>), Failure> {
    let address = global
        .address
        .clone()
        .or_else(|| environment("CONCLAVE_ADDRESS").filter(|_| global.context.is_none()));
    if let Some(text) = address {
        return Ok((Address::list(&text)?, None));
    }
    let named = global.context.clone().or_else(|| environment("CONCLAVE_CONTEXT"));
    if let Some((name, context)) = Contexts::chosen(named.as_deref())? {
        return Ok((context.addresses()?, Some((name, context))));
    }
    if Path::new(SOCKET).exists() {
        return Ok((vec![Address::Unix(SOCKET.into())], None));
    }
    Err(Box::new(
        Problem::new(Code::NodeUnreachable, "no node to ask")
            .detail(format!("neither --address nor CONCLAVE_ADDRESS nor a context is given, and {SOCKET} does not exist"))
            .hint("conclave server run --config FILE    or: --address unix:PATH    or: conclave context add NAME --nodes ADDRESS"),
    ))
}

/// Returns what a context logs in with.
fn login_of(
    global: &Global,
    name: &str,
    context: &Context,
    is_login: bool,
) -> Result<Option<AccessToken>, Failure> {
    let session = session_file(name)?;
    let file = context.token.clone().or_else(|| session.exists().then_some(session));
    let authority = context.authority.as_deref().map(AccessToken::of_authority).transpose()?;
    let token = match (file.filter(|_| !is_login), authority) {
        (Some(file), authority) => {
            let token: AccessToken = read_token(global, &file)?.parse()?;
            if authority.is_some_and(|known| !known.is_of_same_cluster(&token)) {
                let title = format!("the token of the context {name} is for another cluster");
                return Err(Box::new(
                    Problem::new(Code::NodeUntrusted, title)
                        .hint("conclave context add with the right --authority or --token"),
                ));
            }
            Some(token)
        }
        (None, authority) => authority,
    };
    let Some(identity) = &context.identity else { return Ok(token) };
    let pem = zeroize::Zeroizing::new(read_secret(global, "the key", identity)?);
    token.map(|token| token.with_identity(&pem)).transpose()
}

/// Reads a file that holds a token, and warns if other users can read or change it.
pub(crate) fn read_token(global: &Global, file: &Path) -> Result<String, Failure> {
    read_secret(global, "the token", file)
}

fn read_secret(global: &Global, what: &str, file: &Path) -> Result<String, Failure> {
    let mode = std::fs::metadata(file).map(|found| found.permissions().mode() & 0o777);
    let is_file = file != Path::new("-");
    if let Ok(mode) = mode
        && is_file
        && mode & OTHERS != 0
    {
        let file = file.display();
        let text = format!(
            "other users can use {what} in {file} (mode {mode:o})    mend it: chmod 600 {file}"
        );
        output::warning(global, &text);
    }
    read_file(file)
}

pub(crate) fn file_problem(path: &Path, what: String) -> Failure {
    Box::new(
        Problem::new(Code::FileUnusable, format!("cannot read {}", path.display())).detail(what),
    )
}

/// Reads a file as text, bounded; `-` is standard input.
pub(crate) fn read_file(path: &Path) -> Result<String, Failure> {
    // Binary content is not refused here: the node names what it found, such as DER.
    read_bytes(path).map(|bytes| String::from_utf8_lossy(&bytes).into_owned())
}

/// Reads a file, bounded; `-` is standard input.
pub(crate) fn read_bytes(path: &Path) -> Result<Vec<u8>, Failure> {
    read_bytes_within(path, FILE_BYTES_MAX)
}

/// Reads a file of at most `max` bytes; `-` is standard input.
pub(crate) fn read_bytes_within(path: &Path, max: u64) -> Result<Vec<u8>, Failure> {
    let mut bytes = Vec::new();
    let read = if path == Path::new("-") {
        std::io::stdin().take(max + 1).read_to_end(&mut bytes)
    } else {
        std::fs::File::open(path).and_then(|file| file.take(max + 1).read_to_end(&mut bytes))
    };
    read.map_err(|error| file_problem(path, error.to_string()))?;
    if u64::try_from(bytes.len()).unwrap_or(u64::MAX) > max {
        return Err(file_problem(path, format!("it is larger than {} MiB", max / MIB)));
    }
    Ok(bytes)
}

/// Writes to a file, or to standard output.
pub(crate) fn write_file(out: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(path) = out else {
        output::line(text.trim_end());
        return Ok(());
    };
    std::fs::write(path, text).map_err(|error| unwritable(path, &error))
}

/// Checks that a file can be written, and leaves its content as it is.
pub(crate) fn check_writable(path: &Path) -> Result<(), Failure> {
    let opened = std::fs::OpenOptions::new().append(true).create(true).open(path);
    opened.map(|_| ()).map_err(|error| unwritable(path, &error))
}

pub(crate) fn unwritable(path: &Path, error: &std::io::Error) -> Failure {
    let title = format!("cannot write {}", path.display());
    Box::new(Problem::new(Code::FileUnusable, title).detail(error.to_string()))
}

/// Replaces the field names in a node's error by file names. The node saw only the content.
pub(crate) fn in_file(mut failure: Failure, files: &[(&str, &Path)]) -> Failure {
    for (field, path) in files {
        let shown = path.display().to_string();
        if let Some(location) = failure.location.as_mut().filter(|found| found.file == *field) {
            location.file.clone_from(&shown);
        }
        if let Some(hint) = failure.hint.as_mut() {
            for word in ["-in ", "-srckeystore ", "-t UTF-8 ", "unzip ", "cp "] {
                *hint = hint.replace(&format!("{word}{field} "), &format!("{word}{shown} "));
            }
            for end in [".plain", ".pem", ".p12"] {
                *hint = hint.replace(&format!("{field}{end}"), &format!("{shown}{end}"));
            }
        }
    }
    failure
}

pub(crate) fn change(changing: &Changing) -> Change {
    Change {
        operation: changing.operation.clone(),
        is_committed_enough: changing.wait == "committed",
        if_version: changing.if_version,
        reason: changing.reason.clone(),
        is_dry_run: changing.dry_run,
        is_all_required: changing.require_all,
        ..Change::default()
    }
}

/// Returns the options of a change that adds.
pub(crate) fn adding(changing: &Changing, missing: &IfMissing) -> Change {
    Change { is_if_missing: missing.if_missing, ..change(changing) }
}

/// Returns the options of a change that removes.
pub(crate) fn removing(changing: &Changing, existing: &IfExists) -> Change {
    Change { is_if_exists: existing.if_exists, ..change(changing) }
}

/// Asks for confirmation before a removal, unless `is_sure`: the name must be typed again.
pub(crate) fn confirm(
    global: &Global,
    is_sure: bool,
    what: &str,
    name: &str,
) -> Result<(), Failure> {
    confirm_words(global, is_sure, &format!("This removes {what}."), name)
}

/// The same for what is no removal; `words` say what cannot be undone.
pub(crate) fn confirm_words(
    global: &Global,
    is_sure: bool,
    words: &str,
    name: &str,
) -> Result<(), Failure> {
    if is_sure {
        return Ok(());
    }
    let refused = |why: &str| {
        Box::new(Problem::new(Code::Malformed, why).hint("add --yes to do it without being asked"))
    };
    if global.no_input || !std::io::stdin().is_terminal() {
        return Err(refused("confirmation needed, but standard input is not a terminal"));
    }
    // Stop the progress display while the user answers.
    progress::end();
    let mut stderr = std::io::stderr();
    let _ = write!(stderr, "{words}\nType {name} to go on: ");
    let _ = stderr.flush();
    let mut typed = String::new();
    let _ = std::io::stdin().read_line(&mut typed);
    if typed.trim() == name { Ok(()) } else { Err(refused("aborted: the word does not match")) }
}

/// Returns the text of the progress display for a command.
fn waiting_for(command: &Command) -> String {
    match command {
        Command::Key(Key::Generate { name, algorithm, .. }) => {
            format!("making a key of type {algorithm} for {name}; RSA takes some seconds")
        }
        Command::Cluster(Cluster::Join { member, .. }) => format!("waiting for {member}"),
        _ => "waiting for the node".to_owned(),
    }
}
