//! Measures what a simulated clock does not simulate: the way through client, broker and threads.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::ProgressBar;
use nearfar::lab::observation::{End, Observation};
use nearfar::lab::virtual_time::Path;

use super::asked::Asked;
use super::live;
use super::repeat::Preparation;
use super::results::Results;

/// How long it is measured.
const DURATION: Duration = Duration::from_secs(2);
/// Requests before that do not count: everything is used for the first time.
const WARM_UP: Duration = Duration::from_millis(500);
/// The most devices and requests a second that are used for it: the way is to be seen, not a queue.
const DEVICES_MAX: u32 = 20;
const REQUESTS_PER_S_MAX: f64 = 200.0;

/// Runs the scenario's placements by the clock for a short while, and keeps of each total what network, queue and model do not explain.
///
/// # Errors
/// As of any run by the clock.
pub fn paths(asked: &Asked, is_stopping: &AtomicBool) -> anyhow::Result<Vec<Path>> {
    let scenario = asked.shortened(DURATION, DEVICES_MAX, REQUESTS_PER_S_MAX);
    let placements = scenario.placements.len();
    let (repeat, placed) = Preparation::default().of(asked, scenario, 0, 0)?;
    let directory = tempfile::tempdir()?;
    let mut results = Results::create(directory.path(), false, "", 1)?;
    let measured = live::run(&repeat, placed, &mut results, &ProgressBar::hidden(), is_stopping)?;
    let mut samples = vec![Vec::new(); placements];
    for one in &measured.observations {
        if one.end == End::Answered && one.due >= WARM_UP {
            samples[usize::from(one.placement)].extend(unexplained(one));
        }
    }
    Ok(samples.into_iter().map(Path::of_samples).collect())
}

fn unexplained(one: &Observation) -> Option<Duration> {
    let explained = one.stages.network + one.stages.queue + one.stages.inference;
    one.total.map(|total| total.saturating_sub(explained))
}
