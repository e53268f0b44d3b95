//! Samples of join messages, membership files and tokens, see `tests/src/samples.rs`.

use conclave_store::{
    id::{Fingerprint, Generation, TokenId},
    time::UnixMillis,
};
use serde::{Serialize, de::DeserializeOwned};
use zeroize::Zeroizing;

use super::admission::{
    JoinAnswerV1, JoinRequestV1, JoinTerms, Proved, WelcomeV1, decode, decode_request, encode,
    encode_request,
};
use crate::{
    membership::{Introduced, Membership},
    recovered::{Former, Recovered},
    samples::{Sample, check, check_variants, meaning},
    token::{JoinTokenText, access_token_text, parse_access_token},
};

fn reread_as<T: Serialize + DeserializeOwned>(bytes: &[u8]) -> Option<(String, Vec<u8>)> {
    let message: T = decode(bytes)?;
    Some((meaning(&message), encode(&message)))
}

#[test]
fn nodes_join_as_they_always_did() {
    let request = JoinRequestV1 {
        token: TokenId([1; 8]),
        name: "node-2".to_owned(),
        identity_der: b"identity".to_vec(),
        sealing_key: [9; 32],
        address: "node-2.example:7444".to_owned(),
        version: "0.1.0".to_owned(),
    };
    let terms = JoinTerms {
        is_learner: true,
        zone: "rack-7".to_owned(),
        replaces: Some("node-3".to_owned()),
    };
    let with_terms = (&request, &terms);
    let proved = Proved { request: encode(&request), proof: vec![8; 32] };
    let welcome = JoinAnswerV1::Welcome(WelcomeV1 {
        cluster: [8; 16],
        cluster_name: "prod".to_owned(),
        node: 2,
        authority_der: b"authority".to_vec(),
        certificate_der: b"certificate".to_vec(),
        members: vec![(1, b"identity".to_vec(), "192.0.2.1:7444".to_owned())],
    });
    let refused = JoinAnswerV1::Refused("{}".to_owned());
    let made = [
        Sample::new("request", encode(&request), &request),
        Sample::new("terms", encode_request(&request, &terms), &with_terms),
        Sample::new("proved", encode(&proved), &proved),
        Sample::new("answer welcome", encode(&welcome), &welcome),
        Sample::new("answer refused", encode(&refused), &refused),
    ];
    check_variants::<JoinAnswerV1>(&made);
    check("node-join.tsv", &made, &|name, bytes| match name {
        "request" => reread_as::<JoinRequestV1>(bytes),
        "terms" => {
            let (request, terms) = decode_request(bytes)?;
            Some((meaning(&(&request, &terms)), encode_request(&request, &terms)))
        }
        "proved" => reread_as::<Proved>(bytes),
        _ => reread_as::<JoinAnswerV1>(bytes),
    });
}

#[test]
fn a_member_knows_itself_by_the_file_of_any_release() {
    let written = |membership: &Membership| {
        let dir = tempfile::tempdir().unwrap();
        membership.write(dir.path()).unwrap();
        std::fs::read(dir.path().join("membership.json")).unwrap()
    };
    let introduced = vec![Introduced {
        id: 1,
        identity_der: b"identity".to_vec(),
        address: "192.0.2.1:7444".to_owned(),
    }];
    let (authority, certificate) = (b"authority".to_vec(), b"certificate".to_vec());
    let name = "prod".to_owned();
    let mut membership = Membership::new([8; 16], name, 2, authority, certificate, introduced);
    membership.incarnation = u64::MAX;
    let noted = Sample::new("membership.json", written(&membership), &membership);
    membership.founding = true;
    let founding = Sample::new("membership.json founding", written(&membership), &membership);
    (membership.founding, membership.format) = (false, 2);
    let unchecked = Sample::new("membership.json format 2", written(&membership), &membership);
    let made = [noted, founding, unchecked];
    check("node-membership.tsv", &made, &|_, bytes| {
        let dir = tempfile::tempdir().ok()?;
        std::fs::write(dir.path().join("membership.json"), bytes).ok()?;
        let membership = Membership::read(dir.path()).ok()??;
        Some((meaning(&membership), written(&membership)))
    });
}

#[test]
fn a_recovery_is_remembered_by_the_file_of_any_release() {
    let written = |note: &Recovered| {
        let dir = tempfile::tempdir().unwrap();
        note.write(dir.path()).unwrap();
        std::fs::read(dir.path().join("recovered.json")).unwrap()
    };
    let former = Former {
        id: 2,
        name: "node-2".to_owned(),
        address: "192.0.2.2:7444".to_owned(),
        is_voter: true,
    };
    let note = Recovered::new(UnixMillis(7), (3, u64::MAX), Generation(4), 3, vec![former]);
    let made = [Sample::new("recovered.json", written(&note), &note)];
    check("node-recovered.tsv", &made, &|_, bytes| {
        let dir = tempfile::tempdir().ok()?;
        std::fs::write(dir.path().join("recovered.json"), bytes).ok()?;
        let note = Recovered::read(dir.path()).ok()??;
        Some((meaning(&note), written(&note)))
    });
}

#[test]
fn tokens_are_read_as_they_were_given_out() {
    let (id, secret, authority) = (TokenId([1; 8]), [2; 32], Fingerprint([3; 32]));
    let join = JoinTokenText { id, secret: Zeroizing::new(secret), authority };
    let access = access_token_text(id, secret, authority);
    let made = [
        Sample::new("join", join.text().into_bytes(), &(id, secret, authority)),
        Sample::new("access", access.into_bytes(), &(id, secret)),
    ];
    check("node-token.tsv", &made, &|name, bytes| {
        let text = std::str::from_utf8(bytes).ok()?;
        if name == "join" {
            let token = JoinTokenText::parse(text)?;
            let parts = (token.id, *token.secret, token.authority);
            return Some((meaning(&parts), token.text().into_bytes()));
        }
        // A fingerprint after the secret is only for the holder of the token.
        let (id, secret) = parse_access_token(text)?;
        Some((meaning(&(id, secret)), access_token_text(id, secret, authority).into_bytes()))
    });
}
