//! Commands for accounts.

use std::{path::Path, time::Duration};

use conclave_api::{
    account::{
        self, Create, Export, Generate, Import, Invite, Issue, Key, Login, Passphrase, Recover,
        Revoke, SealedCopy,
    },
    problem::{Code, Problem},
};
use conclave_client::Failure;
use conclave_pki::{
    certificate::read_many,
    key::{PrivateKey, read_private_key},
};
use conclave_smime::{
    lock::{self, Context},
    pkcs12::{self, Identity, Protection},
};
use conclave_system::entropy;
use data_encoding::{BASE64, HEXLOWER};

use super::{
    Asking, Done, adding, cert, change, check_writable, confirm, key::passphrase, keyring,
    read_bytes, removing, user::show_session, write_file,
};
use crate::{
    args::{Account, AccountCert, AccountIssuing, AccountKey, Changing},
    context::write_private,
    output::{self, Columns},
};

/// Certificates that a copy of a key comes with.
const CERTIFICATES_MAX: usize = 16;

pub(super) async fn run(asking: &Asking, command: Account) -> Done {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        Account::Create { email, name, missing, changing } => {
            let create = Create { address: email.clone(), name };
            let done = client.create_account(&create, &adding(&changing, &missing)).await?;
            output::change(global, &format!("account {email}: made"), &done);
            let next = format!(
                "conclave account invite {email}    or: conclave account key generate {email} --passphrase-file FILE"
            );
            output::next(global, &done, &next);
        }
        Account::List { domain } => list(asking, &domain).await?,
        Account::Show { email } => {
            let found = client.account(&email).await?;
            if !output::object_of(global, "Account", &email, &found) {
                show(&found);
            }
        }
        Account::Delete { email, existing, changing } => {
            confirm(global, changing.is_sure(), &format!("the account {email}"), &email)?;
            let done = client.delete_account(&email, &removing(&changing, &existing)).await?;
            output::change(global, &format!("account {email}: deleted"), &done);
        }
        Account::Invite { email, expires_in, withdraw: false, changing } => {
            invite(asking, &email, expires_in, &changing).await?;
        }
        Account::Invite { email, changing, .. } => {
            let done = client.withdraw_invitation(&email, &change(&changing)).await?;
            output::change(global, &format!("account {email}: invitation withdrawn"), &done);
        }
        Account::Login { email, passphrase_file, invitation_file, algorithm } => {
            let is_new = invitation_file.is_some();
            let passphrase = match &passphrase_file {
                Some(file) => first(file)?,
                None => keyring::secret(global, "Passphrase: ", is_new)?,
            };
            let invitation = invitation_file.as_deref().map(first).transpose()?;
            let login = Login { passphrase, invitation, algorithm };
            let session = client.account_login(&email, &login).await?;
            let text = format!(
                "The session ends at {}. Use it with --token-file FILE, as: conclave account show {email}",
                session.expires
            );
            show_session(asking, &session, &text)?;
        }
        Account::Key(command) => key(asking, command).await?,
        Account::Cert(command) => certificate(asking, command).await?,
    }
    Ok(0)
}

async fn invite(
    asking: &Asking,
    email: &str,
    expires_in: Duration,
    changing: &Changing,
) -> Result<(), Failure> {
    let (client, global) = (asking.client()?, &asking.global);
    let invite = Invite { expires_in: Some(expires_in.as_secs()) };
    let invitation = client.invite_owner(email, &invite, &change(changing)).await?;
    if output::json(global, &invitation) {
        return Ok(());
    }
    let (expires, secret) = (&invitation.expires, &invitation.invitation);
    output::line(invitation.url.as_ref().unwrap_or(secret));
    let text = match &invitation.url {
        Some(_) => format!("Send this address to the owner. It is used once, until {expires}."),
        None => format!(
            "It is shown once, used once, and ends at {expires}. Owners use it with conclave account login, or at a page: [account] url in the configuration makes an address of it."
        ),
    };
    output::advice(global, &text);
    match output::lost() {
        None => Ok(()),
        Some(lost) => Err(Box::new(
            lost.hint(format!("conclave account invite {email}    makes another one")),
        )),
    }
}

