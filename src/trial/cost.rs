//! What takes time on a simulated clock that is not simulated, forward passes and the
//! way through client and broker: as the user says, or as it is measured at the start.

use std::fmt::Write;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;

use super::models::Placed;
use crate::lab::experiment::Inputs;
use crate::lab::observation::{BySite, Cost};
use crate::lab::scenario::{HybridPlacement, Placement};
use crate::model::Detector;
use crate::trial::virtual_time::{CostModel, Path};

/// Something said of one site or of all.
#[derive(Debug, Clone, PartialEq)]
pub struct Said<T> {
    site: Option<String>,
    value: T,
}

/// `--cost`.
pub type CostFlag = Said<CostModel>;
/// `--path`.
pub type PathFlag = Said<Path>;

/// What is simulated by what is said or was measured, by placement.
#[derive(Debug, Clone)]
pub struct Costs {
    /// Forward passes.
    pub passes: Vec<BySite<Cost>>,
    /// The way through client and broker.
    pub paths: Vec<BySite<Path>>,
}

impl FromStr for CostFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (site, numbers) = parts(text);
        let parts = numbers.split_once(',').and_then(|(batch, row)| Some((time(batch)?, time(row)?)));
        let (per_batch, per_row) = parts.ok_or_else(|| {
            format!("found {numbers:?}, expected two numbers of microseconds with a comma between them, such as 12.5,0.8")
        })?;
        Ok(Self { site, value: CostModel { per_batch, per_row } })
    }
}

impl FromStr for PathFlag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (site, numbers) = parts(text);
        let quantiles = numbers.split(',').map(time).collect::<Option<Vec<_>>>().ok_or_else(|| {
            format!("found {numbers:?}, expected numbers of microseconds with commas between them, such as 180 or 150,180,400")
        })?;
        Ok(Self { site, value: Path::new(quantiles) })
    }
}

/// The site's name, if there is one, and the numbers.
fn parts(text: &str) -> (Option<String>, &str) {
    match text.rsplit_once('=') {
        Some((site, numbers)) => (Some(site.to_owned()), numbers),
        None => (None, text),
    }
}

fn time(microseconds: &str) -> Option<Duration> {
    let us = microseconds.trim().parse::<f64>().ok().filter(|us| (0.0..=MICROSECONDS_MAX).contains(us))?;
    Some(Duration::from_nanos((us * 1e3).round() as u64))
}

/// What the flags call a placement's sites: by its name, and a hybrid's cloud by `NAME/cloud`.
pub fn names(placement: &Placement) -> BySite<String> {
    let cloud = placement.hybrid.as_ref().map(|_| format!("{}/cloud", placement.name));
    BySite { edge: placement.name.clone(), cloud }
}

/// What is said of each site, if anything. The last word counts, and that of a site more than that of all.
fn said<T: Clone>(
    flag: &str,
    all: &[Said<T>],
    placements: &[Placement],
) -> anyhow::Result<Vec<BySite<Option<T>>>> {
    let known: Vec<_> = placements.iter().flat_map(names).collect();
    for (at, name) in known.iter().enumerate() {
        anyhow::ensure!(
            !known[..at].contains(name),
            "placement {name:?}: found the name by which {flag} knows a hybrid's cloud, expected another"
        );
    }
    for name in all.iter().filter_map(|said| said.site.as_ref()) {
        anyhow::ensure!(
            known.contains(name),
            "{flag}: there is no placement {name:?}, expected one of {}",
            known.join(", ")
        );
    }
    let last = |wanted: Option<&str>| all.iter().rev().find(|said| said.site.as_deref() == wanted);
    let of = |name: String| last(Some(&name)).or_else(|| last(None)).map(|said| said.value.clone());
    Ok(placements.iter().map(|placement| names(placement).map(of)).collect())
}

/// The longest time that can be said: a minute.
const MICROSECONDS_MAX: f64 = 60e6;
/// How many rows are measured in one pass.
const ROWS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Passes that are measured of each, of which the middle one counts: now and then
/// the system takes the processor away.
const PASSES: usize = 25;
/// Passes before them, so that the model is warm.
const WARM_UP_PASSES: usize = 5;

