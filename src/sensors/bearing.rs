//! A simulated rolling bearing: raw vibration of two axes, from sound to ruined.
//!
//! A snapshot is the sum of two things, on each axis:
//! - the shaft's harmonics (imbalance at 1x, misalignment at 2x and 3x);
//! - the structure's answer to what happens in the contact: a few resonances, all driven by one excitation.
//!   In a sound bearing that is the noise of rolling, as loud as the load of the moment. A fault adds a
//!   blow each time a ball passes it, and roughens the raceways, which makes the noise louder.
//!
//! The model of a fault (blows at the defect's frequency, with a little slip, through the structure's
//! resonances, modulated by the load) is the usual one: R. B. Randall and J. Antoni, "Rolling element
//! bearing diagnostics: a tutorial", Mechanical Systems and Signal Processing 25 (2011) 485-520. The
//! default resonances give the loudness, the bands and the kurtosis that sound bearings had on
//! FEMTO-ST's PRONOSTIA platform, the ones the shipped detector learnt from. How hard a ruined bearing
//! strikes was chosen so that the shipped detector finds it, and sisters differ less than real
//! bearings do: what a detector reaches here shows that a node works, not how good the detector is.

use std::f64::consts::TAU;

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal, StandardUniform};

use crate::features::{SAMPLE_RATE_HZ, WINDOW_SAMPLES};

/// Samples simulated before a window begins, so that the resonances have settled:
/// five times as long as the slowest default resonance takes to decay by 1/e.
const SETTLING_SAMPLES: usize = 800;
/// How much two bearings of one make differ in loudness on one axis, as the standard
/// deviation of its logarithm.
const UNIT_SPREAD: f64 = 0.08;
/// How much one bearing's loudness differs from window to window, likewise.
const WINDOW_SPREAD: f64 = 0.04;
/// How much one blow differs from the next, as a standard deviation relative to the mean blow.
const BLOW_SPREAD: f64 = 0.15;

/// A ball bearing's dimensions.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Geometry {
    /// How many balls it has.
    pub balls: u32,
    /// A ball's diameter.
    pub ball_diameter_mm: f64,
    /// The diameter of the circle on which the balls' centres run.
    pub pitch_diameter_mm: f64,
    /// The angle between a ball's load and the radial plane.
    pub contact_angle_deg: f64,
}

impl Geometry {
    /// How often balls pass one point of the outer race (BPFO), in Hz, when the inner race turns
    /// at `shaft_hz`: `n/2 · f · (1 - d/D · cos φ)` (Randall and Antoni 2011, equation 1).
    pub fn outer_race_hz(&self, shaft_hz: f64) -> f64 {
        f64::from(self.balls) / 2.0 * shaft_hz * (1.0 - self.ratio())
    }

    /// How often balls pass one point of the inner race (BPFI), in Hz:
    /// `n/2 · f · (1 + d/D · cos φ)` (equation 2).
    pub fn inner_race_hz(&self, shaft_hz: f64) -> f64 {
        f64::from(self.balls) / 2.0 * shaft_hz * (1.0 + self.ratio())
    }

    fn ratio(&self) -> f64 {
        self.ball_diameter_mm / self.pitch_diameter_mm * self.contact_angle_deg.to_radians().cos()
    }
}

/// Where the fault is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// On the outer race, which stands still: every blow meets about the same load.
    OuterRace,
    /// On the inner race, which turns: blows grow and fade as the fault passes through
    /// the load, once a revolution.
    InnerRace,
}

impl Fault {
    /// How deep the load modulates the blows, 0 to 1.
    fn modulation(self) -> f64 {
        match self {
            Self::OuterRace => 0.2,
            Self::InnerRace => 0.6,
        }
    }
}

/// One resonance of the structure between the bearing and an accelerometer.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Resonance {
    /// Where it is strongest; below half of [`SAMPLE_RATE_HZ`].
    pub frequency_hz: f64,
    /// The width over which its power halves; at most a quarter of [`SAMPLE_RATE_HZ`].
    pub bandwidth_hz: f64,
    /// The vibration it gives to a sound bearing, root mean square.
    pub rms_g: f64,
}

