//! `nearfar passwd` as a user calls it: what it writes, what it leaves alone, and how it refuses.

use std::fs::{self, File};
use std::os::unix::fs::{MetadataExt, PermissionsExt, chown};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;

use nearfar::broker::{self, AccessRules, AttemptLimits, Broker, Guard, Users};

use crate::support::mqtt::{Client, Connect};
use crate::support::process::{Ended, Process, nearfar, nearfar_logging, run};

/// Runs `passwd` on `file` with `input` as its standard input.
fn passwd(file: &Path, arguments: &[&str], input: impl AsRef<[u8]>) -> Ended {
    let directory = tempfile::tempdir().unwrap();
    let typed = directory.path().join("input");
    fs::write(&typed, input).unwrap();
    run(nearfar(&["passwd"]).arg(file).args(arguments).stdin(Stdio::from(File::open(&typed).unwrap())))
}

#[test]
fn a_new_file_is_made_for_its_owner_alone_and_holds_no_password() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    let ended = passwd(&file, &["press-1"], "correct horse\n");
    ended.assert_success();
    assert_eq!(ended.lines, ["password of user \"press-1\" set"]);
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with("press-1:$argon2id$v=19$m=19456,t=2,p=1$") && !text.contains("horse"), "{text}");
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(fs::read_dir(directory.path()).unwrap().count(), 1, "no temporary file is left behind");
}

#[test]
fn a_known_user_is_changed_in_place_and_a_deleted_one_is_gone() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    fs::write(
        &file,
        "# presses\nold:$7$101$c2FsdHNhbHQ=$aGFzaGhhc2g=\nother:$7$101$c2FsdHNhbHQ=$aGFzaGhhc2g=\n",
    )
    .unwrap();
    passwd(&file, &["old"], "new secret\r\n").assert_success();
    let text = fs::read_to_string(&file).unwrap();
    let lines: Vec<_> = text.lines().collect();
    assert_eq!((lines.len(), lines[0], lines[2]), (3, "# presses", "other:$7$101$c2FsdHNhbHQ=$aGFzaGhhc2g="));
    assert!(lines[1].starts_with("old:$argon2id$"), "{text}");
    passwd(&file, &["other", "--delete"], "").assert_success();
    let users = Users::parse(&fs::read_to_string(&file).unwrap()).unwrap();
    assert_eq!(users.len(), 1);
    passwd(&file, &["other", "--delete"], "").assert_refused(2, &["users.txt", "no user \"other\""]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_a_password_or_of_a_file() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    fs::write(&file, "\u{feff}old:$7$1$c2FsdHNhbHQ=$aGFzaGhhc2g=\r\n").unwrap();
    passwd(&file, &["press"], "\u{feff}secret\r\n").assert_success();
    let text = fs::read_to_string(&file).unwrap();
    // A password that begins with the mark would be another one: only checking it tells.
    let guard =
        Guard::new(Users::parse(&text).unwrap(), AccessRules::default(), AttemptLimits::default()).unwrap();
    let broker =
        Broker::start(broker::Config { access: Arc::new(guard), ..broker::Config::loopback() }).unwrap();
    let connect = Connect { login: Some(("press", "secret")), ..Connect::v3("c") };
    Client::accepted(broker.addresses()[0].1, &connect);
    passwd(&file, &["old", "--delete"], "").assert_success();
    let utf_16: Vec<u8> = "\u{feff}secret\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    passwd(&file, &["press"], utf_16).assert_refused(2, &["UTF-16LE", "expected UTF-8"]);
    fs::write(&file, b"press:$7$\xfc").unwrap();
    passwd(&file, &["press"], "x").assert_refused(2, &["users.txt", "line 1", "0xfc", "UTF-8"]);
}

#[test]
fn a_link_to_the_file_stays_a_link() {
    let directory = tempfile::tempdir().unwrap();
    let (file, link) = (directory.path().join("real"), directory.path().join("users.txt"));
    fs::write(&file, "").unwrap();
    std::os::unix::fs::symlink(&file, &link).unwrap();
    passwd(&link, &["a"], "secret").assert_success();
    assert!(fs::symlink_metadata(&link).unwrap().is_symlink());
    assert_eq!(Users::parse(&fs::read_to_string(&file).unwrap()).unwrap().len(), 1);
    assert_eq!(fs::metadata(&file).unwrap().uid(), fs::metadata(directory.path()).unwrap().uid());
}

