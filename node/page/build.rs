//! Puts the chapters of docs/ into the program.

use std::{
    env,
    fmt::Write,
    fs,
    path::{Path, PathBuf},
};

fn main() {
    let own = PathBuf::from(env::var("CARGO_MANIFEST_DIR").expect("cargo says where"));
    let mut files = Vec::new();
    collect(&own.join("../../docs"), &mut files);
    files.sort();
    let mut text =
        String::from("/// The chapters, by name.\nconst CHAPTERS: &[(&str, &str)] = &[\n");
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

fn collect(dir: &Path, files: &mut Vec<PathBuf>) {
    println!("cargo::rerun-if-changed={}", dir.display());
    for entry in fs::read_dir(dir).expect("docs can be read") {
        let path = entry.expect("docs can be read").path();
        if path.is_dir() {
            collect(&path, files);
        } else if path.extension().is_some_and(|ending| ending == "md") {
            files.push(path);
        }
    }
}
