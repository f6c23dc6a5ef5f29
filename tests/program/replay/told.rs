//! What is wrong with a recording, or odd about it, is told: nothing of it is left out or made up in silence.

use super::{ROWS, recording, replay, write};
use crate::support::models::ModelDirectory;
use crate::support::process::{Ended, Process, nearfar};
use crate::support::waiting::wait_until;

/// What a file of this content, and the model that reads its columns, is told.
struct Pump {
    directory: tempfile::TempDir,
    model: ModelDirectory,
}

impl Pump {
    /// A model of power and temperature.
    fn new() -> Self {
        let model = ModelDirectory::random(&[2], 1);
        model.edit(|config| {
            config["features"] = serde_json::json!([{"name": "power"}, {"name": "temperature"}]);
        });
        Self { directory: tempfile::tempdir().unwrap(), model }
    }

    fn replay(&self, content: impl AsRef<[u8]>, arguments: &[&str]) -> Ended {
        let file = self.directory.path().join("pump.csv");
        std::fs::write(&file, content).unwrap();
        let own = ["--model", self.model.path().to_str().unwrap(), "--force"];
        replay(&file, &[&own[..], arguments].concat())
    }
}

#[test]
fn an_open_quote_is_an_error_that_names_its_line_and_is_never_skipped() {
    let pump = Pump::new();
    let rows = |state: &str| {
        let row = |number: usize| match number {
            5 => format!("{number},1,\"{state}\n"),
            _ => format!("{number},1,{state}\n"),
        };
        "power,temperature,state\n".to_owned() + &(0..10).map(row).collect::<String>()
    };
    for content in
        [rows("ok"), rows("ok").replace("8,1,ok", "8,1,\"ok\""), rows("ok").replace("6,1,ok", "6,1,\"ok")]
    {
        for flags in [&[][..], &["--skip-bad-rows"]] {
            let ended = pump.replay(&content, flags);
            ended.assert_refused(1, &["pump.csv: line 7: a quote is opened there and not closed"]);
        }
    }
    let cells = "power,temperature,state\n1,2,\"of two\nlines\"\n3,4,\"\"\"quoted\"\"\"\n";
    pump.replay(cells, &[]).assert_success();
}

#[test]
fn numbers_of_other_countries_are_called_what_they_are_and_not_skipped() {
    let pump = Pump::new();
    let german = ["--delimiter", ";", "--decimal", ","];
    for (content, flags, said) in [
        ("1,5;2", &german[..2], "read decimal commas with --decimal ,"),
        ("1.658,45;2", &german[..], "what stands between thousands is not read"),
        ("1'658.45;2", &german[..2], "what stands between thousands is not read"),
        ("1.658;2", &german[..], "do decimals begin there? Then read it without --decimal ,"),
        ("1,658;2", &german[..2], "do decimals begin there? Then read it with --decimal ,"),
        ("1.5;2", &german[..], "read decimal points without --decimal ,"),
        ("1,658.45,2", &[][..], "what stands between thousands is not read"),
        ("1,5,2,5", &[][..], "are these decimal commas?"),
    ] {
        let content = format!("power;temperature\n1;1\n{content}\n3;3\n");
        let content = if flags.is_empty() { content.replace(';', ",") } else { content };
        for skip in [&[][..], &["--skip-bad-rows"]] {
            let ended = pump.replay(&content, &[flags, skip].concat());
            ended.assert_refused(1, &["pump.csv: line 3", said]);
            assert!(!ended.stderr.contains("--skip-bad-rows"), "{ended:?}");
        }
    }
}

