//! Accounts: those of a domain, and one with its keys and certificates.

use askama::Template;
use axum::http::{Method, StatusCode};
use conclave_api::{
    account::{Account, Create, Generate, Invite, Issue, Issued, Key, Passphrase, Revoke},
    change::List,
    domain::Domain,
    path,
    problem::{Code, Problem},
    smime::Issuer,
};
use zeroize::Zeroizing;

use super::{Shown, Wished, smime};
use crate::{
    form::Fields,
    show,
    visit::{Visit, status_of},
    wish::Wish,
};

/// Accounts of one page of the list.
const PAGE: usize = 50;

#[derive(Template)]
#[template(path = "accounts.html")]
struct ListPage<'a> {
    v: &'a Visit,
    domain: Domain,
    rows: Vec<Row>,
    /// Path of the next page of the list.
    next: Option<String>,
    is_first: bool,
    /// What the visitor looked for.
    address: &'a str,
}

/// An account in the list.
struct Row {
    account: Account,
    latest: Option<Certified>,
}

/// A certificate of an account.
struct Certified {
    /// Algorithm of its key.
    algorithm: String,
    is_of_earlier: bool,
    issued: Issued,
    /// A class for its colour, a sign, and its state in words.
    state: (&'static str, &'static str, &'static str),
}

#[derive(Template)]
#[template(path = "account.html")]
struct AccountPage<'a> {
    v: &'a Visit,
    domain: Domain,
    account: Account,
    /// The latest of the current key first.
    certificates: Vec<Certified>,
    /// The form that generates a key: the first one comes with a new passphrase.
    key_form: &'static str,
    /// Whether the domain issues certificates, and why not.
    may_issue: bool,
    sentence: String,
    /// The form that issues: a valid certificate is renewed.
    issuing: &'static str,
    /// The commands that write the current key to a file, and take one from there.
    export: String,
    import: String,
}

impl AccountPage<'_> {
    fn has_revocable(&self) -> bool {
        self.certificates.iter().any(Certified::is_revocable)
    }
}

/// Shows a page of the accounts of a domain, or goes on to the one that is looked for.
pub(super) async fn list(visit: &Visit, name: &str, query: &Fields) -> Shown {
    let Some(text) = query.some("address") else {
        return listed(visit, name, query.some("after"), "").await;
    };
    let address = if text.contains('@') { text.clone() } else { format!("{text}@{name}") };
    match visit.api.read::<Account>(&known(path::ACCOUNT, &address, &[])).await {
        Ok(account) => Ok(visit.go(&show::account_path(&account.domain, &account.address))),
        Err(problem) => {
            let visit = Visit { problem: Some(problem), ..visit.clone() };
            listed(&visit, name, None, &text).await
        }
    }
}

async fn listed(visit: &Visit, name: &str, after: Option<String>, address: &str) -> Shown {
    let domain: Domain = visit.api.read(&known(path::DOMAIN, name, &[])).await?;
    let is_first = after.is_none();
    let mut wanted = vec![("limit", PAGE.to_string())];
    wanted.extend(after.map(|after| ("after", after)));
    let list: List<Account> = visit.api.read(&known(path::DOMAIN_ACCOUNTS, name, &wanted)).await?;
    let next = list.next.map(|after| show::with_query(visit.path_alone(), &[("after", after)]));
    let row = |account: Account| {
        let latest = account.key.as_ref().and_then(|key| certified(key, false).next());
        Row { account, latest }
    };
    let rows = list.items.into_iter().map(row).collect();
    let status = visit.problem.as_ref().map_or(StatusCode::OK, status_of);
    let page = ListPage { v: visit, domain, rows, next, is_first, address };
    Ok(visit.page(status, &page))
}

/// Returns the path of what this node knows without its leader.
fn known(template: &str, name: &str, wanted: &[(&str, String)]) -> String {
    let local = [("consistency", "local".to_owned())];
    show::with_query(&path::with_name(template, name), &[&local[..], wanted].concat())
}

fn certified(key: &Key, is_of_earlier: bool) -> impl Iterator<Item = Certified> {
    key.certificates.iter().map(move |issued| Certified {
        algorithm: key.algorithm.clone(),
        is_of_earlier,
        issued: issued.clone(),
        state: show::certificate_state(issued),
    })
}

impl Certified {
    /// Returns whether its revocation can be in a list of the domain.
    fn is_revocable(&self) -> bool {
        self.issued.own && self.issued.revoked.is_none() && self.issued.certificate.days_left >= 0
    }
}

