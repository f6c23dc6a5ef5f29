//! `nearfar replay` as a user calls it: recorded rows become answers, and the sentence about them.

mod told;

use std::io::Write;
use std::path::{Path, PathBuf};

use nearfar::features::{Extractor, FEATURE_NAMES, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use nearfar::sensors::bearing::{Bearing, Config};
use serde_json::json;

use crate::support::models::ModelDirectory;
use crate::support::process::{Ended, nearfar, nearfar_on_a_small_disk, run};

/// Rows of the small recording; in its second half a fault grows.
const ROWS: usize = 40;
const SOUND_ROWS: usize = ROWS / 2;
/// What replay adds to each row.
const ADDED: &str = "prediction,anomaly,inference_time_ms,cloud_latency_ms,total_latency_ms,error";

/// A bearing that fails: a time, a label and 32 features in each row.
fn recording() -> Vec<Vec<String>> {
    let header = ["time_s", "state"].into_iter().chain(FEATURE_NAMES).map(str::to_owned).collect();
    let mut bearing = Bearing::new(Config::default(), 3);
    let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ).expect("the usual window fits");
    let rows = (0..ROWS).map(|number| {
        let grown = number.saturating_sub(SOUND_ROWS - 1) as f64 / (ROWS - SOUND_ROWS) as f64;
        let window = bearing.window(grown);
        let features = extractor.extract(&window.h, &window.v).expect("the window is whole");
        let state = if grown > 0.0 { "faulty" } else { "sound" };
        let first = [(10 * number).to_string(), state.to_owned()];
        first.into_iter().chain(features.iter().map(ToString::to_string)).collect()
    });
    std::iter::once(header).chain(rows).collect()
}

fn write(directory: &Path, rows: &[Vec<String>]) -> PathBuf {
    let path = directory.join("bearing.csv");
    let lines: Vec<_> = rows.iter().map(|row| row.join(",")).collect();
    std::fs::write(&path, lines.join("\n")).expect("a temporary directory takes files");
    path
}

fn replay(file: &Path, arguments: &[&str]) -> Ended {
    run(nearfar(&["replay"]).arg(file).args(arguments))
}

#[test]
fn replay_writes_an_answer_beside_every_row_and_names_the_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let rows = recording();
    let file = write(directory.path(), &rows);
    let ended = replay(&file, &["--label", "state"]);
    ended.assert_success();
    ended.line_with(&format!("rows {ROWS}, answered {ROWS}, refused 0"));
    let alarm = ended.line_with("alarm");
    for part in ["alarm: the score first stayed at or above", "for 3 rows from row ", "rows before its end"] {
        assert!(alarm.contains(part), "{alarm}");
    }
    let sound = ended.line_with("label sound");
    assert!(sound.starts_with(&format!("label sound: 0 of {SOUND_ROWS} rows")), "{sound}");
    let faulty = ended.line_with("label faulty");
    assert!(faulty.contains(&format!(" of {} rows at or above", ROWS - SOUND_ROWS)), "{faulty}");

    let answers = std::fs::read_to_string(directory.path().join("bearing.answers.csv")).unwrap();
    let mut lines = answers.lines();
    assert_eq!(lines.next(), Some(format!("{},{ADDED}", rows[0].join(",")).as_str()));
    let mut found = 0;
    for (row, line) in rows[1..].iter().zip(lines.by_ref()) {
        let added =
            line.strip_prefix(&format!("{},", row.join(","))).expect("the row as it was, in its order");
        let [prediction, anomaly, inference_ms, _, total_ms, error] =
            added.split(',').collect::<Vec<_>>()[..]
        else {
            panic!("{added:?} has another number of columns");
        };
        let prediction: f64 = prediction.parse().unwrap();
        assert!((0.0..=1.0).contains(&prediction) && error.is_empty(), "{line}");
        for time_ms in [inference_ms, total_ms] {
            assert!(time_ms.parse::<f64>().is_ok_and(|ms| ms >= 0.0), "{line}");
        }
        found += usize::from(anomaly == "1");
    }
    assert_eq!(lines.next(), None);
    assert!(faulty.starts_with(&format!("label faulty: {found} of ")), "{found} rows, but {faulty}");
    assert!(found >= 3, "{faulty}");
}

#[test]
fn out_names_the_answers_file_and_features_may_be_a_range() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording());
    let out = directory.path().join("named.csv");
    let range = format!("{}..{}", FEATURE_NAMES[0], FEATURE_NAMES[31]);
    let ended = replay(&file, &["--features", &range, "--out", out.to_str().unwrap()]);
    ended.assert_success();
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), ROWS + 1);
    assert!(!directory.path().join("bearing.answers.csv").exists());
}

