//! `nearfar convert`: a PyTorch checkpoint becomes safetensors, an ONNX file a model's directory.

mod onnx;

use std::io::{self, Write};
use std::path::PathBuf;

use super::exit_status::is_for_a_person;
use super::{Unusable, output, overwriting};
use crate::model::{ConvertError, ConvertOptions, Converted, Dtype, Rename, convert};

/// Convert a PyTorch checkpoint (.pt) to safetensors, without running anything that is in it; or an ONNX file
/// to a model's directory
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The checkpoint: a state dict, a training or Lightning checkpoint, a whole module,
    /// or a TorchScript archive; or a file that ends in .onnx
    source: PathBuf,
    /// The .safetensors file to write, or of an ONNX file the directory; files appear whole or not at all,
    /// and those that exist are kept
    target: PathBuf,
    /// Convert floating point tensors to this dtype (f32); without it each keeps its own
    #[arg(long, value_parser = float_dtype)]
    dtype: Option<Dtype>,
    /// Which set of tensors to take, where the checkpoint holds more than one (an error lists them); given
    /// again, several sets are joined, each under its key as a prefix
    #[arg(long)]
    key: Vec<String>,
    /// Leave out the tensors whose names match, such as 'loss.*' (`*` stands for any text); may be given
    /// again
    #[arg(long, value_name = "PATTERN")]
    drop: Vec<String>,
    /// Call the tensors that match otherwise, such as 'module.*=*'; of several the first that matches counts
    #[arg(long, value_name = "FROM=TO")]
    rename: Vec<Rename>,
    /// Leave out what the layers of the config.json beside TARGET do not use, and list it
    #[arg(long)]
    allow_unused: bool,
    /// Replace the target where it exists
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    onnx: onnx::OnnxArgs,
}

/// Converts, then prints the tensors, their shapes and the hash of what was written.
pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.source.extension().is_some_and(|kind| kind.eq_ignore_ascii_case("onnx")) {
        return run_onnx(args);
    }
    if let Some(flag) = args.onnx.given() {
        return Err(Unusable(format!(
            "{flag} is for an ONNX file alone, and {} is none",
            args.source.display()
        ))
        .into());
    }
    overwriting::check("TARGET", &args.target, std::slice::from_ref(&args.source), args.force)?;
    let options = ConvertOptions {
        dtype: args.dtype,
        keys: args.key.clone(),
        drop: args.drop.clone(),
        renames: args.rename.clone(),
        allow_unused: args.allow_unused,
    };
    let converted = convert(&args.source, &args.target, &options).map_err(status_of)?;
    output::written(print(&converted, args, &mut io::stdout().lock()))
}

/// Room may be made on a disk, and no directory comes by itself.
pub fn status_of(error: ConvertError) -> anyhow::Error {
    match error {
        ConvertError::Write { error: ref cause, .. } if !is_for_a_person(cause) => error.into(),
        error => anyhow::Error::from(Unusable(error.to_string())),
    }
}

fn run_onnx(args: &Args) -> anyhow::Result<()> {
    let of_tensors = [
        ("--dtype", args.dtype.is_some()),
        ("--key", !args.key.is_empty()),
        ("--drop", !args.drop.is_empty()),
        ("--rename", !args.rename.is_empty()),
        ("--allow-unused", args.allow_unused),
    ];
    if let Some((flag, _)) = of_tensors.into_iter().find(|(_, given)| *given) {
        return Err(Unusable(format!(
            "{flag} is for checkpoints alone, and {} is an ONNX file",
            args.source.display()
        ))
        .into());
    }
    if args.target.is_file() || args.target.extension().is_some_and(|kind| kind == "safetensors") {
        let problem = "expected a directory, for an ONNX file becomes a config.json and weights";
        return Err(Unusable(format!("TARGET: {}: {problem}", args.target.display())).into());
    }
    for file in ["config.json", "model.safetensors"] {
        overwriting::check(
            "TARGET",
            &args.target.join(file),
            std::slice::from_ref(&args.source),
            args.force,
        )?;
    }
    args.onnx.run(&args.source, &args.target, &mut io::stdout().lock())
}

fn print(converted: &Converted, args: &Args, out: &mut impl Write) -> io::Result<()> {
    let Converted { tensors, sha256, format, bytes, unused, advice } = converted;
    writeln!(out, "{}: {format}", args.source.display())?;
    let width = tensors.iter().map(|tensor| tensor.name.len()).max().unwrap_or(0);
    for tensor in tensors {
        let shape: Vec<_> = tensor.shape.iter().map(ToString::to_string).collect();
        writeln!(out, "  {:width$}  {:4}  ({})", tensor.name, tensor.dtype, shape.join(", "))?;
    }
    for tensor in unused {
        writeln!(out, "left out, no layer uses it: {tensor}")?;
    }
    if let Some(advice) = advice {
        writeln!(out, "where layers of config.json cannot describe it: {advice}")?;
    }
    writeln!(out, "{}: {} tensors, {bytes} bytes", args.target.display(), tensors.len())?;
    writeln!(out, "sha256 {sha256}")
}

fn float_dtype(name: &str) -> Result<Dtype, String> {
    match Dtype::from_name(name) {
        Some(Dtype::F32) => Ok(Dtype::F32),
        _ => Err("expected f32".to_owned()),
    }
}
