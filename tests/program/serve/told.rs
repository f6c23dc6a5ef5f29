//! What `serve` and `broker` tell an operator beside their work: the first line, what a reload came to, and
//! all of it as JSON.

use std::io::{Read, Write};
use std::net::TcpListener;

use serde_json::Value;

use super::{REQUEST, RESULTS, access_files, write};
use crate::support::process::{Process, nearfar, nearfar_logging, ready_address, run};
use crate::support::{MODEL, Sensor, request};

const AS_JSON: [&str; 2] = ["--log-format", "json"];

/// Every line of standard error, as JSON.
#[track_caller]
fn objects(stderr: &str) -> Vec<Value> {
    let object = |line: &str| serde_json::from_str(line).unwrap_or_else(|error| panic!("{line}: {error}"));
    stderr.lines().map(object).collect()
}

#[test]
fn the_first_line_names_version_files_and_limits() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "press");
    let listeners = write(
        directory.path(),
        "broker.toml",
        "[v4.1]\nlisten = \"127.0.0.1:0\"\n[router]\nmax_connections = 77\n[limits]\nmemory_max = 123456789\n",
    );
    let node = format!(
        "node_id = \"gateway-7\"\n[broker]\nconfig = {listeners:?}\nusers = {users:?}\naccess_rules = {rules:?}\n\
         [deployments.edge]\nmodel = {MODEL:?}\nin_flight_max = 55\n"
    );
    let node = write(directory.path(), "node.toml", &node);
    let process = Process::start(&mut nearfar_logging("info", &["serve", "--config", &node]));
    process.line();
    let ended = process.terminate();
    let first = ended.stderr.lines().next().unwrap();
    let version = format!("version=\"{}\"", env!("CARGO_PKG_VERSION"));
    let files = format!("files=\"{node}, {listeners}, {users}, {rules}\"");
    let limits = ["connections_max=77", "memory_max=123456789", "in_flight_max=55", "open_files_max="];
    for part in [&["nearfar starts", &version, &files, "node_id=\"gateway-7\""][..], &limits].concat() {
        assert!(first.contains(part), "{part:?} is not in {first}");
    }
    if std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(".git").exists() {
        let commit = first.split_once("commit=\"").map(|(_, rest)| rest.split('"').next().unwrap());
        let commit = commit.unwrap_or_else(|| panic!("no commit in {first}"));
        assert!(commit.len() == 12 && commit.bytes().all(|byte| byte.is_ascii_hexdigit()), "{first}");
    }
}

#[test]
fn a_reload_says_what_it_came_to_also_when_nothing_has_changed() {
    let directory = tempfile::tempdir().unwrap();
    let model = format!("model = {MODEL:?}\n");
    let text = format!("[broker]\nlisten = \"127.0.0.1:0\"\n[deployments.edge]\n{model}");
    let file = write(directory.path(), "node.toml", &text);
    let (users, rules) = access_files(directory.path(), "press");
    let port = ["--listen", "127.0.0.1:0"];
    let told = |arguments: &[&str], change: &dyn Fn(), parts: &[&str]| {
        let process = Process::start(&mut nearfar_logging("info", arguments));
        process.line();
        change();
        assert!(process.signal("HUP"));
        let line = process.complaint_with("told to reload");
        for part in parts {
            assert!(line.contains(part), "{part:?} is not in {line}");
        }
        process.terminate();
    };
    let nothing = || {};
    told(
        &["serve", "--config", &file],
        &nothing,
        &["no users, rules or certificates", "nothing has changed"],
    );
    let slower = || {
        write(directory.path(), "node.toml", &format!("{text}one_way_latency_ms = 5\nbatch_max = 3\n"));
    };
    told(
        &["serve", "--config", &file],
        &slower,
        &["1 simulated network has changed, and 1 key waits for a restart"],
    );
    let broken = || {
        write(directory.path(), "node.toml", "[broker");
    };
    write(directory.path(), "node.toml", &text);
    told(&["serve", "--config", &file], &broken, &["WARN", "of the file what cannot be used stays"]);
    let guarded = [&["broker", "--users", &users, "--acl", &rules][..], &port].concat();
    told(
        &guarded,
        &nothing,
        &["users, rules and certificates", "were read", "no file with simulated networks"],
    );
    let misspelt = || {
        write(directory.path(), "acl.toml", "[[rules]]\nalow = []\n");
    };
    told(&guarded, &misspelt, &["WARN", "not all of it", "stays as it was"]);
}

#[test]
fn a_node_that_waits_for_its_broker_says_what_a_reload_came_to() {
    let nobody = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port().to_string();
    let arguments = ["serve", MODEL, "--broker-host", "127.0.0.1", "--broker-port", &nobody];
    let process = Process::start(&mut nearfar_logging("info", &arguments));
    let line = process.complaint_with("no connection with the broker");
    assert!(
        line.contains("reason=\"unreachable\" why=\"no connection: ") && !line.contains("lasted"),
        "{line}"
    );
    assert!(process.signal("HUP"));
    process.complaint_with(
        "told to reload: the certificates for the broker elsewhere are read at each connection",
    );
    process.terminate();
}

