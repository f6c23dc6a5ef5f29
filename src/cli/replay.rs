//! `nearfar replay`: a recorded CSV becomes requests, and the answers stand beside its rows.

mod answers_file;
mod inputs;
mod labels;
mod sentence;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{anyhow, bail, ensure};
use indicatif::ProgressBar;

use self::answers_file::AnswersFile;
use self::inputs::Inputs;
use self::labels::LabelCounts;
use self::sentence::sentence;
use super::{Unusable, output, overwriting, progress, signals, values};
use crate::alarm::{Alarm, AlarmRule};
use crate::deployment::{Config, Topics};
use crate::features::FEATURE_NAMES;
use crate::model::Deviations;
use crate::node::Node;
use crate::requester::{Answer, Requester};
use crate::sensors::recorded::{
    Columns, Decimal, Format, Input, Labels, Recording, RecordingError, Row, Skipped,
};
use crate::shipped;
use crate::wire::client::RequestBody;

#[derive(clap::Args)]
pub struct Args {
    /// Recording with a header line; one row is one request
    file: PathBuf,
    /// Device that the requests come from
    #[arg(long, value_name = "ID", default_value = "replay", value_parser = values::device_id)]
    device: String,
    /// Requests a second [default: as fast as they are answered]
    #[arg(long, value_name = "N", conflicts_with = "speed", value_parser = values::above_zero)]
    rate: Option<f64>,
    /// Times the recording's own pace; needs a column time_s or timestamp_us, or one of ISO 8601 times
    /// (timestamp, datetime, date_time, time or date)
    #[arg(long, value_name = "X", value_parser = values::above_zero)]
    speed: Option<f64>,
    /// Columns that hold the features, in the model's order: a,b,c or first..last; or INPUT=COLUMN,...
    /// for inputs whose column has another name [default: those named like the model's features]
    #[arg(long, value_name = "COLUMNS")]
    features: Option<String>,
    /// What stands between the recording's cells, such as ';' or tab
    #[arg(long, value_name = "CHARACTER", default_value = ",", value_parser = values::delimiter)]
    delimiter: u8,
    /// What stands before the decimals of its numbers: a point or a comma
    #[arg(long, value_name = "CHARACTER", default_value = ".", value_parser = values::decimal)]
    decimal: Decimal,
    /// Leave out rows that cannot be used, and comments, and say how many
    #[arg(long)]
    skip_bad_rows: bool,
    /// Column with the truth about a row: detections are counted for each of its values, and precision,
    /// recall and the alarm's delay are told
    #[arg(long, value_name = "COLUMN")]
    label: Option<String>,
    /// Labels that mean an anomaly; every other one means that there is none [default: the model's own
    /// words, and usual ones such as 1, yes, faulty]
    #[arg(long, value_name = "LABELS", value_delimiter = ',', requires = "label")]
    anomaly: Vec<String>,
    /// Where the answers go, beside the rows; until all are there it has .unfinished
    /// behind its name. A file that exists is kept [default: FILE with .answers.csv]
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
    /// Replace the answers file where it exists
    #[arg(long)]
    force: bool,
    /// Model of the embedded node, and where feature names and threshold come from
    /// [default: the shipped detector]
    #[arg(long, value_name = "MODEL")]
    model: Option<PathBuf>,
    /// Send to the node behind this broker instead of starting one
    #[arg(long, value_name = "HOST")]
    broker_host: Option<String>,
    /// Port of the broker at --broker-host
    #[arg(long, value_name = "PORT", requires = "broker_host", default_value = "1883")]
    broker_port: u16,
    /// Prefix of the node's topics, such as edge/
    #[arg(long, value_name = "PREFIX", default_value = "", value_parser = values::topic_prefix)]
    topic_prefix: String,
    /// Scores at or above it count as anomalies [default: the model's]
    #[arg(long, value_name = "P", allow_negative_numbers = true, value_parser = values::probability)]
    threshold: Option<f32>,
    /// The alarm is where this many rows in a row first score at or above the threshold
    #[arg(long, value_name = "ROWS", default_value = "3", value_parser = clap::value_parser!(u32).range(1..))]
    alarm_rows: u32,
    /// Requests in flight at once
    #[arg(long, value_name = "N", default_value = "256", value_parser = clap::value_parser!(u32).range(1..=16_384))]
    window: u32,
}

