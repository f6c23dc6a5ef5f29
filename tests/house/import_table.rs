//! Keeps the import table: which of our modules may use which, and which crates a module must never know.
//!
//! The table stands twice, here and in docs/imports.md, and a test keeps the two equal.
//! It is a text search, not a compiler: comments are left out, everything else counts. A name that a macro
//! makes, or that hides behind `use crate as x`, escapes it. Nothing else keeps the table, so write neither.

use std::fmt;

use super::paths::{is_identifier, uses, without_comments};
use super::sources::{self, root};

/// What one top-level module may import of ours, and which words must not stand in its code.
struct Row {
    module: &'static str,
    may_import: May,
    /// Beginnings of identifiers: `candle` covers `candle_core` and `candle_nn`.
    must_never_know: &'static [&'static str],
}

/// Which modules may be imported.
enum May {
    Only(&'static [&'static str]),
    AllBut(&'static [&'static str]),
}

use May::{AllBut, Only};

const TABLE: &[Row] = &[
    row("inference", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("alarm", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("file_access", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("growing_file", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("statistics", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("features", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("mqtt", Only(&[]), &["tokio", "serde", "candle", "rumqtt"]),
    row("network", Only(&["settings", "sync"]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("rate_limit", Only(&[]), &["tokio", "candle", "rumqtt", "mqtt"]),
    row("suggestion", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("sync", Only(&[]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row("tcp", Only(&[]), &["serde", "candle", "rumqtt", "mqtt", "clap"]),
    row("tls", Only(&["file_access", "text"]), &["serde", "candle", "rumqtt", "clap"]),
    row("text", Only(&["file_access"]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row(
        "placement",
        Only(&["inference", "settings"]),
        &["tokio", "serde", "candle", "rumqtt", "mqtt", "thread", "Mutex"],
    ),
    row("settings", Only(&["suggestion", "text"]), &["tokio", "candle", "rumqtt", "mqtt"]),
    row("telemetry", Only(&["suggestion"]), &["tokio", "candle", "mqtt"]),
    row("ledger", Only(&["inference", "placement", "sync"]), &["tokio", "serde", "candle", "rumqtt", "mqtt"]),
    row(
        "detection",
        Only(&["inference", "settings", "statistics", "sync"]),
        &["tokio", "candle", "rumqtt", "mqtt", "clap"],
    ),
    row("wire", Only(&["detection", "inference", "text"]), &["tokio", "candle", "rumqtt", "mqtt", "topic"]),
    row(
        "model",
        Only(&["detection", "file_access", "inference", "settings", "text"]),
        &["tokio", "rumqtt", "mqtt"],
    ),
    row("shipped", Only(&["model"]), &["tokio", "serde", "rumqtt", "mqtt"]),
    row(
        "worker",
        Only(&["detection", "inference", "model", "sync"]),
        &["tokio", "serde", "candle", "rumqtt", "mqtt"],
    ),
    row(
        "broker",
        Only(&["file_access", "mqtt", "rate_limit", "settings", "suggestion", "sync", "tcp", "text", "tls"]),
        &["serde_json", "candle"],
    ),
    row(
        "client",
        Only(&["broker", "file_access", "mqtt", "rate_limit", "sync", "tcp", "tls"]),
        &["serde_json", "candle"],
    ),
    row(
        "deployment",
        Only(&[
            "client",
            "detection",
            "growing_file",
            "inference",
            "ledger",
            "model",
            "mqtt",
            "network",
            "placement",
            "rate_limit",
            "sync",
            "telemetry",
            "wire",
            "worker",
        ]),
        &["rumqtt", "clap", "http"],
    ),
    row(
        "requester",
        Only(&["client", "deployment", "inference", "mqtt", "sync", "wire"]),
        &["tokio", "serde", "candle", "rumqtt", "clap"],
    ),
    row(
        "http",
        Only(&["broker", "inference", "ledger", "node", "rate_limit"]),
        &["serde", "candle", "rumqtt", "mqtt", "clap"],
    ),
    row(
        "node",
        AllBut(&["cli", "config", "http", "judgement", "lab", "report", "requester", "training", "trial"]),
        &["clap", "candle", "rumqtt"],
    ),
    row(
        "judgement",
        Only(&["detection", "statistics"]),
        &["tokio", "serde", "candle", "rumqtt", "mqtt", "clap"],
    ),
    row(
        "sensors",
        Only(&["features", "inference", "suggestion", "text"]),
        &["tokio", "candle", "rumqtt", "mqtt"],
    ),
    row(
        "training",
        Only(&["detection", "model", "sensors", "statistics"]),
        &["tokio", "serde", "rumqtt", "mqtt", "clap"],
    ),
    row(
        "config",
        Only(&[
            "broker",
            "client",
            "deployment",
            "file_access",
            "http",
            "mqtt",
            "network",
            "node",
            "placement",
            "settings",
            "shipped",
            "suggestion",
            "text",
            "wire",
            "worker",
        ]),
        &["tokio", "candle", "clap"],
    ),
    row(
        "lab",
        Only(&[
            "features",
            "inference",
            "network",
            "placement",
            "sensors",
            "settings",
            "statistics",
            "suggestion",
            "text",
        ]),
        &["tokio", "serde", "candle", "rumqtt", "clap"],
    ),
    row("report", Only(&["judgement", "lab", "statistics"]), &["tokio", "candle", "rumqtt", "mqtt", "clap"]),
    row(
        "trial",
        Only(&[
            "client",
            "deployment",
            "features",
            "growing_file",
            "inference",
            "lab",
            "model",
            "network",
            "node",
            "placement",
            "requester",
            "sensors",
            "settings",
            "shipped",
            "suggestion",
            "text",
            "wire",
            "worker",
        ]),
        &["tokio", "serde", "candle", "rumqtt", "clap"],
    ),
    row("cli", AllBut(&[]), &["candle", "rumqtt"]),
];

/// Edges that the table allows in one file alone: importing module, imported module, file.
const ONLY_IN: &[(&str, &str, &str)] = &[("client", "broker", "src/client/in_process.rs")];

const fn row(module: &'static str, may_import: May, must_never_know: &'static [&'static str]) -> Row {
    Row { module, may_import, must_never_know }
}

#[test]
fn every_module_imports_only_what_the_table_allows() {
    let faults: Vec<_> = sources().iter().flat_map(forbidden_edges).collect();
    assert!(faults.is_empty(), "{}", list(&faults));
}

#[test]
fn no_module_mentions_what_it_must_never_know() {
    let faults: Vec<_> = sources().iter().flat_map(forbidden_words).collect();
    assert!(faults.is_empty(), "{}", list(&faults));
}

#[test]
fn every_module_has_a_row() {
    let mut missing: Vec<_> =
        sources().into_iter().map(|source| source.module).filter(|module| find(module).is_none()).collect();
    missing.dedup();
    assert!(
        missing.is_empty(),
        "modules without a row: {}; add one to TABLE in tests/house/import_table.rs and to the import table in docs/imports.md",
        missing.join(", ")
    );
}

#[test]
fn the_page_of_imports_shows_the_same_table() {
    let page = std::fs::read_to_string(root().join("docs/imports.md")).unwrap();
    let missing: Vec<_> = TABLE
        .iter()
        .map(Row::to_string)
        .filter(|row| !page.lines().any(|line| line == row))
        .map(|row| format!("docs/imports.md lacks the line\n  {row}"))
        .collect();
    assert!(missing.is_empty(), "{}", missing.join("\n"));
    let heading = "| module | may import | must never know |";
    let rows =
        page.lines().skip_while(|line| *line != heading).skip(2).take_while(|line| line.starts_with('|'));
    assert_eq!(rows.count(), TABLE.len(), "docs/imports.md has another number of rows under {heading:?}");
}

#[test]
fn the_search_sees_paths_groups_and_supers_but_not_comments() {
    let text = "use crate::wire;\n// crate::node\nuse crate::{\n    mqtt::{self, Message},\n    worker,\n};\n\
                fn f() -> super::broker::Config {}\nmod tests {\n    use super::*;\n    use super::super::node;\n}\n";
    let expected = [(1, "wire"), (4, "mqtt"), (5, "worker"), (7, "broker"), (10, "node")];
    assert_eq!(uses(text, "crate::", 1), expected.map(|(line, target)| (line, target.to_owned())));
    // One level further down, one `super` more leads out.
    assert_eq!(uses("use super::config;\nuse super::super::node;\n", "crate::", 2), [(2, "node".to_owned())]);
}

#[test]
fn a_forbidden_edge_is_named_with_file_line_and_both_modules() {
    let source = |file: &str, module: &str, text: &str| Source {
        file: file.to_owned(),
        module: module.to_owned(),
        depth: 1,
        text: text.to_owned(),
    };
    let faults = forbidden_edges(&source("src/wire.rs", "wire", "\nuse crate::node::Node;\n"));
    assert!(faults[0].starts_with("src/wire.rs:2: wire must not import node"), "{faults:?}");
    let faults = forbidden_edges(&source("src/client/remote.rs", "client", "use crate::broker;"));
    assert!(faults[0].contains("only src/client/in_process.rs may"), "{faults:?}");
    let faults = forbidden_words(&source("src/model.rs", "model", "// tokio\nuse tokio::sync;"));
    assert_eq!(faults.len(), 1);
    assert!(faults[0].starts_with("src/model.rs:2: model must never know `tokio`"), "{faults:?}");
}

/// One file under src/.
struct Source {
    /// Path from the repository's root.
    file: String,
    /// The top-level module it belongs to.
    module: String,
    /// How many modules deep it is: 1 for `src/wire.rs`.
    depth: usize,
    text: String,
}

fn sources() -> Vec<Source> {
    let mut files = sources::sources(&["src"]);
    // The crate roots name every module: that is what they are for.
    files.retain(|source| !["src/lib.rs", "src/main.rs"].contains(&source.file.as_str()));
    files.into_iter().map(source).collect()
}

fn source(sources::Source { file, text }: sources::Source) -> Source {
    let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
    let (module, depth) = (inside.split('/').next().unwrap().to_owned(), inside.split('/').count());
    Source { file, module, depth, text }
}

fn find(module: &str) -> Option<&'static Row> {
    TABLE.iter().find(|row| row.module == module)
}

fn forbidden_edges(source: &Source) -> Vec<String> {
    let Some(row) = find(&source.module) else { return Vec::new() };
    let fault = |(line, target): (usize, String)| {
        let complaint = row.complaint(&source.file, &target)?;
        Some(format!("{}:{line}: {} must not import {target}: {complaint}", source.file, row.module))
    };
    uses(&source.text, "crate::", source.depth).into_iter().filter_map(fault).collect()
}

fn forbidden_words(source: &Source) -> Vec<String> {
    let Some(row) = find(&source.module) else { return Vec::new() };
    let code = without_comments(&source.text);
    let mut faults = Vec::new();
    for (at, line) in code.lines().enumerate() {
        for word in line.split(|c: char| !is_identifier(c)) {
            if let Some(known) = row.must_never_know.iter().find(|known| word.starts_with(*known)) {
                let (file, number, module) = (&source.file, at + 1, row.module);
                faults.push(format!("{file}:{number}: {module} must never know `{known}`, found `{word}`"));
            }
        }
    }
    faults
}

impl Row {
    /// Why `file` may not import `target`; nothing when it may.
    fn complaint(&self, file: &str, target: &str) -> Option<String> {
        if target == self.module {
            return None;
        }
        if find(target).is_none() {
            return Some("it is no module of the table; name the module that defines it".to_owned());
        }
        if !self.may_import.allows(target) {
            return Some(format!("the table allows {}", self.may_import));
        }
        let only =
            ONLY_IN.iter().find(|(module, imported, _)| *module == self.module && *imported == target)?;
        (only.2 != file).then(|| format!("only {} may", only.2))
    }
}

impl May {
    fn allows(&self, target: &str) -> bool {
        match self {
            Only(modules) => modules.contains(&target),
            AllBut(modules) => !modules.contains(&target),
        }
    }
}

impl fmt::Display for May {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Only([]) => f.write_str("nothing"),
            Only(modules) => f.write_str(&modules.join(", ")),
            AllBut([]) => f.write_str("everything"),
            AllBut(modules) => write!(f, "everything but {}", modules.join(", ")),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { module, may_import, must_never_know } = self;
        write!(f, "| {module} | {may_import} | {} |", must_never_know.join(", "))
    }
}

fn list(faults: &[String]) -> String {
    format!("{}\nThe table is in tests/house/import_table.rs and docs/imports.md.", faults.join("\n"))
}
