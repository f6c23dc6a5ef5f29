//! The `nearfar` program: parse, telemetry, dispatch, exit status.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let (filter, default) = (cli.log.as_deref(), cli.command.default_log());
    let started = nearfar::telemetry::start(filter, default, cli.log_format.into(), cli::progress::log);
    let _sends_the_last_traces = match started {
        Ok(telemetry) => telemetry,
        Err(error) => {
            cli::output::complain(&format!("nearfar: {error}"));
            return ExitCode::from(cli::EXIT_CONFIG);
        }
    };
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::output::complain(&format!("nearfar: {error:#}"));
            ExitCode::from(cli::exit_status(&error))
        }
    }
}
