//! Measures what a simulated clock does not simulate: the way through client, broker and threads.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::ProgressBar;
use nearfar::lab::experiment::requests_expected;
use nearfar::lab::observation::{End, Observation};
use nearfar::lab::scenario::Scenario;
use nearfar::lab::virtual_time::Path;

use super::asked::Asked;
use super::cost::Costs;
use super::repeat::{Preparation, Repeat};
use super::results::Results;
use super::{live, models, simulated};

/// How long it is measured at most. In two seconds the machine is often faster or slower than in the ten after them.
const DURATION_MAX: Duration = Duration::from_secs(10);
/// Requests before that do not count: everything is used for the first time. It is no different from the rest after a tenth of a second.
const WARM_UP: Duration = Duration::from_millis(500);
/// The most devices that are used for it. Their number makes no difference, and each has inputs to be simulated.
const DEVICES_MAX: u32 = 1_000;
/// The most requests a second to all placements together: the way is to be seen, not a client that has more to do than it can.
const REQUESTS_PER_S_MAX: f64 = 4_000.0;

/// The fewest, so that there are some at all.
const REQUESTS_PER_S_MIN: f64 = 5.0;

/// What is run by the clock, for a while: the scenario of `whole`, with its placements and at its pace. A way that is rarely gone is
/// longer, for the processor has gone to rest.
pub fn scenario(asked: &Asked, whole: &Repeat) -> Scenario {
    let Scenario { duration, placements, .. } = &whole.scenario;
    let own_pace = requests_expected(&whole.fleet.groups, *duration) / duration.as_secs_f64();
    let pace_max = REQUESTS_PER_S_MAX / placements.len() as f64;
    let is_kept =
        (REQUESTS_PER_S_MIN..=pace_max).contains(&own_pace) && whole.devices.len() <= DEVICES_MAX as usize;
    // Fewer devices at their own pace would be seldom heard.
    let another_pace = (!is_kept).then(|| own_pace.max(REQUESTS_PER_S_MIN).min(pace_max));
    asked.shortened(*duration.min(&(WARM_UP + DURATION_MAX)), DEVICES_MAX, another_pace)
}

/// Runs `scenario` by the clock, and once more on the simulated one, where nothing takes time but what `costs` says: what the latter does
/// not explain of a request's total is the time of its way. Whatever a node really waits for, threads that wake up and caches that are cold,
/// is in it.
///
/// # Errors
/// As of any run.
pub fn paths(
    asked: &Asked,
    scenario: Scenario,
    costs: &Costs,
    bar: &ProgressBar,
    is_stopping: &AtomicBool,
) -> anyhow::Result<Vec<Path>> {
    let (repeat, placed) = Preparation::default().of(asked, scenario, 0, 0)?;
    bar.set_length((repeat.due.len() * placed.len()) as u64);
    let directory = tempfile::tempdir()?;
    let results = |name| Results::create(&directory.path().join(name), false, "", 1);
    let measured = live::run(&repeat, placed, &mut results("clock")?, bar, is_stopping)?;
    let placed = models::load(&asked.paths, &repeat.scenario)?;
    let simulated = simulated::run(&repeat, placed, costs, Duration::ZERO, &mut results("simulated")?)?;
    let mut samples = vec![Vec::new(); repeat.scenario.placements.len()];
    // Both are in the order of placements and inputs; by the clock those are missing that an interrupted run has not sent.
    let mut simulated = simulated.observations.iter();
    for one in &measured.observations {
        let same = |other: &&Observation| (other.placement, other.input) == (one.placement, one.input);
        if let Some(other) = simulated.find(same)
            && one.due >= WARM_UP
        {
            samples[usize::from(one.placement)].extend(unexplained(one, other));
        }
    }
    Ok(samples.into_iter().map(Path::of_samples).collect())
}

/// What is left of a total by the clock. The network is the one that the request had, which depends on when it was sent.
fn unexplained(by_the_clock: &Observation, simulated: &Observation) -> Option<Duration> {
    let are_answered = [by_the_clock, simulated].iter().all(|one| one.end == End::Answered);
    let explained = by_the_clock.stages.network + simulated.stages.queue + simulated.stages.inference;
    by_the_clock.total.filter(|_| are_answered).map(|total| total.saturating_sub(explained))
}
