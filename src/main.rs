//! The `nearfar` program: parse, telemetry, dispatch, exit status.

mod cli;

use std::process::ExitCode;

use clap::Parser;

/// Gives what is free back to the system within some seconds, from a thread of its own. glibc's allocator,
/// which the library and other systems keep, holds what lies below the last piece that is in use for ever.
#[cfg(all(target_os = "linux", target_env = "gnu", any(target_arch = "x86_64", target_arch = "aarch64")))]
#[global_allocator]
static ALLOCATOR: tikv_jemallocator::Jemalloc = tikv_jemallocator::Jemalloc;

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
    match cli.command.run(filter) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            cli::output::complain(&format!("nearfar: {error:#}"));
            ExitCode::from(cli::exit_status(&error))
        }
    }
}