/// What one accelerometer of a sound bearing measures.
#[derive(Debug, Clone, PartialEq)]
pub struct AxisConfig {
    /// Root mean square of the vibration at once, twice and three times the shaft's frequency.
    pub harmonics_rms_g: [f64; 3],
    /// The structure's resonances.
    pub resonances: Vec<Resonance>,
}

/// A bearing, its load and its future fault.
#[derive(Debug, Clone, PartialEq)]
pub struct Config {
    /// How fast the shaft turns: 30 Hz is 1,800 revolutions a minute.
    pub shaft_hz: f64,
    /// The bearing's dimensions.
    pub geometry: Geometry,
    /// Where the fault will be.
    pub fault: Fault,
    /// How much the load, and with it the noise of rolling, changes within a revolution: 0 to 1.
    pub load_modulation: f64,
    /// Slip: the standard deviation of the time between two blows, relative to its mean.
    pub slip: f64,
    /// A blow at severity 1, in standard deviations of the sound bearing's excitation.
    pub blow: f64,
    /// How much louder the noise of rolling is at severity 1: 3 makes it four times as loud.
    pub roughening: f64,
    /// The horizontal accelerometer.
    pub h: AxisConfig,
    /// The vertical accelerometer.
    pub v: AxisConfig,
}

impl Default for Config {
    /// PRONOSTIA's first operating condition: 1,800 revolutions a minute, a fault on the outer race.
    fn default() -> Self {
        Self {
            shaft_hz: 30.0,
            geometry: Geometry {
                balls: 13,
                ball_diameter_mm: 3.5,
                pitch_diameter_mm: 25.6,
                contact_angle_deg: 0.0,
            },
            fault: Fault::OuterRace,
            load_modulation: 0.2,
            slip: 0.01,
            blow: 40.0,
            roughening: 4.0,
            h: AxisConfig {
                harmonics_rms_g: [0.012, 0.015, 0.015],
                resonances: resonances(&[
                    (110.0, 80.0, 0.0618),
                    (340.0, 140.0, 0.0404),
                    (650.0, 120.0, 0.0422),
                    (1_250.0, 250.0, 0.182),
                    (3_500.0, 900.0, 0.2182),
                    (4_700.0, 1_200.0, 0.0492),
                    (7_200.0, 2_500.0, 0.035),
                    (11_300.0, 1_500.0, 0.1217),
                ]),
            },
            v: AxisConfig {
                harmonics_rms_g: [0.009, 0.006, 0.004],
                resonances: resonances(&[
                    (160.0, 50.0, 0.0398),
                    (330.0, 200.0, 0.01),
                    (650.0, 120.0, 0.0128),
                    (1_550.0, 500.0, 0.0431),
                    (3_000.0, 1_500.0, 0.1342),
                    (5_300.0, 1_400.0, 0.1284),
                    (7_500.0, 1_900.0, 0.1797),
                    (10_300.0, 1_000.0, 0.1783),
                ]),
            },
        }
    }
}

fn resonances(of: &[(f64, f64, f64)]) -> Vec<Resonance> {
    of.iter()
        .map(|&(frequency_hz, bandwidth_hz, rms_g)| Resonance { frequency_hz, bandwidth_hz, rms_g })
        .collect()
}

/// A snapshot of raw acceleration: [`WINDOW_SAMPLES`] samples of each axis at [`SAMPLE_RATE_HZ`], in g.
#[derive(Debug, Clone, PartialEq)]
pub struct Window {
    /// The horizontal axis.
    pub h: Vec<f32>,
    /// The vertical axis.
    pub v: Vec<f32>,
}

