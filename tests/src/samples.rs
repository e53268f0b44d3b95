//! Samples of byte formats: what a release wrote, kept for ever, and what it means.
//!
//! Each room's own tests include this file by its path, since only they see its formats, and a
//! crate of its own would be an arrow from everywhere. A file of samples has a line for each: a
//! name, the bytes in hexadecimal, the meaning as JSON.

#![allow(dead_code, reason = "no room has every kind of format")]

use std::{
    cell::Cell,
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use serde::{
    Deserializer, Serialize,
    de::{DeserializeOwned, Error as _, Visitor, value::Error},
};

/// A sample by its name.
pub(crate) struct Sample {
    pub(crate) name: String,
    pub(crate) bytes: Vec<u8>,
    /// What a reader makes of the bytes, as JSON.
    pub(crate) meaning: String,
    /// The bytes are others each time.
    pub(crate) is_random: bool,
}

impl Sample {
    /// One of these bytes, which mean this value.
    pub(crate) fn new(name: &str, bytes: Vec<u8>, value: &impl Serialize) -> Sample {
        let (name, meaning) = (name.to_owned(), meaning(value));
        Sample { name, bytes, meaning, is_random: false }
    }
}

/// Name of the variant of an enum, for its sample.
pub(crate) fn variant(value: &impl Serialize) -> String {
    match serde_json::to_value(value).unwrap() {
        serde_json::Value::Object(fields) => fields.keys().next().unwrap().clone(),
        serde_json::Value::String(name) => name,
        other => panic!("no enum: {other}"),
    }
}

/// A value as a sample tells it.
pub(crate) fn meaning(value: &impl Serialize) -> String {
    serde_json::to_string(value).unwrap()
}

/// What a program of today makes of the bytes of a sample: its meaning, and the bytes again; none
/// if it cannot read them.
pub(crate) type Reread<'a> = &'a dyn Fn(&str, &[u8]) -> Option<(String, Vec<u8>)>;

/// Checks a file of samples. Those of every release still mean what they meant, and are written as
/// they were; each that `made` gives is among them, so that nothing has a format without a sample.
///
/// With `CONCLAVE_FIXTURES=v0.1.0` the samples of that release are written first.
pub(crate) fn check(file: &str, made: &[Sample], reread: Reread<'_>) {
    let fixtures = fixtures();
    if let Some(release) = std::env::var_os("CONCLAVE_FIXTURES") {
        write(&fixtures.join(release).join("samples").join(file), made);
    }
    let mut kept: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
    for release in std::fs::read_dir(&fixtures).unwrap().map(|entry| entry.unwrap().path()) {
        let path = release.join("samples").join(file);
        for sample in path.exists().then(|| read(&path)).into_iter().flatten() {
            let shown = format!("{}: {}", path.display(), sample.name);
            let read = reread(&sample.name, &sample.bytes);
            let (meaning, again) = read.unwrap_or_else(|| panic!("{shown} cannot be read"));
            assert_eq!(meaning, sample.meaning, "{shown} means something else now");
            assert_eq!(hex(&again), hex(&sample.bytes), "{shown} is written differently now");
            kept.entry(sample.name).or_default().push(sample.bytes);
        }
    }
    for sample in made {
        let of_name = kept.get(&sample.name);
        let is_kept = of_name.is_some_and(|all| sample.is_random || all.contains(&sample.bytes));
        assert!(is_kept, "{file}: no release has the sample {} as it is now", sample.name);
    }
}

/// Checks that the samples show every variant of an enum.
pub(crate) fn check_variants<T: DeserializeOwned>(made: &[Sample]) {
    for variant in variants::<T>() {
        let word = format!("\"{variant}\"");
        let is_shown = made.iter().any(|sample| sample.meaning.contains(&word));
        let of = std::any::type_name::<T>();
        assert!(is_shown, "{of}: no sample shows {variant}");
    }
}

/// Names of an enum's variants, as its reader announces them.
fn variants<T: DeserializeOwned>() -> &'static [&'static str] {
    struct Asked<'a>(&'a Cell<&'static [&'static str]>);
    impl<'de> Deserializer<'de> for Asked<'_> {
        type Error = Error;
        fn deserialize_any<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Error> {
            Err(Error::custom("no enum"))
        }
        fn deserialize_enum<V: Visitor<'de>>(
            self,
            _: &'static str,
            variants: &'static [&'static str],
            _: V,
        ) -> Result<V::Value, Error> {
            self.0.set(variants);
            Err(Error::custom("asked"))
        }
        serde::forward_to_deserialize_any! {
            bool i8 i16 i32 i64 u8 u16 u32 u64 f32 f64 char str string bytes byte_buf option unit
            unit_struct newtype_struct seq tuple tuple_struct map struct identifier ignored_any
        }
    }
    let found = Cell::default();
    let _ = T::deserialize(Asked(&found));
    assert!(!found.get().is_empty(), "{} is no enum", std::any::type_name::<T>());
    found.get()
}

/// Bytes as hexadecimal digits.
pub(crate) fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn fixtures() -> PathBuf {
    let crates = Path::new(env!("CARGO_MANIFEST_DIR")).ancestors();
    crates.map(|dir| dir.join("tests/fixtures")).find(|dir| dir.exists()).unwrap()
}

fn write(path: &Path, samples: &[Sample]) {
    let line =
        |sample: &Sample| format!("{}\t{}\t{}\n", sample.name, hex(&sample.bytes), sample.meaning);
    std::fs::create_dir_all(path.parent().unwrap()).unwrap();
    std::fs::write(path, samples.iter().map(line).collect::<String>()).unwrap();
}

fn read(path: &Path) -> Vec<Sample> {
    let text = std::fs::read_to_string(path).unwrap();
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    let sample = |line: &str| {
        let fields: Vec<&str> = line.splitn(3, '\t').collect();
        Sample {
            name: fields[0].to_owned(),
            bytes: fields[1].as_bytes().chunks(2).map(byte).collect(),
            meaning: fields[2].to_owned(),
            is_random: false,
        }
    };
    text.lines().map(sample).collect()
}