async fn key(asking: &Asking, command: AccountKey) -> Result<(), Failure> {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        AccountKey::Generate { email, passphrase_file, algorithm, purpose, changing } => {
            let (algorithm, purpose) = (Some(algorithm), purpose.into());
            let generate = Generate { algorithm, purpose, passphrase: first(&passphrase_file)? };
            let done = client.generate_account_key(&email, &generate, &change(&changing)).await?;
            output::change(global, &format!("account {email}: key"), &done);
            output::next(global, &done, &format!("conclave account cert issue {email}"));
        }
        AccountKey::Import {
            email,
            file,
            file_passphrase_file,
            passphrase_file,
            purpose,
            changing,
        } => {
            let import = Import {
                pkcs12: BASE64.encode(&read_bytes(&file)?),
                pkcs12_passphrase: first(&file_passphrase_file)?,
                purpose: purpose.into(),
                passphrase: first(&passphrase_file)?,
            };
            let done = client.import_account_key(&email, &import, &change(&changing)).await?;
            output::change(global, &format!("account {email}: key imported"), &done);
        }
        AccountKey::Export { email, passphrase_file, out, export_passphrase_file, key, legacy } => {
            let (passphrase, of_file) = (first(&passphrase_file)?, first(&export_passphrase_file)?);
            check_writable(&out)?;
            let export = Export { passphrase, export_passphrase: of_file, key, legacy };
            let exported = client.export_account_key(&email, &export).await?;
            let bytes = BASE64.decode(exported.pkcs12.as_bytes()).map_err(|_| {
                Problem::new(Code::Internal, "the node's answer is not encoded in base64")
            })?;
            write_private(&out, &bytes)?;
            let text = format!("account {email}: key exported to {}", out.display());
            output::success(global, &text);
        }
        AccountKey::Recover {
            email,
            recovery_key,
            recovery_passphrase_file,
            out,
            export_passphrase_file,
            key,
        } => {
            let of_key = passphrase(recovery_passphrase_file.as_deref())?;
            let recovery_key = private_key(&recovery_key, of_key.as_deref())?;
            let of_file = first(&export_passphrase_file)?;
            check_writable(&out)?;
            let copy = client.recover_account_key(&email, &Recover { key }).await?;
            write_private(&out, &recovered(&email, &copy, &recovery_key, &of_file)?)?;
            let text = format!("account {email}: key recovered to {}", out.display());
            output::success(global, &text);
        }
        AccountKey::Passphrase { email, passphrase_file, new_passphrase_file, changing } => {
            let (old, new) = (first(&passphrase_file)?, first(&new_passphrase_file)?);
            let passphrase = Passphrase { old, new };
            let options = change(&changing);
            let done = client.set_account_passphrase(&email, &passphrase, &options).await?;
            output::change(global, &format!("account {email}: new passphrase"), &done);
        }
    }
    Ok(())
}

fn private_key(file: &Path, passphrase: Option<&str>) -> Result<PrivateKey, Failure> {
    let pem = read_bytes(file)?;
    read_private_key(&pem, passphrase.map(str::as_bytes)).map_err(|error| {
        let title = format!("{} holds no private key that can be used", file.display());
        Box::new(Problem::new(Code::FileUnusable, title).detail(error.to_string()))
    })
}

/// Opens the copy of a key, and writes it as PKCS#12 with its certificates.
fn recovered(
    email: &str,
    copy: &SealedCopy,
    recovery_key: &PrivateKey,
    passphrase: &str,
) -> Result<Vec<u8>, Failure> {
    let impossible = |why: String| {
        let title = format!("the key of {email} cannot be recovered");
        let hint = format!("the private key of the recovery key {}", copy.recovery_key);
        Box::new(Problem::new(Code::RecoveryImpossible, title).detail(why).hint(hint))
    };
    let sealed = BASE64.decode(copy.sealed_key.as_bytes());
    let sealed = sealed.map_err(|error| impossible(error.to_string()))?;
    let key_id = HEXLOWER.decode(copy.key.as_bytes());
    let key_id = key_id.map_err(|error| impossible(error.to_string()))?;
    let context = Context { address: &copy.address, key_id: &key_id };
    let key = lock::recover(&sealed, recovery_key, &context);
    let key = key.map_err(|error| impossible(error.to_string()))?;
    let certificates = read_many(copy.certificates.as_bytes(), CERTIFICATES_MAX);
    let certificates = certificates.map_err(|error| {
        let title = format!("the key of {email} has no certificate, and a PKCS#12 file needs one");
        let hint = format!("conclave account cert issue {email}");
        Box::new(Problem::new(Code::CertificateMissing, title).detail(error.to_string()).hint(hint))
    })?;
    let identity = Identity::new(key, certificates, Some(copy.address.clone()));
    let identity = identity.map_err(|error| impossible(error.to_string()))?;
    pkcs12::write(&identity, passphrase, Protection::Modern, &mut entropy::fill)
        .map_err(|error| impossible(error.to_string()))
}

/// Returns the passphrase in the first line of a file.
fn first(file: &Path) -> Result<String, Failure> {
    passphrase(Some(file)).map(Option::unwrap_or_default)
}

