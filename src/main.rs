//! The `nearfar` program: parse, telemetry, dispatch, exit status.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let started =
        nearfar::telemetry::start(cli.log.as_deref(), cli.command.default_log(), cli.log_format.into());
    let _sends_the_last_traces = match started {
        Ok(telemetry) => telemetry,
        Err(error) => {
            eprintln!("nearfar: {error}");
            return ExitCode::from(cli::EXIT_CONFIG);
        }
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nearfar: {error:#}");
            ExitCode::from(cli::exit_status(&error))
        }
    }
}
