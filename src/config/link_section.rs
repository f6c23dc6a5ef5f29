//! `[deployments.NAME.network.uplink]` and `.downlink`: what one direction of a simulated network is like.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;

use super::network_section::{Fault, LostChoice, Recordings, resolve};
use crate::network::{self, Bandwidth, Delay, LinkProfile, Loss, Outages, ParameterError, Reorder, Window};

/// One direction. Keys that are absent keep what the preset says.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LinkSection {
    /// How long a message is under way.
    pub delay: Option<DelaySection>,
    /// Which messages are lost.
    pub loss: Option<LossSection>,
    /// What a loss means for the requester.
    pub lost: Option<LostChoice>,
    /// How much the link carries.
    pub bandwidth: Option<BandwidthSection>,
    /// Which messages are held back.
    pub reorder: Option<ReorderSection>,
    /// The share of messages that arrive twice.
    pub duplicates: Option<f64>,
    /// When the link is down.
    pub outages: Option<OutagesSection>,
}

/// `delay`: the model and its own parameters; see docs/networks.md.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DelaySection {
    model: Option<DelayModel>,
    ms: Option<f64>,
    least_ms: Option<f64>,
    most_ms: Option<f64>,
    mean_ms: Option<f64>,
    sd_ms: Option<f64>,
    shape: Option<f64>,
    file: Option<PathBuf>,
    plus_ms: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum DelayModel {
    Constant,
    Uniform,
    Normal,
    Lognormal,
    Pareto,
    Empirical,
    Series,
}

/// `loss`: a probability, or the four of Gilbert and Elliott.
#[derive(Debug, Clone, Copy, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct LossSection {
    probability: Option<f64>,
    good_to_bad: Option<f64>,
    bad_to_good: Option<f64>,
    loss_in_good: Option<f64>,
    loss_in_bad: Option<f64>,
}

/// `bandwidth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BandwidthSection {
    bits_per_s: u64,
    queue_bytes_max: u64,
    #[serde(default)]
    overhead_bytes: u64,
}

/// `reorder`.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReorderSection {
    share: f64,
    held_back_ms: f64,
}

/// `outages`: a schedule, or two means.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OutagesSection {
    policy: Option<OutagePolicy>,
    schedule: Option<Vec<WindowSection>>,
    mean_up_s: Option<f64>,
    mean_down_s: Option<f64>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
enum OutagePolicy {
    Wait,
    Fail,
}

/// One outage, or one that repeats itself.
#[derive(Debug, Clone, Copy, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct WindowSection {
    at_s: f64,
    for_s: f64,
    every_s: Option<f64>,
}

impl LinkSection {
    pub(super) fn resolve_paths(&mut self, directory: &Path) {
        if let Some(path) = self.delay.as_mut().and_then(|delay| delay.file.as_mut()) {
            resolve(path, directory);
        }
    }

    /// Changes `link` to what the section says.
    pub(super) fn apply(&self, link: &mut LinkProfile, recordings: &Recordings) -> Result<(), Fault> {
        if let Some(delay) = &self.delay {
            link.delay = delay.delay(recordings).map_err(within("delay"))?;
        }
        if let Some(loss) = &self.loss {
            link.loss = loss.loss().map_err(within("loss"))?;
        }
        link.lost = self.lost.map_or(link.lost, Into::into);
        if let Some(section) = &self.bandwidth {
            let bandwidth =
                Bandwidth::new(section.bits_per_s, section.queue_bytes_max, section.overhead_bytes);
            link.bandwidth = Some(bandwidth.map_err(fault).map_err(within("bandwidth"))?);
        }
        if let Some(reorder) = &self.reorder {
            let reorder = Reorder::new(reorder.share, reorder.held_back_ms);
            link.reorder = Some(reorder.map_err(fault).map_err(within("reorder"))?);
        }
        if let Some(duplicates) = self.duplicates {
            *link = std::mem::take(link).duplicating(duplicates).map_err(fault)?;
        }
        if let Some(outages) = &self.outages {
            link.outages = Some(outages.outages().map_err(within("outages"))?);
        }
        Ok(())
    }
}