#[test]
fn a_recording_is_never_the_answers_file_by_whatever_name() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording());
    let before = std::fs::read(&file).unwrap();
    let place = |name: &str| directory.path().join(name);
    std::os::unix::fs::symlink("bearing.csv", place("link.csv")).unwrap();
    std::fs::hard_link(&file, place("hard.csv")).unwrap();
    for name in ["bearing.csv", "./bearing.csv", "link.csv", "hard.csv"] {
        for force in [&[][..], &["--force"]] {
            let ended = replay(&file, &[&["--out", place(name).to_str().unwrap()], force].concat());
            ended.assert_refused(2, &["--out", name, "is the same file as", "which is read"]);
            assert_eq!(std::fs::read(&file).unwrap(), before);
        }
    }
    // Nor is it what the answers are called until they are all there.
    std::fs::rename(&file, place("a.csv.unfinished")).unwrap();
    let out = place("a.csv");
    let ended = replay(&place("a.csv.unfinished"), &["--force", "--out", out.to_str().unwrap()]);
    ended.assert_refused(2, &["a.csv.unfinished is the same file as"]);
    assert_eq!(std::fs::read(place("a.csv.unfinished")).unwrap(), before);
}

#[test]
fn answers_that_exist_are_kept_unless_forced_and_until_there_are_others() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    let file = write(directory.path(), &rows);
    let out = directory.path().join("bearing.answers.csv");
    std::fs::write(&out, "precious").unwrap();
    replay(&file, &[]).assert_refused(2, &["bearing.answers.csv exists already and is kept", "--force"]);
    rows[30][2] = "high".to_owned();
    write(directory.path(), &rows);
    replay(&file, &["--force"]).assert_refused(1, &["line 31", "answers so far are in"]);
    assert_eq!(std::fs::read(&out).unwrap(), b"precious", "the replay broke off");
    std::fs::remove_file(&out).unwrap();
    replay(&file, &[]).assert_refused(2, &["bearing.answers.csv.unfinished exists already", "--force"]);
    write(directory.path(), &recording());
    replay(&file, &["--force"]).assert_success();
    assert_eq!(std::fs::read_to_string(&out).unwrap().lines().count(), ROWS + 1);
}

#[test]
fn a_sound_bearing_raises_no_alarm() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording()[..=SOUND_ROWS]);
    let ended = replay(&file, &[]);
    ended.assert_success();
    assert!(ended.line_with("alarm").starts_with("no alarm: no 3 rows in a row"), "{ended:?}");
}

#[test]
fn a_bad_value_ends_with_one_and_names_line_and_column() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    // Line 6 of the file; the first two columns are no features.
    rows[5][2 + 4] = "high".to_owned();
    let file = write(directory.path(), &rows);
    let ended = replay(&file, &[]);
    ended.assert_refused(1, &["bearing.csv", "line 6", FEATURE_NAMES[4], "high"]);
    assert!(!directory.path().join("bearing.answers.csv").exists(), "half a file looks like a whole one");
}

#[test]
fn a_full_disk_is_named_and_the_rows_before_are_kept() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording());
    // Half of the answers have room.
    let mut command = nearfar_on_a_small_disk(8, &["replay"]);
    let ended = run(command.arg(&file));
    let unfinished = directory.path().join("bearing.answers.csv.unfinished");
    ended.assert_refused(1, &[unfinished.to_str().unwrap(), "cannot be written", "kept in it"]);
    let kept = std::fs::read_to_string(&unfinished).unwrap();
    let columns = 2 + FEATURE_NAMES.len() + 6;
    assert!(kept.ends_with('\n') && (2..ROWS).contains(&kept.lines().count()), "{kept}");
    assert!(kept.lines().all(|row| row.split(',').count() == columns), "whole rows alone: {kept}");
    assert!(!directory.path().join("bearing.answers.csv").exists());
    let full = replay(&file, &["--out", "/dev/full"]);
    full.assert_refused(1, &["/dev/full", "cannot be written", "No space left"]);
}

