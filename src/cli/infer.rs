//! `nearfar infer`: predictions on the command line, from flags or from JSON lines, without any broker.

use std::io::{self, BufRead, Write};
use std::path::PathBuf;

use anyhow::{Context, bail};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;

use super::output;
use crate::config::ConfigError;
use crate::detection::Seen;
use crate::inference::{DeviceId, Provenance, whole_number};
use crate::model::{Detector, Deviations};
use crate::shipped;
use crate::text;

/// The longest input line, in bytes.
const LINE_BYTES_MAX: usize = 1 << 20;
/// How many lines without a prediction are told of one by one.
const COMPLAINTS_MAX: u64 = 10;
/// What helps whoever pipes a table.
const CSV: &str = "; is this CSV? `nearfar replay FILE --model MODEL` reads that";

/// Score features with a model: one row from --features, or JSON lines from stdin
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory with config.json and weights, or a .safetensors, .onnx or PyTorch file (.pt, .pth, .ckpt,
    /// .bin)
    model: PathBuf,
    /// One row of plain features, separated by commas. Without it, JSON lines are read from stdin: an array
    /// of numbers, or an object with "features"; "device_id", "timestamp_us" and "request_id" are echoed
    #[arg(long, allow_hyphen_values = true)]
    features: Option<String>,
}

/// Prints one JSON line for each row; fails at the end when any row had no prediction.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut detector = shipped::detector(Some(&args.model))?;
    let mut deviations = Deviations::of(detector.info());
    if detector.info().is_guessed() {
        output::complain(&format!("warning: {}", super::GUESSED));
    }
    let scored = score(args, &mut detector, &mut deviations);
    if let Some(far) = deviations.and_then(|deviations| deviations.found()) {
        output::complain(&format!("warning: {far}"));
    }
    scored
}

fn score(args: &Args, detector: &mut Detector, deviations: &mut Option<Deviations>) -> anyhow::Result<()> {
    let mut out = io::stdout().lock();
    match &args.features {
        Some(features) => {
            let features = flagged(features)?;
            see(deviations, &features);
            let answer = answer(detector, &features, Caller::default()).map_err(anyhow::Error::msg)?;
            output::written(write_line(&mut out, &answer))
        }
        None => {
            let mut input = text::unmarked(io::stdin().lock()).context("cannot read stdin")?;
            score_lines(detector, deviations, &mut input, &mut out)
        }
    }
}

/// The numbers of `--features`.
fn flagged(features: &str) -> Result<Vec<f32>, ConfigError> {
    let number = |(at, text): (usize, &str)| match text.trim().parse::<f32>() {
        Ok(number) if number.is_finite() => Ok(number),
        _ => {
            let problem =
                format!("number {}: found {text:?}, expected a finite number that fits 32 bits", at + 1);
            Err(ConfigError::Override { origin: "--features".to_owned(), problem })
        }
    };
    features.split(',').enumerate().map(number).collect()
}

fn see(deviations: &mut Option<Deviations>, features: &[f32]) {
    if let Some(deviations) = deviations {
        deviations.see(features);
    }
}

fn score_lines(
    detector: &mut Detector,
    deviations: &mut Option<Deviations>,
    input: &mut impl BufRead,
    out: &mut impl Write,
) -> anyhow::Result<()> {
    let mut line = Vec::new();
    let (mut number, mut failed) = (0u64, 0u64);
    loop {
        let complete = match read_line(input, &mut line).context("cannot read stdin")? {
            Line::End => break,
            Line::Complete => true,
            Line::TooLong => false,
        };
        number += 1;
        let outcome = if !complete {
            Err(format!("the line has more than {LINE_BYTES_MAX} bytes"))
        } else if line.trim_ascii().is_empty() {
            continue;
        } else {
            parse(&line).and_then(|(features, caller)| {
                see(deviations, &features);
                answer(detector, &features, caller)
            })
        };
        match outcome {
            Ok(answer) => {
                let written = write_line(out, &answer);
                if written.is_err() {
                    return output::written(written);
                }
            }
            Err(problem) => {
                failed += 1;
                if failed <= COMPLAINTS_MAX {
                    let hint = if failed == 1 && is_csv(&line) { CSV } else { "" };
                    output::complain(&format!("line {number}: {problem}{hint}"));
                } else if failed == COMPLAINTS_MAX + 1 {
                    output::complain("of further lines without a prediction only the number is told");
                }
            }
        }
    }
    if failed > 0 {
        bail!("{failed} of {number} lines had no prediction");
    }
    Ok(())
}