#[test]
fn times_that_are_none_or_go_back_are_told() {
    let pump = Pump::new();
    let content = |times: [&str; 4]| {
        let rows = times.map(|time| format!("{time},1,2\n")).concat();
        format!("time,power,temperature\n{rows}")
    };
    let good = "2026-12-01T05:00:00";
    for (times, warning) in [
        (
            [good, "2026-12-01T05:00:10", "kaputte Zeit", "2026-12-01T05:00:20"],
            "1 rows have no time; the first: line 4, column time: found \"kaputte Zeit\"",
        ),
        (["1764565200"; 4], "4 rows have no time; the first: line 2, column time: found \"1764565200\""),
        (["12/01/2026 05:00:00"; 4], "found \"12/01/2026 05:00:00\", expected a time in ISO 8601"),
        (
            [good, "2026-12-01T05:00:10", "2026-12-01T05:00:03", good],
            "line 4: its time is 7 s before that of the row above",
        ),
    ] {
        let ended = pump.replay(content(times), &["--threshold", "0"]);
        ended.assert_success();
        assert!(ended.line_with("warning: ").contains(warning), "{ended:?}");
        assert!(!ended.line_with("alarm: ").contains('-'), "no duration below zero: {ended:?}");
    }
    // Of a pace that cannot be kept nothing is sent, and no file is begun.
    std::fs::remove_file(pump.directory.path().join("pump.answers.csv")).unwrap();
    let ended = pump.replay(content(["1764565200"; 4]), &["--speed", "1"]);
    ended.assert_refused(2, &["line 2, column time: found \"1764565200\"", "read in a column time_s"]);
    let ended = pump.replay("power,temperature\n1,2\n", &["--speed", "1"]);
    ended.assert_refused(2, &["line 2: found no time", "date_time"]);
    assert_eq!(std::fs::read_dir(pump.directory.path()).unwrap().count(), 1);
    let ended = pump.replay(content([good, "2026-12-01T05:00:01", good, good]), &["--speed", "1000"]);
    ended.assert_refused(
        1,
        &["line 4: its time is 1 s before", "expected rows in the order of their times for --speed"],
    );
}

#[test]
fn files_of_other_kinds_are_called_by_their_names() {
    let pump = Pump::new();
    let utf_16: Vec<u8> = "power,temperature\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    for (content, said) in [
        (&b"\x1f\x8b\x08\0"[..], "found a file compressed with gzip, expected text: unpack it with `gunzip`"),
        (b"PK\x03\x04\x14\0", "found a ZIP archive, which spreadsheets such as .xlsx are too"),
        (&utf_16, "found UTF-16LE, expected UTF-8"),
        (b"sep=;\npower;temperature\n1;2\n", "line 1: found names with semicolons between them"),
    ] {
        pump.replay(content, &[]).assert_refused(2, &[said]);
    }
    pump.replay("sep=;\npower;temperature\n1;2\n", &["--delimiter", ";"]).assert_success();
}

#[test]
fn flags_that_cannot_be_are_refused_with_two_before_anything_is_done() {
    let pump = Pump::new();
    for (flags, said) in [
        (["--threshold", "nan"], "expected a probability in [0, 1]"),
        (["--threshold", "-1"], "expected a probability in [0, 1]"),
        (["--threshold", "80"], "expected a probability in [0, 1]"),
        (["--threshold", "inf"], "expected a probability in [0, 1]"),
        (["--device", "a/b"], "device_id contains '/'"),
        (["--device", ""], "device_id is empty"),
        (["--device", "pump #7"], "expected 1 to 128 bytes without / + #"),
        (["--topic-prefix", "a/#/"], "without + and #"),
        (["--rate", "0"], "expected a number above 0"),
        (["--rate", "nan"], "expected a number above 0"),
        (["--speed", "0"], "expected a number above 0"),
        (["--features", "power=leistng"], "found no column \"leistng\""),
        (["--label", "State"], "found no column \"State\""),
        (["--out", "-"], "--out: found -, expected the name of a file"),
    ] {
        pump.replay("power,temperature\n1,2\n", &flags).assert_said(2, said);
    }
    assert_eq!(std::fs::read_dir(pump.directory.path()).unwrap().count(), 1);
}