/// One simulated bearing.
///
/// Its windows are snapshots, as a sensor takes them now and then. Each is a function of the configuration,
/// the seed, the window's number and its severity, so the severity of one does not change the next.
///
/// ```
/// use nearfar::features::{Extractor, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
/// use nearfar::sensors::bearing::{Bearing, Config};
///
/// let mut bearing = Bearing::new(Config::default(), 7);
/// let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ)?;
/// let (sound, failing) = (bearing.window(0.0), bearing.window(1.0));
/// let rms = |features: [f32; 32]| features[0];
/// assert!(rms(extractor.extract(&failing.h, &failing.v)?) > rms(extractor.extract(&sound.h, &sound.v)?));
/// # Ok::<(), nearfar::features::FeatureError>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bearing {
    config: Config,
    seed: u64,
    windows: u64,
    loudness: [f64; 2],
}

impl Bearing {
    /// A bearing of the make `config`; `seed` decides in what it differs from its sisters, and all its noise.
    pub fn new(config: Config, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let loudness = [(); 2].map(|()| (UNIT_SPREAD * normal(&mut random)).exp());
        Self { config, seed, windows: 0, loudness }
    }

    /// The next window, with a fault of `severity` between 0 (none) and 1 (ruined). What
    /// lies outside is taken as the nearer end, NaN as 0.
    pub fn window(&mut self, severity: f64) -> Window {
        let severity = if severity > 0.0 { severity.min(1.0) } else { 0.0 };
        self.windows += 1;
        let mut random = ChaCha8Rng::seed_from_u64(self.seed);
        // Stream 0 made the bearing itself.
        random.set_stream(self.windows);
        let loudness = (WINDOW_SPREAD * normal(&mut random)).exp();
        let load_phase = TAU * uniform(&mut random);
        let blows = self.blows(severity, load_phase, &mut random);
        let [h, v] = [(&self.config.h, self.loudness[0]), (&self.config.v, self.loudness[1])].map(
            |(axis, of_unit)| {
                let excitation = self.excitation(severity, load_phase, &blows, &mut random);
                axis_samples(axis, self.config.shaft_hz, &excitation, loudness * of_unit, &mut random)
            },
        );
        Window { h, v }
    }

    /// How often balls hit the fault, in Hz.
    pub fn defect_hz(&self) -> f64 {
        match self.config.fault {
            Fault::OuterRace => self.config.geometry.outer_race_hz(self.config.shaft_hz),
            Fault::InnerRace => self.config.geometry.inner_race_hz(self.config.shaft_hz),
        }
    }

    /// The blows of one window on its time line; a blow between two samples is shared by them.
    fn blows(&self, severity: f64, load_phase: f64, random: &mut ChaCha8Rng) -> Vec<f64> {
        let mut blows = vec![0.0; SETTLING_SAMPLES + WINDOW_SAMPLES];
        let period_samples = SAMPLE_RATE_HZ / self.defect_hz();
        if !(period_samples.is_finite() && period_samples > 0.0) {
            return blows;
        }
        let depth = self.config.fault.modulation();
        let mut at_samples = period_samples * uniform(random);
        while at_samples < (blows.len() - 1) as f64 {
            let load = self.load(at_samples, load_phase, depth);
            let blow = severity * self.config.blow * load * (1.0 + BLOW_SPREAD * normal(random));
            let (index, later) = (at_samples as usize, at_samples.fract());
            blows[index] += blow * (1.0 - later);
            blows[index + 1] += blow * later;
            // However large the slip, time goes on.
            at_samples += (period_samples * (1.0 + self.config.slip * normal(random))).max(1.0);
        }
        blows
    }

    /// What drives the structure; 1 is the standard deviation of a sound bearing's noise without modulation.
    fn excitation(&self, severity: f64, load_phase: f64, blows: &[f64], random: &mut ChaCha8Rng) -> Vec<f64> {
        let noise = 1.0 + self.config.roughening * severity;
        let depth = self.config.load_modulation;
        let with_noise = |(at, blow): (usize, &f64)| {
            blow + noise * self.load(at as f64, load_phase, depth) * normal(random)
        };
        blows.iter().enumerate().map(with_noise).collect()
    }