/// What identifies a row to whoever sent it.
#[derive(Debug, Default, Deserialize, Serialize)]
struct Caller {
    #[serde(skip_serializing_if = "Option::is_none")]
    device_id: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none", default, deserialize_with = "microseconds")]
    timestamp_us: Option<i64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    request_id: Option<String>,
}

/// Reads a whole number of any form that a request may have. Its digits decide, for a float has not room for
/// all of them.
fn microseconds<'de, D: serde::Deserializer<'de>>(deserializer: D) -> Result<Option<i64>, D::Error> {
    let Some(text) = Option::<&RawValue>::deserialize(deserializer)? else { return Ok(None) };
    whole_number(text.get()).map(Some).ok_or_else(|| {
        serde::de::Error::custom(format!("timestamp_us: expected whole microseconds, found {text}"))
    })
}

#[derive(Serialize)]
struct Answer<'a> {
    #[serde(flatten)]
    caller: Caller,
    prediction: f32,
    anomaly: bool,
    label: &'a str,
    /// Of a model that detects, as is the next.
    #[serde(skip_serializing_if = "Option::is_none")]
    state: Option<&'static str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tail_probability: Option<f32>,
}

fn parse(line: &[u8]) -> Result<(Vec<f32>, Caller), String> {
    let value: Value = serde_json::from_slice(line).map_err(|error| format!("no JSON: {}", plain(&error)))?;
    let (features, caller) = match value {
        Value::Array(features) => (features, Caller::default()),
        Value::Object(mut object) => match object.remove("features") {
            Some(Value::Array(features)) => {
                (features, serde_json::from_slice(line).map_err(|error| plain(&error))?)
            }
            Some(_) => return Err("features: expected an array of numbers".to_owned()),
            None => return Err("features: missing".to_owned()),
        },
        _ => return Err("expected an array of numbers, or an object with features".to_owned()),
    };
    let number = |(at, value): (usize, &Value)| match value.as_f64().map(|number| number as f32) {
        Some(number) if number.is_finite() => Ok(number),
        _ => Err(format!("features[{at}]: expected a number that fits 32 bits, found {value}")),
    };
    Ok((features.iter().enumerate().map(number).collect::<Result<_, _>>()?, caller))
}

/// Whether a line that is no JSON looks like cells.
fn is_csv(line: &[u8]) -> bool {
    let is_json = line.trim_ascii_start().first().is_none_or(|first| b"[{".contains(first));
    !is_json && line.iter().any(|byte| b",;\t".contains(byte))
}

fn plain(error: &serde_json::Error) -> String {
    // Which line of the input it is stands in front.
    text::in_plain_words(&error.to_string()).replace(" at line 1 column ", ", character ")
}

fn answer<'a>(detector: &'a mut Detector, features: &[f32], caller: Caller) -> Result<Answer<'a>, String> {
    let device = caller.device_id.as_deref().map(DeviceId::new).transpose();
    let of =
        Provenance { device: device.map_err(|refusal| refusal.message)?, timestamp_us: caller.timestamp_us };
    let predicted = detector.predict_of(features, &of).map_err(|error| error.to_string())?;
    let prediction = predicted.score();
    let seen = detector.memory().and_then(|_| Seen::of_numbers(predicted.values()));
    let info = detector.info();
    Ok(Answer {
        caller,
        prediction,
        anomaly: info.is_anomaly(prediction),
        label: info.label(prediction),
        state: seen.map(|seen| seen.state.as_str()),
        tail_probability: seen.map(|seen| seen.tail_probability),
    })
}

fn write_line(out: &mut impl Write, answer: &Answer<'_>) -> io::Result<()> {
    let mut line = serde_json::to_vec(answer)?;
    line.push(b'\n');
    out.write_all(&line)
}

enum Line {
    Complete,
    TooLong,
    End,
}

