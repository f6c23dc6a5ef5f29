//! Keeps the rooms inside a module: which of them may use which, one way, and where a crate may be named.
//!
//! A room is a folder or a file directly below the module's own folder. Rooms stand in the table from top to
//! bottom, and none uses one above it; the module's own file stands above them all. Like
//! tests/import_table.rs it is a text search: comments are left out, everything else counts, tests included.

#![allow(clippy::unwrap_used, reason = "helpers of tests fail as a test does")]

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

/// A module with rooms.
struct House {
    module: &'static str,
    /// Each room, and those that it may use, which stand below it.
    rooms: &'static [(&'static str, &'static [&'static str])],
    /// Files beside a room that are a part of it.
    parts: &'static [(&'static str, &'static str)],
    /// Crates that may be named below some paths only.
    crates: &'static [(&'static str, &'static [&'static str])],
}

/// Rooms that test the others, and may use all of them.
const TESTS: &str = "tests";

const HOUSES: &[House] = &[House {
    module: "broker",
    rooms: &[
        ("link", &["bus", "limits", "work"]),
        ("front", &["sys", "session", "bus", "config", "reload", "access", "limits", "codec", "work"]),
        ("sys", &["session", "limits", "codec"]),
        ("session", &["bus", "config", "access", "limits", "codec", "work"]),
        ("bus", &["config", "access", "limits", "codec", "work"]),
        ("config", &["reload", "access", "limits"]),
        ("reload", &[]),
        ("access", &["limits", "codec"]),
        ("limits", &["codec"]),
        ("codec", &["work"]),
        ("work", &[]),
    ],
    parts: &[("settings_limits", "settings"), ("rules_file", "access")],
    crates: &[("rumqttd", &["codec", "bus/carrier"])],
}];

