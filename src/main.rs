//! The `nearfar` program: parse, telemetry, dispatch, exit status.

mod cli;

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    if let Err(error) =
        nearfar::telemetry::start(cli.log.as_deref(), cli.command.default_log(), cli.log_format.into())
    {
        eprintln!("nearfar: --log or RUST_LOG: {error}; expected a filter such as info or nearfar=debug");
        return ExitCode::from(cli::EXIT_CONFIG);
    }
    match cli.command.run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nearfar: {error:#}");
            ExitCode::from(cli::exit_status(&error))
        }
    }
}