/// How soon a signal is noticed while nothing comes.
const SIGNAL_CHECK_PERIOD: Duration = Duration::from_millis(50);

/// How long an answer may take before its request counts as unanswered.
const ANSWER_WAIT_MAX: Duration = Duration::from_secs(10);

pub fn run(args: &Args) -> anyhow::Result<()> {
    let out = args.out.clone().unwrap_or_else(|| args.file.with_extension("answers.csv"));
    overwriting::check_growing("--out", &out, &inputs(args), args.force)?;
    let expected = Expected::of(args)?;
    if expected.is_guessed {
        output::complain(&format!("warning: {}", super::GUESSED));
    }
    let topics = Topics::under(&args.topic_prefix);
    let columns = columns(args, &expected.inputs)?;
    let mut recording = Recording::open(&args.file, &columns).map_err(unusable)?;
    expected.inputs.check(args.features.as_deref(), &recording)?;
    // A recording that holds nothing is better known before a node is started.
    let Some(first) = recording.next().transpose().map_err(unusable)? else {
        bail!(Unusable(no_rows(&args.file, &recording)));
    };
    let first_due = Pace::new(args.rate, args.speed).due(&first, &recording);
    first_due.map_err(|problem| Unusable(format!("{}: {problem}", args.file.display())))?;
    let is_stopping = signals::interrupt()?;
    // The node lives until everything is answered.
    let node = match args.broker_host {
        Some(_) => None,
        None => {
            let detector = shipped::detector(args.model.as_deref())?;
            Some(Node::builder().deployment(Config::edge().topics(topics.clone()), detector).start()?)
        }
    };
    let requester = match (&args.broker_host, node.as_ref().and_then(Node::mqtt_address)) {
        (Some(host), _) => {
            Requester::connect(host, args.broker_port, std::slice::from_ref(&topics), &args.device)?
        }
        (None, Some(address)) => Requester::connect_to(address, std::slice::from_ref(&topics), &args.device)?,
        (None, None) => bail!("the embedded node has no address"),
    };
    let answers = AnswersFile::create(&out, recording.header(), expected.threshold)?;
    let labels = Labels { anomalies: args.anomaly.clone(), model: Some(expected.labels.clone()) };
    let mut replay = Replay {
        args,
        is_stopping,
        requester,
        request_topic: topics.request[0].clone(),
        waiting: BTreeMap::new(),
        answers,
        alarm: AlarmRule::new(expected.threshold, args.alarm_rows),
        run_line: None,
        alarm_line: None,
        last_timestamp_us: None,
        labels: LabelCounts::new(expected.threshold, labels),
        deviations: expected.deviations,
        rows: 0,
        refused: 0,
    };
    if let Err(error) = replay.run(first, &mut recording) {
        return Err(replay.answers.leave(error));
    }
    replay.report(&out, expected.threshold, &recording)
}

/// What is read, which the answers must not replace.
fn inputs(args: &Args) -> Vec<PathBuf> {
    let model = args.model.as_deref().map(overwriting::model_files).unwrap_or_default();
    std::iter::once(args.file.clone()).chain(model).collect()
}

/// What the model says about its inputs and its threshold, without asking the node.
struct Expected {
    inputs: Inputs,
    threshold: f32,
    /// The model's words.
    labels: [String; 2],
    /// Nothing describes the model that answers.
    is_guessed: bool,
    /// A watch over rows, where the model is known that answers.
    deviations: Option<Deviations>,
}