/// Shows one account.
pub(super) async fn one(visit: &Visit, address: &str) -> Shown {
    let account: Account = visit.api.read(&path::with_name(path::ACCOUNT, address)).await?;
    let name = &account.domain;
    let domain: Domain = visit.api.read(&path::with_name(path::DOMAIN, name)).await?;
    let issuer: Issuer = visit.api.read(&path::with_name(path::SMIME, name)).await?;
    let current = account.key.iter().flat_map(|key| certified(key, false));
    // They are the oldest first.
    let earlier = account.earlier.iter().rev().flat_map(|key| certified(key, true));
    let certificates: Vec<Certified> = current.chain(earlier).collect();
    let is_renewal = certificates.iter().any(|one| !one.is_of_earlier && one.is_revocable());
    let page = AccountPage {
        v: visit,
        domain,
        certificates,
        key_form: if account.key.is_none() { "account.first-key" } else { "account.key" },
        may_issue: issuer.may_issue,
        sentence: smime::sentence(&issuer),
        issuing: if is_renewal { "account.renew" } else { "account.issue" },
        export: file_command(&account, "export", &["--out", "key.p12", "--export-passphrase-file"]),
        import: file_command(&account, "import", &["key.p12", "--file-passphrase-file"]),
        account,
    };
    Ok(visit.page(StatusCode::OK, &page))
}

/// Returns a command about a key in a file; its last option is the passphrase of the file.
fn file_command(account: &Account, what: &str, words: &[&str]) -> String {
    let begin = ["account", "key", what, &account.address, "--passphrase-file", "FILE"];
    show::command(&[&begin[..], words, &["FILE"]].concat())
}

pub(super) fn wish(what: &str, fields: &Fields) -> Option<Wished> {
    let address = fields.get("name").trim();
    Some(match what {
        "create" => Ok(create(address, fields)),
        "delete" => {
            let title = format!("Delete the account {address}");
            let wish = Wish::new(title, Method::DELETE, path::with_name(path::ACCOUNT, address));
            let list = format!("/ui/domains/{}/accounts", show::escaped(fields.get("domain")));
            let wish = wish.command(&["account", "delete", address, "--yes"]).typed(address);
            let note = "Its certificates are revoked. Mail to its keys stays encrypted for ever.";
            Ok(wish.then(list).noted(note))
        }
        "first-key" => twice(fields, "passphrase").map(|passphrase| {
            let wish = generate(address, fields, passphrase);
            wish.noted("Keep the passphrase: nobody can restore a lost one.")
        }),
        "key" => {
            let wish = generate(address, fields, fields.get("passphrase").to_owned());
            Ok(wish.noted("The present key stays, so that earlier mail can be read."))
        }
        "passphrase" => twice(fields, "new_passphrase").map(|new| relock(address, fields, new)),
        "issue" | "renew" => issue(address, fields, what),
        "revoke" => Ok(revoke(address, fields)),
        "invite" => Ok(invite(address)),
        "withdraw" => {
            let title = format!("Withdraw the invitation of {address}");
            let path = path::with_name(path::ACCOUNT_INVITATION, address);
            let wish = Wish::new(title, Method::DELETE, path);
            Ok(wish.command(&["account", "invite", address, "--withdraw"]))
        }
        _ => return None,
    })
}

/// Returns a new passphrase, as it was typed twice: white space is part of it.
fn twice(fields: &Fields, name: &str) -> Result<String, Problem> {
    let typed = fields.get(name);
    match typed == fields.get("repeated_passphrase") {
        true => Ok(typed.to_owned()),
        false => Err(Problem::new(Code::Malformed, "the two passphrases are not the same")
            .hint("type the new passphrase twice")),
    }
}

fn create(address: &str, fields: &Fields) -> Wish {
    let person = fields.some("person").unwrap_or_default();
    let mut words = vec!["account", "create", address];
    words.extend((!person.is_empty()).then_some(["--name", &person]).into_iter().flatten());
    let title = format!("Create the account {address}");
    let wish = Wish::new(title, Method::POST, path::ACCOUNTS.to_owned()).command(&words);
    let wish = wish.then(show::account_path(fields.get("domain"), address));
    wish.json(&Create { address: address.to_owned(), name: person })
}

fn invite(address: &str) -> Wish {
    let title = format!("Invite the owner of {address}");
    let path = path::with_name(path::ACCOUNT_INVITATION, address);
    Wish::new(title, Method::POST, path)
        .json(&Invite { expires_in: None })
        .untried(
            "It is shown once, used once, and ends after 7 days; an earlier one ends now. It gives \
             the account a key under the passphrase that the owner chooses. Mail to earlier keys \
             needs the passphrase of then.",
        )
        .command(&["account", "invite", address])
}

fn generate(address: &str, fields: &Fields, passphrase: String) -> Wish {
    let algorithm = fields.some("algorithm");
    let purpose = show::PURPOSES.iter().find(|(name, _, _)| *name == fields.get("purpose"));
    let mut words = vec!["account", "key", "generate", address, "--passphrase-file", "FILE"];
    words.extend(algorithm.iter().flat_map(|algorithm| ["--type", algorithm]));
    words.extend(purpose.iter().flat_map(|(name, _, _)| ["--purpose", *name]));
    let purpose = purpose.map(|(_, _, purpose)| *purpose).unwrap_or_default();
    let title = format!("Generate a key for {address}");
    let wish = Wish::new(title, Method::POST, path::with_name(path::ACCOUNT_KEY, address));
    let wish = wish.command(&words);
    let body = Generate { algorithm, purpose, passphrase };
    let wish = wish.json(&body);
    // What was copied for the request goes the way of the form.
    drop(Zeroizing::new(body.passphrase));
    wish
}

