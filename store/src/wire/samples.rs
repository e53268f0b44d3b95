//! One sample of every format of this crate, see `tests/src/samples.rs`.

mod account;
mod command;
mod outcome;
mod row;
mod value;

use super::*;
use crate::{
    command::{AccountAction, Action},
    outcome::{Done, Rejection},
    record::*,
    samples::{Sample, check, check_variants, meaning},
    snapshot,
    state::{State, StoredRow},
};

#[test]
fn every_command_is_read_as_it_was_written() {
    let made: Vec<Sample> = command::all()
        .into_iter()
        .map(|(name, command)| Sample::new(&name, encode_command(&command).unwrap(), &command))
        .collect();
    check_variants::<Action>(&made);
    check_variants::<AccountAction>(&made);
    check_variants::<Principal>(&made);
    check_variants::<PkiMode>(&made);
    check_variants::<KeyFamily>(&made);
    check_variants::<ListenerProtocol>(&made);
    check_variants::<ProxyVersion>(&made);
    check_variants::<MemberRole>(&made);
    check_variants::<SessionKeyUse>(&made);
    check_variants::<TlsLogLevel>(&made);
    check_variants::<TlsVersion>(&made);
    check_variants::<AuditResult>(&made);
    check_variants::<Role>(&made);
    check_variants::<Right>(&made);
    check_variants::<KeyPurpose>(&made);
    check_variants::<RevocationReason>(&made);
    check("store-command.tsv", &made, &|_, bytes| {
        let command = decode_command(bytes).ok()?;
        Some((meaning(&command), encode_command(&command).ok()?))
    });
}

#[test]
fn a_command_keeps_its_origin() {
    let meant = |command: &Command| meaning(&(command, &command.origin));
    let made: Vec<Sample> = command::with_origin()
        .into_iter()
        .map(|(name, command)| Sample {
            name,
            bytes: encode_command(&command).unwrap(),
            meaning: meant(&command),
            is_random: false,
        })
        .collect();
    check("store-command-from.tsv", &made, &|_, bytes| {
        let command = decode_command(bytes).ok()?;
        Some((meant(&command), encode_command(&command).ok()?))
    });
}

#[test]
fn every_outcome_is_read_as_it_was_written() {
    let made: Vec<Sample> = outcome::all()
        .into_iter()
        .map(|(name, outcome)| Sample::new(&name, encode_outcome(&outcome).unwrap(), &outcome))
        .collect();
    check_variants::<Outcome>(&made);
    check_variants::<Done>(&made);
    check_variants::<Rejection>(&made);
    check("store-outcome.tsv", &made, &|_, bytes| {
        let outcome = decode_outcome(bytes).ok()?;
        Some((meaning(&outcome), encode_outcome(&outcome).ok()?))
    });
}

#[test]
fn every_row_is_read_as_it_was_written() {
    let (mut keys, mut rows) = (Vec::new(), Vec::new());
    for (name, key, record) in row::all() {
        keys.push(Sample::new(&name, encode_key(&key).unwrap(), &key));
        let stored = (row::CHANGED_AT, record);
        rows.push(Sample::new(&name, encode_row(stored.0, &stored.1).unwrap(), &stored));
    }
    check_variants::<RowKey>(&keys);
    check_variants::<TrustSet>(&keys);
    check_variants::<SessionKeyUse>(&keys);
    check_variants::<Record>(&rows);
    check_variants::<Principal>(&rows);
    check_variants::<Done>(&rows);
    check("store-key.tsv", &keys, &|_, bytes| {
        let key = decode_key(bytes).ok()?;
        Some((meaning(&key), encode_key(&key).ok()?))
    });
    check("store-row.tsv", &rows, &|_, bytes| {
        let row = decode_row(bytes).ok()?;
        Some((meaning(&row), encode_row(row.0, &row.1).ok()?))
    });
}

/// Describes the rows of a State.
fn rows_of(state: &State) -> String {
    let rows: Vec<_> = state.rows().map(|(key, row)| (key, row.changed_at, &row.record)).collect();
    meaning(&rows)
}

#[test]
fn a_snapshot_is_read_as_it_was_written() {
    let rows = row::all().into_iter().map(|(_, key, record)| {
        let (key, row) = (encode_key(&key).unwrap(), encode_row(row::CHANGED_AT, &record).unwrap());
        StoredRow::read(&key, &row).unwrap()
    });
    let state = State::load(rows.collect());
    let written = |state: &State| {
        let mut bytes = Vec::new();
        snapshot::write(state, &mut bytes).map(|()| bytes)
    };
    let bytes = written(&state).unwrap();
    let meant = rows_of(&state);
    let made = [Sample { name: "rows".to_owned(), bytes, meaning: meant, is_random: false }];
    check("store-snapshot.tsv", &made, &|_, bytes| {
        let state = snapshot::read(&mut &bytes[..]).ok()?;
        Some((rows_of(&state), written(&state).ok()?))
    });
}

#[test]
fn entries_of_several_commands_are_read_as_they_were_written() {
    let commands = [&b"first"[..], b"second"].map(<[u8]>::to_vec);
    let none: &[Vec<u8>] = &[];
    let made = [
        Sample::new("commands", encode_commands(&commands).unwrap(), &commands),
        Sample::new("outcomes", encode_outcomes(&commands).unwrap(), &commands),
        Sample::new("outcomes of nothing", encode_outcomes(none).unwrap(), &none),
    ];
    check("store-entry.tsv", &made, &|name, bytes| {
        if name == "commands" {
            let found = decode::<Vec<ByteBuf>, ENTRY_BYTES_MAX>(Kind::Commands, bytes).ok()?;
            let found: Vec<Vec<u8>> = found.into_iter().map(ByteBuf::into_vec).collect();
            return Some((meaning(&found), encode_commands(&found).ok()?));
        }
        let found = decode_outcomes(bytes).ok()?;
        Some((meaning(&found), encode_outcomes(&found).ok()?))
    });
}
