//! The format: what goes in comes out, and nothing else does.

use std::io;

use conclave_pki::{
    issue::{self, Validity},
    key::{KeyAlgorithm, PrivateKey},
};
use conclave_store::{
    command::{Action, Command, CreateDomain},
    id::{ClusterId, ClusterName, DomainId, DomainName, Generation, LogIndex, NodeId, NodeName},
    machine,
    record::{PkiMode, RowKey},
    scope::Scope,
    state::State,
    time::UnixMillis,
};
use zeroize::Zeroizing;

use super::*;

/// A key that must not be found in any file.
const CANARY: [u8; 32] = *b"canary: a key in plaintext, 32 b";

pub(crate) fn state(domains: u8) -> State {
    let mut state = State::default();
    for number in 0..domains {
        let action = Action::CreateDomain(CreateDomain {
            id: DomainId([number; 16]),
            name: DomainName::parse(&format!("d{number}.example")).unwrap(),
            aliases: Vec::new(),
            addresses: Vec::new(),
            mode: PkiMode::Test,
        });
        let command = Command::by_node(NodeId(1), [number; 10], UnixMillis(7), action);
        state = machine::apply(&state, LogIndex(u64::from(number) + 1), &command).state;
    }
    state
}

pub(crate) fn authority(seed: u8) -> PrivateKey {
    PrivateKey::generate(KeyAlgorithm::EcP256, &mut |bytes| bytes.fill(seed)).unwrap()
}

fn header(state: &State, authority: &PrivateKey, recipients: &[Recipient]) -> Header {
    let validity = Validity { not_before: 1_800_000_000, not_after: 1_900_000_000 };
    Header {
        cluster: ClusterName::parse("prod").unwrap(),
        cluster_id: ClusterId([9; 16]),
        node: NodeName::parse("node-1").unwrap(),
        made: UnixMillis(1_800_000_000_000),
        index: LogIndex(3),
        level: state.level(),
        version: "0.3.0".to_owned(),
        rows: state.row_count(),
        local_rows: None,
        recipients: recipients.iter().map(ToString::to_string).collect(),
        authority: issue::authority(authority, "test", [1; 16], validity).unwrap(),
    }
}

fn key() -> KeyringKey {
    KeyringKey {
        scope: Scope::Shared,
        scope_id: ClusterId([9; 16]),
        generation: Generation(2),
        key: Zeroizing::new(CANARY),
    }
}

pub(crate) fn written(state: &State, signer: &PrivateKey, recipients: &[Recipient]) -> Vec<u8> {
    let header = header(state, &authority(1), recipients);
    let content = Content { keys: &[key()], shared: state, local: None };
    let mut file = Vec::new();
    write(&header, recipients, &content, signer, &mut || Ok(()), &mut file).unwrap();
    file
}

fn identities(of: &NewIdentity) -> Identities {
    Identities::parse(&format!("# public key: {}\n{}\n", of.recipient, *of.secret)).unwrap()
}

fn rows(file: &[u8], identities: &Identities) -> Result<Vec<RowKey>, BackupError> {
    let (mut rows, mut keys) = (Vec::new(), 0);
    read(file, identities, &mut |_, item| {
        match item {
            Item::Key(key) => {
                assert!(rows.is_empty() && *key.key == CANARY);
                keys += 1;
            }
            Item::Row { key, .. } => rows.push(key),
        }
        true
    })?;
    assert_eq!(keys, 1);
    Ok(rows)
}

#[test]
fn what_was_backed_up_is_read_by_each_recipient_and_by_nobody_else() {
    let [one, two, other] = [(); 3].map(|()| NewIdentity::make());
    let state = state(40);
    let recipients = [one.recipient.clone(), two.recipient.clone()];
    let file = written(&state, &authority(1), &recipients);
    let expected: Vec<RowKey> = state.rows().map(|(key, _)| key.clone()).collect();
    for recipient in [&one, &two] {
        assert_eq!(rows(&file, &identities(recipient)).unwrap(), expected);
    }
    assert!(matches!(rows(&file, &identities(&other)), Err(BackupError::Identity)));
    let inspected = inspect(file.as_slice()).unwrap();
    assert_eq!(inspected.header.recipients, recipients.map(|one| one.to_string()));
    assert_eq!(inspected.bytes, u64::try_from(file.len()).unwrap());
    assert_eq!(inspected.header.rows, state.row_count());
    assert!(!file.windows(16).any(|part| CANARY.windows(16).any(|canary| part == canary)));
}

