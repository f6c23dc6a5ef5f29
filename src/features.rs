//! Vibration features: 32 numbers, 16 for each of two axes, that summarise one window of raw acceleration.
//!
//! They are the inputs of the shipped detector. The window's mean is taken away
//! first, so an accelerometer's offset and gravity do not matter. With `x` the
//! window without its mean and `s` its standard deviation (population):
//!
//! | feature | definition | unit |
//! |---|---|---|
//! | `rms`, `mean_abs`, `peak`, `peak_to_peak` | `sqrt(mean x²)`, `mean abs x`, `max abs x`, `max x - min x`
//! | g |
//! | `kurtosis`, `skewness` | `mean (x/s)⁴`, `mean (x/s)³` | 1 |
//! | `crest`, `shape` | `peak / rms`, `rms / mean_abs` | 1 |
//! | `band_A_B` | `sqrt(4/n² · sum of abs(X)² over A <= f < B)`, `X` the real FFT of `x` times a symmetric
//! Hann window | g |
//!
//! The definitions fit any unit of acceleration; the detector was trained on g. A window
//! that does not vibrate at all has 0 for every feature, the dimensionless ones included.

use std::f64::consts::TAU;
use std::fmt;
use std::sync::Arc;

use realfft::num_complex::Complex;
use realfft::{RealFftPlanner, RealToComplex};

/// How many features a window has.
pub const FEATURES: usize = 32;
/// How many of them belong to one axis.
pub const AXIS_FEATURES: usize = FEATURES / 2;
/// The window the shipped detector was trained on, in samples of each axis: 0.1 s at [`SAMPLE_RATE_HZ`].
pub const WINDOW_SAMPLES: usize = 2560;
/// The sample rate the shipped detector was trained on.
pub const SAMPLE_RATE_HZ: f64 = 25_600.0;
/// The longest window an [`Extractor`] takes, in samples of each axis.
pub const WINDOW_SAMPLES_MAX: usize = 1 << 20;

/// The features' names, in the order of [`Extractor::extract`].
pub const FEATURE_NAMES: [&str; FEATURES] = [
    "h_rms",
    "h_mean_abs",
    "h_peak",
    "h_peak_to_peak",
    "h_kurtosis",
    "h_skewness",
    "h_crest",
    "h_shape",
    "h_band_0_200",
    "h_band_200_500",
    "h_band_500_1k",
    "h_band_1k_2k",
    "h_band_2k_4k",
    "h_band_4k_6k4",
    "h_band_6k4_9k6",
    "h_band_9k6_12k8",
    "v_rms",
    "v_mean_abs",
    "v_peak",
    "v_peak_to_peak",
    "v_kurtosis",
    "v_skewness",
    "v_crest",
    "v_shape",
    "v_band_0_200",
    "v_band_200_500",
    "v_band_500_1k",
    "v_band_1k_2k",
    "v_band_2k_4k",
    "v_band_4k_6k4",
    "v_band_6k4_9k6",
    "v_band_9k6_12k8",
];

/// Where one band ends and the next begins. The last band includes its upper edge,
/// which is the Nyquist frequency at [`SAMPLE_RATE_HZ`].
const BAND_EDGES_HZ: [f64; 9] = [0.0, 200.0, 500.0, 1_000.0, 2_000.0, 4_000.0, 6_400.0, 9_600.0, 12_800.0];
const BANDS: usize = BAND_EDGES_HZ.len() - 1;

/// A deviation this small beside the offset it rides on is rounding, not vibration.
const ROUNDING: f64 = 1e-12;

