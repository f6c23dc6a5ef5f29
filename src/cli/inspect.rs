//! `nearfar inspect`: what a model is made of.

use std::io::{self, Write};
use std::path::PathBuf;

use super::{Unusable, output};
use crate::model::inspect_set;

/// Show a model's layers, tensors, dtypes, parameters, hash and origin, and whether it loads
#[derive(Debug, clap::Args)]
pub struct Args {
    /// A directory with config.json and weights, or a .safetensors, .onnx or PyTorch file (.pt, .pth, .ckpt,
    /// .bin)
    model: PathBuf,
    /// Which set of tensors to show, where a checkpoint holds more than one (an error lists them)
    #[arg(long)]
    key: Option<String>,
    /// Measure what each node of a graph takes for one row
    #[arg(long)]
    profile: bool,
    /// Print the graph of an ONNX model in the language of Graphviz, and nothing else
    #[arg(long, conflicts_with = "profile")]
    dot: bool,
}

/// Prints the description; fails when the model would not load, after printing what could be read of it.
pub fn run(args: &Args) -> anyhow::Result<()> {
    let mut inspection =
        inspect_set(&args.model, args.key.as_deref()).map_err(|error| Unusable(error.to_string()))?;
    let flag = if args.dot { "--dot" } else { "--profile" };
    match &mut inspection.graph {
        None if args.dot || args.profile => {
            let model = args.model.display();
            let problem =
                format!("{flag}: {model} is no graph that can be run; `nearfar inspect {model}` says more");
            return Err(Unusable(problem).into());
        }
        Some(graph) if args.profile => {
            graph
                .profile()
                .map_err(|problem| anyhow::anyhow!("--profile: a row of zeros has no answer: {problem}"))?;
        }
        Some(graph) if args.dot => {
            return output::written(write!(io::stdout().lock(), "{}", graph.dot));
        }
        _ => {}
    }
    let mut stdout = io::stdout().lock();
    output::written(write!(stdout, "{inspection}").and_then(|()| stdout.flush()))?;
    match inspection.model {
        Ok(_) => Ok(()),
        // The reason stands on the first line of what was printed.
        Err(_) => Err(anyhow::anyhow!("{} is described, and does not load", args.model.display())),
    }
}