/// What every site's forward passes take. A cloud of which nothing is said, and that
/// has the edge's model, is like the edge.
///
/// # Errors
/// When a flag names no site, or a model cannot be called.
pub fn passes(
    flags: &[CostFlag],
    placements: &[Placement],
    placed: &mut [Placed],
    inputs: &Inputs,
) -> anyhow::Result<Vec<BySite<Cost>>> {
    let mut costs = Vec::with_capacity(placements.len());
    for ((placement, said), placed) in placements.iter().zip(said("--cost", flags, placements)?).zip(placed) {
        let cost = |said: Option<CostModel>, detector: &mut Detector| match said {
            Some(model) => Ok(Cost { model, basis: "given with --cost".to_owned() }),
            None => fitted(detector, inputs).with_context(|| format!("placement {:?}", placement.name)),
        };
        let edge = cost(said.edge, &mut placed.detector)?;
        let is_same = |hybrid: &HybridPlacement| hybrid.model_beside(placement) == placement.model;
        let cloud = match (said.cloud, &mut placed.cloud) {
            (Some(None), _) if placement.hybrid.as_ref().is_some_and(is_same) => Some(edge.clone()),
            (Some(said), Some(detector)) => Some(cost(said, detector)?),
            _ => None,
        };
        costs.push(BySite { edge, cloud });
    }
    Ok(costs)
}

/// What the way takes, as far as it is said. That of a cloud of which nothing is said is like the edge's.
///
/// # Errors
/// When a flag names no site.
pub fn paths(flags: &[PathFlag], placements: &[Placement]) -> anyhow::Result<Vec<BySite<Path>>> {
    let of = |BySite { edge, cloud }: BySite<Option<Path>>| {
        let edge = edge.unwrap_or_default();
        BySite { cloud: cloud.map(|said| said.unwrap_or_else(|| edge.clone())), edge }
    };
    Ok(said("--path", flags, placements)?.into_iter().map(of).collect())
}

fn fitted(detector: &mut Detector, inputs: &Inputs) -> anyhow::Result<Cost> {
    let mut scores = Vec::new();
    let mut measured = Vec::with_capacity(ROWS.len());
    for rows in ROWS {
        let batch: Vec<f32> =
            (0..rows).flat_map(|row| inputs.features(row % inputs.len()).iter().copied()).collect();
        let mut times = Vec::with_capacity(PASSES);
        for pass in 0..WARM_UP_PASSES + PASSES {
            scores.clear();
            let began = Instant::now();
            detector.predict_batch(&batch, &mut scores)?;
            if pass >= WARM_UP_PASSES {
                times.push(began.elapsed());
            }
        }
        times.sort_unstable();
        measured.push((rows, times[PASSES / 2]));
    }
    let model = CostModel::fit(&measured).context("its forward passes take no time that can be measured")?;
    let basis = format!("fitted to {} passes of 1 to 128 rows on this machine", ROWS.len() * PASSES);
    Ok(Cost { model, basis })
}

/// The flags that give the same again, one a line.
pub fn as_flags(placements: &[Placement], costs: &Costs) -> String {
    let mut text = String::new();
    let us = |time: &Duration| (time.as_nanos() as f64 / 1e3).to_string();
    let named = || placements.iter().flat_map(names);
    for (name, cost) in named().zip(costs.passes.iter().cloned().flatten()) {
        let (batch, row) = (us(&cost.model.per_batch), us(&cost.model.per_row));
        writeln!(text, "--cost {name}={batch},{row}").expect("memory takes everything");
    }
    for (name, path) in named().zip(costs.paths.iter().cloned().flatten()) {
        let quantiles: Vec<_> = path.quantiles().iter().map(us).collect();
        if !quantiles.is_empty() {
            writeln!(text, "--path {name}={}", quantiles.join(",")).expect("memory takes everything");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_says_what_it_costs_and_where() {
        let model = CostModel { per_batch: Duration::from_nanos(12_500), per_row: Duration::from_nanos(800) };
        assert_eq!("12.5,0.8".parse(), Ok(CostFlag { site: None, value: model }));
        let named = CostFlag { site: Some("a=b".to_owned()), value: model };
        assert_eq!("a=b=12.5, 0.8".parse(), Ok(named));
        for wrong in ["", "1", "1,", "1,x", "-1,1", "nan,1", "1e9,1"] {
            assert!(wrong.parse::<CostFlag>().unwrap_err().contains("expected two numbers"), "{wrong}");
        }
        let us = Duration::from_micros;
        let path = PathFlag { site: Some("a".to_owned()), value: Path::new(vec![us(1), us(2)]) };
        assert_eq!("a=2,1".parse(), Ok(path));
        assert!("1,,2".parse::<PathFlag>().is_err());
    }
}