fn relock(address: &str, fields: &Fields, new: String) -> Wish {
    let title = format!("Another passphrase for the keys of {address}");
    let wish = Wish::new(title, Method::PUT, path::with_name(path::ACCOUNT_PASSPHRASE, address));
    let body = Passphrase { old: fields.get("passphrase").to_owned(), new };
    let wish = wish.json(&body);
    drop((Zeroizing::new(body.old), Zeroizing::new(body.new)));
    let words = ["account", "key", "passphrase", address, "--passphrase-file", "FILE"];
    wish.command(&[&words[..], &["--new-passphrase-file", "FILE"]].concat())
        .noted("It is for all keys of the account. Nobody can restore a lost one.")
}

fn issue(address: &str, fields: &Fields, what: &str) -> Wished {
    let issue = Issue {
        days: fields.number("days")?,
        renew: what == "renew",
        client: fields.is_on("client"),
        crl_url: fields.some("crl_url"),
    };
    let days = issue.days.map(|days| days.to_string());
    let mut words = vec!["account", "cert", what, address];
    words.extend(days.iter().flat_map(|days| ["--days", days]));
    words.extend(issue.client.then_some("--client"));
    words.extend(issue.crl_url.iter().flat_map(|url| ["--crl-url", url]));
    let title = format!("Issue a certificate for {address}");
    let wish = Wish::new(title, Method::POST, path::with_name(path::ACCOUNT_CERTIFICATE, address));
    let wish = wish.command(&words).json(&issue);
    Ok(if issue.client { wish.fact("Also for", "clients of TLS servers") } else { wish })
}

fn revoke(address: &str, fields: &Fields) -> Wish {
    let serial = fields.some("serial");
    let wanted = fields.get("revocation_reason");
    let reason = show::REASONS.iter().find(|(name, _, _)| *name == wanted);
    let mut words = vec!["account", "cert", "revoke", address];
    words.extend(serial.iter().flat_map(|serial| ["--serial", serial]));
    words.extend(reason.iter().flat_map(|(name, _, _)| ["--revocation-reason", *name]));
    words.push("--yes");
    let title = format!("Revoke a certificate of {address}");
    let path = path::with_name(path::ACCOUNT_CERTIFICATE_REVOKE, address);
    let wish = Wish::new(title, Method::POST, path).command(&words).typed(address);
    let reason = reason.map(|(_, _, reason)| *reason).unwrap_or_default();
    wish.json(&Revoke { serial, reason })
        .noted("It stays revoked, and is in the revocation list from then on.")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn wished(what: &str, fields: &str) -> Wished {
        wish(what, &Fields::parse(format!("name=ann%40shop.example&{fields}").as_bytes())).unwrap()
    }

    #[test]
    fn a_new_passphrase_is_the_same_twice() {
        let typed = "passphrase=+one+&new_passphrase=+two+&repeated_passphrase=";
        for (what, repeated, is_accepted) in [
            ("first-key", "+one+", true),
            ("first-key", "one", false),
            ("passphrase", "+two+", true),
            ("passphrase", "+one+", false),
        ] {
            let wished = wished(what, &format!("{typed}{repeated}"));
            assert_eq!(wished.is_ok(), is_accepted, "{what} {repeated}");
        }
        // White space is a part of it, and the present one is asked for once.
        let wish = wished("key", "passphrase=+one+").unwrap();
        assert!(std::str::from_utf8(&wish.body).unwrap().contains(r#""passphrase":" one ""#));
        assert!(!wish.command.contains("one"), "{}", wish.command);
    }

    #[test]
    fn what_has_no_way_back_wants_the_address_typed() {
        for what in ["delete", "revoke"] {
            let typed = wished(what, "domain=shop.example").unwrap().typed;
            assert_eq!(typed.as_deref(), Some("ann@shop.example"), "{what}");
        }
        for what in ["create", "key", "issue", "renew"] {
            assert_eq!(wished(what, "days=30").unwrap().typed, None, "{what}");
        }
        assert!(wish("export", &Fields::parse(b"")).is_none());
    }

    #[test]
    fn the_command_line_is_told_what_was_chosen() {
        for (what, fields, wanted) in [
            ("create", "person=Ann+Lee", "create ann@shop.example --name 'Ann Lee'"),
            (
                "key",
                "algorithm=rsa3072&purpose=sign",
                "key generate ann@shop.example --passphrase-file FILE --type rsa3072 \
                 --purpose sign",
            ),
            ("renew", "days=30&client=1", "cert renew ann@shop.example --days 30 --client"),
            (
                "revoke",
                "serial=4e&revocation_reason=superseded",
                "cert revoke ann@shop.example --serial 4e --revocation-reason superseded --yes",
            ),
        ] {
            let command = wished(what, fields).unwrap().command;
            assert_eq!(command, format!("conclave account {wanted}"));
        }
    }
}