impl DelaySection {
    fn delay(&self, recordings: &Recordings) -> Result<Delay, Fault> {
        let Some(model) = self.model else {
            let names = "constant, uniform, normal, lognormal, pareto, empirical, series";
            return Err(("model".to_owned(), format!("is missing, expected one of {names}")));
        };
        self.refuse_others(model)?;
        let need = |parameter: &str, value: Option<f64>| needed(parameter, value);
        let file = || self.file.as_deref().ok_or_else(|| missing("file"));
        let delay = match model {
            DelayModel::Constant => {
                // A uniform distribution of no width checks the bounds.
                let ms = need("ms", self.ms)?;
                Delay::uniform(ms, ms).map_err(|error| ("ms".to_owned(), error.problem))?;
                Delay::constant(Duration::from_secs_f64(ms / 1e3))
            }
            DelayModel::Uniform => {
                Delay::uniform(need("least_ms", self.least_ms)?, need("most_ms", self.most_ms)?)
                    .map_err(fault)?
            }
            DelayModel::Normal => {
                Delay::normal(need("mean_ms", self.mean_ms)?, need("sd_ms", self.sd_ms)?).map_err(fault)?
            }
            DelayModel::Lognormal => {
                Delay::lognormal(need("mean_ms", self.mean_ms)?, need("sd_ms", self.sd_ms)?).map_err(fault)?
            }
            DelayModel::Pareto => {
                Delay::pareto(need("least_ms", self.least_ms)?, need("shape", self.shape)?).map_err(fault)?
            }
            DelayModel::Empirical => {
                Delay::empirical(recordings.samples(file()?).map_err(|problem| ("file".to_owned(), problem))?)
            }
            DelayModel::Series => {
                Delay::series(recordings.series(file()?).map_err(|problem| ("file".to_owned(), problem))?)
            }
        };
        delay.plus(self.plus_ms.unwrap_or_default()).map_err(fault)
    }

    /// A parameter that the model does not have was meant for another model, or is a mistake.
    fn refuse_others(&self, model: DelayModel) -> Result<(), Fault> {
        let own: &[&str] = match model {
            DelayModel::Constant => &["ms"],
            DelayModel::Uniform => &["least_ms", "most_ms"],
            DelayModel::Normal | DelayModel::Lognormal => &["mean_ms", "sd_ms"],
            DelayModel::Pareto => &["least_ms", "shape"],
            DelayModel::Empirical | DelayModel::Series => &["file"],
        };
        let given = [
            ("ms", self.ms.is_some()),
            ("least_ms", self.least_ms.is_some()),
            ("most_ms", self.most_ms.is_some()),
            ("mean_ms", self.mean_ms.is_some()),
            ("sd_ms", self.sd_ms.is_some()),
            ("shape", self.shape.is_some()),
            ("file", self.file.is_some()),
        ];
        match given.into_iter().find(|(name, is_given)| *is_given && !own.contains(name)) {
            Some((name, _)) => {
                let problem = format!("this model has no such parameter, it has {}", own.join(", "));
                Err((name.to_owned(), problem))
            }
            None => Ok(()),
        }
    }
}

impl LossSection {
    fn loss(&self) -> Result<Loss, Fault> {
        let bursts = [self.good_to_bad, self.bad_to_good, self.loss_in_good, self.loss_in_bad];
        match self.probability {
            Some(_) if bursts.iter().any(Option::is_some) => {
                let problem = "found it beside good_to_bad and the like, expected one or the other";
                Err(("probability".to_owned(), problem.to_owned()))
            }
            Some(probability) => Loss::independent(probability).map_err(fault),
            None => Loss::gilbert_elliott(
                needed("good_to_bad", self.good_to_bad)?,
                needed("bad_to_good", self.bad_to_good)?,
                self.loss_in_good.unwrap_or(0.0),
                self.loss_in_bad.unwrap_or(1.0),
            )
            .map_err(fault),
        }
    }
}

impl OutagesSection {
    fn outages(&self) -> Result<Outages, Fault> {
        let policy = match self.policy {
            Some(OutagePolicy::Fail) => network::Policy::Fail,
            Some(OutagePolicy::Wait) | None => network::Policy::Wait,
        };
        match &self.schedule {
            Some(_) if self.mean_up_s.is_some() || self.mean_down_s.is_some() => {
                let problem = "found it beside mean_up_s or mean_down_s, expected one or the other";
                Err(("schedule".to_owned(), problem.to_owned()))
            }
            Some(windows) => {
                let windows = windows.iter().map(|at| Window::new(at.at_s, at.for_s, at.every_s));
                let windows: Result<_, _> = windows.collect();
                let windows: Vec<_> = windows.map_err(fault).map_err(within("schedule"))?;
                Outages::scheduled(policy, windows).map_err(fault)
            }
            None => {
                let (up, down) =
                    (needed("mean_up_s", self.mean_up_s)?, needed("mean_down_s", self.mean_down_s)?);
                Outages::random(policy, up, down).map_err(fault)
            }
        }
    }
}

fn needed(parameter: &str, value: Option<f64>) -> Result<f64, Fault> {
    value.ok_or_else(|| missing(parameter))
}

fn missing(parameter: &str) -> Fault {
    (parameter.to_owned(), "is missing, and the model needs it".to_owned())
}

fn fault(error: ParameterError) -> Fault {
    (error.parameter.to_owned(), error.problem)
}

/// Puts `key.` in front of what a part of it complains about.
fn within(key: &'static str) -> impl Fn(Fault) -> Fault {
    move |(inner, problem)| (format!("{key}.{inner}"), problem)
}
