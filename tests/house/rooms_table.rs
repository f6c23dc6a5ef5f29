//! Keeps the rooms inside a module: which of them may use which, one way, and where a crate may be named.
//!
//! A room is a folder or a file directly below the module's own folder. Rooms stand
//! in the table from top to bottom, and none uses one above it; the module's own
//! file stands above them all. Like tests/house/import_table.rs it is a text search:
//! comments are left out, everything else counts, tests included.

use std::collections::BTreeSet;

use super::paths::{self, is_identifier, without_comments};
use super::sources;

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

/// A folder or file that tests the others, and may use all of them.
const TESTS: &str = "tests";

/// Where candle may be named in `model`.
const CANDLE: &[&str] = &["neural", "layers", "kernel"];

const HOUSES: &[House] = &[
    House {
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
        parts: &[("rules_file", "access")],
        crates: &[("rumqttd", &["codec", "bus/carrier"])],
    },
    House {
        module: "model",
        rooms: &[
            ("inspect", &["load", "info", "graph", "graph_config", "tensors"]),
            (
                "graph_convert",
                &["load", "convert", "config", "graph", "graph_config", "output", "save", "tensors"],
            ),
            ("save", &["load", "convert", "config", "safetensors_file", "tensors"]),
            ("error", &["config"]),
            ("detector", &["load", "info", "judge"]),
            ("judge", &[]),
            ("deviation", &["info"]),
            ("convert", &["load", "selection", "safetensors_file", "fit", "config", "tensors"]),
            ("selection", &["glob", "tensors"]),
            (
                "load",
                &[
                    "onnx",
                    "detecting",
                    "graph_model",
                    "graph_config",
                    "graph",
                    "safetensors_file",
                    "neural",
                    "info",
                    "inferred",
                    "fit",
                    "fold",
                    "config",
                    "output",
                    "layers",
                    "checkpoint",
                    "tensors",
                    "foreign",
                    "advice",
                ],
            ),
            ("detecting", &["normalise"]),
            ("onnx", &["graph", "foreign"]),
            ("graph_model", &["config", "graph", "output", "normalise"]),
            ("graph_config", &["graph", "output", "tensors"]),
            ("safetensors_file", &["tensors"]),
            ("neural", &["config", "output", "normalise", "layers", "shape", "kernel"]),
            ("info", &["config", "layers"]),
            ("inferred", &["config", "layers", "tensors"]),
            ("fit", &["config", "glob", "layers", "tensors"]),
            ("fold", &["tensors"]),
            ("glob", &[]),
            ("config", &["output", "normalise", "narrow", "layers", "graph", "shape"]),
            ("output", &["narrow"]),
            ("normalise", &["narrow"]),
            ("narrow", &[]),
            ("layers", &["shape", "kernel"]),
            ("shape", &[]),
            ("graph", &["kernel"]),
            ("kernel", &[]),
            ("checkpoint", &["tensors", "foreign"]),
            ("tensors", &[]),
            ("foreign", &["advice"]),
            ("advice", &[]),
        ],
        parts: &[],
        crates: &[("candle_core", CANDLE), ("candle_nn", CANDLE)],
    },
    House {
        module: "deployment",
        rooms: &[
            ("view", &["way", "junction", "ticket", "config"]),
            ("way", &["network_control", "error", "flow", "destination", "ticket", "config"]),
            ("network_control", &["flow"]),
            ("devices", &["ticket"]),
            (
                "intake",
                &["entrance", "duplicates", "admission", "ticket", "reply", "trace_context", "config"],
            ),
            ("checks", &["error", "config"]),
            ("error", &[]),
            ("dispatcher", &["flow", "junction", "outbox"]),
            ("asker", &["entrance", "admission", "ticket", "reply", "config"]),
            ("entrance", &["flow", "junction", "ticket"]),
            ("flow", &["destination", "outbox", "ticket"]),
            ("destination", &["junction", "outbox", "ticket"]),
            ("junction", &["outbox", "ticket", "reply", "in_flight_bytes"]),
            ("outbox", &["duplicates", "ticket", "reply", "config"]),
            ("duplicates", &["ticket", "reply", "config"]),
            ("admission", &["ticket", "config", "in_flight_bytes", "crowd"]),
            ("ticket", &["reply", "in_flight_bytes", "crowd"]),
            ("reply", &["trace_context"]),
            ("trace_context", &[]),
            ("config", &["in_flight_bytes", "device_state"]),
            ("device_state", &[]),
            ("in_flight_bytes", &["crowd"]),
            ("crowd", &[]),
        ],
        parts: &[],
        crates: &[],
    },
    House {
        module: "worker",
        rooms: &[
            ("pool", &["watch", "guest", "running", "shared", "slot", "lanes", "in_force"]),
            ("watch", &["running", "shared", "slot"]),
            ("health", &[]),
            ("guest", &["running", "shared", "slot"]),
            ("running", &["shared", "slot", "inputs", "in_force"]),
            ("shared", &["slot", "lanes", "inputs", "in_force"]),
            ("inputs", &["in_force"]),
            ("slot", &[]),
            ("lanes", &[]),
            ("in_force", &[]),
        ],
        parts: &[],
        crates: &[],
    },
];

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
    let source = |file: &str, text: &str| {
        Source::new(house, sources::Source { file: file.to_owned(), text: text.to_owned() })
    };
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
    fn new(house: &House, sources::Source { file, text }: sources::Source) -> Self {
        let inside = file.strip_prefix("src/").and_then(|inside| inside.strip_prefix(house.module)).unwrap();
        let levels: Vec<_> = inside.trim_matches('/').trim_end_matches(".rs").split('/').collect();
        let is_test = levels.contains(&TESTS);
        let room = if is_test { TESTS } else { house.room(levels[0]) }.to_owned();
        Self { depth: levels.len(), room, file, text }
    }

    /// The rooms that it names, with the line of each.
    fn edges(&self, house: &House) -> Vec<(usize, String)> {
        let uses = paths::uses(&self.text, &format!("crate::{}::", house.module), self.depth);
        let rooms = uses.into_iter().map(|(line, name)| (line, house.room(&name).to_owned()));
        rooms.filter(|(_, room)| house.place(room).is_some()).collect()
    }
}

fn sources(house: &House) -> Vec<Source> {
    let folder = format!("src/{}", house.module);
    sources::sources(&[&folder]).into_iter().map(|source| Source::new(house, source)).collect()
}