#[test]
fn every_flipped_bit_every_cut_and_every_extension_is_refused() {
    let identity = NewIdentity::make();
    let file = written(&state(2), &authority(1), std::slice::from_ref(&identity.recipient));
    assert!(inspect(file.as_slice()).is_ok());
    for bit in 0..file.len() * 8 {
        let mut flipped = file.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(inspect(flipped.as_slice()).is_err(), "bit {bit}");
    }
    let identities = identities(&identity);
    for end in 0..file.len() {
        assert!(inspect(&file[..end]).is_err(), "cut at {end}");
        assert!(rows(&file[..end], &identities).is_err(), "cut at {end}");
    }
    for more in [&[0][..], &[0; 73], &file] {
        let longer = [&file, more].concat();
        assert!(inspect(longer.as_slice()).is_err(), "{} bytes more", more.len());
        assert!(rows(&longer, &identities).is_err(), "{} bytes more", more.len());
    }
}

#[test]
fn a_file_signed_by_another_authority_is_refused() {
    let identity = NewIdentity::make();
    let file = written(&state(2), &authority(2), std::slice::from_ref(&identity.recipient));
    assert!(matches!(inspect(file.as_slice()), Err(BackupError::Signature)));
    assert!(matches!(rows(&file, &identities(&identity)), Err(BackupError::Signature)));
}

#[test]
fn a_file_of_a_later_version_is_not_called_damaged() {
    let identity = NewIdentity::make();
    let mut file = written(&state(1), &authority(1), std::slice::from_ref(&identity.recipient));
    file[MAGIC.len()] += 1;
    assert!(inspect(file.as_slice()).err().unwrap().is_of_later_version());
}

#[test]
fn identities_and_recipients_are_told_apart_and_a_private_key_is_never_shown() {
    let made = NewIdentity::make();
    let text = made.recipient.to_string();
    assert_eq!(text.parse::<Recipient>().unwrap().to_string(), text);
    assert!(text.starts_with("age1"));
    assert_eq!(made.secret.parse::<Recipient>().err(), Some(RecipientError::Private));
    assert_eq!("age1nothing".parse::<Recipient>().err(), Some(RecipientError::Recipient));
    assert_eq!(Identities::parse("# only words\n").err(), Some(RecipientError::Empty));
    assert_eq!(Identities::parse(&format!("\n{text}\n")).err(), Some(RecipientError::Line(2)));
    let many = format!("{}\n", *made.secret).repeat(limits::IDENTITIES_MAX + 1);
    assert_eq!(Identities::parse(&many).err(), Some(RecipientError::TooMany));
}

#[test]
fn the_caller_sets_the_pace_and_may_end_the_work() {
    let identity = NewIdentity::make();
    let recipients = [identity.recipient];
    // At level 0 a domain has three rows: itself, its name and its operation's.
    let state = state(200);
    let header = header(&state, &authority(1), &recipients);
    let content = Content { keys: &[], shared: &state, local: Some(&state) };
    let mut calls = 0;
    let ended = write(
        &header,
        &recipients,
        &content,
        &authority(1),
        &mut || {
            calls += 1;
            Err(io::ErrorKind::Interrupted.into())
        },
        io::sink(),
    );
    assert!(matches!(ended, Err(WriteError::Write(_))) && calls == 1);
}

#[test]
fn a_part_holds_its_rows_and_a_damaged_one_is_refused() {
    let state = state(3);
    let mut part = Part::default();
    for (key, row) in state.rows() {
        part.push(key, &row.record).unwrap();
    }
    let bytes = part.into_bytes();
    let rows = Part::rows(&bytes).unwrap();
    assert!(state.rows().map(|(key, _)| key).eq(rows.iter().map(|(key, ..)| key)));
    assert!((1..8).all(|less| Part::rows(&bytes[..bytes.len() - less]).is_err()));
    for bit in 0..bytes.len() * 8 {
        let mut flipped = bytes.clone();
        flipped[bit / 8] ^= 1 << (bit % 8);
        assert!(Part::rows(&flipped).is_err(), "bit {bit}");
    }
}
