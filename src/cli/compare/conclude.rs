//! What an experiment says: computed once, printed, and written as a page and for programs.

use std::fmt::Write;
use std::io;
use std::path::Path;

use super::{Args, LEVEL, RESAMPLES, options, table};
use crate::cli::output;
use crate::growing_file::write_whole;
use crate::lab::findings::{Counts, Findings, Options, PlacementFindings, PointFindings};
use crate::lab::observation::{Clock, Run};
use crate::lab::words;
use crate::report::{POINTS_DRAWN_MAX, Report};
use crate::statistics::{Bootstrap, EnergyModel, Summary};
use crate::trial::in_words;

/// Writes `report.html`, `summary.json` and the picture of the latencies into
/// `directory`, and prints what `run` says.
///
/// # Errors
/// When something cannot be written or printed.
pub fn conclude(run: &Run, args: &Args, directory: &Path) -> anyhow::Result<()> {
    let comparison = options(args);
    let findings = Findings::of(
        run,
        &Options {
            bootstrap: Bootstrap { seed: run.scenario.seed, ..comparison.bootstrap },
            margin_ms: comparison.margin_ms,
            energy: EnergyModel::default(),
        },
    );
    let report = Report { run, findings: &findings, command: &command(run, args, [RESULTS, AGAIN]) };
    let summary = report.summary_json();
    let written = write(directory, &report, &summary);
    // Said whether or not the disk has room for the files.
    let said = if args.json { summary } else { text(&findings) };
    output::line(said.trim_end())?;
    written?;
    let directory = directory.display().to_string();
    let directory = directory.trim_end_matches('/');
    let again = [in_shell(directory), in_shell(&format!("{directory}-again"))];
    output::complain(&format!("to repeat it: {}", command(run, args, again.each_ref().map(String::as_str))));
    Ok(())
}

/// Each file whole, or not at all.
fn write(directory: &Path, report: &Report<'_>, summary: &str) -> io::Result<()> {
    write_whole(&directory.join("summary.json"), summary)?;
    write_whole(&directory.join("report.html"), report.html())?;
    report.latency_svg().map_or(Ok(()), |picture| write_whole(&directory.join("latency.svg"), &picture))
}

/// What stands on the page for the directory that it is in, and for another one: what is run twice is the
/// same to the byte, wherever it goes.
const RESULTS: &str = "RESULTS";
const AGAIN: &str = "AGAIN";

/// What repeats the experiment, from where it was run: with the results in the first of `directories`, which
/// are kept, and others in the second.
fn command(run: &Run, args: &Args, directories: [&str; 2]) -> String {
    let [results, again] = directories;
    let scenario = &run.scenario;
    let mut command = format!(
        "nearfar compare {} --seed {} --repeat {}",
        in_shell(&run.source),
        scenario.seed,
        scenario.repeats
    );
    if let Some(deadline_ms) = args.deadline_ms {
        command.push_str(&format!(" --deadline-ms {deadline_ms}"));
    }
    if args.margin_ms != 0.0 {
        command.push_str(&format!(" --margin-ms {}", args.margin_ms));
    }
    if args.level != LEVEL {
        command.push_str(&format!(" --level {}", args.level));
    }
    if args.resamples != RESAMPLES {
        command.push_str(&format!(" --resamples {}", args.resamples));
    }
    if let Clock::Virtual(_) = run.clock {
        command.push_str(" --virtual");
        command.extend(args.running.devices.iter().map(|devices| format!(" --devices {devices}")));
        // The file that is written beside the page.
        command.push_str(&format!(" $(cat {results}/cost.txt)"));
    }
    command.push_str(&format!(" --out {again}"));
    command
}

/// A word as a shell takes it.
fn in_shell(word: &str) -> String {
    let is_plain = |letter: char| letter.is_alphanumeric() || "/._-+=:,@%".contains(letter);
    match !word.is_empty() && word.chars().all(is_plain) {
        true => word.to_owned(),
        false => format!("'{}'", word.replace('\'', "'\\''")),
    }
}

fn text(findings: &Findings) -> String {
    let mut text = format!("{}\n", findings.answer.sentence);
    for further in &findings.answer.further {
        text.push_str(&format!("{further}\n"));
    }
    for caution in &findings.answer.cautions {
        text.push_str(&format!("caution: {caution}\n"));
    }
    for point in findings.points.iter().take(POINTS_DRAWN_MAX) {
        text.push_str(&of_point(point));
    }
    let left_out = findings.points.len().saturating_sub(POINTS_DRAWN_MAX);
    if left_out > 0 {
        text.push_str(&format!("\n{left_out} more points are in report.html and summary.json\n"));
    }
    let Bootstrap { level, resamples, .. } = findings.options.bootstrap;
    let percent = words::plain(level * 100.0, 3);
    text.push_str(&format!("\n[..] are {percent} % intervals by bootstrap, {resamples} resamples\n"));
    text
}

fn of_point(point: &PointFindings) -> String {
    let mut text = String::from("\n");
    if !point.settings.is_empty() {
        text.push_str(&format!("{}\n", in_words(&point.settings)));
    }
    let placements = &point.placements;
    placements.iter().for_each(|placement| text.push_str(&ends(&placement.name, &placement.counts)));
    let answered = || placements.iter().filter_map(|one| Some((one, one.latency_ms.as_ref()?)));
    let (named, summaries): (Vec<_>, Vec<&Summary>) =
        answered().map(|(one, latency_ms)| (one.name.clone(), latency_ms)).unzip();
    if named.is_empty() {
        return text + "there are no answers to compare\n";
    }
    table::line(&mut text, "latency_ms", named);
    table::rows(&mut text, &summaries);
    let stage = |text: &mut String, name: &str, of: &dyn Fn(&PlacementFindings) -> Option<f64>| {
        let cells = answered().map(|(one, _)| of(one).map_or(String::new(), table::number));
        table::line(text, name, cells.collect::<Vec<_>>());
    };
    stage(&mut text, "mean network_ms", &|one| Some(one.stages.as_ref()?.network_ms.mean));
    stage(&mut text, "mean queue_ms", &|one| Some(one.stages.as_ref()?.queue_ms.mean));
    stage(&mut text, "mean inference_ms", &|one| Some(one.stages.as_ref()?.inference_ms.mean));
    stage(&mut text, "mean rest_ms", &|one| Some(one.stages.as_ref()?.rest_mean_ms));
    text
}

/// One line: every request is in one of its numbers.
fn ends(name: &str, counts: &Counts) -> String {
    let Counts { sent, answered, refused, silent, warm_up } = counts;
    let mut text = format!("{name}: sent {sent}, answered {answered}");
    for (code, count) in refused {
        // Memory takes everything.
        let _ = write!(text, ", {code} {count}");
    }
    let _ = write!(text, ", silent {silent}");
    if *warm_up > 0 {
        let _ = write!(text, "; {warm_up} of the warm-up do not count");
    }
    text + "\n"
}