#[test]
fn answers_go_where_they_are_sent_and_beside_columns_of_their_names() {
    let pump = Pump::new();
    let out = pump.directory.path().join("new/directory/answers.csv");
    let content = "prediction,power,error,temperature\n7,1,none,2\n";
    let ended = pump.replay(content, &["--out", out.to_str().unwrap()]);
    ended.assert_success();
    ended.line_with("which are called nearfar_prediction, nearfar_error here");
    let answers = std::fs::read_to_string(out).unwrap();
    let header = "prediction,power,error,temperature,nearfar_prediction,anomaly,inference_time_ms,cloud_latency_ms,\
                  total_latency_ms,nearfar_error";
    assert_eq!(answers.lines().next(), Some(header));
}

#[test]
fn a_label_that_no_row_has_is_told_and_refused_where_another_was_meant() {
    let pump = Pump::new();
    let content = "power,temperature,state\n1,2,ok\n1,2,kaputt\n1,2,defekt\n";
    let replayed = |words: &str| pump.replay(content, &["--label", "state", "--anomaly", words]);
    let said = "--anomaly: no row has the label \"kaputte\"; there are \"defekt\", \"kaputt\", \"ok\"; did you mean \"kaputt\"?";
    replayed("kaputte").assert_said(2, said);
    let none = replayed("outer,inner");
    none.assert_success();
    none.line_with(
        "warning: no row has the label \"outer\", \"inner\"; there are \"defekt\", \"kaputt\", \"ok\"",
    );
    let half = replayed("kaputte,defekt");
    half.assert_success();
    half.line_with("warning: no row has the label \"kaputte\"; did you mean \"kaputt\"?");
    replayed("KAPUTT").assert_success();
}

#[test]
fn the_alarm_is_told_by_its_line_where_rows_were_left_out() {
    let pump = Pump::new();
    let content = "power,temperature\n1,2\nnan,2\n1,2\n1,2\n1,2\n";
    let ended = pump.replay(content, &["--skip-bad-rows", "--threshold", "0", "--alarm-rows", "1"]);
    assert!(ended.line_with("alarm: ").contains("from row 1 (0.0 %"), "{ended:?}");
    let content = content.replacen("1,2\n", "", 1);
    let ended = pump.replay(content, &["--skip-bad-rows", "--threshold", "0", "--alarm-rows", "3"]);
    assert!(ended.line_with("alarm: ").contains("from row 1 (line 3, 0.0 %"), "{ended:?}");
}

#[test]
fn a_model_that_nothing_describes_is_told_of() {
    let pump = Pump::new();
    std::fs::remove_file(pump.model.path().join("config.json")).unwrap();
    let ended = pump.replay("power,temperature\n1,2\n", &["--features", "power,temperature"]);
    assert_eq!((ended.code, ended.stderr.lines().count()), (Some(0), 1), "{ended:?}");
    ended.assert_said(0, "warning: nothing describes the model: its layers were guessed");
}

#[test]
fn an_interrupted_replay_keeps_every_answer_and_says_how_many() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording());
    let unfinished = directory.path().join("bearing.answers.csv.unfinished");
    // It waits for the second row for longer than any test takes.
    let process = Process::start(nearfar(&["replay", "--rate", "0.001"]).arg(&file));
    let rows = || std::fs::read_to_string(&unfinished).unwrap_or_default().lines().count();
    wait_until("the first answer is written", || rows() == 2);
    let ended = process.terminate();
    ended.assert_refused(1, &["answers so far are in", "unfinished, 1 rows", "interrupted before line 3"]);
    assert_eq!(rows(), 2);
}

#[test]
fn what_was_sent_before_a_bad_row_is_answered_and_what_holds_nothing_is_taken_away() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    rows[30][2] = "high".to_owned();
    let file = write(directory.path(), &rows);
    replay(&file, &[]).assert_refused(1, &["line 31", "bearing.answers.csv.unfinished, 29 rows"]);
    std::fs::remove_file(directory.path().join("bearing.answers.csv.unfinished")).unwrap();
    rows[1][3] = "high".to_owned();
    let file = write(directory.path(), &rows);
    replay(&file, &[]).assert_refused(2, &["line 2", "--skip-bad-rows"]);
    let ended = replay(&file, &["--skip-bad-rows"]);
    ended.assert_success();
    ended.line_with(&format!("rows {0}, answered {0}, refused 0", ROWS - 2));
}
