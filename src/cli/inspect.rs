//! `nearfar inspect`: what a model is made of.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Unusable, output};
use crate::model::inspect_set;

/// Show a model's layers, tensors, dtypes, parameters, hash and origin, and whether it loads
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory with config.json and weights, a .safetensors file, or a PyTorch file (.pt, .pth, .ckpt,
    /// .bin)
    model: PathBuf,
    /// Which set of tensors to show, where a checkpoint holds more than one (an error lists them)
    #[arg(long)]
    key: Option<String>,
}

/// Prints the description; fails when the model would not load, after printing what could be read of it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let inspection =
        inspect_set(&args.model, args.key.as_deref()).map_err(|error| Unusable(error.to_string()))?;
    let mut stdout = io::stdout().lock();
    output::written(write!(stdout, "{inspection}").and_then(|()| stdout.flush()))?;
    match inspection.model {
        Ok(_) => Ok(()),
        // The reason stands on the first line of what was printed.
        Err(_) => Err(anyhow::anyhow!("{} is described, and does not load", args.model.display())),
    }
}
