//! One style everywhere, where neither `cargo fmt` nor clippy keeps it: width of comments, order of imports,
//! visibility, and a reason beside each exception from a lint.
//!
//! It is a text search, not a compiler: it knows code as `cargo fmt` writes it.

use super::sources::{Source, sources};

/// As wide as code may be (`max_width` in `rustfmt.toml`).
const COMMENT_CHARACTERS_MAX: usize = 110;

/// Where we look.
const DIRECTORIES: [&str; 4] = ["benches", "examples", "src", "tests"];

#[test]
fn comments_are_as_narrow_as_code() {
    assert_none(wide_comments);
}

#[test]
fn imports_stand_in_groups_of_the_standard_library_other_crates_and_our_own() {
    assert_none(disordered_imports);
}

#[test]
fn what_a_private_module_shows_is_pub_or_pub_crate() {
    assert_none(narrowed_visibilities);
}

#[test]
fn every_exception_from_a_lint_has_a_reason() {
    assert_none(unexplained_exceptions);
}

#[test]
fn the_searches_find_what_they_look_for() {
    let wide = format!("// {}\n", "wide ".repeat(22));
    assert_eq!(wide_comments(&wide), [(1, "113 characters".to_owned())]);
    assert_eq!(wide_comments(&format!("//! | a | table |{wide}/// ```text\n/// {wide}/// ```\n")), []);

    let orderly = "use std::fmt;\nuse std::{io, str};\n\nuse bytes::{\n    Buf,\n    Bytes,\n};\n\n#[cfg(test)]\nuse crate::a;\nuse super::b;\n";
    assert_eq!(disordered_imports(orderly), []);
    let found = |text: &str| disordered_imports(text).into_iter().map(|(line, _)| line).collect::<Vec<_>>();
    assert_eq!(found("use std::fmt;\nuse bytes::Bytes;\n"), [2], "no blank line between");
    assert_eq!(found("use std::fmt;\n\nuse std::io;\n"), [3], "a blank line within");
    assert_eq!(found("use bytes::Bytes;\n\nuse std::fmt;\n"), [3], "the other way round");
    assert_eq!(
        found("fn f() {}\n\nmod tests {\n    use super::f;\n\n    use std::fmt;\n}\n"),
        [6],
        "in a module"
    );
    assert_eq!(found("mod part;\n\nuse std::fmt;\nuse part::Part;\n"), [4], "a module of the file is ours");

    let visibilities = "pub fn a() {}\npub(crate) fn b() {}\nstruct C {\n    pub(super) d: u8,\n}\npub(in crate::x) fn e() {}\n";
    let lines: Vec<_> = narrowed_visibilities(visibilities).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [4, 6]);

    let exceptions =
        "#[allow(dead_code)]\n#[allow(\n    unused,\n    reason = \"why\"\n)]\n#![expect(unused)]\n";
    let lines: Vec<_> = unexplained_exceptions(exceptions).into_iter().map(|(line, _)| line).collect();
    assert_eq!(lines, [1, 6]);
}

/// A line's number, and what is wrong with it.
type Fault = (usize, String);

