//! Any bytes into a session, wherever it stands.

use super::{
    Input,
    link::{Link, Side, other},
};

/// Things that happen to one session.
const EVENTS_MAX: usize = 128;

/// One byte: which side is attacked, and after how many datagrams. Then events.
pub fn dtls_record(input: &[u8]) {
    let mut input = Input(input);
    let Some(how) = input.u8() else { return };
    let victim = if how & 1 == 0 { Side::Server } else { Side::Client };
    let mut link = Link::new(how & 2 > 0, 1500);
    // Up to 30 datagrams arrive; 31: all, which is a handshake.
    let steps = match how >> 3 {
        31 => usize::MAX,
        steps => usize::from(steps),
    };
    let mut towards = Side::Server;
    for _ in 0..steps {
        if link.queue(towards).is_empty() {
            towards = other(towards);
        }
        let Some(datagram) = link.queue(towards).pop_front() else { break };
        link.arrive(towards, &datagram);
    }
    for _ in 0..EVENTS_MAX {
        if event(&mut link, victim, &mut input).is_none() {
            return;
        }
    }
}

/// `None` at the end of the input.
fn event(link: &mut Link, victim: Side, input: &mut Input<'_>) -> Option<()> {
    match input.u8()? % 8 {
        0 => link.put(victim, input.datagram()?),
        1 => link.arrive(victim, input.datagram()?),
        // What the other side has sent, with some bytes changed.
        2 => {
            let mut datagram = link.queue(victim).pop_front().unwrap_or_default();
            for _ in 0..=input.u8()? % 8 {
                let (place, change) = (usize::from(input.u16()?), input.u8()?);
                let place = place % datagram.len().max(1);
                datagram.get_mut(place).into_iter().for_each(|byte| *byte ^= change);
            }
            link.put(victim, &datagram);
        }
        // The same, cut off or with something behind it.
        3 => {
            let mut datagram = link.queue(victim).pop_front().unwrap_or_default();
            datagram.truncate(usize::from(input.u16()?));
            datagram.extend(input.datagram()?);
            link.put(victim, &datagram);
        }
        4 => link.say(other(victim), usize::from(input.u16()?) % 1_200),
        5 => link.timer(victim),
        6 => {
            let datagram = link.queue(victim).pop_front()?;
            link.arrive(victim, &datagram);
        }
        _ => match input.u8()? % 4 {
            0 => link.close(victim),
            1 => link.close(other(victim)),
            2 => link.say(victim, usize::from(input.u16()?)),
            _ => {
                let datagram = link.queue(other(victim)).pop_front()?;
                link.arrive(other(victim), &datagram);
            }
        },
    }
    Some(())
}