/// Nothing of the broker's own file changes before a restart, and whoever restarts should know what will.
#[test]
fn a_reload_names_what_has_changed_in_the_brokers_own_file_and_what_is_wrong_there() {
    let directory = tempfile::tempdir().unwrap();
    let listener = "[v4.1]\nlisten = \"127.0.0.1:0\"\n";
    let file = write(directory.path(), "broker.toml", listener);
    let process = Process::start(&mut nearfar_logging("info", &["broker", "--broker-config", &file]));
    process.line();
    for (text, parts, said) in [
        (format!("# a remark\n{listener}"), None, "of the broker's file nothing has changed"),
        (
            format!("{listener}[router]\nmax_connections = 5\n[v5.1]\nlisten = \"127.0.0.1:1\"\n"),
            Some(["only a restart puts in force", "keys=\"router, v5\""]),
            "of the broker's file 2 keys wait for a restart",
        ),
        (
            "[v4.1]\nlisten = \"127.0.0.1:2\"\n".to_owned(),
            Some(["only a restart puts in force", "keys=\"v4.1.listen\""]),
            "of the broker's file 1 key waits for a restart",
        ),
        (
            format!("{listener}max_conections = 5\n"),
            Some(["the broker's file cannot be used", "broker.toml, line 3, key `v4.1.max_conections`"]),
            "of the broker's file what cannot be used stays as it was",
        ),
    ] {
        write(directory.path(), "broker.toml", &text);
        assert!(process.signal("HUP"));
        if let Some([part, other]) = parts {
            let line = process.complaint_with(part);
            assert!(line.contains(other), "{line}");
        }
        let line = process.complaint_with("told to reload");
        assert!(line.contains(said), "{line}");
    }
    std::fs::remove_file(&file).unwrap();
    assert!(process.signal("HUP"));
    let line = process.complaint_with("the broker's file cannot be used");
    assert!(line.contains("broker.toml cannot be read: No such file"), "{line}");
    process.complaint_with("WARN");
    process.terminate();
}

/// Everything that a start reads is read, and nothing is listened on.
#[test]
fn a_check_says_whether_a_start_would_succeed() {
    let directory = tempfile::tempdir().unwrap();
    let (users, rules) = access_files(directory.path(), "press");
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let broker = format!("[broker]\nlisten = \"{}\"\n", taken.local_addr().unwrap());
    let guarded = format!("{broker}users = {users:?}\naccess_rules = {rules:?}\n");
    let node = format!("{guarded}[deployments.edge]\nmodel = {MODEL:?}\n");
    let file = write(directory.path(), "node.toml", &node);
    let ended = run(&mut nearfar(&["serve", "--config", &file, "--check"]));
    ended.assert_success();
    let said = format!(
        "a start would succeed; files: {file}, {users}, {rules}; deployments with their models: edge"
    );
    assert_eq!(ended.lines, [said]);
    run(&mut nearfar(&["serve", MODEL, "--check"])).assert_success();
    let alone = write(directory.path(), "alone.toml", &guarded);
    run(&mut nearfar(&["broker", "--config", &alone, "--check"])).assert_success();
    for (text, parts) in [
        (node.replace("model = ", "modle = "), &["node.toml, line 6", "`model`"][..]),
        (node.replace(MODEL, "no_such_model"), &["no_such_model", "No such file"]),
        (node.replace("acl.toml", "none.toml"), &["node.toml, line 4", "none.toml cannot be read"]),
        (
            format!("{node}workers = 2\ncloud = {{ policy = \"shadow\", model = \"none\" }}\n"),
            &["none", "No such file"],
        ),
    ] {
        let file = write(directory.path(), "node.toml", &text);
        run(&mut nearfar(&["serve", "--config", &file, "--check"])).assert_refused(2, parts);
    }
}

