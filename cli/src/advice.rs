//! Explanations of error codes, and the commented configuration file.

use conclave_api::problem::Code;

/// Returns one paragraph about a code.
#[expect(clippy::too_many_lines, reason = "one table, a line per code")]
pub(crate) fn explain(code: Code) -> &'static str {
    match code {
        Code::BackupDamaged => {
            "The file is not a backup, or it was changed, cut or extended after it was made. Every byte of a backup is signed, so nothing of such a file is used. Take another copy of it, or an earlier backup."
        }
        Code::BackupIdentityWrong => {
            "The backup was encrypted to other recipients than the identities that were given. conclave backup inspect FILE shows its recipients; the first lines of a file of identities name the recipient that belongs to it."
        }
        Code::BackupRecipientInvalid => {
            "A recipient is the public key to which a backup is encrypted; it begins with age1. An identity is its private key, in a file; it begins with AGE-SECRET-KEY-1. conclave backup keygen --out FILE makes both."
        }
        Code::BackupBusy => {
            "A node makes one backup at a time, so that its other work goes on. Wait for it, or ask another node."
        }
        Code::BackupIncomplete => {
            "The node stopped sending before the backup was complete: it was stopped, or the connection broke. What had come was removed. Repeat the command."
        }
        Code::NotRestoring => {
            "A backup is restored into a new cluster only: on a node that belongs to no cluster, or in a cluster whose restore was begun and is not finished."
        }
        Code::BackupOfOtherCluster => {
            "The backup is signed by another cluster than --authority says. conclave backup inspect FILE shows its fingerprint, conclave status -o json that of a cluster."
        }
        Code::BackupOld => {
            "The last backup that is known to be complete is more than 26 hours old. See whether the timer that makes backups still runs."
        }
        Code::RestoreUnfinished => {
            "A restore was begun and did not end, so domains may be missing. Repeat the same conclave backup restore: it goes on in the cluster that it founded."
        }
        Code::NoPrivateKey => {
            "The input holds no private key. Give a PEM file that begins with -----BEGIN PRIVATE KEY-----, -----BEGIN RSA PRIVATE KEY----- or -----BEGIN EC PRIVATE KEY-----."
        }
        Code::KeyEncrypted => {
            "The private key is protected by a passphrase. A node must use its keys after a restart with nobody at hand, so it takes keys without one and seals them under the cluster's keyring. Take the passphrase off with: openssl pkey -in FILE -out PLAIN, import PLAIN, and delete it."
        }
        Code::KeyUnsupported => {
            "The key is too weak or of a type that is not supported. EC P-256, EC P-384, Ed25519 and RSA of 2048 to 8192 bits with two primes are. X25519 cannot sign: it is for accounts that receive encrypted messages."
        }
        Code::NotAKey => {
            "A private key was expected and something else was found, most often because FILE and --key were swapped."
        }
        Code::SeveralKeys => {
            "The file holds several private keys, and it is not clear which one is meant."
        }
        Code::KeyDamaged => {
            "The private key is damaged: cut off, not base64, or its numbers do not belong together. A public key inside that belongs to another private key is refused too."
        }
        Code::KeyNotPem => {
            "The file with the key is not PEM but DER, PKCS#12, a Java key store, UTF-16 or the like. The hint has the command that converts it, as: openssl pkey -inform DER -in FILE -out FILE.pem"
        }
        Code::KeyTestFailed => "What the key signs does not verify. Such a key is of no use.",
        Code::KeyExists => {
            "The domain has a private key already. A key in use is never replaced in passing: remove it, or import a certificate together with its key."
        }
        Code::PassphraseWrong => {
            "The passphrase in --passphrase-file is not that of the key. Its first line counts, without the line's end."
        }
        Code::KeyMissing => "The domain has no private key yet. Make one, or import one.",
        Code::NoCertificate => {
            "The input holds no certificate that can be used. Give a PEM file that begins with -----BEGIN CERTIFICATE-----. Other forms are named, with the command that converts them."
        }
        Code::CertificateDamaged => {
            "The certificate is damaged: cut off, not base64, or not built as RFC 5280 says."
        }
        Code::CertificateOfOtherKey => {
            "The certificate belongs to another private key than the domain's. Import the key with it (--key FILE), or have a certificate made for the domain's key."
        }
        Code::CertificateExpiring => {
            "The certificate expires soon: it is in the last quarter of its life, at most 30 days before its end."
        }
        Code::CertificateOutOfDate => {
            "The certificate has expired, or is not valid yet. If it should be valid, look at the clock of the node."
        }
        Code::CertificateForOtherNames => "The certificate is for other names than the domain's.",
        Code::NotACertificate => {
            "A certificate was expected and something else was found, most often because FILE and --key were swapped."
        }
        Code::CertificateFieldInvalid => {
            "A field of the certificate to make is not possible: too long, or not of its form."
        }
        Code::CertificateRevoked => {
            "A revocation list of the issuer names the certificate: it is revoked."
        }
        Code::NotSelfSigned => {
            "Only a certificate that the domain's own key signed can be refreshed. Others are renewed by their issuer: conclave csr create NAME"
        }
        Code::CertificateMissing => "The domain has no certificate yet.",
        Code::NoChain => "The input holds no CA chain.",
        Code::ChainOrder => {
            "All certificates of the chain are there, but not each is followed by its issuer. --sort puts them in order."
        }
        Code::ChainLinkMissing => {
            "The issuer of a certificate in the chain is missing. Get it; the address in the hint comes from the certificate itself and is never fetched for you. --allow-broken-chain takes the chain as it is; clients that do not know the missing certificate will refuse it."
        }
        Code::ChainTooLong => "The CA chain has more certificates than any client would follow.",
        Code::NoTrustedPath => {
            "No trusted certificate is reached. Nobody in the file, the intermediates or the trusted sets issued the certificate named: get the missing intermediate, or add its authority with: conclave trust add"
        }
        Code::PathRuleBroken => {
            "A certificate of the path breaks a rule of RFC 5280; the answer names certificate, rule and section. --path-only asks for the rules of paths alone (§6), without those of what certificates must look like (§4)."
        }
        Code::PathSignature => {
            "A signature of the path is wrong, or made with a key or an algorithm that is not accepted: RSA below 2048 bits, SHA-1, MD5, or a type that this version does not know."
        }
        Code::RevocationListUnusable => {
            "A revocation list of the issuer is there, but cannot be used: expired, wrongly signed, a delta, or with a critical extension that is not known; or lists are there, and none speaks about the certificate. Then nothing is known about the certificate, and it is refused. A list that could not be used by anybody is not taken into a set either."
        }
        Code::TooMuchWork => {
            "Checking took more steps than any honest chain needs, and was given up."
        }
        Code::TrustedCertificateUnknown => {
            "No certificate and no revocation list with this fingerprint stands in this set; for client-auth: no trusted certificate with it counts for the domain. conclave trust list --scope domain:NAME shows all."
        }
        Code::NotAnAuthority => {
            "Only a certificate of an authority, or one that signed itself, can be trusted for others."
        }
        Code::NotATrustSet => "Sets are builtin, server, cluster and domain:NAME.",
        Code::ChainMissing => "The domain has no CA chain.",
        Code::InvalidDomainName => {
            "This is not a domain name. Names are letters, digits, hyphens and underscores in parts with dots between. International names may be written with their own letters (bücher.example) or as xn--…; they are kept as xn--…."
        }
        Code::DomainUnknown => "There is no domain of this name.",
        Code::NameTaken => {
            "The name belongs to a domain already, as its name or as one of its aliases."
        }
        Code::LimitReached => {
            "A bound of the cluster is reached. Bounds keep every node able to start and to serve."
        }
        Code::PortUnavailable => {
            "A port cannot be opened, most often because another process has it."
        }
        Code::PortForbidden => {
            "Ports below 1024 need a right: sudo setcap cap_net_bind_service=+ep $(command -v conclave), or the packaged unit."
        }
        Code::InvalidAddress => {
            "This is not an address to listen on, or not a possible upstream. Upstreams may not be the node's own administration, nor link-local addresses."
        }
        Code::ListenerExists => "A listener of this name, or on this port, exists already.",
        Code::ListenerUnknown => "There is no listener of this name.",
        Code::OptionUnfit => {
            "The listener's protocol has no use for this option, so it would be stored and never looked at. conclave listener add --help says which goes with which."
        }
        Code::NoQuorum => {
            "Too few voters answer to decide anything. TLS goes on with what is known. Start the missing nodes. If they are lost for ever: conclave explain recover."
        }
        Code::NoLeader => {
            "No leader was found within the time limit: an election is running, or too few voters answer. TLS goes on with what is known."
        }
        Code::OutcomeUnknown => {
            "The answer was lost, so the change may have been made. Repeat the command with the printed --operation: it will not be done twice."
        }
        Code::NodeDrained => {
            "A node was drained: it takes no new connections, and serves those that are open.\n\n    conclave node resume NAME\n\nA restart of the node ends the drain too."
        }
        Code::ClockOff => {
            "The clock of a node differs by more than a second from those of the other nodes. Tokens, revocation lists and certificates are judged by each node's clock: such a node refuses what the others take. Set the clock, and let it follow a time server (chrony, systemd-timesyncd). Raft and TLS go on."
        }
        Code::NotOnAllNodes => {
            "The change is made, but some nodes do not use it yet, and --require-all asks for all of them. The message says why for each node. They follow by themselves as soon as they can; conclave status shows what keeps them from it. Repeating the command changes nothing and looks again."
        }
        Code::LeaderKept => {
            "The leadership was not transferred: the node is a learner, silent, drained, or its disk is full, or no voter but the leader can lead. The leader goes on as before. conclave node list shows who is what; conclave cluster transfer-leader without a name takes the best voter."
        }
        Code::NotTakenOver => {
            "A new process did not get the sockets of the running one, and has ended. The running process goes on: with its member if it had not stopped it yet, and otherwise it starts it again. Its log says what happened (take_over.failed)."
        }
        Code::NodeLagging => {
            "The node answers, but serves less than the cluster has committed for more than a second. It may be installing a snapshot, or its disk may be slow. Changes do not wait for it, and name it as missing. conclave status shows how far it is; if it comes no further, look at its disk and its log."
        }
        Code::OperationForgotten => {
            "The operation id is older than what the cluster remembers, so it cannot tell whether the change was made before, and does not make it again. Look whether it is made; if not, make it without --operation. If this was the first try, a clock is wrong: the id tells when it was made."
        }
        Code::Recovered => {
            "The node was recovered from a lost quorum. It turns the keyring by itself as soon as it is unsealed, so that the former members cannot open what is sealed from then on. They must be wiped and join anew: with their old data they are refused, and two of them could go on as a second cluster. The message stays until their names are back, there are as many voters as before, or a month has passed. More: conclave explain recover."
        }
        Code::NodeRunning => {
            "The command works on the data of a stopped node, and the node runs: systemctl stop conclave, then repeat it."
        }
        Code::NoCluster => {
            "This node belongs to no cluster yet: conclave cluster init --name NAME, or conclave cluster join HOST:PORT."
        }
        Code::AlreadyMember => {
            "This node belongs to a cluster already. To join another one, start the node with an empty data directory."
        }
        Code::Sealed => {
            "The node is sealed: its unlock key is missing or wrong, it waits for its passphrase or for shares, or it was sealed by conclave keyring seal. It still votes and replicates, and uses no private key. On that node: conclave keyring unseal, which asks for what is missing or reads the unlock key again. conclave keyring status says how a node unlocks."
        }
        Code::UnlockKeyExposed => {
            "Other users of the machine can read or change the unlock key of this node, or own it. With a copy of the data directory it opens every private key of the cluster. Take their rights away, and if they may have read it: conclave keyring rekey, and give the domains new keys. A new node does not start with such a key."
        }
        Code::ShareRefused => {
            "The share is mistyped, or it is a share of another node, of an older set of this node, or of none. Shares that were given before stay, until ten minutes pass without another one."
        }
        Code::UnsealRefused => {
            "The passphrase is not the one of this node. It cannot be recovered: if it is lost, remove the node and let it join anew with an empty data directory."
        }
        Code::UnsealTooSoon => {
            "One attempt with a passphrase runs at a time, because it takes memory, and each wrong one doubles the wait for the next, up to a minute."
        }
        Code::JoinTokenInvalid => {
            "The join token is malformed or belongs to another cluster. It carries the fingerprint of its cluster, so that a new node cannot be led astray."
        }
        Code::JoinTokenSpent => {
            "The join token is not known, expired, or used. Each token lets one node join, once."
        }
        Code::ClusterUnreachable => {
            "No member answers at this address. Other nodes are reached over UDP, by default on port 7444."
        }
        Code::NodeNameTaken => {
            "A member of this name exists. Give the node another [node] name. If that member is gone for ever, remove it first: conclave node remove NAME on any other member, then join again."
        }
        Code::MemberUnproven => {
            "State has a member that no holder of the keyring let in. Somebody may have used the identity of another member, for example from a stolen disk. Remove it with conclave node remove NAME, and look how it got in. Until then the keyring is not turned, because the new generation would be wrapped for that member."
        }
        Code::NodeKeyTaken => {
            "The joining node has the identity key or the sealing key of a member: its data directory was copied. Start it with an empty data_dir, so that it makes keys of its own, and join again."
        }
        Code::NodeUntrusted => {
            "The certificate of this node is not by the cluster of the access token, or not for the name or address that was asked, or out of date. The token was not sent. A node certifies its API for its name, its addresses and [admin] names; --node-name says which node is meant if it is reached through another address."
        }
        Code::AuthorityTurning => {
            "The authority of the cluster was replaced, and the one before it is still trusted, so that access tokens made before go on. Only one can be replaced at a time: conclave cluster rotate-authority --finish ends that trust."
        }
        Code::NodeUnknown => "No member has this name. conclave node list shows all.",
        Code::QuorumWouldBeLost => {
            "Without this voter the remaining ones could not decide anything: too few of them answer. Start them first. No option overrides this; if they are lost for ever, see conclave explain recover."
        }
        Code::VersionTooOld => {
            "A member's version does not know what is asked, so nothing was done. Upgrade every node first: conclave status shows their versions."
        }
        Code::VersionConflict => {
            "The object has changed since you looked at it. Look again, and decide again. Without --if-version a change meets this only if others were faster at every try for its whole time; then repeat it."
        }
        Code::VersionNotKept => {
            "Sixteen earlier versions of a domain are kept; this one is not among them. conclave domain history NAME lists them."
        }
        Code::OperationReused => {
            "The operation id was used for another request. Leave --operation out."
        }
        Code::NodeUnreachable => "No node answers at this address.",
        Code::NotAllowed => {
            "The caller may not do this. At the admin socket: it may be opened by root, the service and the group conclave. With a token or as a user: the roles do not have the right, or the token is limited to other domains or networks. conclave token whoami shows what you may do, conclave role list what the roles allow. Whoever has the right \"user\" can give more, and nobody gives others more than they have."
        }
        Code::EventsGone => {
            "The events behind the given position are not kept any longer, or are of another history: the audit trail was cut there, or the cluster was restored from a backup. Read what there is now, and follow behind the Conclave-Index of that answer; conclave events without --after begins with what changes next."
        }
        Code::TokenUsedUp => {
            "The token was made for a number of changes (--uses), and has made them. Make another one: conclave token create NAME --role ROLE --uses NUMBER"
        }
        Code::UserUnknown => "No user has this name. conclave user list shows the users.",
        Code::UserExists => {
            "A user of this name exists. Change it with conclave user set, or choose another name."
        }
        Code::LoginRefused => {
            "The user, the password or the one-time code is wrong, or the address or the passphrase of an account; the answer does not tell which. A code is taken once, and only while it is shown: wait for the next one. Passwords are set with conclave user password NAME, by somebody who may do at least as much as the user."
        }
        Code::LoginTooOften => {
            "Too many wrong passwords, or passphrases of an account, came from this network. The pause doubles with each further one, up to 15 minutes. It holds for this network only: the user can log in from elsewhere, and the admin socket needs no login."
        }
        Code::AccountUnknown => {
            "No account has this e-mail address. conclave account list DOMAIN shows those of a domain."
        }
        Code::AccountExists => {
            "An account of this e-mail address exists. conclave account show EMAIL shows it."
        }
        Code::AccountPassphraseRefused => {
            "The passphrase does not open the private key of the account, or a new one is not possible: it has at least 12 characters and at most 1024 bytes. Nobody can open the key without it, and no answer tells more. If it is lost, conclave account invite EMAIL lets the owner set another one, for a new key; mail to the old key stays encrypted."
        }
        Code::AccountUnlockTooOften => {
            "Too many wrong passphrases for this account came from this network. The pause doubles with each further one, up to 15 minutes."
        }
        Code::AccountsRemain => {
            "Accounts have this name after the @, so its domain keeps it: without the name they would belong to no domain. conclave account list DOMAIN shows them; conclave account delete EMAIL removes one and revokes its certificates."
        }
        Code::SmimeIssuerMissing => {
            "The certificates of accounts are issued by the S/MIME issuer of their domain, or by the domain's own certificate if that is one of an authority (basic constraints, key usage keyCertSign). conclave smime self-sign NAME makes an issuer at once; conclave smime csr NAME asks another authority for one. conclave smime show NAME tells what is missing."
        }
        Code::Pkcs12Unusable => {
            "The PKCS#12 file cannot be used: it is damaged, its passphrase is wrong, or it does not hold exactly one private key with its certificate."
        }
        Code::MessageUnusable => {
            "The message is not one of RFC 5322, its S/MIME parts are damaged, or it is not of the kind that the command needs: verify wants a signed message, decrypt an encrypted one. Whatever prevents a decryption, the answer is the same: what tells more would help who tries to break it."
        }
        Code::SignatureWrong => {
            "A signature of the message is wrong: the message, the signature or the certificate was changed on the way, or the algorithm is no longer accepted. Nothing of the message was written."
        }
        Code::MessageForOthers => {
            "No key of the account opens the message: it was encrypted for other certificates. conclave account show EMAIL lists the keys and certificates, those of earlier mail too."
        }
        Code::RecipientMissing => {
            "Messages are encrypted to the latest certificate of the account's current key that is valid, not revoked and for encryption. The account has none. conclave account show EMAIL tells its keys and certificates; conclave account cert issue EMAIL makes a certificate."
        }
        Code::InvitationRefused => {
            "The invitation was used or withdrawn, has ended, or is not for this account. Another one, and each earlier one ends: conclave account invite EMAIL"
        }
        Code::RecoveryImpossible => {
            "There is no copy of the key for a recovery key, or the given recovery key is another one. Copies are made when an account gets a key, if its domain has a recovery key then: conclave smime show NAME tells it, conclave account show EMAIL tells for which key a copy is there."
        }
        Code::NotLoggedIn => {
            "HTTPS needs an access token, made on a member: conclave token create NAME --role ROLE"
        }
        Code::Malformed => {
            "An argument is missing, is of the wrong form, or does not fit the others; or a question had to be asked and standard input is not a terminal. The first line of the error names the argument or the question. conclave help COMMAND lists all arguments; --yes answers every question of a removal."
        }
        Code::FileUnusable => {
            "A file that the command names cannot be read or written: it does not exist, belongs to somebody else, or is larger than 6 MiB (a document of apply: 128 MiB). Nothing was sent to a node. The second line of the error is what the operating system says."
        }
        Code::OutputFailed => {
            "The answer cannot be written to standard output: most often its disk is full. A change that was reported as made stays made; a token that could not be shown is revoked, or was not made. Make room, or write elsewhere, and repeat the command."
        }
        Code::NotFound => "This path of the API, or this object, does not exist.",
        Code::MethodUnknown => {
            "This path of the API exists, but not with the method of the request. The header Allow of the answer, and GET /v1/openapi.json, name those that it has."
        }
        Code::TooLarge => "The request is larger than 6 MiB.",
        Code::Internal => "The node could not do its work. Its log says more.",
        Code::ConfigurationInvalid => {
            "A setting of the configuration file is wrong. conclave config init prints every setting."
        }
        Code::DataUnusable => {
            "The data of this node cannot be used, or its disk failed. A node that lost what it had acknowledged must not vote again under its number. While the other nodes decide, replace it: move data_dir away, on a healthy member make a token (conclave join-token create), start the node with an empty data_dir and let it take its old place (conclave cluster join HOST:PORT --replace NAME). Or only remove it: conclave node remove NAME. Only if the others have no quorum: conclave explain recover."
        }
        Code::DiskFull => {
            "The disk of data_dir has too little room. Nothing was changed and nothing is lost: changes are refused, and a node that is started does not touch its data. TLS goes on with what is known. Make room; a running node goes on by itself. Never remove files of data_dir for it."
        }
        Code::TlsSettingInvalid => {
            "This value of a TLS setting is not possible. Old versions and weak ciphers are no settings of this server at all: RFC 8996, RFC 7465, RFC 6176 and RFC 9325 say why. Names of cipher suites and groups are those of the IANA registry; conclave tls show lists all that this program has."
        }
    }
}

