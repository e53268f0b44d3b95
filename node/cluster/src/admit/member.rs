//! Admission of changes of members.

use std::collections::BTreeSet;

use conclave_api::{
    node::Set,
    problem::{Code, Problem},
};
use conclave_store::{
    command::{Action, RemoveMember, SetMember},
    id::NodeId,
    record::{Member, MemberPlace, MemberRole, RowKey},
    state::State,
};

use super::{Admitted, NextGeneration, PROOFS_LEVEL, View};

/// Returns a member by its name.
pub fn member<'a>(state: &'a State, name: &str) -> Result<&'a Member, Problem> {
    let mut members = state.members().map(|(_, member)| member);
    members.find(|member| member.name.as_str() == name).ok_or_else(|| {
        Problem::new(Code::NodeUnknown, format!("no node {name:?}")).hint("conclave node list")
    })
}

/// Changes role or zone of a member. `answering` are the members that answer now.
pub fn set_member(
    view: &View<'_>,
    name: &str,
    asked: &Set,
    answering: &BTreeSet<NodeId>,
) -> Result<Admitted, Problem> {
    let member = member(view.state, name)?;
    super::level::check(view.state, PROOFS_LEVEL)?;
    let role = asked.role.as_deref().map(role).transpose()?;
    if role == Some(MemberRole::Learner) && member.role == MemberRole::Voter {
        check_quorum(view.state, member, answering)?;
    }
    let set = SetMember {
        id: member.id,
        address: None,
        role,
        place: asked.zone.clone().map(|zone| MemberPlace { zone }),
    };
    let expectation = view.state.expectation(RowKey::Member(member.id));
    Ok(Admitted::new(Action::SetMember(Box::new(set)), name).expecting(expectation))
}

fn role(text: &str) -> Result<MemberRole, Problem> {
    match text {
        "voter" => Ok(MemberRole::Voter),
        "learner" => Ok(MemberRole::Learner),
        other => {
            Err(Problem::new(Code::Malformed, format!("no role {other:?}"))
                .hint("voter or learner"))
        }
    }
}

/// Removes a member, with a generation of the keyring that it never gets.
pub fn remove_member(
    view: &View<'_>,
    name: &str,
    answering: &BTreeSet<NodeId>,
) -> Result<Admitted, Problem> {
    let member = member(view.state, name)?;
    super::level::check(view.state, PROOFS_LEVEL)?;
    check_quorum(view.state, member, answering)?;
    let next = NextGeneration::make(view.node.keyring(), view.state, view.now, Some(member.id))
        .map_err(|error| error.problem(|error| view.sealed_problem(error)))?;
    let remove = RemoveMember { id: member.id, turn: next.turn };
    Ok(Admitted::new(Action::RemoveMember(Box::new(remove)), name)
        .expecting(view.state.expectation(RowKey::Cluster))
        .expecting(view.state.expectation(RowKey::Member(member.id))))
}

/// Refuses that a voter leaves if the others could not decide.
fn check_quorum(
    state: &State,
    leaving: &Member,
    answering: &BTreeSet<NodeId>,
) -> Result<(), Problem> {
    let is_other =
        |(id, member): &(&NodeId, &Member)| **id != leaving.id && member.role == MemberRole::Voter;
    let others: Vec<NodeId> = state.members().filter(is_other).map(|(id, _)| *id).collect();
    let answer = others.iter().filter(|id| answering.contains(id)).count();
    if leaving.role == MemberRole::Learner || others.is_empty() || answer > others.len() / 2 {
        return Ok(());
    }
    let (count, name) = (others.len(), &leaving.name);
    let title = format!("refused: only {answer} of the {count} remaining voters answer");
    Err(Problem::new(Code::QuorumWouldBeLost, title)
        .why(format!("without {name} the cluster could decide nothing any more"))
        .hint("start the others first    or, if they are lost for ever: conclave explain recover"))
}
