//! The tests' own order: few binaries, for each links the whole library, and no file that nobody compiles.

use super::sources::{Source, sources};

/// One folder of `tests` each, with a `main.rs`; what they share is in `support`, which is none.
const BINARIES: [&str; 10] =
    ["alone", "broker", "chaos", "cluster", "house", "lab", "model", "node", "program", "soak"];

#[test]
fn a_test_belongs_to_one_of_the_binaries() {
    let of_cargo = |file: &str| file.matches('/').count() == 1 || file.ends_with("/main.rs");
    let mut found: Vec<_> =
        tests().into_iter().map(|source| source.file).filter(|file| of_cargo(file)).collect();
    found.sort_unstable();
    assert_eq!(found, BINARIES.map(|name| format!("tests/{name}/main.rs")), "move it below one of them");
}

#[test]
fn no_file_is_forgotten() {
    let tests = tests();
    let is_part = |source: &&Source| !["main.rs", "mod.rs"].contains(&file_name(source));
    let is_forgotten = |source: &&Source| !tests.iter().any(|other| declares(other, source));
    let forgotten: Vec<_> =
        tests.iter().filter(is_part).filter(is_forgotten).map(|source| &source.file).collect();
    assert!(forgotten.is_empty(), "nobody compiles {forgotten:?}");
}

#[test]
fn every_binary_and_every_part_of_it_says_what_belongs_there() {
    for Source { file, text } in tests().iter().filter(|source| file_name(source) == "main.rs") {
        assert!(text.starts_with("//! "), "{file} begins with no sentence");
        for (before, line) in text.lines().zip(text.lines().skip(1)) {
            let is_part = line.starts_with("mod ") && line != "mod support;";
            assert!(!is_part || before.starts_with("/// "), "no sentence before {line:?} in {file}");
        }
    }
}

fn tests() -> Vec<Source> {
    sources(&["tests"])
}

fn file_name(source: &Source) -> &str {
    source.file.rsplit('/').next().unwrap()
}

/// Whether `other` declares the module that `source` is, in the root of its binary or above its folder.
fn declares(other: &Source, source: &Source) -> bool {
    let (folder, name) = source.file.trim_end_matches(".rs").rsplit_once('/').unwrap();
    let binary = folder.split('/').nth(1).unwrap();
    let may_declare =
        [format!("tests/{binary}/main.rs"), format!("tests/{binary}/mod.rs"), format!("{folder}.rs")];
    let declaration = format!("mod {name};");
    may_declare.contains(&other.file)
        && other.text.lines().any(|line| line.trim_start().trim_start_matches("pub ") == declaration)
}