/// Returns the text about a topic that is no code.
pub(crate) fn topic(name: &str) -> Option<&'static str> {
    name.eq_ignore_ascii_case("recover").then_some(RECOVER)
}

/// What to do when nodes are lost, and the last resort.
const RECOVER: &str = "\
A cluster decides while more than half of its voters answer. What to do when nodes are lost:

  the others decide              replace the lost node:  conclave cluster join HOST:PORT --replace NAME
                                 or do without it:       conclave node remove NAME
  too few answer, data is whole  start the lost nodes again: nothing is lost, nothing else is needed
  too few are left for ever      recover on a survivor:  conclave cluster recover
  no node is left                restore a backup:       conclave backup restore

Recovery makes one survivor the only voter. It gives up what was acknowledged by the lost nodes and
never reached the survivor. Therefore:

  1. Make sure that the lost nodes stay lost. Two clusters of one name are worse than none.
  2. Stop conclave on every survivor, and run there: conclave cluster recover --dry-run
  3. Choose the survivor whose last entry has the highest term; of the same term, the highest index.
  4. On it: conclave cluster recover, then start it. It decides again, alone.
  5. Empty the data_dir of every other former member before it is started, and let it join anew.

The recovered node puts the former members out: their keys count no longer, and it turns the keyring
as soon as it is unsealed. What they could open before, they can still open.";