#[track_caller]
fn assert_none(search: impl Fn(&str) -> Vec<Fault>) {
    let faults = faults(search);
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// What `search` finds, each with its file and line.
fn faults(search: impl Fn(&str) -> Vec<Fault>) -> Vec<String> {
    let of = |Source { file, text }: &Source| {
        let named = |(line, fault): Fault| format!("{file}:{line}: {fault}");
        search(text).into_iter().map(named).collect::<Vec<_>>()
    };
    sources(&DIRECTORIES).iter().flat_map(of).collect()
}

/// Lines of comment alone that are too wide, but for tables, drawings and commands, which cannot be wrapped.
fn wide_comments(text: &str) -> Vec<Fault> {
    let mut is_in_block = false;
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let Some(comment) = line.trim_start().strip_prefix("//") else {
            is_in_block = false;
            continue;
        };
        let said = comment.trim_start_matches(['/', '!']).trim_start();
        is_in_block ^= said.starts_with("```");
        let characters = line.chars().count();
        if characters > COMMENT_CHARACTERS_MAX && !is_in_block && !said.starts_with('|') {
            faults.push((at + 1, format!("{characters} characters")));
        }
    }
    faults
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Origin {
    Standard,
    OtherCrate,
    Ours,
}

/// Imports that follow others of another group without a blank line, of their own group with one, or of a
/// group that belongs behind them.
fn disordered_imports(text: &str) -> Vec<Fault> {
    let modules: Vec<_> = text.lines().filter_map(declared_module).collect();
    let mut before = None;
    let mut is_behind_blank = false;
    let mut is_in_import = false;
    let mut faults = Vec::new();
    for (at, line) in text.lines().enumerate() {
        let code = line.trim_start();
        if is_in_import {
            is_in_import = !code.ends_with(';');
        } else if code.is_empty() {
            is_behind_blank = true;
        } else if let Some(path) = imported(code) {
            let origin = origin(path, &modules);
            let fault = match before {
                Some(before) if origin < before => Some(format!("{origin:?} behind {before:?}")),
                Some(before) if origin == before && is_behind_blank => {
                    Some(format!("a blank line within {origin:?}"))
                }
                Some(before) if origin > before && !is_behind_blank => {
                    Some(format!("no blank line between {before:?} and {origin:?}"))
                }
                _ => None,
            };
            faults.extend(fault.map(|fault| (at + 1, fault)));
            before = Some(origin);
            is_behind_blank = false;
            is_in_import = !code.ends_with(';');
        } else if !code.starts_with("#[") {
            // Anything else ends the imports; what follows further down is a list of its own.
            before = None;
            is_behind_blank = false;
        }
    }
    faults
}

/// The path of an import that is for the file itself; what it hands on may stand where it likes.
fn imported(code: &str) -> Option<&str> {
    code.strip_prefix("use ")
}

/// The name of a module that the line declares.
fn declared_module(line: &str) -> Option<&str> {
    let (_, name) = line.strip_suffix(';')?.rsplit_once("mod ")?;
    name.chars().all(|c| c.is_alphanumeric() || c == '_').then_some(name)
}

fn origin(path: &str, modules: &[&str]) -> Origin {
    let first = path.split([':', ';', ' ']).next().unwrap_or_default();
    match first {
        "std" | "core" | "alloc" => Origin::Standard,
        "crate" | "self" | "super" => Origin::Ours,
        module if modules.contains(&module) => Origin::Ours,
        _ => Origin::OtherCrate,
    }
}

/// Visibilities that name a module: in a private module `pub` says as much, wherever that moves.
fn narrowed_visibilities(text: &str) -> Vec<Fault> {
    let is_narrowed = |line: &str| {
        let code = line.trim_start();
        code.starts_with("pub(super)") || code.starts_with("pub(in ")
    };
    let fault = |(at, line): (usize, &str)| (at + 1, line.trim().to_owned());
    text.lines().enumerate().filter(|(_, line)| is_narrowed(line)).map(fault).collect()
}

/// `allow` and `expect` without a reason.
fn unexplained_exceptions(text: &str) -> Vec<Fault> {
    let mut faults = Vec::new();
    for word in ["[allow(", "[expect(", ", allow(", ", expect("] {
        for (at, _) in text.match_indices(word) {
            let line_begin = text[..at].rfind('\n').map_or(0, |end| end + 1);
            let is_attribute = text[line_begin..].trim_start().starts_with('#');
            let attribute = &text[at..at + text[at..].find(")]").unwrap_or(0)];
            if is_attribute && !attribute.contains("reason = ") {
                faults.push((text[..at].matches('\n').count() + 1, "no reason".to_owned()));
            }
        }
    }
    faults
}