async fn certificate(asking: &Asking, command: AccountCert) -> Result<(), Failure> {
    let (client, global) = (asking.client()?, &asking.global);
    match command {
        AccountCert::Issue(issuing) => issue(asking, *issuing, false).await?,
        AccountCert::Renew(issuing) => issue(asking, *issuing, true).await?,
        AccountCert::Revoke { email, serial, revocation_reason, changing } => {
            let what = format!("the validity of certificates of {email}");
            confirm(global, changing.is_sure(), &what, &email)?;
            let revoke = Revoke { serial, reason: revocation_reason.into() };
            let options = change(&changing);
            let done = client.revoke_account_certificate(&email, &revoke, &options).await?;
            output::change(global, &format!("account {email}: revoked"), &done);
        }
        AccountCert::Show { email, out } => {
            let found = client.account_certificate(&email).await?;
            if let Some(out) = out {
                let all = std::iter::once(&found.certificate).chain(&found.chain);
                let pem: String = all.map(|one| one.pem.as_str()).collect();
                let out = (out != Path::new("-")).then_some(out);
                return write_file(out.as_deref(), &pem);
            }
            if !output::object_of(global, "AccountCertificate", &email, &found) {
                cert::show(&found.certificate);
                if let Some(revoked) = &found.revoked {
                    output::line(&format!("{:<15}{revoked}", "Revoked"));
                }
            }
        }
    }
    Ok(())
}

async fn issue(asking: &Asking, issuing: AccountIssuing, renew: bool) -> Result<(), Failure> {
    let AccountIssuing { email, days, client, crl_url, changing } = issuing;
    let issue = Issue { days, renew, client, crl_url };
    let options = change(&changing);
    let done = asking.client()?.issue_account_certificate(&email, &issue, &options).await?;
    output::change(&asking.global, &format!("account {email}: certificate"), &done);
    Ok(())
}

async fn list(asking: &Asking, domain: &str) -> Result<(), Failure> {
    let (mut all, mut after) = (Vec::new(), None);
    loop {
        let page = asking.client()?.accounts(domain, after).await?;
        all.extend(page.items);
        after = page.next;
        if after.is_none() {
            break;
        }
    }
    let columns = Columns {
        kind: "Account",
        head: &["ADDRESS", "NAME", "KEY", "CERTIFICATE UNTIL"],
        wide: &["EARLIER KEYS", "CHANGED", "BY"],
        name: |account: &account::Account| account.address.clone(),
    };
    output::list(&asking.global, &columns, &all, |account, _| {
        let key = account.key.as_ref();
        let latest = key.and_then(|key| key.certificates.first());
        let until = latest.map(|one| match &one.revoked {
            Some(_) => "revoked".to_owned(),
            None => one.certificate.not_after.clone(),
        });
        vec![
            account.address.clone(),
            account.name.clone(),
            key.map(|key| key.algorithm.clone()).unwrap_or_default(),
            until.unwrap_or_default(),
            account.earlier_keys.to_string(),
            account.changed.clone(),
            account.changed_by.clone(),
        ]
    });
    Ok(())
}

fn show(account: &account::Account) {
    let (version, changed, by) = (account.version, &account.changed, &account.changed_by);
    output::line(&format!("{}  (version {version}, changed {changed} by {by})", account.address));
    output::line(&format!("{:<15}{}", "Domain", account.domain));
    if !account.name.is_empty() {
        output::line(&format!("{:<15}{}", "Name", account.name));
    }
    if let Some(until) = &account.invited_until {
        output::line(&format!("{:<15}until {until}", "Invitation"));
    }
    account.key.iter().for_each(|key| show_key("Key", key));
    account.earlier.iter().for_each(|key| show_key("Earlier key", key));
}

fn show_key(what: &str, key: &Key) {
    output::line(&format!("{what:<15}{}, SHA-256 {}", key.algorithm, key.sha256));
    if key.earlier_passphrase {
        output::line(&format!("{:<15}an earlier one, which was given up", "  passphrase"));
    }
    if let Some(recovery_key) = &key.recovery_key {
        output::line(&format!("{:<15}by the holder of SHA-256 {recovery_key}", "  recoverable"));
    }
    for one in &key.certificates {
        let certificate = &one.certificate;
        let state = match &one.revoked {
            Some(revoked) => format!("revoked {revoked}"),
            None => format!("until {}", certificate.not_after),
        };
        let (issuer, serial) = (&certificate.issuer, &certificate.serial);
        output::line(&format!("{:<15}{serial} by {issuer}, {state}", "  certificate"));
    }
}