impl Expected {
    fn of(args: &Args) -> anyhow::Result<Self> {
        let detector = shipped::detector(args.model.as_deref())?;
        let info = detector.info();
        let named = info.features.iter().map(|it| Input::named(&it.name, it.unit.as_deref()));
        let named: Vec<_> = named.collect();
        let are_its_own = !named.is_empty();
        let unnamed_vibration = named.is_empty() && info.inputs == FEATURE_NAMES.len();
        let named = if unnamed_vibration {
            FEATURE_NAMES.map(|name| Input::named(name, None)).to_vec()
        } else {
            named
        };
        let is_known = args.model.is_some() || args.broker_host.is_none();
        let (model, count) = (info.name.clone(), is_known.then_some(info.inputs));
        Ok(Self {
            inputs: Inputs { model, count, named, are_its_own },
            threshold: args.threshold.unwrap_or(info.threshold),
            labels: info.labels.clone(),
            is_guessed: info.is_guessed(),
            deviations: Deviations::of(info).filter(|_| is_known),
        })
    }
}

/// Before anything is sent nothing but the file and what is said of it can be at fault, unless the system
/// cannot read it.
fn unusable(error: RecordingError) -> anyhow::Error {
    let is_of_system = matches!(error, RecordingError::Read { .. });
    let error = in_flags(error);
    if is_of_system { error } else { Unusable(error.to_string()).into() }
}

/// An error with the flag that reads the file all the same, where there is one.
fn in_flags(error: RecordingError) -> anyhow::Error {
    match error.remedy() {
        Some(remedy) => anyhow!("{error}; {}", remedy.in_flags()),
        None => anyhow!("{error}"),
    }
}

fn no_rows(file: &Path, recording: &Recording) -> String {
    let file = file.display();
    match recording.skipped() {
        Some(Skipped { rows, first }) => {
            format!("{file}: there are no rows that can be used: {rows} were skipped, the first: {first}")
        }
        None => format!("{file}: there are no rows, expected at least one below the header"),
    }
}

fn columns(args: &Args, inputs: &Inputs) -> anyhow::Result<Columns> {
    let format =
        Format { delimiter: args.delimiter, decimal: args.decimal, skips_bad_rows: args.skip_bad_rows };
    let columns = inputs.columns(args.features.as_deref())?;
    let columns = columns.format(format);
    Ok(match &args.label {
        Some(label) => columns.label(label.clone()),
        None => columns,
    })
}

struct Replay<'a> {
    args: &'a Args,
    is_stopping: Arc<AtomicBool>,
    requester: Requester,
    request_topic: String,
    /// Rows without an answer, and answered ones behind them, by their number: written
    /// in the recording's order.
    waiting: BTreeMap<u64, (Row, Option<Answer>)>,
    answers: AnswersFile,
    alarm: AlarmRule,
    /// The line of the first row of those that now score at or above the threshold, one after another.
    run_line: Option<u64>,
    /// The line of the alarm's row.
    alarm_line: Option<u64>,
    /// The time stamp of the last row that has one and was answered with a score.
    last_timestamp_us: Option<i64>,
    labels: LabelCounts,
    deviations: Option<Deviations>,
    rows: u64,
    refused: u64,
}

