//! Samples of everything this crate writes, see `tests/src/samples.rs`.

use super::*;
use crate::samples::{Sample, check, check_variants, meaning};

const VOTE: VoteV1 = VoteV1 { term: 3, node: 2, committed: true };
const POSITION: Position = Position { term: 3, node: 2, index: 70_000 };

fn membership() -> MembershipV1 {
    let nodes = [(1, "192.0.2.1:7444"), (2, "node-2.example:7444"), (300, "[2001:db8::3]:7444")];
    MembershipV1 {
        configs: vec![BTreeSet::from([1, 2]), BTreeSet::from([1, 2, 300])],
        nodes: nodes.map(|(id, address)| (id, address.to_owned())).into(),
    }
}

fn entries() -> Vec<EntryV1> {
    let payload = ContentV1::Payload(ByteBuf::from(b"payload".to_vec()));
    let contents = [ContentV1::Blank, payload, ContentV1::Membership(membership())];
    contents.map(|content| EntryV1 { position: POSITION, content }).into()
}

fn checkpoint() -> CheckpointV1 {
    let membership_position = Some(Position { index: 5, ..POSITION });
    CheckpointV1 { applied: Some(POSITION), membership_position, membership: membership() }
}

fn marks() -> [MarkV1; 2] {
    let bare = MarkV1 {
        cluster: [1; 16],
        incarnation: u64::MAX,
        vote: None,
        last: None,
        purged: None,
        committed: None,
        applied: None,
        row_count: 0,
        digest: [0; 32],
    };
    let at = |index| Some(Position { index, ..POSITION });
    let full = MarkV1 {
        vote: Some(VOTE),
        last: at(70_000),
        purged: at(60_000),
        committed: at(69_999),
        applied: at(69_998),
        row_count: 12,
        digest: [7; 32],
        ..bare.clone()
    };
    [bare, full]
}

fn new_marks() -> [MarkV2; 2] {
    let bare = MarkV2 { cluster: [1; 16], incarnation: u64::MAX, vote: None, witness: None };
    let witness = Some(GroupPoint { sequence: 70_000, chain: 0xDEAD_BEEF });
    [bare.clone(), MarkV2 { vote: Some(VOTE), witness, ..bare }]
}

fn notes() -> [NoteV1; 5] {
    let (last, purged, committed) = (Some(POSITION), None, Some(POSITION));
    [
        NoteV1::TruncateAfter(None),
        NoteV1::TruncateAfter(Some(POSITION)),
        NoteV1::Purged(POSITION),
        NoteV1::Committed(POSITION),
        NoteV1::Base { last, purged, committed },
    ]
}

/// Returns samples of one kind of message.
fn of_kind<T: Message>(values: impl IntoIterator<Item = T>) -> Vec<Sample> {
    let name = std::any::type_name::<T>().rsplit(':').next().unwrap();
    let numbered = values.into_iter().enumerate();
    numbered
        .map(|(number, value)| {
            Sample::new(&format!("{name} {number}"), encode(&value).unwrap(), &value)
        })
        .collect()
}

fn all() -> Vec<Sample> {
    let append = AppendV1 {
        vote: VOTE,
        previous: Some(POSITION),
        entries: entries(),
        committed: Some(POSITION),
    };
    let heartbeat = AppendV1 { vote: VOTE, previous: None, entries: Vec::new(), committed: None };
    use {AppendAnswerV1 as Append, StreamAnswerV1 as Stream};
    let answers = [
        Append::Success,
        Append::Partial(Some(POSITION)),
        Append::Conflict,
        Append::HigherVote(VOTE),
    ];
    let streamed =
        [Stream::Flushed(Some(POSITION)), Stream::Conflict(POSITION), Stream::HigherVote(VOTE)];
    let (last, vote) = (Some(POSITION), VoteV1 { committed: false, ..VOTE });
    let votes = [(true, false), (false, true)].map(|(is_pre_vote, is_transfer)| VoteRequestV1 {
        vote,
        last,
        is_pre_vote,
        is_transfer,
    });
    let head = SnapshotHeadV1 {
        vote: VOTE,
        checkpoint: checkpoint(),
        bytes: 1 << 40,
        checksum: 0xDEAD_BEEF,
    };
    [
        of_kind(entries()),
        of_kind(marks()),
        of_kind(new_marks()),
        of_kind(notes()),
        of_kind([CheckpointV1::default(), checkpoint()]),
        of_kind([append, heartbeat]),
        of_kind(answers),
        of_kind(streamed),
        of_kind(votes),
        of_kind([VoteAnswerV1 { vote, is_granted: true, last }]),
        of_kind([head]),
        of_kind([SnapshotAnswerV1 { vote: VOTE }]),
        of_kind([CallV1(ByteBuf::from(b"request".to_vec()))]),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn reread_as<T: Message>(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let message: T = decode(bytes).ok()?;
    Some((meaning(&message), encode(&message).ok()?))
}

#[test]
fn every_message_is_read_as_it_was_written() {
    let made = all();
    check_variants::<ContentV1>(&made);
    check_variants::<NoteV1>(&made);
    check_variants::<AppendAnswerV1>(&made);
    check_variants::<StreamAnswerV1>(&made);
    for (_, name) in KINDS {
        let is_shown = made.iter().any(|sample| sample.name.starts_with(&format!("{name} ")));
        assert!(is_shown, "no sample shows {name}");
    }
    check("raft-message.tsv", &made, &|name, bytes| match name.split(' ').next()? {
        "EntryV1" => reread_as::<EntryV1>(bytes),
        "MarkV1" => reread_as::<MarkV1>(bytes),
        "MarkV2" => reread_as::<MarkV2>(bytes),
        "NoteV1" => reread_as::<NoteV1>(bytes),
        "CheckpointV1" => reread_as::<CheckpointV1>(bytes),
        "AppendV1" => reread_as::<AppendV1>(bytes),
        "AppendAnswerV1" => reread_as::<AppendAnswerV1>(bytes),
        "StreamAnswerV1" => reread_as::<StreamAnswerV1>(bytes),
        "VoteRequestV1" => reread_as::<VoteRequestV1>(bytes),
        "VoteAnswerV1" => reread_as::<VoteAnswerV1>(bytes),
        "SnapshotHeadV1" => reread_as::<SnapshotHeadV1>(bytes),
        "SnapshotAnswerV1" => reread_as::<SnapshotAnswerV1>(bytes),
        "CallV1" => reread_as::<CallV1>(bytes),
        _ => None,
    });
}

/// Converting a message to openraft's type and back changes nothing.
#[test]
fn openraft_gets_what_the_samples_say() {
    for entry in entries() {
        assert_eq!(EntryV1::from(&entry.clone().into_entry().unwrap()), entry);
    }
    let stored = checkpoint().stored_membership().unwrap();
    assert_eq!(CheckpointV1::new(Some(POSITION), &stored), checkpoint());
    assert_eq!(VoteV1::from(&Vote::from(VOTE)), VOTE);
}
