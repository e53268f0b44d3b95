//! The facts about a row that the audit trail tells. None is secret.

use crate::{
    id::Fingerprint,
    record::{
        Account, AccountKey, AccountSettings, Domain, Grant, Listener, ListenerPolicy, MemberRole,
        PkiMode, Record, RowKey, SmimeIssuer, TlsSettings, TlsVersion, User,
    },
    time::UnixMillis,
};

/// Names and values, each name once.
pub type Facts = Vec<(String, String)>;

/// Returns the facts about a row; none about a row that only accompanies others.
pub fn of(key: &RowKey, record: &Record) -> Facts {
    let one = |what: &str, value: String| vec![(what.to_owned(), value)];
    match record {
        Record::Domain(found) => domain(found),
        Record::Listener(found) => listener(found),
        Record::ListenerPolicy(policy) => listener_policy(*policy),
        Record::TlsSettings(found) => settings(found),
        Record::Trusted(found) => {
            one("trusted certificate", format!("SHA-256 {}", Fingerprint::of(&found.der)))
        }
        Record::Crl(found) => one("revocation list", short(&Fingerprint::of(&found.der))),
        Record::LongCrl(found) => one("revocation list", short(&found.list)),
        Record::Cluster(found) => vec![
            ("cluster".to_owned(), found.name.to_string()),
            ("authority".to_owned(), short(&Fingerprint::of(&found.authority_der))),
            ("generation".to_owned(), found.generation.to_string()),
        ],
        Record::Member(found) => vec![
            ("node".to_owned(), found.name.to_string()),
            ("address".to_owned(), found.address.clone()),
            ("role".to_owned(), role(found.role).to_owned()),
        ],
        Record::MemberPlace(found) => one("zone", found.zone.clone()),
        Record::JoinToken(found) => one("join token", format!("ends {}", time(found.expires))),
        Record::AccessToken(found) => {
            let ends = found.expires.map_or_else(|| "never".to_owned(), time);
            one("token", format!("{}, ends {ends}", found.name))
        }
        Record::Grant(found) => grant(found),
        Record::User(found) => user(found),
        Record::SmimeIssuer(found) => smime_issuer(found),
        Record::AccountSettings(found) => account_settings(found),
        Record::Account(found) => account(found),
        Record::IssuedCertificate(found) => {
            let RowKey::IssuedCertificate((_, serial)) = key else { return Facts::new() };
            one(&format!("certificate {serial}"), format!("until {}", time(found.not_after)))
        }
        Record::Revocation(found) => {
            let RowKey::Revocation((_, serial)) = key else { return Facts::new() };
            one(&format!("revocation of {serial}"), format!("{:?}", found.reason))
        }
        Record::PendingKey(found) => {
            one("pending key", format!("{} {}", found.algorithm, short(&found.public_key)))
        }
        Record::Canary(found) => {
            let on = ("canary on".to_owned(), format!("node {}", found.node));
            std::iter::once(on).chain(domain(&found.domain)).collect()
        }
        Record::Level(level) => one("level", level.to_string()),
        Record::MainDomain(name) => one("Main Domain", name.to_string()),
        Record::LastBackup(found) => one("last backup", time(found.time)),
        Record::AuditCut(found) => one("first entry", found.first.to_string()),
        Record::AuditKept(count) => one("entries kept", count.to_string()),
        Record::EarlierAuthority(found) => {
            one("earlier authority", short(&Fingerprint::of(&found.authority_der)))
        }
        Record::Generation(found) => {
            let RowKey::Generation(generation) = key else { return Facts::new() };
            let value = format!("for {} nodes", found.wraps.len());
            one(&format!("generation {generation}"), value)
        }
        _ => Facts::new(),
    }
}