/// Reads the next line into `line`, without its end; of one that is too long, the rest is skipped.
fn read_line(input: &mut impl BufRead, line: &mut Vec<u8>) -> io::Result<Line> {
    line.clear();
    let mut any = false;
    let mut too_long = false;
    loop {
        let chunk = input.fill_buf()?;
        if chunk.is_empty() && !any {
            return Ok(Line::End);
        }
        any = true;
        let end = chunk.iter().position(|&byte| byte == b'\n');
        let taken = end.unwrap_or(chunk.len());
        too_long |= line.len() + taken > LINE_BYTES_MAX;
        if !too_long {
            line.extend_from_slice(&chunk[..taken]);
        }
        let last = end.is_some() || chunk.is_empty();
        input.consume(taken + usize::from(end.is_some()));
        if last {
            return Ok(if too_long { Line::TooLong } else { Line::Complete });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrays_and_objects_are_rows() {
        let (features, caller) = parse(b"[1, -2.5, 3e2]").unwrap();
        assert_eq!((features, caller.device_id), (vec![1.0, -2.5, 300.0], None));
        let (features, caller) =
            parse(br#"{"features": [0], "device_id": "a", "timestamp_us": 7, "x": 1}"#).unwrap();
        assert_eq!(
            (features, caller.device_id.as_deref(), caller.timestamp_us),
            (vec![0.0], Some("a"), Some(7))
        );
    }

    #[test]
    fn a_time_is_a_whole_number_however_it_is_written_and_exactly() {
        let time = |text: &str| {
            let line = format!(r#"{{"features": [0], "timestamp_us": {text}}}"#);
            parse(line.as_bytes()).map(|(_, caller)| caller.timestamp_us)
        };
        for (text, number) in [
            ("1.7e15", 1_700_000_000_000_000),
            ("1700000000000000.0", 1_700_000_000_000_000),
            ("9007199254740993.0", 9_007_199_254_740_993),
        ] {
            assert_eq!(time(text), Ok(Some(number)), "{text}");
        }
        assert_eq!(time("null"), Ok(None));
        for text in ["4503599627370497.25", "1.5", "\"7\"", "1e19", "[]"] {
            let problem = time(text).unwrap_err();
            assert!(problem.contains("timestamp_us: expected whole microseconds, found"), "{problem}");
        }
    }

    /// Gives one line, and fails when asked for more.
    struct Breaks(&'static [u8]);

    impl io::Read for Breaks {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            match std::mem::take(&mut self.0) {
                [] => Err(io::Error::other("the line is dead")),
                mut rest => rest.read(buffer),
            }
        }
    }

    struct Double;

    impl crate::model::Model for Double {
        fn inputs(&self) -> usize {
            1
        }

        fn predict(&mut self, rows: &[f32], scores: &mut Vec<f32>) -> Result<(), crate::model::ModelError> {
            scores.extend(rows.iter().map(|row| 2.0 * row));
            Ok(())
        }
    }

    #[test]
    fn what_cannot_be_read_is_told_of_the_input_and_what_cannot_be_written_of_the_output() {
        let info = crate::model::ModelInfo::new("double", 1);
        let mut detector = Detector::from_parts(info, Box::new(Double));
        let mut score = |out: &mut dyn Write| {
            let mut input = io::BufReader::new(Breaks(b"[0.25]\n"));
            format!("{:#}", score_lines(&mut detector, &mut None, &mut input, &mut { out }).unwrap_err())
        };
        let mut out = Vec::new();
        assert_eq!(score(&mut out), "cannot read stdin: the line is dead");
        assert!(out.starts_with(b"{\"prediction\":0.5"));
        let full = score(&mut &mut [0; 4][..]);
        assert!(full.starts_with("standard output cannot be written"), "{full}");
    }

    #[test]
    fn what_is_no_row_is_refused_in_words() {
        for (line, part) in [
            ("{", "no JSON"),
            ("3", "expected an array"),
            ("{}", "features: missing"),
            (r#"{"features": 1}"#, "features: expected an array"),
            ("[1, \"x\"]", "features[1]"),
            ("[1e39]", "features[0]"),
        ] {
            let problem = parse(line.as_bytes()).unwrap_err();
            assert!(problem.contains(part), "{line}: {problem}");
        }
    }

    #[test]
    fn long_lines_are_skipped_and_the_next_one_is_read() {
        let mut text = vec![b'x'; LINE_BYTES_MAX + 1];
        text.extend_from_slice(b"\n[1]\n[2]");
        let mut input = io::BufReader::with_capacity(1_000, text.as_slice());
        let mut line = Vec::new();
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::TooLong));
        for expected in [b"[1]", b"[2]"] {
            assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::Complete));
            assert_eq!(line, expected);
        }
        assert!(matches!(read_line(&mut input, &mut line).unwrap(), Line::End));
    }
}
