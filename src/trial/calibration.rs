//! Measures what a simulated clock does not simulate: the way through client, broker and threads.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use super::cost::Costs;
use super::repeat::{Preparation, Repeat};
use super::{Part, Plan, Progress, TrialError, live, models, simulated};
use crate::inference::{Reason, Site};
use crate::lab::experiment::requests_expected;
use crate::lab::observation::{BySite, End, Observation};
use crate::lab::scenario::{Placement, Scenario};
use crate::placement::Policy;
use crate::trial::virtual_time::Path;

/// How long it is measured at most. In two seconds the machine is often faster or
/// slower than in the ten after them.
const DURATION_MAX: Duration = Duration::from_secs(10);
/// Requests before that do not count: everything is used for the first time. It is
/// no different from the rest after a tenth of a second.
const WARM_UP: Duration = Duration::from_millis(500);
/// The most devices that are used for it. Their number makes no difference, and each
/// has inputs to be simulated.
const DEVICES_MAX: u32 = 1_000;
/// The most requests a second to all placements together: the way is to be seen, not
/// a client that has more to do than it can.
const REQUESTS_PER_S_MAX: f64 = 4_000.0;

/// The fewest, so that there are some at all.
const REQUESTS_PER_S_MIN: f64 = 5.0;

/// What is run by the clock, for a while: the scenario of `whole`, with its placements and
/// at its pace. A way that is rarely gone is longer, for the processor has gone to rest.
fn scenario(plan: &Plan, whole: &Repeat) -> Scenario {
    let Scenario { duration, placements, .. } = &whole.scenario;
    let own_pace = requests_expected(&whole.fleet.groups, *duration) / duration.as_secs_f64();
    let pace_max = REQUESTS_PER_S_MAX / placements.len() as f64;
    let is_kept =
        (REQUESTS_PER_S_MIN..=pace_max).contains(&own_pace) && whole.devices.len() <= DEVICES_MAX as usize;
    // Fewer devices at their own pace would be seldom heard.
    let another_pace = (!is_kept).then(|| own_pace.max(REQUESTS_PER_S_MIN).min(pace_max));
    plan.shortened(*duration.min(&(WARM_UP + DURATION_MAX)), DEVICES_MAX, another_pace)
}

/// Runs the scenario of `whole` by the clock for a while, and once more on the simulated one, where nothing
/// takes time but what `costs` says: what the latter does not explain of a request's total is the time of
/// its way. Whatever a node really waits for, threads that wake up and caches that are cold, is in it.
///
/// # Errors
/// When the node does not start, the connection breaks, or a model cannot be called.
pub fn paths(
    plan: &Plan,
    whole: &Repeat,
    costs: &Costs,
    progress: &mut dyn Progress,
    is_stopping: &AtomicBool,
) -> Result<Vec<BySite<Path>>, TrialError> {
    let scenario = scenario(plan, whole);
    let seconds = scenario.duration.as_secs_f64();
    let what = format!("measuring the way through client and broker, for {seconds} s by the clock");
    let (repeat, placed) = Preparation::default().of(plan, scenario, 0, 0)?;
    progress.begin(&Part { what, requests: repeat.due.len() * placed.len(), is_real: true });
    let measured = live::run(&repeat, placed, &mut (), progress, is_stopping);
    progress.end();
    let measured = measured?;
    let placed = models::load(&plan.paths, &repeat.scenario)?;
    let simulated = simulated::run(&repeat, placed, costs, Duration::ZERO, &mut ())?;
    let placements = &repeat.scenario.placements;
    let mut samples = vec![[Vec::new(), Vec::new()]; placements.len()];
    // Both are in the order of placements and inputs; by the clock those are missing
    // that an interrupted run has not sent.
    let mut simulated = simulated.observations.iter();
    for one in &measured.observations {
        let same = |other: &&Observation| (other.placement, other.input) == (one.placement, one.input);
        let placement = usize::from(one.placement);
        if let Some(other) = simulated.find(same)
            && one.due >= WARM_UP
            && one.choice == other.choice
            && let Some(site) = only_site(one, &placements[placement])
        {
            samples[placement][site as usize].extend(unexplained(one, other));
        }
    }
    Ok(placements.iter().zip(samples).map(|(placement, samples)| by_site(placement, samples)).collect())
}

/// The site that made a result, if it was asked at once: then nothing but the way is unexplained.
fn only_site(one: &Observation, placement: &Placement) -> Option<Site> {
    let (Some(choice), Some(hybrid)) = (&one.choice, &placement.hybrid) else { return Some(Site::Edge) };
    let is_first = match Reason::ALL.into_iter().find(|reason| reason.as_str() == choice.reason)? {
        Reason::Escalated | Reason::CloudSilent | Reason::CloudRefused => false,
        // The one that was asked second was asked later, unless both were at once.
        Reason::Hedge => matches!(hybrid.placement.policy, Policy::Hedged { after: Duration::ZERO, .. }),
        _ => true,
    };
    Site::ALL.into_iter().find(|site| is_first && site.as_str() == choice.made_by)
}

/// A hybrid's site that has made no result is like the other one.
fn by_site(placement: &Placement, samples: [Vec<Duration>; 2]) -> BySite<Path> {
    let [edge, cloud] = samples.map(Path::of_samples);
    let or = |one: &Path, other: &Path| if one.quantiles().is_empty() { other.clone() } else { one.clone() };
    match placement.hybrid {
        None => BySite { edge, cloud: None },
        Some(_) => BySite { cloud: Some(or(&cloud, &edge)), edge: or(&edge, &cloud) },
    }
}

/// What is left of a total by the clock. The network is the one that the request
/// had, which depends on when it was sent.
fn unexplained(by_the_clock: &Observation, simulated: &Observation) -> Option<Duration> {
    let are_answered = [by_the_clock, simulated].iter().all(|one| one.end == End::Answered);
    let explained = by_the_clock.stages.network + simulated.stages.queue + simulated.stages.inference;
    by_the_clock.total.filter(|_| are_answered).map(|total| total.saturating_sub(explained))
}