fn domain(domain: &Domain) -> Facts {
    let names: Vec<String> = domain.server_names().map(String::from).collect();
    let addresses: Vec<String> = domain.addresses.iter().map(ToString::to_string).collect();
    let mode = match domain.mode {
        PkiMode::Disabled => "disabled",
        PkiMode::Test => "test",
        PkiMode::Enabled => "enabled",
    };
    let mut facts =
        vec![("PKI services".to_owned(), mode.to_owned()), ("names".to_owned(), names.join(" "))];
    if !addresses.is_empty() {
        facts.push(("addresses".to_owned(), addresses.join(" ")));
    }
    for credential in &domain.credentials {
        let (key, family) = (&credential.key, credential.key.family);
        let value = format!("{}, SHA-256 {}", key.algorithm, short(&key.public_key));
        facts.push((format!("{family} key"), value));
        if let Some(certificate) = &credential.certificate {
            let hash = Fingerprint::of(&certificate.der);
            let value = format!("SHA-256 {hash}, until {}", time(certificate.not_after));
            facts.push((format!("{family} certificate"), value));
        }
        if let Some(chain) = &credential.chain {
            facts.push((format!("{family} CA chain"), short(chain)));
        }
    }
    if let Some(asked) = domain.client_auth {
        let how = if asked.is_required { "required" } else { "asked for" };
        let value = format!("{how}, issued by SHA-256 {}", asked.issuer);
        facts.push(("client certificates".to_owned(), value));
    }
    facts
}

fn smime_issuer(issuer: &SmimeIssuer) -> Facts {
    let key = format!("{}, SHA-256 {}", issuer.key.algorithm, short(&issuer.key.public_key));
    let mut facts = vec![("S/MIME key".to_owned(), key)];
    if let Some(certificate) = &issuer.certificate {
        let hash = Fingerprint::of(&certificate.der);
        let value = format!("SHA-256 {hash}, until {}", time(certificate.not_after));
        facts.push(("S/MIME certificate".to_owned(), value));
    }
    if !issuer.chain.is_empty() {
        let chain = short(&crate::record::Chain::fingerprint(&issuer.chain));
        facts.push(("S/MIME CA chain".to_owned(), chain));
    }
    facts
}

fn account_settings(settings: &AccountSettings) -> Facts {
    let url = settings.crl_url.iter().map(|url| ("revocation list".to_owned(), url.clone()));
    let key = settings
        .recovery_key
        .iter()
        .map(|key| ("recovery key".to_owned(), format!("SHA-256 {}", short(&key.public_key))));
    url.chain(key).collect()
}

fn account(account: &Account) -> Facts {
    let mut facts = Facts::new();
    if !account.name.is_empty() {
        facts.push(("person".to_owned(), account.name.clone()));
    }
    if let Some(invitation) = &account.invitation {
        facts.push(("invitation".to_owned(), format!("until {}", time(invitation.expires))));
    }
    if let Some(AccountKey { algorithm, public_key, certificates, sealed, .. }) = &account.key {
        let value = format!("{algorithm}, SHA-256 {}", short(public_key));
        facts.push(("key".to_owned(), value));
        // The passphrase shows in the locked key only, which is other bytes under each one.
        facts.push(("locked as".to_owned(), short(&Fingerprint::of(&sealed.ciphertext))));
        if let Some(latest) = certificates.first() {
            let hash = Fingerprint::of(&latest.certificate.der);
            let value = format!("SHA-256 {hash}, until {}", time(latest.certificate.not_after));
            facts.push(("certificate".to_owned(), value));
        }
    }
    if account.earlier_keys > 0 {
        facts.push(("earlier keys".to_owned(), account.earlier_keys.to_string()));
    }
    facts
}

