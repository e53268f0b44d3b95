//! Rules for members: joining, leaving, moving.

use super::{Changing, check_count, join_token, keyring};
use crate::{
    command::{Join, RemoveMember, SetMember},
    id::{Fingerprint, NodeId},
    limits::{DEPARTED_MAX, MEMBER_ADDRESS_BYTES_MAX, MEMBERS_MAX, ZONE_BYTES_MAX},
    outcome::{Done, Rejection},
    record::{DepartedMember, Member, MemberPlace, MemberRole, ProofOf, Record, RowKey},
};

/// Uses a join token and adds the member in one step. A member that it replaces leaves first.
pub(super) fn join(change: &mut Changing<'_>, join: &Join) -> Result<Done, Rejection> {
    let identity = Fingerprint::of(&join.member.identity_der);
    if let Some(id) = join_token::used(change, join.token, identity)? {
        return Ok(Done::Member { id });
    }
    if let Some(remove) = &join.replaces {
        remove_member(change, remove)?;
    }
    let id = join.member.id;
    check_new(change, &join.member)?;
    check_place(&join.place)?;
    keyring::add_wraps(change, id, &join.wraps)?;
    join_token::spend(change, join.token, id, identity)?;
    let mut cluster = change.state.cluster().cloned().ok_or(Rejection::NoCluster)?;
    cluster.node_last = id;
    change.put(RowKey::Cluster, Record::Cluster(cluster.into()))?;
    change.put(RowKey::Member(id), Record::Member(join.member.clone().into()))?;
    change.put(RowKey::Proof(ProofOf::Member(id)), Record::Proof(join.proof))?;
    put_place(change, id, &join.place)?;
    Ok(Done::Member { id })
}

fn check_new(change: &Changing<'_>, member: &Member) -> Result<(), Rejection> {
    check_count("members", change.state.members().count() + 1, MEMBERS_MAX)?;
    check_address(&member.address)?;
    for (_, other) in change.state.members() {
        if other.name == member.name {
            return Err(Rejection::NodeNameTaken(member.name.clone()));
        }
        if other.identity_der == member.identity_der || other.sealing_key == member.sealing_key {
            return Err(Rejection::NodeKeyTaken(other.name.clone()));
        }
    }
    // Admission chose the number; another join may have taken it since.
    let last = change.state.cluster().ok_or(Rejection::NoCluster)?.node_last;
    if member.id.0 == last.0 + 1 { Ok(()) } else { Err(Rejection::WrapsMismatch) }
}

/// Removes a member, and starts a generation of the keyring that it never gets.
pub(super) fn remove(change: &mut Changing<'_>, remove: &RemoveMember) -> Result<Done, Rejection> {
    remove_member(change, remove)?;
    Ok(Done::Member { id: remove.id })
}

fn remove_member(change: &mut Changing<'_>, remove: &RemoveMember) -> Result<(), Rejection> {
    let id = remove.id;
    let member = change.state.member(&id).cloned().ok_or(Rejection::MemberUnknown(id))?;
    check_other_voter(change, &member)?;
    let generation = change.state.cluster().ok_or(Rejection::NoCluster)?.generation;
    rows_of(id).iter().try_for_each(|row| change.remove(row))?;
    keyring::remove_wraps(change, id)?;
    keyring::turn(change, &remove.turn)?;
    let departed = DepartedMember {
        name: member.name,
        identity_der: member.identity_der,
        left: change.command.time,
        generation,
    };
    change.put(RowKey::DepartedMember(id), Record::DepartedMember(departed.into()))?;
    let mut departed: Vec<NodeId> = change.state.departed_members().map(|(id, _)| *id).collect();
    departed.truncate(departed.len().saturating_sub(DEPARTED_MAX));
    departed.iter().try_for_each(|id| change.remove(&RowKey::DepartedMember(*id)))
}

/// Returns the rows about a member, which leave with it.
pub(super) fn rows_of(id: NodeId) -> [RowKey; 4] {
    [
        RowKey::Member(id),
        RowKey::MainDomain(id),
        RowKey::MemberPlace(id),
        RowKey::Proof(ProofOf::Member(id)),
    ]
}

/// Changes address, role or place of a member.
pub(super) fn set(change: &mut Changing<'_>, set: &SetMember) -> Result<Done, Rejection> {
    let id = set.id;
    let known = change.state.member(&id).ok_or(Rejection::MemberUnknown(id))?;
    let mut member = known.clone();
    if let Some(address) = &set.address {
        check_address(address)?;
        member.address.clone_from(address);
    }
    if let Some(role) = set.role {
        if role == MemberRole::Learner {
            check_other_voter(change, &member)?;
        }
        member.role = role;
    }
    if *known != member {
        // A row without proof is trusted for its age alone, which this change would end.
        let proof = RowKey::Proof(ProofOf::Member(id));
        if change.state.row(&proof).is_none() {
            return Err(Rejection::Stale(proof));
        }
        change.put(RowKey::Member(id), Record::Member(member.into()))?;
    }
    if let Some(place) = set.place.as_ref().filter(|new| **new != change.state.member_place(id)) {
        check_place(place)?;
        put_place(change, id, place)?;
    }
    Ok(Done::Member { id })
}

/// Rejects that the last voter leaves or stops voting.
fn check_other_voter(change: &Changing<'_>, member: &Member) -> Result<(), Rejection> {
    let mut others = change.state.members().filter(|(id, _)| **id != member.id);
    if member.role == MemberRole::Learner
        || others.any(|(_, other)| other.role == MemberRole::Voter)
    {
        return Ok(());
    }
    Err(Rejection::LastVoter(member.name.clone()))
}

fn check_address(address: &str) -> Result<(), Rejection> {
    check_count("bytes in the address of a member", address.len(), MEMBER_ADDRESS_BYTES_MAX)
}

fn check_place(place: &MemberPlace) -> Result<(), Rejection> {
    check_count("bytes in the name of a zone", place.zone.len(), ZONE_BYTES_MAX)
}

fn put_place(change: &mut Changing<'_>, id: NodeId, place: &MemberPlace) -> Result<(), Rejection> {
    let row = RowKey::MemberPlace(id);
    if *place == MemberPlace::default() {
        return change.remove(&row);
    }
    change.put(row, Record::MemberPlace(place.clone().into()))
}
