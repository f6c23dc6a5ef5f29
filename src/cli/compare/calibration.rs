//! Measures what a simulated clock does not simulate: the way through client, broker and threads.

use std::sync::atomic::AtomicBool;
use std::time::Duration;

use indicatif::ProgressBar;
use nearfar::inference::{Reason, Site};
use nearfar::lab::observation::{BySite, End, Observation};
use nearfar::lab::scenario::Placement;
use nearfar::lab::virtual_time::Path;
use nearfar::placement::Policy;

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
pub fn paths(asked: &Asked, is_stopping: &AtomicBool) -> anyhow::Result<Vec<BySite<Path>>> {
    let scenario = asked.shortened(DURATION, DEVICES_MAX, REQUESTS_PER_S_MAX);
    let placements = scenario.placements.clone();
    let (repeat, placed) = Preparation::default().of(asked, scenario, 0, 0)?;
    let directory = tempfile::tempdir()?;
    let mut results = Results::create(directory.path(), false, "", 1)?;
    let measured = live::run(&repeat, placed, &mut results, &ProgressBar::hidden(), is_stopping)?;
    let mut samples = vec![[Vec::new(), Vec::new()]; placements.len()];
    for one in &measured.observations {
        if one.end == End::Answered && one.due >= WARM_UP {
            let placement = usize::from(one.placement);
            if let Some(site) = only_site(one, &placements[placement]) {
                samples[placement][site as usize].extend(unexplained(one));
            }
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

fn unexplained(one: &Observation) -> Option<Duration> {
    let explained = one.stages.network + one.stages.queue + one.stages.inference;
    one.total.map(|total| total.saturating_sub(explained))
}
