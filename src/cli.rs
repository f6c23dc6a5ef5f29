//! The command line: one subcommand per file.

mod bench;
mod broker;
mod compare;
mod convert;
mod demo;
mod exit_status;
mod health;
mod held_log;
mod infer;
mod inspect;
mod judge;
mod output;
mod overwriting;
mod passwd;
mod progress;
mod recorded;
mod relearn;
mod replay;
mod serve;
mod service;
mod signals;
mod train;
mod values;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{Parser, Subcommand, ValueEnum};

use crate::telemetry::{self, COMMAND_FILTER, LogFormat, SERVICE_FILTER};

/// The `nearfar` program: reads this process's arguments, starts telemetry, runs the command, and says which
/// status the process exits with.
pub fn main() -> ExitCode {
    if asks_for_json(std::env::args_os()) {
        output::use_json();
    }
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(error) => return refuse_flags(&error),
    };
    let (filter, default) = (cli.log.as_deref(), cli.command.default_log());
    let started = telemetry::start(filter, default, cli.log_format.into(), held_log::write);
    let _sends_the_last_traces = match started {
        Ok(telemetry) => telemetry,
        Err(error) => {
            output::fail(&error.to_string());
            return ExitCode::from(exit_status::CONFIGURATION);
        }
    };
    match cli.command.run(filter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::fail(&said_once(&error));
            ExitCode::from(exit_status::of(&error))
        }
    }
}

/// Whether `--log-format` says JSON. Asked before the flags are read, because what is wrong with one is told
/// as well.
fn asks_for_json(arguments: impl Iterator<Item = OsString>) -> bool {
    let arguments: Vec<_> = arguments.collect();
    arguments.iter().any(|argument| argument == "--log-format=json")
        || arguments.windows(2).any(|pair| pair[0] == "--log-format" && pair[1] == "json")
}

/// What clap says instead of running: help and the version, or which flag is wrong.
fn refuse_flags(error: &clap::Error) -> ExitCode {
    if error.use_stderr() && output::is_json() {
        output::fail(error.to_string().trim_end());
    } else {
        // Where that cannot be written nobody is left to be told.
        error.print().ok();
    }
    ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(exit_status::CONFIGURATION))
}

/// An MQTT broker and an ML inference node in one binary: put a model next to your
/// sensors, and measure what distance costs.
#[derive(Parser)]
#[command(version, about, max_term_width = 110)]
struct Cli {
    /// What is logged to standard error, such as info, debug or nearfar=debug [default:
    /// RUST_LOG, or info for serve and broker, and warnings for the others]. The router
    /// within the broker logs only where it is named, as in debug,rumqttd=info
    #[arg(long, global = true, value_name = "FILTER")]
    log: Option<String>,
    /// How log lines look
    #[arg(long, global = true, value_enum, default_value_t)]
    log_format: LogFormatArg,
    #[command(subcommand)]
    command: Command,
}

#[derive(Clone, Copy, Default, ValueEnum)]
enum LogFormatArg {
    /// For people
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

impl From<LogFormatArg> for LogFormat {
    fn from(format: LogFormatArg) -> Self {
        match format {
            LogFormatArg::Text => Self::Text,
            LogFormatArg::Json => Self::Json,
        }
    }
}

#[derive(Subcommand)]
enum Command {
    /// Start everything in this process, watch simulated bearings fail, and compare edge and cloud
    Demo(demo::Args),
    /// Answer inference requests over MQTT
    Serve(serve::Args),
    /// Run the MQTT broker alone, without any model
    Broker(broker::Args),
    /// Measure answers a second and latency, of a node of its own or of a broker elsewhere
    Bench(Box<bench::Args>),
    /// Run an experiment with placements, or take measurements of them, and compare:
    /// with confidence intervals and a verdict
    Compare(Box<compare::Args>),
    /// Ask a running node whether it answers; the exit status tells
    Health(health::Args),
    /// Send the rows of a recorded CSV as requests and write the answers beside them
    Replay(replay::Args),
    /// Run a model on features from the command line or standard input, without MQTT
    Infer(infer::Args),
    /// Show a model's layers, shapes, parameters, hash and origin
    Inspect(inspect::Args),
    /// Convert a PyTorch .pt checkpoint to safetensors; nothing in it is executed
    Convert(convert::Args),
    /// Say how good a model's alarms are on recorded rows whose truth is known
    Judge(Box<judge::Args>),
    /// Learn a detector from recorded rows, and write it as a model's directory
    Train(Box<train::Args>),
    /// Have a device of a running node, or all of them, learn anew what is normal
    Relearn(relearn::Args),
    /// Set, change or remove a user's password in a users file
    Passwd(passwd::Args),
    /// What bench --echo measures: a broker whose client sends every request back
    #[command(hide = true)]
    Echo,
}

impl Command {
    /// What is logged when nobody says otherwise.
    fn default_log(&self) -> &'static str {
        match self {
            Self::Serve(_) | Self::Broker(_) => SERVICE_FILTER,
            _ => COMMAND_FILTER,
        }
    }

    /// `log` is the flag's value, for a node in a process of its own.
    fn run(self, log: Option<&str>) -> anyhow::Result<()> {
        if let Err(error) = crate::broker::raise_open_files_max() {
            tracing::debug!(%error, "the limit of open files stays as it is");
        }
        match self {
            Self::Demo(args) => demo::run(&args),
            Self::Serve(args) => serve::run(args),
            Self::Broker(args) => broker::run(args),
            Self::Compare(args) => compare::run(&args),
            Self::Health(args) => health::run(&args),
            Self::Replay(args) => replay::run(&args),
            Self::Infer(args) => infer::run(&args),
            Self::Inspect(args) => inspect::run(&args),
            Self::Convert(args) => convert::run(&args),
            Self::Judge(args) => judge::run(&args),
            Self::Train(args) => train::run(&args),
            Self::Relearn(args) => relearn::run(&args),
            Self::Passwd(args) => passwd::run(&args),
            Self::Bench(args) => bench::run(&args, log),
            Self::Echo => bench::echo::run(),
        }
    }
}

/// The node died while it served.
#[derive(Debug, thiserror::Error)]
#[error("the node cannot answer any more: {0}")]
pub struct NodeDied(pub String);

/// The node stopped before everything that it had accepted was answered.
#[derive(Debug, thiserror::Error)]
#[error("{} not answered within the shutdown grace; raise shutdown_grace_ms if they should be", accepted(*.0))]
pub struct LeftBehind(pub u64);

fn accepted(requests: u64) -> String {
    match requests {
        1 => "1 accepted request was".to_owned(),
        many => format!("{many} accepted requests were"),
    }
}
/// What is said of a model that nothing describes, beside its answers.
const GUESSED: &str = "nothing describes the model: its layers were guessed from the names of its weights, features are taken as they are \
                       (no normalisation), and the threshold is 0.5; describe it in a config.json";

/// A file that the command line names, or what it says of one, cannot be used, and nothing was done.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Unusable(pub String);

/// An error and its causes, but for those that it has told itself.
fn said_once(error: &anyhow::Error) -> String {
    let mut said = error.to_string();
    for cause in error.chain().skip(1).map(ToString::to_string) {
        if !said.contains(&cause) {
            said.push_str(": ");
            said.push_str(&cause);
        }
    }
    said
}
