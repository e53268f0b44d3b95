//! Random commands, of the kinds known to 0.1.0.

use super::*;
use crate::command::SetDomain;

/// Pseudorandom numbers, the same for a seed on every machine.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963);
        (self.0 >> 33) % bound
    }

    fn domain(&mut self) -> DomainName {
        name(&format!("d{}.example", self.below(6)))
    }

    /// Returns aliases. Sometimes one occurs twice, or is a domain's name.
    fn aliases(&mut self) -> Vec<ServerName> {
        let count = self.below(4);
        let texts = (0..count).map(|_| match self.below(8) {
            0 => self.domain().to_string(),
            1 => "*.example".to_owned(),
            _ => format!("a{}.example", self.below(8)),
        });
        let texts: Vec<String> = texts.collect();
        texts.iter().map(|text| ServerName::parse(text).unwrap()).collect()
    }

    fn action(&mut self) -> Action {
        let name = self.domain();
        match self.below(10) {
            0..=2 => Action::CreateDomain(CreateDomain {
                id: DomainId([u8::try_from(self.below(250)).unwrap(); 16]),
                name,
                aliases: self.aliases(),
                addresses: Vec::new(),
                mode: PkiMode::Enabled,
            }),
            3..=4 => {
                let aliases = Some(self.aliases());
                Action::SetDomain(SetDomain { name, mode: None, aliases, addresses: None })
            }
            5 => Action::DeleteDomain(name),
            6 => Action::RenameDomain(name, self.domain()),
            7 => Action::RollbackDomain(name, Version(1 + self.below(5))),
            8 => Action::SetMainDomain(NodeId(1), self.domain()),
            _ => Action::SetKey(name, Box::new(key(1, 1))),
        }
    }
}

/// Returns commands after the founding. Sometimes one is repeated.
pub(super) fn commands(seed: u64, count: u64) -> Vec<Command> {
    let mut dice = Dice(seed);
    let mut commands: Vec<Command> = Vec::new();
    for number in 0..count {
        let before = usize::try_from(dice.below(20 * (number + 1))).unwrap();
        let repeated = commands.get(before).cloned();
        commands.push(repeated.unwrap_or_else(|| Command {
            operation: OperationId::parse(&format!("random-{number}")).unwrap(),
            principal: Principal::Socket { uid: 0 },
            request: [0; 32],
            time: UnixMillis(1_800_000_000_000 + number),
            reason: None,
            expects: Vec::new(),
            action: dice.action(),
            origin: None,
        }));
    }
    commands
}