    /// The load on the contact, relative to its mean.
    fn load(&self, at_samples: f64, phase: f64, depth: f64) -> f64 {
        1.0 + depth * (TAU * self.config.shaft_hz * at_samples / SAMPLE_RATE_HZ + phase).cos()
    }
}

fn axis_samples(
    axis: &AxisConfig,
    shaft_hz: f64,
    excitation: &[f64],
    loudness: f64,
    random: &mut ChaCha8Rng,
) -> Vec<f32> {
    let mut sum = vec![0.0; excitation.len()];
    for resonance in &axis.resonances {
        resonance.ring(excitation, &mut sum);
    }
    let mut samples = sum.split_off(SETTLING_SAMPLES);
    for (order, rms_g) in (1_u32..).zip(axis.harmonics_rms_g) {
        let phase = TAU * uniform(random);
        let step = TAU * f64::from(order) * shaft_hz / SAMPLE_RATE_HZ;
        for (at, sample) in samples.iter_mut().enumerate() {
            *sample += rms_g * 2.0_f64.sqrt() * (step * at as f64 + phase).cos();
        }
    }
    samples.iter().map(|sample| (loudness * sample) as f32).collect()
}

impl Resonance {
    /// Adds this resonance's answer to `excitation`.
    ///
    /// A second-order band-pass, half the difference between its input and an all-pass
    /// of it, so that its power gain for white noise is exactly `(1 - r²) / 2`, with `r`
    /// the radius of its poles; the scale makes that `rms_g²`.
    fn ring(&self, excitation: &[f64], sum: &mut [f64]) {
        let tangent = (TAU / 2.0 * self.bandwidth_hz.clamp(0.0, SAMPLE_RATE_HZ / 4.0) / SAMPLE_RATE_HZ).tan();
        let radius_squared = (1.0 - tangent) / (1.0 + tangent);
        let back_1 = (1.0 + radius_squared) * (TAU * self.frequency_hz / SAMPLE_RATE_HZ).cos();
        let scale = self.rms_g * ((1.0 - radius_squared) / 2.0).sqrt();
        let (mut in_1, mut in_2, mut out_1, mut out_2) = (0.0, 0.0, 0.0, 0.0);
        for (&input, sum) in excitation.iter().zip(sum) {
            let output = scale * (input - in_2) + back_1 * out_1 - radius_squared * out_2;
            (in_2, in_1) = (in_1, input);
            (out_2, out_1) = (out_1, output);
            *sum += output;
        }
    }
}

fn normal(random: &mut ChaCha8Rng) -> f64 {
    StandardNormal.sample(random)
}

fn uniform(random: &mut ChaCha8Rng) -> f64 {
    StandardUniform.sample(random)
}

/// How a fault grows over a bearing's life.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct FaultProgress {
    /// The part of the life that passes without a fault.
    pub onset_fraction: f64,
    /// The severity with which the fault begins, above 0; from there it grows
    /// exponentially to 1 at the end of the life.
    pub onset_severity: f64,
}

impl Default for FaultProgress {
    /// A fault that begins at 60 % of the life, a fiftieth as severe as in the end.
    fn default() -> Self {
        Self { onset_fraction: 0.6, onset_severity: 0.02 }
    }
}

impl FaultProgress {
    /// A bearing that does not fail.
    pub const NONE: Self = Self { onset_fraction: f64::INFINITY, onset_severity: 1.0 };

    /// The severity, 0 to 1, when `life_fraction` of the life has passed.
    pub fn severity(&self, life_fraction: f64) -> f64 {
        if life_fraction >= 1.0 && self.onset_fraction <= 1.0 {
            return 1.0;
        }
        if life_fraction < self.onset_fraction || life_fraction.is_nan() {
            return 0.0;
        }
        let passed = (life_fraction - self.onset_fraction) / (1.0 - self.onset_fraction);
        self.onset_severity.powf(1.0 - passed).clamp(0.0, 1.0)
    }
}