/// Files that may be read and are hardly meant: the same is said at the start and at a reload.
#[test]
fn users_and_rules_that_are_hardly_meant_are_warned_of_at_the_start_and_at_a_reload() {
    let directory = tempfile::tempdir().unwrap();
    let hash = "$7$1$c2FsdHNhbHQ=$aGFzaGhhc2g=";
    let allow = "[[rules]]\nallow = [\"publish\"]\n";
    let good = [format!("pump-7:{hash}\n"), format!("{allow}topics = [\"data/%u\"]\n")];
    let weak = format!("old:$6$c2FsdHNhbHQ=${}\n", "A".repeat(86) + "==");
    let write_both = |[users, rules]: &[String; 2]| {
        (write(directory.path(), "users.txt", users), write(directory.path(), "acl.toml", rules))
    };
    for (users, rules, said) in [
        ("", &good[1], "no users: nobody can log in"),
        (&good[0], &String::new(), "no access rules: clients can connect"),
        (&format!("plant/9:{hash}\n"), &good[1], "no access rule with %u is about user \"plant/9\""),
        (&weak, &good[1], "users=\"\\\"old\\\"\""),
        (
            &good[0],
            &format!("{allow}users = [\"pmup-7\"]\ntopics = [\"a\"]\n"),
            "line 1 (`rules[0].users`) is about nobody in the users file: found \"pmup-7\"; did you mean \"pump-7\"?",
        ),
        (
            &good[0],
            &format!("{allow}topics = [\"a/#\"]\n[[rules]]\ndeny = [\"publish\"]\ntopics = [\"a/b\"]\n"),
            "line 4 (`rules[1]`) decides about no topic, because rules before it do (line 1)",
        ),
    ] {
        let bad = [users.to_owned(), rules.clone()];
        for (before, is_reloaded) in [(&bad, false), (&good, true)] {
            let (users, rules) = write_both(before);
            let arguments = ["broker", "--listen", "127.0.0.1:0", "--users", &users, "--acl", &rules];
            let process = Process::start(&mut nearfar_logging("info", &arguments));
            process.line();
            if is_reloaded {
                write_both(&bad);
                assert!(process.signal("HUP"));
            }
            let line = process.complaint_with(said);
            assert!(line.contains("WARN"), "{line}");
            let told = process.terminate().stderr.matches(said).count();
            assert_eq!(told, 1, "{said}");
        }
    }
}

/// Not every failure means that nobody is there: the line says what it is, in words and by its name in
/// metrics.
#[test]
fn a_broker_that_is_reached_and_of_no_use_is_not_said_to_be_unreachable() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port().to_string();
    let arguments = ["serve", MODEL, "--broker-host", "127.0.0.1", "--broker-port", &port];
    let process = Process::start(&mut nearfar_logging("warn", &arguments));
    let refused = [0x20, 3, 0, 0x86, 0];
    for (answer, reason, part) in [
        (&refused[..], "refused", "the broker refuses the connection"),
        // What waits for TLS says nothing to a CONNECT, or an alert.
        (b"", "lost", "does it want TLS there ([remote.tls])?"),
        (b"\x15\x03\x01\x00\x02\x02\x46", "protocol_error", "does it want TLS there ([remote.tls])?"),
    ] {
        let (mut stream, _) = listener.accept().unwrap();
        assert!(stream.read(&mut [0; 1024]).unwrap() > 0);
        stream.write_all(answer).unwrap();
        drop(stream);
        let line = process.complaint_with("no connection with the broker; trying again until there is one");
        assert!(line.contains(&format!("reason={reason:?} why=")) && line.contains(part), "{line}");
    }
    process.terminate();
}

#[test]
fn with_json_everything_on_standard_error_is_json_and_so_are_the_statistics() {
    let arguments = [&["serve", MODEL, "--listen", "127.0.0.1:0"][..], &AS_JSON].concat();
    let process = Process::start(&mut nearfar_logging("info", &arguments));
    let sensor = Sensor::listening(ready_address(&process.line()), &[RESULTS]);
    sensor.ask(REQUEST, request("press", 7));
    drop(sensor);
    let ended = process.terminate();
    assert_eq!(objects(&ended.stderr)[0]["fields"]["message"], "nearfar starts");
    let [statistics] = &ended.lines[..] else { panic!("{ended:?}") };
    let statistics: Value = serde_json::from_str(statistics).unwrap();
    for (key, value) in [("received", 1), ("inferences", 1), ("errors", 0), ("left_behind", 0)] {
        assert_eq!(statistics[key], value, "{statistics}");
    }
    assert_eq!(statistics["deployment"], "edge");
    assert!(statistics["average_total_latency_ms"].as_f64().unwrap() > 0.0, "{statistics}");
}

#[test]
fn with_json_what_ends_the_program_is_json_too() {
    for (arguments, part) in [
        (&["serve", "no_such_model"][..], "cannot read no_such_model"),
        (&["serve", "--config", "no_such_file.toml"], "no_such_file.toml: cannot be read"),
        (&["broker", "--listen", "everywhere"], "everywhere"),
        (&["broker", "--no-such-flag"], "--no-such-flag"),
        (&["infer", MODEL, "--features", "1,2"], "2"),
    ] {
        for format in [&AS_JSON[..], &["--log-format=json"]] {
            let ended = run(nearfar(format).args(arguments));
            assert_ne!(ended.code, Some(0), "{ended:?}");
            let objects = objects(&ended.stderr);
            let last = objects.last().unwrap_or_else(|| panic!("{ended:?}"));
            let message = last["fields"]["message"].as_str().unwrap();
            assert!(last["level"] == "ERROR" && message.contains(part), "{ended:?}");
            assert!(last["timestamp"].as_str().unwrap().ends_with('Z'), "{ended:?}");
        }
    }
}