#[test]
fn every_room_uses_only_what_the_table_allows() {
    let mut faults = Vec::new();
    for house in HOUSES {
        for source in sources(house).iter().filter(|source| source.room != TESTS) {
            for (line, target) in source.edges(house) {
                if target != source.room && !house.allows(&source.room, &target) {
                    faults.push(format!("{}:{line}: {} must not use {target}", source.file, source.room));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}\nThe table is in tests/house/rooms_table.rs.", faults.join("\n"));
}

#[test]
fn the_table_goes_one_way_and_names_nothing_that_is_not_there() {
    let mut faults = Vec::new();
    for house in HOUSES {
        let sources = sources(house);
        let used: BTreeSet<_> = sources
            .iter()
            .flat_map(|source| source.edges(house).into_iter().map(|(_, to)| (source.room.clone(), to)))
            .collect();
        let there: BTreeSet<_> = sources.iter().map(|source| source.room.as_str()).collect();
        for room in there.iter().filter(|room| **room != TESTS && house.place(room).is_none()) {
            faults.push(format!("{}: no row for {room}", house.module));
        }
        for (at, (room, may_use)) in house.rooms.iter().enumerate() {
            if !there.contains(room) {
                faults.push(format!("{}: there is no {room}", house.module));
            }
            for target in *may_use {
                if house.place(target).is_none_or(|below| below <= at) {
                    faults.push(format!("{}: {target} does not stand below {room}", house.module));
                }
                if !used.contains(&((*room).to_owned(), (*target).to_owned())) {
                    faults.push(format!("{}: {room} does not use {target}", house.module));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}\nThe table is in tests/house/rooms_table.rs.", faults.join("\n"));
}

#[test]
fn a_crate_is_named_only_where_it_may_be() {
    let mut faults = Vec::new();
    for house in HOUSES {
        for (name, places) in house.crates {
            for source in sources(house) {
                let is_place =
                    |place: &&str| source.file.starts_with(&format!("src/{}/{place}", house.module));
                let path = format!("{name}::");
                let names = |line: &str| {
                    line.match_indices(&path)
                        .any(|(at, _)| !line[..at].ends_with(|c| is_identifier(c) || c == ':'))
                };
                let named = without_comments(&source.text).lines().position(names);
                if let Some(at) = named.filter(|_| !places.iter().any(is_place)) {
                    faults.push(format!(
                        "{}:{}: {name} may be named in {places:?} only",
                        source.file,
                        at + 1
                    ));
                }
            }
        }
    }
    assert!(faults.is_empty(), "{}\nThe table is in tests/house/rooms_table.rs.", faults.join("\n"));
}

#[test]
fn the_search_sees_absolute_relative_and_grouped_paths_but_not_comments() {
    let house = &HOUSES[0];
    let source = |file: &str, text: &str| Source::new(house, file.into(), text.to_owned());
    let edges = |file: &str, text: &str| -> Vec<_> {
        source(file, text).edges(house).into_iter().map(|(line, target)| format!("{line} {target}")).collect()
    };
    let text = "use crate::broker::bus::Bus;\n// crate::broker::codec\nuse super::super::codec::{\n    Version,\n};\n\
                use super::other;\nmod tests {\n    use super::*;\n    use super::super::super::work;\n}\n";
    assert_eq!(edges("src/broker/session/client.rs", text), ["1 bus", "3 codec", "9 work"]);
    let text =
        "use super::{bus, codec::Version};\nuse crate::broker::{\n    config::Config,\n    work,\n};\n";
    assert_eq!(edges("src/broker/link.rs", text), ["1 bus", "1 codec", "3 config", "4 work"]);
}

impl House {
    /// The room that a file or folder belongs to.
    fn room<'a>(&'a self, name: &'a str) -> &'a str {
        self.parts.iter().find(|(part, _)| *part == name).map_or(name, |(_, room)| room)
    }

    fn place(&self, room: &str) -> Option<usize> {
        self.rooms.iter().position(|(known, _)| *known == room)
    }

    fn allows(&self, room: &str, target: &str) -> bool {
        self.rooms.iter().any(|(known, may_use)| *known == room && may_use.contains(&target))
    }
}

/// One file of a house.
struct Source {
    /// Path from the repository's root.
    file: String,
    room: String,
    /// How many modules deep it is below the house: 1 for a room's own file.
    depth: usize,
    text: String,
}

impl Source {
    fn new(house: &House, file: PathBuf, text: String) -> Self {
        let inside = file.strip_prefix("src").unwrap().strip_prefix(house.module).unwrap().with_extension("");
        let levels: Vec<_> = inside.iter().map(|level| level.to_string_lossy().into_owned()).collect();
        let room = house.room(&levels[0]).to_owned();
        Self { file: file.display().to_string(), room, depth: levels.len(), text }
    }

    /// The rooms that it names: by a path from the crate's root, or by as many `super::` as lead to the
    /// house.
    fn edges(&self, house: &House) -> Vec<(usize, String)> {
        let code = without_comments(&self.text);
        let absolute = format!("crate::{}::", house.module);
        let mut found = Vec::new();
        for (at, matched) in code.match_indices(&absolute) {
            if !code[..at].ends_with(is_identifier) {
                names(&code, at + matched.len(), &mut found);
            }
        }
        for (at, matched) in code.match_indices("super::") {
            if code[..at].ends_with(is_identifier) || code[..at].ends_with("::") {
                continue;
            }
            let supers = code[at..].split(matched).take_while(|between| between.is_empty()).count();
            if supers == self.depth + usize::from(is_in_inline_module(&code, at)) {
                names(&code, at + supers * matched.len(), &mut found);
            }
        }
        found.sort_unstable();
        let rooms = found.iter().map(|(at, name)| (*at, house.room(name)));
        let known = rooms.filter(|(_, room)| house.place(room).is_some());
        known.map(|(at, room)| (code[..at].matches('\n').count() + 1, room.to_owned())).collect()
    }
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(house: &House) -> Vec<Source> {
    let mut paths = Vec::new();
    collect(&root().join("src").join(house.module), &mut paths);
    paths.sort();
    let source = |path: PathBuf| {
        let text = std::fs::read_to_string(&path).unwrap();
        Source::new(house, path.strip_prefix(root()).unwrap().to_owned(), text)
    };
    paths.into_iter().map(source).collect()
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// The name at `start`, or the first of each path in a braced group.
fn names(code: &str, start: usize, found: &mut Vec<(usize, String)>) {
    let name_at = |at: usize| -> String { code[at..].chars().take_while(|c| is_identifier(*c)).collect() };
    if !code[start..].starts_with('{') {
        return found.push((start, name_at(start)));
    }
    let (mut braces, mut expects_name) = (0, false);
    for (offset, c) in code[start..].char_indices() {
        let at = start + offset;
        match c {
            '{' => (braces, expects_name) = (braces + 1, braces == 0),
            '}' if braces == 1 => return,
            '}' => braces -= 1,
            ',' => expects_name = braces == 1,
            c if expects_name && is_identifier(c) => {
                found.push((at, name_at(at)));
                expects_name = false;
            }
            _ => {}
        }
    }
}

/// Whether `at` is inside a `mod name { ... }` of the file; formatted code begins
/// and ends those in the first column.
fn is_in_inline_module(code: &str, at: usize) -> bool {
    let first_column = code[..at].lines().rev().find(|line| {
        line.starts_with('}') || (line.ends_with('{') && line.starts_with(|c: char| c.is_alphabetic()))
    });
    first_column.is_some_and(|line| line.starts_with("mod ") || line.contains(" mod "))
}

/// The text with the rest of each line behind `//` left out; lines keep their numbers.
fn without_comments(text: &str) -> String {
    let code = |line: &str| match line.match_indices("//").find(|(at, _)| !line[..*at].ends_with(':')) {
        Some((at, _)) => line[..at].to_owned(),
        None => line.to_owned(),
    };
    text.lines().map(|line| code(line) + "\n").collect()
}

fn is_identifier(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}