#[test]
fn a_replay_that_breaks_off_says_where_the_answers_so_far_are() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    rows[30][2] = "high".to_owned();
    let file = write(directory.path(), &rows);
    let ended = replay(&file, &["--window", "1"]);
    ended.assert_refused(1, &["line 31", "answers so far are in", "bearing.answers.csv.unfinished"]);
    let kept = std::fs::read_to_string(directory.path().join("bearing.answers.csv.unfinished")).unwrap();
    assert!((2..=30).contains(&kept.lines().count()), "{kept}");
    // What is no file has no other name meanwhile.
    let ended = replay(&file, &["--window", "1", "--out", "/dev/null"]);
    ended.assert_refused(1, &["line 31", "answers so far are in /dev/null"]);
    assert!(!ended.stderr.contains("unfinished"), "{}", ended.stderr);
}

/// The small recording as a spreadsheet in German saves it.
fn with_semicolons(directory: &Path) -> PathBuf {
    let path = directory.join("german.csv");
    let lines: Vec<_> = recording().iter().map(|row| row.join(";").replace('.', ",")).collect();
    std::fs::write(&path, lines.join("\r\n")).unwrap();
    path
}

#[test]
fn an_error_names_the_flag_that_reads_the_file_and_that_flag_reads_it() {
    let directory = tempfile::tempdir().unwrap();
    let file = with_semicolons(directory.path());
    replay(&file, &[]).assert_refused(2, &["semicolons", "--delimiter ';'"]);
    replay(&file, &["--delimiter", ";"])
        .assert_refused(2, &["line 2", "read decimal commas with --decimal ,"]);
    let ended = replay(&file, &["--delimiter", ";", "--decimal", ",", "--label", "state"]);
    ended.assert_success();
    ended.line_with(&format!("rows {ROWS}, answered {ROWS}, refused 0"));
    ended.line_with("label faulty");
    replay(&file, &["--delimiter", "ab"]).assert_said(2, "one character, such as ';' or '|', or tab");
    let mut rows = recording();
    rows[5][7] = "NaN".to_owned();
    rows[9].pop();
    let file = write(directory.path(), &rows);
    replay(&file, &["--out", "/dev/null"]).assert_said(1, "--skip-bad-rows");
    let ended = replay(&file, &["--skip-bad-rows"]);
    ended.assert_success();
    ended.line_with(&format!("rows {0}, answered {0}, refused 0", ROWS - 2));
    assert!(
        ended.line_with("skipped").starts_with("skipped 2 more that cannot be used, the first: "),
        "{ended:?}"
    );
    assert!(ended.line_with("skipped").contains("line 6, column"), "{ended:?}");
}

#[test]
fn a_recording_without_rows_is_no_success_and_leaves_no_answers() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    let file = write(directory.path(), &rows[..1]);
    replay(&file, &[]).assert_refused(2, &["bearing.csv: there are no rows, expected at least one"]);
    rows[1][3] = "?".to_owned();
    let file = write(directory.path(), &rows[..2]);
    replay(&file, &["--skip-bad-rows"])
        .assert_refused(2, &["no rows that can be used: 1 were skipped", "line 2"]);
    assert_eq!(std::fs::read_dir(directory.path()).unwrap().count(), 1);
}

#[test]
fn another_number_of_features_than_the_model_has_is_told_before_anything_is_asked() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording());
    let ended = replay(&file, &["--features", "h_rms,h_kurtosis"]);
    ended.assert_refused(2, &["--features: found 2 columns, expected 32, as model \"anomaly_detector\""]);
    assert!(!directory.path().join("bearing.answers.csv").exists());
}

/// A model that names its two inputs.
fn two_axes() -> ModelDirectory {
    let model = ModelDirectory::random(&[2], 1);
    model.edit(|config| {
        config["features"] = json!([{"name": "vib_x", "unit": "g"}, {"name": "vib_y", "unit": "g"}]);
    });
    model
}

/// Replays `content` to that model, and what the answers file has for a score in each row.
fn scores(content: &str, arguments: &[&str]) -> Result<Vec<String>, Ended> {
    let (directory, model) = (tempfile::tempdir().unwrap(), two_axes());
    let (file, out) = (directory.path().join("axes.csv"), directory.path().join("out.csv"));
    std::fs::write(&file, content).unwrap();
    let own = ["--model", model.path().to_str().unwrap(), "--out", out.to_str().unwrap()];
    let ended = replay(&file, &[&own[..], arguments].concat());
    if ended.code != Some(0) {
        return Err(ended);
    }
    let answers = std::fs::read_to_string(out).unwrap();
    let at = answers.lines().next().unwrap().split(',').position(|name| name == "prediction").unwrap();
    Ok(answers.lines().skip(1).map(|row| row.split(',').nth(at).unwrap().to_owned()).collect())
}