impl Replay<'_> {
    fn run(&mut self, first: Row, recording: &mut Recording) -> anyhow::Result<()> {
        let progress = bar(&self.args.file)?;
        let broken = self.send_rows(first, recording, &progress)?;
        // What was sent is answered, also where no more can be sent.
        while !self.waiting.is_empty() {
            let was_stopping = self.is_stopping();
            if !self.take_answer(ANSWER_WAIT_MAX)? && was_stopping == self.is_stopping() {
                bail!(self.unanswered());
            }
        }
        progress.finish_and_clear();
        broken.map_or_else(|| self.answers.finish(), Err)
    }

    /// Sends one row after another; gives what ended that before the recording did.
    fn send_rows(
        &mut self,
        first: Row,
        recording: &mut Recording,
        progress: &ProgressBar,
    ) -> anyhow::Result<Option<anyhow::Error>> {
        let mut pace = Pace::new(self.args.rate, self.args.speed);
        let mut next = Some(Ok(first));
        while let Some(row) = next {
            let row = match row.map_err(in_flags) {
                Ok(row) => row,
                Err(broken) => return Ok(Some(broken)),
            };
            let due = match pace.due(&row, recording) {
                Ok(due) => due,
                Err(problem) => return Ok(Some(anyhow!("{}: {problem}", self.args.file.display()))),
            };
            while !self.is_stopping()
                && (self.waiting.len() >= self.args.window as usize || Instant::now() < due)
            {
                let full = self.waiting.len() >= self.args.window as usize;
                let wait = if full { ANSWER_WAIT_MAX } else { due.saturating_duration_since(Instant::now()) };
                if !self.take_answer(wait)? && full && !self.is_stopping() {
                    bail!(self.unanswered());
                }
            }
            if self.is_stopping() {
                return Ok(Some(anyhow!(
                    "interrupted before line {} of {}",
                    row.line,
                    self.args.file.display()
                )));
            }
            self.send(row)?;
            while self.take_answer(Duration::ZERO)? {}
            progress.inc(1);
            next = recording.next();
        }
        Ok(None)
    }

    fn send(&mut self, row: Row) -> anyhow::Result<()> {
        let number = self.rows;
        self.rows += 1;
        if let Some(deviations) = &mut self.deviations {
            deviations.see(&row.features);
        }
        let request_id = number.to_string();
        let request = RequestBody {
            device_id: &self.args.device,
            timestamp_us: row.timestamp_us,
            request_id: Some(&request_id),
            features: &row.features,
            ..RequestBody::default()
        };
        self.requester.sender().send(&self.request_topic, &request)?;
        self.waiting.insert(number, (row, None));
        Ok(())
    }

    fn is_stopping(&self) -> bool {
        self.is_stopping.load(Ordering::Acquire)
    }

    /// The next answer; none when none came in time, or before a signal that came meanwhile.
    fn next_answer(&mut self, wait: Duration) -> anyhow::Result<Option<Answer>> {
        let until = Instant::now() + wait;
        let was_stopping = self.is_stopping();
        loop {
            let left = until.saturating_duration_since(Instant::now());
            let answer = self.requester.next(left.min(SIGNAL_CHECK_PERIOD))?;
            self.answers.flush_in_time()?;
            if answer.is_some() || left <= SIGNAL_CHECK_PERIOD || was_stopping != self.is_stopping() {
                return Ok(answer);
            }
        }
    }

    /// Takes one answer and writes the rows that it completes; false when none came in time.
    fn take_answer(&mut self, wait: Duration) -> anyhow::Result<bool> {
        let Some(answer) = self.next_answer(wait)? else { return Ok(false) };
        let number = answer.body.request_id.as_ref().and_then(|id| id.parse::<u64>().ok());
        // Somebody else's request of the same device, or one from an earlier run.
        let Some((_, slot)) = number.and_then(|number| self.waiting.get_mut(&number)) else {
            return Ok(true);
        };
        slot.get_or_insert(answer);
        while let Some(first) = self.waiting.first_entry() {
            if first.get().1.is_none() {
                break;
            }
            let (number, (row, answer)) = first.remove_entry();
            let Some(answer) = answer else { break };
            let at = Alarm { row: number, timestamp_us: row.timestamp_us };
            self.labels.see(at, row.label.as_deref(), answer.body.prediction);
            match answer.body.prediction {
                Some(prediction) => {
                    self.last_timestamp_us = row.timestamp_us.or(self.last_timestamp_us);
                    self.see(number, &row, prediction);
                }
                None => self.refused += 1,
            }
            self.answers.write(&row, &answer)?;
        }
        Ok(true)
    }

    fn see(&mut self, number: u64, row: &Row, prediction: f32) {
        let is_run = prediction >= self.alarm.threshold();
        self.run_line = is_run.then(|| self.run_line.unwrap_or(row.line));
        self.alarm.see(number, row.timestamp_us, prediction);
        if self.alarm.raised().is_some() {
            self.alarm_line = self.alarm_line.or(self.run_line);
        }
    }

    fn unanswered(&self) -> String {
        let first = self.waiting.values().next().map_or(0, |(row, _)| row.line);
        format!(
            "{} requests were not answered within {} s, the first is line {first} of {}: does a node serve {:?} there?",
            self.waiting.len(),
            ANSWER_WAIT_MAX.as_secs(),
            self.args.file.display(),
            self.request_topic
        )
    }

    fn report(&self, out: &Path, threshold: f32, recording: &Recording) -> anyhow::Result<()> {
        let answered = self.rows - self.refused;
        output::line(&format!("rows {}, answered {answered}, refused {}", self.rows, self.refused))?;
        if let Some(Skipped { rows, first }) = recording.skipped() {
            output::line(&format!("skipped {rows} more that cannot be used, the first: {first}"))?;
        }
        if let Some(far) = self.deviations.as_ref().and_then(Deviations::found) {
            output::line(&format!("warning: {far}"))?;
        }
        if let Some(none) = recording.without_time() {
            output::line(&format!("warning: {} rows have no time; the first: {none}", none.rows))?;
        }
        if let Some(back) = recording.time_goes_back() {
            output::line(&format!("warning: {back}; are the rows in their order?"))?;
        }
        output::line(&sentence(&self.alarm, self.rows, self.last_timestamp_us, self.alarm_line))?;
        for line in self.labels.lines(&self.alarm) {
            output::line(&line)?;
        }
        output::line(&format!("answers in {} (threshold {threshold})", out.display()))?;
        let renamed = self.answers.renamed().join(", ");
        if !renamed.is_empty() {
            output::line(&format!(
                "the recording has columns of the answers' names, which are called {renamed} here"
            ))?;
        }
        self.labels.check().map_err(Unusable)?;
        ensure!(self.refused == 0, "{} rows were refused; the answers file says why", self.refused);
        Ok(())
    }
}