/// A configuration file with every setting.
pub(crate) const CONFIG: &str = r#"# Settings of THIS node. What the cluster shares (domains, keys, listeners) is stored in the cluster.

[node]
name = "node-1"
data_dir = "/var/lib/conclave"
# addresses = ["192.0.2.10"]         # listeners open their ports here; default: all
# main_domain = "node-1.example"     # serves whoever asks for no known name; default: the node's name

[cluster]
bind = "0.0.0.0:7444"                # UDP, for other nodes
# advertise = "10.0.0.1:7444"        # HOST:PORT at which they reach this node; default: found
# election_timeout = "300ms"
# keep_log_mib = 256                 # log that is kept for members that are away or behind
# finalize = "manual"                # upgrades can be undone until: conclave cluster upgrade --finalize

[admin]
# socket = "/run/conclave/admin.sock"
# bind = "10.0.0.1:7443"             # the API over HTTPS, with tokens; default: socket only
# names = ["node-1.example"]         # more names and addresses by which clients reach it

[public]
# bind = "0.0.0.0:80"                # /certificates/NAME for everybody, over HTTP; default: off

[account]
# bind = "127.0.0.1:7447"            # page and API for owners of accounts, behind a listener with --proxy-to; default: off
# url = "https://accounts.example"   # where owners reach it, for invitations