#[test]
fn inputs_are_found_by_name_whatever_the_order_of_columns_and_with_their_unit() {
    let expected = scores("vib_x,vib_y\n0.25,-2\n", &[]).unwrap();
    for (content, arguments) in [
        ("vib_y,vib_x\n-2,0.25\n", &[][..]),
        ("vib_y [g],note,vib_x (g)\n-2,a,0.25\n", &[]),
        ("vib_x [g],vib_y [g]\n0.25,-2\n", &["--features", "vib_x [g],vib_y [g]"]),
        ("vib_x,vib_y\n0.25,-2\n", &["--features", "vib_x..vib_y"]),
        ("a,vib_y\n0.25,-2\n", &["--features", "vib_x=a"]),
        ("a,b\n-2,0.25\n", &["--features", "vib_y=a,vib_x=b"]),
        ("vib_y,vib_x\n0.25,-2\n", &["--features", "vib_x=vib_y,vib_y=vib_x"]),
    ] {
        assert_eq!(scores(content, arguments).unwrap(), expected, "{content} {arguments:?}");
    }
}

#[test]
fn columns_in_another_order_than_the_model_s_or_of_other_names_are_refused_with_what_fits() {
    let refused = |content: &str, arguments: &[&str], code: i32, parts: &[&str]| {
        scores(content, arguments).expect_err("it is refused").assert_refused(code, parts);
    };
    let content = "vib_x [g],vib_y [g]\n1,2\n";
    let swapped = ["--features", "vib_y [g],vib_x [g]"];
    let takes = "--features: found column \"vib_y [g]\" where model \"random\" takes vib_x [g]";
    refused(
        content,
        &swapped,
        2,
        &[takes, "--features \"vib_x [g],vib_y [g]\"", "vib_x=vib_y [g],vib_y=vib_x [g]"],
    );
    let range = ["--features", "vib_y..vib_x"];
    refused("vib_y,vib_x\n1,2\n", &range, 2, &["found column \"vib_y\"", "--features \"vib_x,vib_y\""]);
    let foreign = ["--features", "acc_h,vib_y"];
    refused("acc_h,vib_y\n1,2\n", &foreign, 2, &["takes vib_x [g]", "say so: --features \"vib_x=acc_h\""]);
    let foreign = ["--features", "a,b"];
    refused("a,b\n1,2\n", &foreign, 2, &["say so: --features \"vib_x=a,vib_y=b\""]);
    let missing = "found no column \"vib_x\", an input of the model; there are vib_y [g], b";
    refused("vib_y [g],b\n1,2\n", &[], 2, &[missing, "--features INPUT=COLUMN"]);
    let unit = "found column \"vib_x [mm/s]\", expected it in g";
    refused("vib_x [mm/s],vib_y\n1,2\n", &[], 2, &[unit, "--features INPUT=COLUMN"]);
    let unknown = ["--features", "vib_z=a,vib_y=b"];
    refused("a,b\n1,2\n", &unknown, 2, &["model \"random\" has no input \"vib_z\""]);
    refused("a,b\n1,2\n", &["--features", "vib_x=a,b"], 2, &["found \"b\" among others with '='"]);
    refused("a,b\n1,2\n", &["--features", "vib_x=a,vib_x=b"], 2, &["input \"vib_x\" is there twice"]);
    refused("a,b\n1,2\n", &["--features", "a"], 2, &["found 1 columns, expected 2"]);
}

#[test]
fn values_in_other_units_than_the_model_s_are_told() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    let sound = replay(&write(directory.path(), &rows), &["--out", "/dev/null"]);
    assert!(!sound.lines.iter().any(|line| line.contains("other units")), "{sound:?}");
    for row in &mut rows[1..] {
        for cell in &mut row[2..] {
            *cell = (cell.parse::<f64>().unwrap() * 1e9).to_string();
        }
    }
    let ended = replay(&write(directory.path(), &rows), &["--out", "/dev/null"]);
    ended.assert_success();
    let warning = ended.line_with("other units?");
    assert!(warning.starts_with("warning: ") && warning.contains("of 32 features (h_rms"), "{warning}");
}