/// When each row is due.
struct Pace {
    started_at: Instant,
    rate: Option<f64>,
    speed: Option<f64>,
    sent: u64,
    first_timestamp_us: Option<i64>,
}

impl Pace {
    fn new(rate: Option<f64>, speed: Option<f64>) -> Self {
        Self { started_at: Instant::now(), rate, speed, sent: 0, first_timestamp_us: None }
    }

    /// When `row`, the last that was read of `recording`, is to be sent.
    ///
    /// # Errors
    /// A sentence where its time is asked for and cannot be kept to.
    fn due(&mut self, row: &Row, recording: &Recording) -> Result<Instant, String> {
        let offset_s = match (self.rate, self.speed) {
            (Some(rate), _) => self.sent as f64 / rate,
            (None, Some(speed)) => {
                let timestamp_us = row.timestamp_us.ok_or_else(|| match recording.without_time() {
                    Some(none) => format!("{none} (--speed)"),
                    None => format!(
                        "line {}: found no time, expected one for --speed in a column time_s, timestamp_us, or of ISO 8601 \
                         times: timestamp, datetime, date_time, time or date",
                        row.line
                    ),
                })?;
                if let Some(back) = recording.time_goes_back() {
                    return Err(format!("{back}, expected rows in the order of their times for --speed"));
                }
                let first = *self.first_timestamp_us.get_or_insert(timestamp_us);
                timestamp_us.saturating_sub(first).max(0) as f64 / 1e6 / speed
            }
            (None, None) => 0.0,
        };
        self.sent += 1;
        // Beyond what a Duration holds nobody waits for anyway.
        Ok(self.started_at
            + Duration::try_from_secs_f64(offset_s).unwrap_or(Duration::from_secs(u32::MAX.into())))
    }
}

/// A bar over the rows, on standard error where that is a terminal.
fn bar(file: &Path) -> anyhow::Result<ProgressBar> {
    if !progress::is_seen() {
        return Ok(ProgressBar::hidden());
    }
    let lines = std::io::BufRead::split(std::io::BufReader::new(std::fs::File::open(file)?), b'\n').count();
    progress::bar(lines.saturating_sub(1) as u64, "{bar:40} {pos}/{len} rows, {per_sec}, {eta} left")
}
