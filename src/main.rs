//! The command line.

mod cli;

use clap::Parser;

#[derive(Parser)]
enum Command {
    Convert(cli::convert::Args),
    Inspect(cli::inspect::Args),
    Infer(cli::infer::Args),
}

fn main() -> anyhow::Result<()> {
    match Command::parse() {
        Command::Convert(args) => cli::convert::run(&args),
        Command::Inspect(args) => cli::inspect::run(&args),
        Command::Infer(args) => cli::infer::run(&args),
    }
}
