//! Ledger of all writes and their outcomes: each key is a register with at most one writer at a
//! time.

use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
};

use crate::chance::Chance;

/// Outcome of a write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Outcome {
    Acknowledged,
    /// Definitely not done.
    Refused,
    Unknown,
}

/// Value of a key; `None`: the key does not exist.
pub(crate) type Value = Option<String>;

#[derive(Debug, Default)]
struct Register {
    settled: Value,
    /// The value of a write whose outcome is unknown.
    maybe: Option<Value>,
    is_busy: bool,
}

/// Registers of all keys, and counts of the writes.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    registers: Mutex<BTreeMap<String, Register>>,
    counts: Mutex<Counts>,
}

/// Number of writes by outcome.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counts {
    pub(crate) acknowledged: u64,
    pub(crate) refused: u64,
    pub(crate) unknown: u64,
}

impl Ledger {
    fn registers(&self) -> MutexGuard<'_, BTreeMap<String, Register>> {
        self.registers.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn counts(&self) -> Counts {
        *self.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers a key as not existing yet.
    pub(crate) fn introduce(&self, key: &str) {
        self.registers().entry(key.to_owned()).or_default();
    }

    /// Chooses a random free key for a write, and returns it with its current value.
    pub(crate) fn choose(
        &self,
        chance: &mut Chance,
        fits: impl Fn(&str, &Value) -> bool,
    ) -> Option<(String, Value)> {
        let registers = self.registers();
        let free: Vec<_> = registers
            .iter()
            .filter(|(key, register)| {
                !register.is_busy && register.maybe.is_none() && fits(key, &register.settled)
            })
            .collect();
        let (key, register) = free.get(chance.place(free.len()))?;
        Some(((*key).clone(), register.settled.clone()))
    }

    /// Returns the number of keys with this prefix that exist or may exist.
    pub(crate) fn count(&self, prefix: &str) -> usize {
        let registers = self.registers();
        let there = |register: &&Register| register.settled.is_some() || register.maybe.is_some();
        let of_kind = registers.iter().filter(|(key, _)| key.starts_with(prefix));
        of_kind.filter(|(_, register)| there(register)).count()
    }

    /// Begins a write. Until it ends, it may or may not have taken effect. Returns false if the key
    /// is not free.
    pub(crate) fn begin(&self, key: &str, value: Value) -> bool {
        let mut registers = self.registers();
        let register = registers.entry(key.to_owned()).or_default();
        if register.is_busy || register.maybe.is_some() {
            return false;
        }
        register.is_busy = true;
        register.maybe = Some(value);
        true
    }

    /// Ends a write.
    pub(crate) fn end(&self, key: &str, outcome: Outcome) {
        if let Some(register) = self.registers().get_mut(key) {
            register.is_busy = false;
            match outcome {
                Outcome::Acknowledged => {
                    if let Some(value) = register.maybe.take() {
                        register.settled = value;
                    }
                }
                Outcome::Refused => register.maybe = None,
                Outcome::Unknown => {}
            }
        }
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        match outcome {
            Outcome::Acknowledged => counts.acknowledged += 1,
            Outcome::Refused => counts.refused += 1,
            Outcome::Unknown => counts.unknown += 1,
        }
    }

    /// Ends all writes in progress with an unknown outcome, because their answers are no longer
    /// awaited.
    pub(crate) fn abandon(&self) {
        let busy = |(key, register): (&String, &Register)| register.is_busy.then(|| key.clone());
        let keys: Vec<String> = self.registers().iter().filter_map(busy).collect();
        for key in keys {
            self.end(&key, Outcome::Unknown);
        }
    }

    /// Compares the registers with a linearizable read made while no write was in progress. With
    /// `is_final`, no earlier write can still take effect: no process that knew of it is left.
    pub(crate) fn check(
        &self,
        seen: &BTreeMap<String, String>,
        is_final: bool,
    ) -> Result<(), String> {
        let mut registers = self.registers();
        let mut wrong = BTreeSet::new();
        for (key, register) in registers.iter_mut() {
            let found = seen.get(key).cloned();
            if register.maybe.as_ref() == Some(&found) {
                register.settled = register.maybe.take().flatten();
            } else if register.settled != found {
                wrong.insert(format!(
                    "{key} is {}, but {} was acknowledged{}",
                    shown(&found),
                    shown(&register.settled),
                    if register.maybe.is_some() { " and another value is possible" } else { "" }
                ));
            }
            if is_final {
                register.maybe = None;
                register.is_busy = false;
            }
        }
        wrong.extend(
            seen.keys()
                .filter(|key| !registers.contains_key(*key))
                .map(|ghost| format!("{ghost} exists, and nobody wrote it")),
        );
        let count = wrong.len();
        match wrong.into_iter().next() {
            None => Ok(()),
            Some(first) => Err(format!("{count} keys are wrong; {first}")),
        }
    }
}

fn shown(value: &Value) -> &str {
    value.as_deref().unwrap_or("missing")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seen(keys: &[(&str, &str)]) -> BTreeMap<String, String> {
        keys.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect()
    }

    fn write(ledger: &Ledger, key: &str, value: Option<&str>, outcome: Outcome) {
        assert!(ledger.begin(key, value.map(str::to_owned)));
        ledger.end(key, outcome);
    }

    #[test]
    fn acknowledged_writes_must_be_there_and_refused_ones_must_not() {
        let ledger = Ledger::default();
        write(&ledger, "a", Some("1"), Outcome::Acknowledged);
        write(&ledger, "r", Some("1"), Outcome::Refused);
        ledger.check(&seen(&[("a", "1")]), false).unwrap();
        ledger.check(&seen(&[]), false).unwrap_err();
        ledger.check(&seen(&[("a", "2")]), false).unwrap_err();
        ledger.check(&seen(&[("a", "1"), ("r", "1")]), false).unwrap_err();
        ledger.check(&seen(&[("a", "1"), ("ghost", "1")]), false).unwrap_err();
        write(&ledger, "a", None, Outcome::Acknowledged);
        ledger.check(&seen(&[]), false).unwrap();
        ledger.check(&seen(&[("a", "1")]), false).unwrap_err();
    }

    #[test]
    fn an_unknown_write_may_be_there_but_once_seen_it_stays() {
        let ledger = Ledger::default();
        write(&ledger, "a", Some("1"), Outcome::Unknown);
        assert!(!ledger.begin("a", None));
        ledger.check(&seen(&[]), false).unwrap();
        ledger.check(&seen(&[("a", "1")]), false).unwrap();
        ledger.check(&seen(&[]), false).unwrap_err();
        write(&ledger, "b", Some("1"), Outcome::Unknown);
        ledger.check(&seen(&[("a", "1")]), true).unwrap();
        ledger.check(&seen(&[("a", "1"), ("b", "1")]), true).unwrap_err();
    }
}
