//! Puts the chapters of docs/ into the program.

use std::{env, fmt::Write, fs, path::PathBuf};

fn main() {
    let docs = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where")).join("../../docs");
    let mut files = Vec::new();
    for dir in [docs.clone(), docs.join("reference")] {
        println!("cargo::rerun-if-changed={}", dir.display());
        let entries = fs::read_dir(&dir).expect("docs can be read");
        files.extend(entries.map(|entry| entry.expect("docs can be read").path()));
    }
    files.retain(|file| file.extension().is_some_and(|ending| ending == "md"));
    files.sort();
    let mut text = String::from("/// The chapters, by name.\nconst CHAPTERS: &[(&str, &str)] = &[\n");
    for file in files {
        let name = file.file_stem().expect("a file of docs").to_string_lossy();
        let path = fs::canonicalize(&file).expect("a file of docs");
        writeln!(text, "    ({name:?}, include_str!({:?})),", path.display().to_string())
            .expect("memory is there");
    }
    text.push_str("];\n");
    let out = PathBuf::from(env::var("OUT_DIR").expect("cargo says where")).join("book.rs");
    fs::write(out, text).expect("the directory of the build can be written");
}