/// Computes the features of windows of one length; owns the FFT's plan and every
/// buffer, so that a call allocates nothing.
///
/// ```
/// use nearfar::features::{Extractor, FEATURE_NAMES, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
///
/// let mut extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ)?;
/// let hum: Vec<f32> = (0..WINDOW_SAMPLES).map(|i| (i as f32 * 0.1).sin()).collect();
/// let features = extractor.extract(&hum, &hum)?;
/// assert_eq!(FEATURE_NAMES[0], "h_rms");
/// assert!((features[0] - 0.5_f32.sqrt()).abs() < 0.01);
/// # Ok::<(), nearfar::features::FeatureError>(())
/// ```
pub struct Extractor {
    hann: Vec<f64>,
    /// Which bins of the spectrum belong to which band; empty where the sample rate does not reach the band.
    band_bins: [std::ops::Range<usize>; BANDS],
    fft: Arc<dyn RealToComplex<f64>>,
    centred: Vec<f64>,
    windowed: Vec<f64>,
    spectrum: Vec<Complex<f64>>,
    scratch: Vec<Complex<f64>>,
}

impl std::fmt::Debug for Extractor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Extractor").field("samples", &self.centred.len()).finish_non_exhaustive()
    }
}

impl Extractor {
    /// Prepares for windows of `samples` samples of each axis, taken at `sample_rate_hz`.
    ///
    /// A band above half the sample rate is always 0; what lies above 12.8 kHz is in no band.
    ///
    /// # Errors
    /// [`FeatureError::Window`] unless there are 2 to [`WINDOW_SAMPLES_MAX`] samples,
    /// [`FeatureError::SampleRate`] unless the rate is finite and above 0.
    pub fn new(samples: usize, sample_rate_hz: f64) -> Result<Self, FeatureError> {
        if !(2..=WINDOW_SAMPLES_MAX).contains(&samples) {
            return Err(FeatureError::Window { samples });
        }
        if !(sample_rate_hz.is_finite() && sample_rate_hz > 0.0) {
            return Err(FeatureError::SampleRate { sample_rate_hz });
        }
        let fft = RealFftPlanner::<f64>::new().plan_fft_forward(samples);
        let step = TAU / (samples - 1) as f64;
        Ok(Self {
            hann: (0..samples).map(|i| 0.5 - 0.5 * (step * i as f64).cos()).collect(),
            band_bins: band_bins(samples, sample_rate_hz),
            centred: vec![0.0; samples],
            windowed: fft.make_input_vec(),
            spectrum: fft.make_output_vec(),
            scratch: fft.make_scratch_vec(),
            fft,
        })
    }

    /// How many samples of each axis a window has.
    pub fn samples(&self) -> usize {
        self.centred.len()
    }

    /// Computes the features of one window: the horizontal axis `h` and the vertical axis `v`,
    /// in g, in the order of [`FEATURE_NAMES`]. The arithmetic is f64; every feature is finite.
    ///
    /// # Errors
    /// [`FeatureError::Length`] when an axis is not [`samples`](Self::samples) long,
    /// [`FeatureError::NonFinite`] when a sample is NaN or infinite.
    pub fn extract(&mut self, h: &[f32], v: &[f32]) -> Result<[f32; FEATURES], FeatureError> {
        self.check(Axis::H, h)?;
        self.check(Axis::V, v)?;
        let mut features = [0.0; FEATURES];
        let (of_h, of_v) = features.split_at_mut(AXIS_FEATURES);
        self.axis(h, of_h);
        self.axis(v, of_v);
        Ok(features)
    }

    fn check(&self, axis: Axis, samples: &[f32]) -> Result<(), FeatureError> {
        if samples.len() != self.samples() {
            return Err(FeatureError::Length { axis, expected: self.samples(), found: samples.len() });
        }
        match samples.iter().position(|x| !x.is_finite()) {
            Some(index) => Err(FeatureError::NonFinite { axis, index, found: samples[index] }),
            None => Ok(()),
        }
    }