#[test]
fn what_cannot_be_used_is_refused_and_changes_nothing() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    let broken = "# comment\npress-1:secret\n";
    fs::write(&file, broken).unwrap();
    let ended = passwd(&file, &["press-2"], "x");
    ended.assert_refused(2, &["users.txt, line 2", "\"press-1\"", "$argon2id$"]);
    assert!(!ended.stderr.contains("secret"), "{ended:?}");
    fs::write(&file, "").unwrap();
    passwd(&file, &["a:b"], "x").assert_refused(2, &["USER", "\"a:b\"", "':'"]);
    passwd(&file, &["a"], "\n").assert_refused(2, &["password is empty"]);
    passwd(&file, &["a"], "").assert_refused(2, &["password is empty"]);
    passwd(&file, &["a"], "x".repeat(5_000)).assert_refused(2, &["more than the 1024 bytes"]);
    passwd(&file, &["a", "hunter2"], "")
        .assert_refused(2, &["not taken from the command line", "standard input"]);
    assert_eq!(fs::read_to_string(&file).unwrap(), "");
    let nowhere = directory.path().join("no such directory/users.txt");
    let ended = passwd(&nowhere, &["a"], "x");
    ended.assert_refused(2, &["users.txt: cannot be written", "no directory", "make it first"]);
    assert!(!ended.stderr.contains("at path"), "{ended:?}");
}

/// What cannot be used of a file is answered with the advice to set the password anew, so that has to work.
#[test]
fn a_line_that_cannot_be_used_is_set_anew_or_removed() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    for line in ["press-1:$2b$12$abcdefghijklmnopqrstuv", "press-1:clear text"] {
        for (arguments, users) in
            [(&["press-1"][..], 1), (&["press-1", "--delete"], 0), (&["-D", "press-1"], 0), (&["press-2"], 9)]
        {
            fs::write(&file, format!("# presses\n{line}\n")).unwrap();
            let ended = passwd(&file, arguments, "secret");
            if users == 9 {
                ended.assert_refused(2, &["users.txt, line 2", "\"press-1\"", "`nearfar passwd`"]);
                continue;
            }
            ended.assert_success();
            let text = fs::read_to_string(&file).unwrap();
            assert_eq!(Users::parse(&text).map(|users| users.len()), Ok(users), "{text}");
            assert!(text.starts_with("# presses\n"), "{text}");
        }
    }
}

#[test]
fn a_user_whose_name_is_no_level_is_told_of_the_rules_that_are_not_about_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    let ended = passwd(&file, &["plant/7"], "secret\n");
    assert_eq!(
        (ended.code, &ended.lines[..]),
        (Some(0), &["password of user \"plant/7\" set".to_owned()][..])
    );
    assert!(ended.stderr.contains("%u") && ended.stderr.contains("users = [\"plant/7\"]"), "{ended:?}");
    let rules = directory.path().join("acl.toml");
    let start = |topic: &str| {
        fs::write(&rules, format!("[[rules]]\nallow = [\"publish\"]\ntopics = [{topic:?}]\n")).unwrap();
        let mut command = nearfar_logging("warn", &["broker", "--listen", "127.0.0.1:0"]);
        let process = Process::start(command.arg("--users").arg(&file).arg("--acl").arg(&rules));
        process.line();
        process.terminate().stderr
    };
    let said = start("data/%u");
    assert!(said.contains("WARN") && said.contains("user \"plant/7\""), "{said}");
    assert_eq!(start("data/#"), "");
}

#[test]
fn a_changed_file_keeps_its_owner_group_and_mode() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("users.txt");
    fs::write(&file, "").unwrap();
    // Another group than new files have, where this user may give one.
    let own = fs::metadata(&file).unwrap();
    let group = [990, own.gid()].into_iter().find(|group| chown(&file, None, Some(*group)).is_ok()).unwrap();
    for (mode, arguments, password) in [
        (0o640, &["a"][..], "secret"),
        (0o660, &["a"], "other"),
        (0o600, &["b"], "secret"),
        (0o640, &["a", "--delete"], ""),
    ] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        passwd(&file, arguments, password).assert_success();
        let now = fs::metadata(&file).unwrap();
        assert_eq!((now.mode() & 0o7777, now.uid(), now.gid()), (mode, own.uid(), group), "{arguments:?}");
    }
    assert_eq!(Users::parse(&fs::read_to_string(&file).unwrap()).unwrap().len(), 1);
}