#[test]
fn labels_of_any_words_give_precision_recall_and_delay() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    let replayed = |rows: &[Vec<String>], flags: &[&str]| {
        let file = write(directory.path(), rows);
        let ended = replay(&file, &[&["--label", "state", "--out", "/dev/null"], flags].concat());
        ended.assert_success();
        ended
    };
    let expected = replayed(&rows, &[]);
    let quality = expected.line_with("precision").to_owned();
    assert!(quality.contains(&format!("of {} rows with an anomaly)", ROWS - SOUND_ROWS)), "{quality}");
    let delay = expected.line_with("delay").to_owned();
    assert!(
        delay.contains(&format!("from the first anomaly in row {} to", SOUND_ROWS + 1))
            && delay.contains(" s)"),
        "{delay}"
    );
    // The model's own words, then words that somebody made up.
    for (sound, faulty, flags) in [
        ("Healthy", "failing", &[][..]),
        ("0", "1", &[]),
        ("gut", "Lagerschaden außen", &["--anomaly", "Lagerschaden außen,innen"]),
    ] {
        for row in &mut rows[1..] {
            row[1] =
                if ["sound", "Healthy", "0", "gut"].contains(&&*row[1]) { sound } else { faulty }.to_owned();
        }
        let ended = replayed(&rows, flags);
        assert_eq!(
            (ended.line_with("precision"), ended.line_with("delay")),
            (&*quality, &*delay),
            "{faulty}"
        );
    }
    let unknown = replayed(&rows, &[]);
    assert!(unknown.line_with("precision").contains("nothing says whether label \"gut\""), "{unknown:?}");
}

#[test]
fn times_in_iso_8601_drive_the_speed() {
    let directory = tempfile::tempdir().unwrap();
    let mut rows = recording();
    for (column, name) in [("timestamp", "timestamp"), ("Date", "Date")] {
        rows[0][0] = column.to_owned();
        for (number, row) in rows[1..].iter_mut().enumerate() {
            row[0] = format!("2026-12-01T05:{:02}:{:02}.5+01:00", number / 6, number % 6 * 10);
        }
        let file = write(directory.path(), &rows);
        // The recording is 390 seconds long.
        let began = std::time::Instant::now();
        let ended = replay(&file, &["--speed", "1000", "--out", "/dev/null"]);
        ended.assert_success();
        assert!(began.elapsed().as_millis() >= 390, "{name}");
        assert!(ended.line_with("alarm").contains(" s before its last row"), "{ended:?}");
    }
    rows[7][0] = "noon".to_owned();
    let ended = replay(&write(directory.path(), &rows), &["--speed", "1000", "--out", "/dev/null"]);
    ended.assert_said(1, "line 8, column Date: found \"noon\", expected a time in ISO 8601");
}

#[test]
fn a_misspelt_column_ends_with_two_and_a_suggestion() {
    let directory = tempfile::tempdir().unwrap();
    let file = write(directory.path(), &recording());
    let ended = replay(&file, &["--features", "h_rms,h_kurtosi"]);
    ended.assert_refused(2, &["bearing.csv", "h_kurtosi", "did you mean", "h_kurtosis"]);
    let ended = replay(&file, &["--label", "stat"]);
    ended.assert_refused(2, &["bearing.csv", "stat", "did you mean", "state"]);
}

#[test]
fn a_missing_recording_ends_with_two() {
    replay(Path::new("no_such_recording.csv"), &[]).assert_refused(2, &["no_such_recording.csv"]);
}

#[test]
fn the_alarm_comes_before_a_real_bearing_fails() {
    let name = "Bearing1_3.csv";
    let bearings = std::env::var_os("NEARFAR_BEARINGS")
        .map_or_else(|| Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data/bearings"), PathBuf::from);
    let file = bearings.join(name);
    if !file.is_file() {
        // Past the test harness, which would swallow what a passing test prints.
        writeln!(
            std::io::stderr(),
            "SKIPPED: no {name}: set NEARFAR_BEARINGS to the directory that holds it"
        )
        .unwrap();
        return;
    }
    let directory = tempfile::tempdir().unwrap();
    let out = directory.path().join("answers.csv");
    let ended = replay(&file, &["--out", out.to_str().unwrap()]);
    ended.assert_success();
    let rows = std::fs::read_to_string(&file).unwrap().lines().count() - 1;
    ended.line_with(&format!("rows {rows}, answered {rows}, refused 0"));
    let alarm = ended.line_with("alarm");
    let row = alarm.split_once(" rows from row ").and_then(|(_, rest)| rest.split(' ').next());
    let row: usize = row.expect("the alarm names its row").parse().unwrap();
    assert!(row > 1 && row < rows, "{alarm}");
    assert_eq!(std::fs::read_to_string(out).unwrap().lines().count(), rows + 1);
}
