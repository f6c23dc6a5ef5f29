//! The model's commands as a user calls them: `convert`, `inspect`, `infer`.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::support::models::{ModelDirectory, assert_close, fixture, net, read};

fn nearfar(arguments: &[&str], input: impl AsRef<[u8]>) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_nearfar"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A command that reads no input may be gone before it is written.
    let _ = child.stdin.take().unwrap().write_all(input.as_ref());
    child.wait_with_output().unwrap()
}

fn text(path: &Path) -> &str {
    path.to_str().unwrap()
}

#[test]
fn infer_scores_one_row_from_its_flag() {
    let row: Vec<_> = read(&net("deep").join("inputs.f32"))[..8].iter().map(ToString::to_string).collect();
    let expected = read(&net("deep").join("outputs.f32"))[0];
    let output = nearfar(&["infer", text(&net("deep")), "--features", &row.join(",")], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!((answer["prediction"].as_f64().unwrap() - f64::from(expected)).abs() <= 1e-6, "{answer}");
    assert_eq!(answer["anomaly"], Value::Bool(expected >= 0.5));
}

#[test]
fn a_feature_that_is_no_number_is_the_input_s_fault_and_named_by_its_place() {
    for (features, place) in [
        ("0.41,nan,1,1,1", "number 2: found \"nan\""),
        ("1,2,3,4,-inf", "number 5"),
        ("1,,3", "number 2"),
        ("1e39", "number 1"),
    ] {
        let output = nearfar(&["infer", text(&net("normalised")), "--features", features], "");
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{stderr}");
        assert!(stderr.contains("--features: ") && stderr.contains(place), "{features}: {stderr}");
        assert!(stderr.contains("expected a finite number") && !stderr.contains("output"), "{stderr}");
    }
}

#[test]
fn features_far_from_what_the_model_was_normalised_with_are_told() {
    let said = |features: &str| {
        let output = nearfar(&["infer", text(&net("normalised")), "--features", features], "");
        assert!(output.status.success() && !output.stdout.is_empty());
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    assert_eq!(said("1.1,0.6,1,2.7,0.4"), "");
    let far = said("1e30,1e30,1e30,1e30,1e30");
    assert!(
        far.starts_with("warning: 5 of 5 features (features[0], features[1]") && far.contains("other units?"),
        "{far}"
    );
}

#[test]
fn what_is_wrong_is_said_once_and_without_words_of_rust() {
    let model = net("normalised");
    let directory = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = directory.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let header = br#"{"a":{"dtype":"F32","shape":"x","data_offsets":[0,4]}}"#;
    let weights = [&(header.len() as u64).to_le_bytes()[..], header, &[0; 4]].concat();
    let weights = file("model.safetensors", &weights);
    let config = file("config.json", b"{} {}");
    let scenario = file("scenario.yaml", b"[1");
    let none = directory.path().join("none").to_str().unwrap().to_owned();
    let said = |arguments: &[&str], input: &str| {
        let output = nearfar(arguments, input);
        assert_ne!(output.status.code(), Some(0), "{arguments:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    };
    for (arguments, input) in [
        (
            &["infer", text(&model)][..],
            "[1] x\n{\"features\": [1,2,3,4,5], \"device_id\": 5}\n[1,\n\"a\"\n[1e99]\n{\"features\"\n",
        ),
        (&["infer", &none, "--features", "1"], ""),
        (&["infer", &weights, "--features", "1"], ""),
        (&["infer", directory.path().to_str().unwrap(), "--features", "1"], ""),
        (&["inspect", &none], ""),
        (&["inspect", &config], ""),
        (&["convert", &none, &format!("{none}.safetensors")], ""),
        (&["convert", &weights, &format!("{none}.safetensors")], ""),
        (&["replay", &none], ""),
        (&["replay", directory.path().to_str().unwrap()], ""),
        (&["replay", &scenario, "--model", &none], ""),
        (&["replay", &scenario, "--broker-host", "127.0.0.1", "--broker-port", "1"], ""),
        (&["compare", &none], ""),
        (&["compare", &scenario], ""),
        (&["compare", "--csv", &none], ""),
        (&["compare", "--csv", directory.path().to_str().unwrap()], ""),
        (&["demo", "--out", &format!("{scenario}/x.csv")], ""),
        (&["bench", "--model", &none], ""),
        (&["bench", "--config", &none], ""),
        (&["serve", &none], ""),
        (&["serve", "--config", &none], ""),
        (&["serve", text(&model), "--listen", "203.0.113.7:1", "--allow-anonymous"], ""),
        (&["serve", text(&model), "--listen", "127.0.0.1:0", "--http", "203.0.113.7:1"], ""),
        (&["broker", "--broker-config", &none], ""),
        (&["passwd", &format!("{none}/users.txt"), "pump"], "secret"),
        (&["health", "--http", "127.0.0.1:1"], ""),
    ] {
        let said = said(arguments, input);
        for line in said.lines() {
            assert!(line.matches("(os error").count() <= 1, "{arguments:?}: {line}");
            let words: Vec<_> =
                line.split(|letter: char| !letter.is_alphanumeric() && letter != '_').collect();
            for rust in [
                "usize", "u64", "i64", "f32", "struct", "enum", "EOF", "ident", "Err", "Some", "None",
                "unwrap",
            ] {
                assert!(!words.contains(&rust), "{arguments:?}: {line}");
            }
            for rust in ["trailing characters", "invalid type", "Os {", "Error {"] {
                assert!(!line.contains(rust), "{arguments:?}: {line}");
            }
        }
    }
}

#[test]
fn infer_leaves_out_a_byte_order_mark_and_names_utf_16() {
    let output = nearfar(&["infer", text(&net("normalised"))], "\u{feff}[1,2,3,4,5]\r\n");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let utf_16: Vec<u8> = "\u{feff}[1]\n".encode_utf16().flat_map(u16::to_be_bytes).collect();
    let output = nearfar(&["infer", text(&net("normalised"))], utf_16);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.code() == Some(1) && stderr.contains("UTF-16BE"), "{stderr}");
}

#[test]
fn infer_answers_each_line_and_names_the_lines_that_fail() {
    let input = "[1,2,3,4,5]\n\n{\"features\":[1,2,3,4,5],\"device_id\":\"d\",\"timestamp_us\":7,\"request_id\":\"r\"}\n[1]\nno\n[5,4,3,2,1]";
    let output = nearfar(&["infer", text(&net("normalised"))], input);
    assert_eq!(output.status.code(), Some(1));
    let stdout = String::from_utf8(output.stdout).unwrap();
    let answers: Vec<Value> = stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(answers.len(), 3);
    assert_eq!(answers[0]["prediction"], answers[1]["prediction"]);
    assert!(answers[0].get("device_id").is_none());
    assert_eq!((&answers[1]["device_id"], &answers[1]["timestamp_us"]), (&"d".into(), &7.into()));
    assert_eq!(answers[1]["request_id"], "r");
    let stderr = String::from_utf8(output.stderr).unwrap();
    for part in ["line 4: expected 5 features, got 1", "line 5: no JSON"] {
        assert!(stderr.contains(part), "{stderr}");
    }
}

#[test]
fn a_table_on_standard_input_is_called_that_once_and_complaints_have_an_end() {
    let input = "power,temperature\n".to_owned() + &"1,2\n".repeat(200);
    let output = nearfar(&["infer", text(&net("normalised"))], input);
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(1));
    assert!(
        stderr.lines().count() == 12 && stderr.contains("201 of 201 lines had no prediction"),
        "{stderr}"
    );
    assert_eq!(
        stderr.matches("is this CSV? `nearfar replay FILE --model MODEL` reads that").count(),
        1,
        "{stderr}"
    );
}

#[test]
fn weights_that_nothing_describes_are_warned_of() {
    let model = ModelDirectory::random(&[2], 1);
    std::fs::remove_file(model.path().join("config.json")).unwrap();
    let output = nearfar(&["infer", text(model.path()), "--features", "1,2"], "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success() && stderr.lines().count() == 1, "{stderr}");
    assert!(stderr.starts_with("warning: nothing describes the model: its layers were guessed"), "{stderr}");
}

#[test]
fn a_mean_that_32_bits_cannot_hold_beside_its_deviation_is_named() {
    let model = ModelDirectory::random(&[2], 1);
    model.edit(|config| {
        config["normalisation"] = json!({"mean": [0, 101_325], "std": [1, 0.3]});
        config["golden"] = json!({"input": [0, 101_325.1], "output": 0.999});
    });
    let output = nearfar(&["infer", text(model.path()), "--features", "1,2"], "");
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.contains("features[1] has a mean that is more than 10000 times its standard deviation"),
        "{stderr}"
    );
}

#[test]
fn convert_prints_what_it_wrote() {
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    let source = fixture("pt/good/f_f64.pt");
    let output = nearfar(&["convert", text(&source), text(&target), "--dtype", "f32"], "");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert!(stdout.contains("fc1.weight  F32   (16, 32)"), "{stdout}");
    let inspected = String::from_utf8(nearfar(&["inspect", text(&target)], "").stdout).unwrap();
    let sha256 = stdout.lines().find_map(|line| line.strip_prefix("sha256 ")).unwrap();
    assert!(inspected.contains(sha256), "{inspected}");
}

#[test]
fn a_converted_checkpoint_scores_as_the_checkpoint_itself_does() {
    let directory = tempfile::tempdir().unwrap();
    let best = directory.path().join("model_best.pth.tar");
    std::fs::copy(fixture("pt/good/a_state_dict.pt"), &best).unwrap();
    let more = |name: &str| fixture(&format!("pt/more/{name}.pt"));
    let rows = read(&fixture("pt/inputs_32x32.f32"));
    for (source, inputs) in
        [(best.clone(), 32), (more("python2_ordered_dict_zip"), 8), (more("python2_ordered_dict_legacy"), 8)]
    {
        let target = directory.path().join("converted.safetensors");
        let converted = nearfar(&["convert", text(&source), text(&target), "--force"], "");
        assert!(converted.status.success(), "{}", String::from_utf8_lossy(&converted.stderr));
        let lines: Vec<String> = rows.chunks(inputs).map(|row| format!("{row:?}\n")).collect();
        let infer = |model: &Path| {
            let output = nearfar(&["infer", text(model)], lines.concat());
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            String::from_utf8(output.stdout).unwrap()
        };
        let scores = infer(&target);
        assert_eq!(scores, infer(&source), "{}", source.display());
        let scores: Vec<f32> = scores
            .lines()
            .map(|line| serde_json::from_str::<Value>(line).unwrap()["prediction"].as_f64().unwrap() as f32)
            .collect();
        assert_eq!(scores.len(), lines.len());
        if source == best {
            assert_close(&scores, &read(&fixture("pt/outputs_32x1.f32")), "model_best.pth.tar");
        }
    }
}

#[test]
fn a_model_that_exists_is_kept_unless_forced_and_the_source_always() {
    let directory = tempfile::tempdir().unwrap();
    let source = directory.path().join("model.safetensors");
    let target = directory.path().join("converted.safetensors");
    std::fs::copy(net("deep").join("model.safetensors"), &source).unwrap();
    let before = std::fs::read(&source).unwrap();
    let converted = |path: &Path| {
        assert!(
            String::from_utf8_lossy(&nearfar(&["inspect", text(path)], "").stdout).contains("fc0.weight")
        );
    };
    let convert = |target: &Path, force: &[&str]| {
        nearfar(&[&["convert", text(&source), text(target)], force].concat(), "")
    };
    let said = |output: &Output| String::from_utf8_lossy(&output.stderr).into_owned();
    std::fs::write(&target, "precious").unwrap();
    let kept = convert(&target, &[]);
    assert_eq!(kept.status.code(), Some(2), "{}", said(&kept));
    assert!(said(&kept).contains("converted.safetensors exists already and is kept"), "{}", said(&kept));
    assert_eq!(std::fs::read(&target).unwrap(), b"precious");
    assert!(convert(&target, &["--force"]).status.success());
    converted(&target);
    std::fs::remove_file(&target).unwrap();
    std::fs::hard_link(&source, &target).unwrap();
    for same in [&target, &source] {
        let refused = convert(same, &["--force"]);
        assert_eq!(refused.status.code(), Some(2));
        assert!(said(&refused).contains("is the same file as"), "{}", said(&refused));
    }
    assert_eq!(std::fs::read(&source).unwrap(), before);
}

#[test]
fn failures_exit_with_one_and_with_two_where_waiting_helps_nothing() {
    let missing = nearfar(&["infer", "no/such/model", "--features", "1"], "");
    assert_eq!(missing.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&missing.stderr).contains("no/such/model"));
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("model.safetensors");
    let hostile = fixture("pt/hostile/rce_os_system.pt");
    let output = nearfar(&["convert", text(&hostile), text(&target)], "");
    assert_eq!((output.status.code(), target.exists()), (Some(2), false));
    for arguments in [
        &["convert", "no_such.pt", text(&target)][..],
        &["convert", text(&fixture("pt/good/f_f64.pt")), "no_suffix"],
        &["inspect", "no_such.pt"],
    ] {
        assert_eq!(nearfar(arguments, "").status.code(), Some(2), "{arguments:?}");
    }
    let inspected = nearfar(&["inspect", text(&fixture("pt/more/whole_module.pt"))], "");
    assert_eq!(inspected.status.code(), Some(1), "it is described, and does not load");
    let (stdout, stderr) =
        (String::from_utf8_lossy(&inspected.stdout), String::from_utf8_lossy(&inspected.stderr));
    assert!(stdout.contains("first.norm.running_var"));
    // The reason is said once.
    let reason = stdout.lines().find_map(|line| line.strip_prefix("does not load")).unwrap().trim();
    assert!(!stderr.contains(reason) && stderr.contains("does not load"), "{stderr}");
}

#[test]
fn inspect_shows_the_set_that_is_chosen() {
    let several = fixture("pt/more/ambiguous.pt");
    let refused = nearfar(&["inspect", text(&several)], "");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(stderr.matches("ema (state dict").count(), 1, "{stderr}");
    assert!(stderr.contains("--key") && refused.stdout.is_empty(), "{stderr}");
    let chosen = nearfar(&["inspect", text(&several), "--key", "ema"], "");
    let stdout = String::from_utf8_lossy(&chosen.stdout);
    assert!(stdout.contains("state dict at ema"), "{stdout}{}", String::from_utf8_lossy(&chosen.stderr));
    let refused = nearfar(&["inspect", text(&net("deep").join("model.safetensors")), "--key", "ema"], "");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert!(stderr.contains("\"ema\"") && stderr.contains("leave the key out"), "{stderr}");
}

/// The exit status and what a shell line says, in which `$0` is the program.
fn shell(line: &str, argument: &Path) -> (Option<i32>, String) {
    let program = env!("CARGO_BIN_EXE_nearfar");
    let output = Command::new("sh").args(["-c", line, program]).arg(argument).output().unwrap();
    (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
}

#[test]
fn a_full_or_closed_output_is_an_error_or_none_and_never_a_panic() {
    let model = net("deep");
    let (code, said) = shell("\"$0\" inspect \"$1\" > /dev/full", &model);
    assert_eq!((code, said.as_str()), (Some(1), FULL));
    let (code, said) = shell("echo '[1,2,3,4,5,6,7,8]' | \"$0\" infer \"$1\" > /dev/full", &model);
    assert_eq!((code, said.as_str()), (Some(1), FULL));
    let (code, said) = shell("\"$0\" infer \"$1\" < /dev/null > /dev/full", &model);
    assert_eq!((code, said.as_str()), (Some(0), ""), "nothing was to be written");
    let directory = tempfile::tempdir().unwrap();
    let target = directory.path().join("out.safetensors");
    let convert = format!("\"$0\" convert \"$1\" '{}' > /dev/full", target.display());
    let (code, said) = shell(&convert, &fixture("pt/good/f_f64.pt"));
    assert_eq!((code, said.as_str()), (Some(1), FULL));
    let inspected = nearfar(&["inspect", text(&target)], "");
    assert!(inspected.status.success(), "the file is whole all the same");
    // Somebody who has read enough is no fault.
    let (code, said) = shell("{ \"$0\" inspect \"$1\"; echo $? >&2; } | true", &model);
    assert_eq!((code, said.as_str()), (Some(0), "0\n"));
    // Where nobody can be told, the exit status still tells.
    let (code, _) = shell("\"$0\" inspect \"$1/none\" 2> /dev/full", &model);
    assert_eq!(code, Some(2));
}

const FULL: &str = "nearfar: standard output cannot be written: No space left on device (os error 28)\n";

#[test]
fn a_model_on_a_full_disk_is_named_and_not_left_in_half() {
    let directory = tempfile::tempdir().unwrap();
    let small = format!(
        "trap '' XFSZ; ulimit -f 1; cd '{}'; \"$0\" convert \"$1\" out.safetensors 2>&1 >/dev/null; ls -A",
        directory.path().display()
    );
    let output = Command::new("sh")
        .args(["-c", &small, env!("CARGO_BIN_EXE_nearfar")])
        .arg(fixture("pt/good/f_f64.pt"))
        .output()
        .unwrap();
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(said.contains("out.safetensors") && said.contains("File too large"), "{said}");
    assert_eq!(said.lines().count(), 1, "nothing is left: {said}");
}

#[test]
fn an_onnx_file_is_converted_and_answers_in_two_commands() {
    let directory = tempfile::tempdir().unwrap();
    let (source, target) = (fixture("onnx/good/mlp_relu_ts9.onnx"), directory.path().join("mlp"));
    let refused = nearfar(&["convert", text(&source), text(&target)], "");
    let stderr = String::from_utf8_lossy(&refused.stderr);
    assert_eq!(refused.status.code(), Some(2), "{stderr}");
    assert!(stderr.contains("--output WORD") && !target.exists(), "{stderr}");
    let converted =
        nearfar(&["convert", text(&source), text(&target), "--output", "logit", "--threshold", "0.7"], "");
    assert!(converted.status.success(), "{}", String::from_utf8_lossy(&converted.stderr));
    let row: Vec<_> =
        read(&fixture("onnx/good/mlp_relu_ts9.in0.f32"))[..32].iter().map(ToString::to_string).collect();
    let logit = read(&fixture("onnx/good/mlp_relu_ts9.out0.f32"))[0];
    let output = nearfar(&["infer", text(&target), "--features", &row.join(",")], "");
    let answer: Value = serde_json::from_slice(&output.stdout).unwrap();
    let expected = 1.0 / (1.0 + (-f64::from(logit)).exp());
    assert!((answer["prediction"].as_f64().unwrap() - expected).abs() < 1e-5, "{answer}");
    let again = nearfar(&["convert", text(&source), text(&target), "--output", "logit"], "");
    assert!(String::from_utf8_lossy(&again.stderr).contains("exists already and is kept"));
    let inspected = nearfar(&["inspect", text(&target), "--profile"], "");
    let stdout = String::from_utf8_lossy(&inspected.stdout);
    assert!(
        stdout.contains("Gemm") && stdout.contains(" %") && stdout.contains("from config.json"),
        "{stdout}"
    );
    let drawn = nearfar(&["inspect", text(&source), "--dot"], "");
    assert!(drawn.stdout.starts_with(b"digraph"), "{}", String::from_utf8_lossy(&drawn.stderr));
}

#[test]
fn flags_of_the_other_kind_of_file_are_refused() {
    let directory = tempfile::tempdir().unwrap();
    let onnx = fixture("onnx/good/mlp_relu_ts9.onnx");
    let checkpoint = fixture("pt/good/a_state_dict.pt");
    let (to_directory, to_file) = (directory.path().join("d"), directory.path().join("m.safetensors"));
    for (source, target, flags, part) in [
        (&onnx, &to_directory, &["--key", "a"][..], "--key is for checkpoints alone"),
        (&onnx, &to_file, &["--output", "logit"], "expected a directory"),
        (&checkpoint, &to_file, &["--output", "logit"], "--output is for an ONNX file alone"),
        (
            &onnx,
            &to_directory,
            &["--midpoint", "1"],
            "--midpoint is for --output score or reconstruction alone",
        ),
        (&onnx, &to_directory, &["--output", "score", "--midpoint", "1"], "--output score needs --scale"),
        (&onnx, &to_directory, &["--output", "class"], "--output class needs --class"),
        (&onnx, &to_directory, &["--output", "label"], "--output label needs --anomaly"),
        (&onnx, &to_directory, &["--output", "odds"], "odds"),
    ] {
        let arguments = [&["convert", text(source), text(target)][..], flags].concat();
        let refused = nearfar(&arguments, "");
        let stderr = String::from_utf8_lossy(&refused.stderr);
        assert_eq!(refused.status.code(), Some(2), "{flags:?}: {stderr}");
        assert!(stderr.contains(part) && !target.exists(), "{flags:?}: {stderr}");
    }
}
