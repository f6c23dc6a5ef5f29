//! What people are told of a wrong file, variable or flag: every message as a whole, in `messages/*.txt`.
//!
//! A case is a line that names its kind after `## `, what is written, `-->` and the
//! message. A file's name stands for its path. What the program says now is written
//! beside the test's temporary files when it differs.

use std::fmt::Write;
use std::path::Path;

use nearfar::lab::scenario::Document;
use nearfar::testing::{read_broker_file, read_node_file};

use crate::support::process::{nearfar_logging, run};

/// One wrong text, and what is said of it.
struct Case {
    kind: String,
    written: String,
    message: String,
}

#[test]
fn a_wrong_node_file_is_named_by_its_message() {
    check("node", |_, written, directory| {
        let file = directory.join("nearfar.toml");
        std::fs::write(&file, written).unwrap();
        let read = read_node_file(&file).and_then(|file| file.into_serve_config());
        read.map(|_| ()).map_err(|error| error.to_string())
    });
}

#[test]
fn a_wrong_broker_file_is_named_by_its_message() {
    check("broker", |_, written, directory| {
        let file = directory.join("rumqttd.toml");
        std::fs::write(&file, written).unwrap();
        read_broker_file(&file).map(|_| ()).map_err(|error| error.to_string())
    });
}

#[test]
fn wrong_access_rules_are_named_by_their_message() {
    check("rules", |_, written, directory| {
        let file = directory.join("nearfar.toml");
        std::fs::write(&file, "[broker]\nusers = \"users.txt\"\naccess_rules = \"acl.toml\"\n").unwrap();
        std::fs::write(directory.join("users.txt"), "").unwrap();
        std::fs::write(directory.join("acl.toml"), written).unwrap();
        let read = read_node_file(&file).and_then(|file| file.into_serve_config());
        read.map(|_| ()).map_err(|error| error.to_string())
    });
}

#[test]
fn a_wrong_scenario_is_named_by_its_message() {
    check("scenario", |_, written, _| {
        let read = Document::parse("scenario.yaml", written);
        let read = read.and_then(|document| document.scenario(&|_| Ok(None)));
        read.map(|_| ()).map_err(|error| error.to_string())
    });
}

/// The kind says flags and variables, for `nearfar serve` or `nearfar broker`.
#[test]
fn wrong_variables_and_flags_are_named_by_their_message() {
    check("program", |kind, written, directory| {
        std::fs::write(directory.join("node.toml"), written).unwrap();
        let (variables, arguments): (Vec<_>, Vec<_>) =
            kind.split(' ').partition(|word| word.starts_with("NEARFAR_"));
        let mut command = nearfar_logging("warn", &arguments);
        command.current_dir(directory).envs(variables.iter().filter_map(|word| word.split_once('=')));
        let ended = run(&mut command);
        // A line of the log begins with a time and a level.
        let said = |line: &str| line.split_once("WARN").map_or(line, |(_, rest)| rest).trim().to_owned();
        let said: Vec<_> = ended.stderr.lines().map(said).collect();
        if ended.code == Some(0) { Ok(()) } else { Err(said.join("\n")) }
    });
}

#[track_caller]
fn check(name: &str, read: impl Fn(&str, &str, &Path) -> Result<(), String>) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("tests/program/messages/{name}.txt"));
    let text = std::fs::read_to_string(path).unwrap();
    let (head, rest) = text.split_at(text.find("## ").unwrap());
    let mut now = head.to_owned();
    let mut differences = String::new();
    for Case { kind, written, message } in rest.split("## ").skip(1).map(case) {
        let directory = tempfile::tempdir().unwrap();
        let place = format!("{}/", directory.path().display());
        let found = match read(&kind, &written, directory.path()) {
            Ok(()) => "nothing: it is read".to_owned(),
            // Where a relative path is looked for is the directory itself.
            Err(said) => {
                said.replace(&place, "").replace(&directory.path().display().to_string(), "the directory")
            }
        };
        if found != message {
            writeln!(differences, "## {kind}\n{written}was: {message}\nnow: {found}\n").unwrap();
        }
        writeln!(now, "## {kind}\n{written}-->\n{found}\n").unwrap();
    }
    if !differences.is_empty() {
        let beside = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{name}.txt"));
        std::fs::write(&beside, now).unwrap();
        panic!("{differences}what is said now stands in {}", beside.display());
    }
}

fn case(text: &str) -> Case {
    let (kind, rest) = text.split_once('\n').unwrap();
    let (written, message) = rest.split_once("-->\n").unwrap_or_else(|| panic!("no --> in {text}"));
    Case { kind: kind.to_owned(), written: written.to_owned(), message: message.trim_end().to_owned() }
}
