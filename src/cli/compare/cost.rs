//! What a forward pass takes in virtual time: as the user says, or as it is measured at the start.

use std::fmt::Write;
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::Context;
use nearfar::Detector;
use nearfar::lab::experiment::Inputs;
use nearfar::lab::observation::Cost;
use nearfar::lab::scenario::Placement;
use nearfar::lab::virtual_time::CostModel;

/// `--cost`, for one placement or for all.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    placement: Option<String>,
    model: CostModel,
}

impl FromStr for Flag {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (placement, numbers) = match text.rsplit_once('=') {
            Some((placement, numbers)) => (Some(placement.to_owned()), numbers),
            None => (None, text),
        };
        let time = |text: &str| {
            let us = text.trim().parse::<f64>().ok().filter(|us| (0.0..=MICROSECONDS_MAX).contains(us))?;
            Some(Duration::from_nanos((us * 1e3).round() as u64))
        };
        let parts = numbers.split_once(',').and_then(|(batch, row)| Some((time(batch)?, time(row)?)));
        let (per_batch, per_row) = parts.ok_or_else(|| {
            format!("found {numbers:?}, expected two numbers of microseconds with a comma between them, such as 12.5,0.8")
        })?;
        Ok(Self { placement, model: CostModel { per_batch, per_row } })
    }
}

/// The longest time that can be said: a minute.
const MICROSECONDS_MAX: f64 = 60e6;
/// How many rows are measured in one pass.
const ROWS: [usize; 8] = [1, 2, 4, 8, 16, 32, 64, 128];
/// Passes that are measured of each, of which the middle one counts: now and then the system takes the processor away.
const PASSES: usize = 25;
/// Passes before them, so that the model is warm.
const WARM_UP_PASSES: usize = 5;

/// The cost of every placement's forward passes.
///
/// # Errors
/// When a flag names no placement, or a model cannot be called.
pub fn of_placements(
    flags: &[Flag],
    placements: &[Placement],
    detectors: &mut [Detector],
    inputs: &Inputs,
) -> anyhow::Result<Vec<Cost>> {
    for flag in flags {
        let Some(name) = &flag.placement else { continue };
        let names: Vec<_> = placements.iter().map(|placement| placement.name.as_str()).collect();
        anyhow::ensure!(
            names.contains(&name.as_str()),
            "--cost: there is no placement {name:?}, expected one of {}",
            names.join(", ")
        );
    }
    let one = |(placement, detector): (&Placement, &mut Detector)| {
        let named = flags.iter().rev().find(|flag| flag.placement.as_ref() == Some(&placement.name));
        let said = named.or_else(|| flags.iter().rev().find(|flag| flag.placement.is_none()));
        match said {
            Some(flag) => Ok(Cost { model: flag.model, basis: "given with --cost".to_owned() }),
            None => fitted(detector, inputs).with_context(|| format!("placement {:?}", placement.name)),
        }
    };
    placements.iter().zip(detectors).map(one).collect()
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

/// The flags that give the same costs again, one a line.
pub fn as_flags(placements: &[Placement], costs: &[Cost]) -> String {
    let mut text = String::new();
    for (placement, cost) in placements.iter().zip(costs) {
        let us = |time: Duration| time.as_nanos() as f64 / 1e3;
        let (batch, row) = (us(cost.model.per_batch), us(cost.model.per_row));
        writeln!(text, "--cost {}={batch},{row}", placement.name).expect("memory takes everything");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flag_says_what_it_costs_and_where() {
        let model = CostModel { per_batch: Duration::from_nanos(12_500), per_row: Duration::from_nanos(800) };
        assert_eq!("12.5,0.8".parse(), Ok(Flag { placement: None, model }));
        assert_eq!("a=b=12.5, 0.8".parse(), Ok(Flag { placement: Some("a=b".to_owned()), model }));
        for wrong in ["", "1", "1,", "1,x", "-1,1", "nan,1", "1e9,1"] {
            assert!(wrong.parse::<Flag>().unwrap_err().contains("expected two numbers"), "{wrong}");
        }
    }
}