[health]
# bind = "127.0.0.1:7445"            # /livez /readyz /startupz /metrics over HTTP, no secrets; default: off
# per_domain_metrics = "auto"        # series for each domain: on, off; auto: up to 10,000 domains

[audit]
# file = "/var/log/conclave/audit.jsonl"   # a copy of the cluster's audit trail; default: none
# file_mib = 64                      # at this size it becomes audit.jsonl.1; eight of them are kept
# syslog = "tcp:log.example:601"     # and at a syslog server; or udp:HOST:514, unix:/dev/log; default: none

[tls]                                # stricter than the cluster's settings (conclave tls show), never weaker
# min_version = "1.3"                # oldest version that this node accepts
# cipher_suites = ["TLS_AES_256_GCM_SHA384"]   # all that this node accepts; default: the cluster's

[dtls]
# idle_timeout = "10m"               # a session in which nobody says anything ends then

[upstream]
# unix = ["/run/app"]                # sockets, or directories of sockets, that upstreams may be; default: none

[lmtp]                               # stores mail encrypted for its account, in front of a mailbox server
# listen = "127.0.0.1:2424"          # senders connect here: a loopback address or unix:PATH; default: off
# upstream = "unix:/run/dovecot/lmtp"   # the mailbox server; or 127.0.0.1:24
# without_certificate = "defer"      # a recipient without one: defer, reject, or pass as it came
# cipher = "aes256-cbc"              # or aes256-gcm, which older programs do not read
# offer_dsn = true                   # senders tell the original recipient; no notices of success then

[keyring]
# unlock = "file:/etc/conclave/node-1.unlock.key"   # default: beside this file; never inside data_dir
#        # or "credential:NAME", from systemd; or "passphrase": conclave keyring unseal after each start

[log]
# level = "info"                     # or debug, trace, conclave_cluster=debug,info
# format = "auto"                    # text, json, journald; auto: text on a terminal, journald under systemd
# otlp = "http://127.0.0.1:4318"     # also to an OpenTelemetry collector; only in programs built with --features otlp
# connections = "off"                # a line for each connection when it ends: all, or one in N: sample:N
# connection_listeners = ["https"]   # only of these listeners; default: all
"#;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_explained() {
        for code in Code::ALL {
            assert!(explain(*code).len() > 20, "{}", code.as_str());
        }
    }
}