fn listener(listener: &Listener) -> Facts {
    let address = listener.address.map_or_else(|| "*".to_owned(), |address| address.to_string());
    let networks = |listener: &Listener| {
        let all = listener.proxy_from.iter();
        all.map(|one| format!("{}/{}", one.address, one.prefix)).collect::<Vec<_>>().join(" ")
    };
    let mut facts = vec![
        (
            "listener".to_owned(),
            format!("{} {address}:{}", listener.protocol.as_str(), listener.port),
        ),
        ("upstreams".to_owned(), listener.upstreams.join(" ")),
    ];
    for (name, upstreams) in &listener.domain_upstreams {
        facts.push((format!("upstreams of {name}"), upstreams.join(" ")));
    }
    let optional = [
        ("requires TLS", listener.requires_tls.then(|| "yes".to_owned())),
        ("ALPN", (!listener.alpn.is_empty()).then(|| listener.alpn.join(" "))),
        ("PROXY from", (!listener.proxy_from.is_empty()).then(|| networks(listener))),
        ("PROXY to", listener.proxy_to.map(|version| format!("{version:?}").to_lowercase())),
        (
            "server name",
            listener.outgoing.as_ref().and_then(|outgoing| outgoing.server_name.clone()),
        ),
    ];
    let present = optional.into_iter().filter_map(|(what, value)| Some((what.to_owned(), value?)));
    facts.extend(present);
    facts
}

fn listener_policy(policy: ListenerPolicy) -> Facts {
    vec![
        ("client certificate required".to_owned(), policy.requires_client_certificate.to_string()),
        ("server certificates taken".to_owned(), policy.takes_server_certificates.to_string()),
    ]
}

fn settings(settings: &TlsSettings) -> Facts {
    let version = match settings.version_min {
        TlsVersion::V1_2 => "1.2",
        TlsVersion::V1_3 => "1.3",
    };
    let facts = [
        ("log level", format!("{:?}", settings.log_level).to_lowercase()),
        ("time to live", format!("{} s", settings.session_ttl_s)),
        ("key rotation", format!("{} s", settings.ticket_rotation_s)),
        ("oldest version", version.to_owned()),
        ("target domain", settings.process_target_domain.to_string()),
        ("abort on wrong", settings.abort_on_wrong_client_certificate.to_string()),
        ("cipher suites", settings.cipher_suites.join(" ")),
        ("groups", settings.groups.join(" ")),
        ("flushes", settings.flushes.to_string()),
    ];
    facts.map(|(what, value)| (what.to_owned(), value)).to_vec()
}

fn grant(grant: &Grant) -> Facts {
    let lower = |text: String| text.to_lowercase();
    let roles: Vec<String> = grant.roles.iter().map(|role| lower(format!("{role:?}"))).collect();
    let only: Vec<String> = grant.only.iter().map(|right| lower(format!("{right:?}"))).collect();
    let domains = grant.domains.iter();
    let domains: Vec<String> =
        domains.map(|one| format!("{}{}", if one.is_tree { "." } else { "" }, one.name)).collect();
    let networks = grant.networks.iter();
    let networks: Vec<String> =
        networks.map(|one| format!("{}/{}", one.address, one.prefix)).collect();
    let lists = [("roles", roles), ("only", only), ("domains", domains), ("networks", networks)];
    let mut facts: Facts = lists
        .into_iter()
        .filter(|(_, list)| !list.is_empty())
        .map(|(what, list)| (what.to_owned(), list.join(" ")))
        .collect();
    facts.extend(grant.uses.map(|uses| ("uses".to_owned(), uses.to_string())));
    facts
}

fn user(user: &User) -> Facts {
    let mut facts = grant(&user.grant);
    let set = |is_set: bool| if is_set { "set" } else { "none" }.to_owned();
    facts.push(("password".to_owned(), set(user.password.is_some())));
    facts.push(("one-time code".to_owned(), set(user.code.is_some())));
    if !user.certificates.is_empty() {
        let names: Vec<&str> = user.certificates.iter().map(|one| one.name.as_str()).collect();
        facts.push(("certificates".to_owned(), names.join(" ")));
    }
    facts.push(("credentials of".to_owned(), time(user.credentials_changed)));
    facts
}

fn role(role: MemberRole) -> &'static str {
    match role {
        MemberRole::Voter => "voter",
        MemberRole::Learner => "learner",
    }
}

/// Returns a short prefix, enough to tell two fingerprints apart.
fn short(fingerprint: &Fingerprint) -> String {
    let mut text = fingerprint.to_string();
    text.truncate(16);
    text
}

fn time(time: UnixMillis) -> String {
    crate::record::rfc3339(time)
}
