//! One sample of every request and every answer between members, see `tests/src/samples.rs`.

use std::collections::BTreeSet;

use conclave_keys::Purpose;
use conclave_store::{
    id::{AccountId, DomainId, Generation, LogIndex, SessionKeyId, TokenId, UserId},
    record::{Proof, Sealed, SessionKeyUse},
    time::UnixMillis,
};
use serde::{Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

use super::{
    AuditHeadV1, Drain, DrainedV1, KeptV1, LoadV1, NodeReport, TransferredV1,
    call::{AnswerV1, RequestV1, decode, encode},
    report::Attention,
};
use crate::samples::{Sample, check, check_variants, meaning};

fn requests() -> Vec<RequestV1> {
    let purposes = [
        Purpose::DomainKey(DomainId([4; 16])),
        Purpose::Authority,
        Purpose::JoinToken(TokenId([1; 8])),
        Purpose::NodeSealing,
        Purpose::SessionKey(SessionKeyUse::Ticket, SessionKeyId([2; 8])),
        Purpose::SessionKey(SessionKeyUse::Cookie, SessionKeyId([2; 8])),
        Purpose::PendingKey(DomainId([4; 16])),
        Purpose::SmimeIssuer(DomainId([4; 16])),
        Purpose::AccountKey(AccountId([5; 16])),
        Purpose::RecoveryKey(DomainId([4; 16])),
        Purpose::Invitation(AccountId([5; 16])),
    ];
    let secret = || ByteBuf::from(b"secret".to_vec());
    let seal = purposes.map(|purpose| RequestV1::Seal { purpose, secret: secret() });
    let drains = [Drain::Start { deadline_ms: 600_000 }, Drain::Resume, Drain::Show];
    let command = ByteBuf::from(b"command".to_vec());
    let others = [
        RequestV1::Execute { command, wait_served: true, timeout_ms: 15_000 },
        RequestV1::ReadIndex,
        RequestV1::Report { after: 70_000, hold_ms: 500 },
        RequestV1::Reports,
        RequestV1::TestKey { domain: "shop.example".to_owned() },
    ];
    let later = [
        RequestV1::TakeOver { term: 3, index: 70_000 },
        RequestV1::ReportV2 { after: 70_000, hold_ms: 500 },
        RequestV1::HasRoom,
        RequestV1::ReportV3 { after: 70_000, hold_ms: 500 },
        RequestV1::ReportsV3,
        RequestV1::Proved {
            proof: Proof { generation: Generation(2), mac: [9; 32] },
            request: ByteBuf::from(b"request".to_vec()),
        },
        RequestV1::Transfer { to: Some(3), is_dry_run: true },
        RequestV1::Transfer { to: None, is_dry_run: false },
        RequestV1::AuditHead { number: 70_000 },
        RequestV1::Seal {
            purpose: Purpose::UserCode(UserId([7; 8])),
            secret: ByteBuf::from(b"secret".to_vec()),
        },
        RequestV1::Load,
    ];
    others.into_iter().chain(seal).chain(drains.map(RequestV1::Drain)).chain(later).collect()
}

fn report() -> NodeReport {
    NodeReport {
        failed_from: LogIndex(2),
        time: Some(UnixMillis(1_800_000_000_456)),
        index: LogIndex(70_000),
        failed: BTreeSet::from([LogIndex(3), LogIndex(69_999)]),
        digest: [7; 32],
        rows: 12,
        is_sealed: false,
        is_draining: true,
        connections: 10_000,
        handshakes: 1 << 40,
        started: UnixMillis(1_800_000_000_123),
        version: "0.1.0".to_owned(),
        attention: vec![Attention {
            code: "N001".to_owned(),
            is_error: true,
            object: "imaps".to_owned(),
            text: "the address is in use".to_owned(),
            hint: "a hint".to_owned(),
        }],
        ahead_ms: Some(-1_500),
    }
}

fn answers() -> Vec<AnswerV1> {
    let sealed =
        Sealed { generation: Generation(2), nonce: [7; 12], ciphertext: b"ciphertext".to_vec() };
    let drained = DrainedV1 { remaining: 3, finished: 2, closed: 1, is_done: false };
    let kept = [
        KeptV1::NotLeader,
        KeptV1::NoVote(3),
        KeptV1::Silent(3),
        KeptV1::NoRoom(3),
        KeptV1::Draining(3),
        KeptV1::NoSuccessor,
        KeptV1::NotElected(3),
    ];
    let kept = kept.map(|kept| AnswerV1::Transferred(Err(kept)));
    let first = vec![
        AnswerV1::Executed {
            index: 70_000,
            outcome: ByteBuf::from(b"outcome".to_vec()),
            served: vec![1, 2],
            missing: vec![3],
        },
        AnswerV1::NotLeader(Some(2)),
        AnswerV1::NotLeader(None),
        AnswerV1::NoQuorum,
        AnswerV1::Index(70_000),
        AnswerV1::Report(report().into()),
        AnswerV1::Reports(vec![(1, report().into()), (300, report().into())]),
        AnswerV1::Sealed(sealed),
        AnswerV1::Refused("a reason".to_owned()),
        AnswerV1::Tested(Ok(120)),
        AnswerV1::Tested(Err("a reason".to_owned())),
        AnswerV1::Drained(Some(drained)),
        AnswerV1::Drained(None),
        AnswerV1::NotKnown,
        AnswerV1::Unknown,
        AnswerV1::TakingOver(true),
        AnswerV1::NoRoom,
        AnswerV1::ReportV2(report().into()),
        AnswerV1::HasRoom(true),
        AnswerV1::ReportV3(report().into()),
        AnswerV1::ReportsV3(vec![(1, report().into()), (300, report().into())]),
        AnswerV1::NotProved,
        AnswerV1::Transferred(Ok(TransferredV1 { from: 1, to: 3, took_ms: 12 })),
    ];
    // A sample is named by its place, so later ones come last.
    let later = [
        AnswerV1::AuditHead(AuditHeadV1 { last: 70_000, hash: [1; 32], asked: None }),
        AnswerV1::AuditHead(AuditHeadV1 { last: 70_000, hash: [1; 32], asked: Some([2; 32]) }),
        AnswerV1::Load(LoadV1 {
            connections: 10_000,
            tls: [1 << 40, 7],
            dtls: [3, 4],
            failures: vec![("unknown_name".to_owned(), 5)],
            durations: vec![(500, 9), (u64::MAX, 1)],
            bytes: [1 << 40, 1 << 41],
            cpu_ms: 1_234,
            resident_bytes: 77_594_624,
            up_ms: 86_400_000,
        }),
    ];
    first.into_iter().chain(kept).chain(later).collect()
}

fn check_all<T: Serialize + DeserializeOwned>(file: &str, all: &[T], more: fn(&[Sample])) {
    let numbered = all.iter().enumerate();
    let made: Vec<Sample> = numbered
        .map(|(number, one)| {
            let name = format!("{} {number}", crate::samples::variant(one));
            Sample::new(&name, encode(one), one)
        })
        .collect();
    check_variants::<T>(&made);
    more(&made);
    check(file, &made, &|_, bytes| {
        let message: T = decode(bytes)?;
        Some((meaning(&message), encode(&message)))
    });
}

#[test]
fn members_ask_and_answer_as_they_always_did() {
    check_all("node-request.tsv", &requests(), |made| {
        check_variants::<Purpose>(made);
        check_variants::<Drain>(made);
    });
    check_all("node-answer.tsv", &answers(), check_variants::<KeptV1>);
}