    fn axis(&mut self, samples: &[f32], features: &mut [f32]) {
        let mean = samples.iter().map(|&x| f64::from(x)).sum::<f64>() / samples.len() as f64;
        for (centred, &x) in self.centred.iter_mut().zip(samples) {
            *centred = f64::from(x) - mean;
        }
        let waveform = waveform(&self.centred, mean);
        let bands = self.bands();
        for (feature, value) in features.iter_mut().zip(waveform.into_iter().chain(bands)) {
            // Two samples near the ends of f32 can be further apart than f32 reaches.
            *feature = value.clamp(f64::from(f32::MIN), f64::from(f32::MAX)) as f32;
        }
    }

    fn bands(&mut self) -> [f64; BANDS] {
        for ((windowed, x), weight) in self.windowed.iter_mut().zip(&self.centred).zip(&self.hann) {
            *windowed = x * weight;
        }
        self.fft
            .process_with_scratch(&mut self.windowed, &mut self.spectrum, &mut self.scratch)
            .expect("the buffers were made by this plan");
        let scale = 2.0 / self.centred.len() as f64;
        self.band_bins
            .clone()
            .map(|bins| scale * self.spectrum[bins].iter().map(Complex::norm_sqr).sum::<f64>().sqrt())
    }
}

/// The eight features of the waveform itself, of samples whose mean was taken away.
fn waveform(centred: &[f64], mean: f64) -> [f64; AXIS_FEATURES - BANDS] {
    let n = centred.len() as f64;
    let rms = (centred.iter().map(|x| x * x).sum::<f64>() / n).sqrt();
    if rms <= ROUNDING * mean.abs() {
        return [0.0; AXIS_FEATURES - BANDS];
    }
    let mean_abs = centred.iter().map(|x| x.abs()).sum::<f64>() / n;
    let highest = centred.iter().copied().fold(f64::MIN, f64::max);
    let lowest = centred.iter().copied().fold(f64::MAX, f64::min);
    let peak = highest.max(-lowest);
    let kurtosis = centred.iter().map(|x| (x / rms).powi(4)).sum::<f64>() / n;
    let skewness = centred.iter().map(|x| (x / rms).powi(3)).sum::<f64>() / n;
    [rms, mean_abs, peak, highest - lowest, kurtosis, skewness, peak / rms, rms / mean_abs]
}

fn band_bins(samples: usize, sample_rate_hz: f64) -> [std::ops::Range<usize>; BANDS] {
    let frequency_hz = |bin: usize| bin as f64 * sample_rate_hz / samples as f64;
    let bins = samples / 2 + 1;
    let first_at = |edge_hz: f64| (0..bins).find(|&bin| frequency_hz(bin) >= edge_hz).unwrap_or(bins);
    let first_above = |edge_hz: f64| (0..bins).find(|&bin| frequency_hz(bin) > edge_hz).unwrap_or(bins);
    std::array::from_fn(|band| {
        let (from_hz, to_hz) = (BAND_EDGES_HZ[band], BAND_EDGES_HZ[band + 1]);
        let end = if band + 1 == BANDS { first_above(to_hz) } else { first_at(to_hz) };
        first_at(from_hz)..end
    })
}

/// Which accelerometer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Axis {
    /// The horizontal one.
    H,
    /// The vertical one.
    V,
}

impl fmt::Display for Axis {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::H => "h",
            Self::V => "v",
        })
    }
}

/// Why a window has no features.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "each message names its fields")]
pub enum FeatureError {
    /// No spectrum can be taken of a window this long.
    #[error("expected a window of 2 to {WINDOW_SAMPLES_MAX} samples, got {samples}")]
    Window { samples: usize },
    /// Frequencies cannot be told at this rate.
    #[error("expected a sample rate above 0 Hz, got {sample_rate_hz}")]
    SampleRate { sample_rate_hz: f64 },
    /// An axis is not as long as the window.
    #[error("axis {axis}: expected {expected} samples, got {found}")]
    Length { axis: Axis, expected: usize, found: usize },
    /// A sample is not a number that physics gives.
    #[error("axis {axis}: sample {index} is {found}, expected a finite number")]
    NonFinite {
        axis: Axis,
        /// Which sample, from 0.
        index: usize,
        found: f32,
    },
}
