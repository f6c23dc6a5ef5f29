//! Networks with names, each with the source of its figures.
//!
//! A preset has what its source gives and nothing more: none of them loses messages, because losses depend on
//! the place and the day more than on the technology. Where a source gives round trips, a direction has half
//! of them. What the source does not give, mostly the shape between two percentiles, is ours and said to be.

use std::time::Duration;

use super::bandwidth::Bandwidth;
use super::delay::Delay;
use super::parameter::ParameterError;
use super::profile::LinkProfile;

/// A network with a name.
#[derive(Debug, Clone, Copy)]
pub struct Preset {
    /// Its name in configuration files.
    pub name: &'static str,
    /// Where its figures come from, and what of it is ours.
    pub source: &'static str,
    links: fn() -> Result<(LinkProfile, LinkProfile), ParameterError>,
}

impl Preset {
    /// All of them.
    pub const ALL: [Self; 9] = [
        Self {
            name: "lan",
            source: "K. Sui et al., Characterizing and Improving WiFi Latency in Large-Scale Operational Networks, MobiSys 2016, \
                     section 2: the wired part of a campus network, 99th percentile of the round trip below 1 ms (from memory). \
                     Ours: lognormal, median 0.2 ms one way",
            links: || both(quantiles(0.0, 0.2, 0.5, Z_99)),
        },
        Self {
            name: "wifi",
            source: "K. Sui et al., MobiSys 2016: round trips over the Wi-Fi hop of 47,000 devices, median 3 ms, 90th percentile \
                     20 ms. Ours: lognormal through both; the tail beyond the 99th percentile is longer in the source",
            links: || both(quantiles(0.0, 1.5, 10.0, Z_90)),
        },
        Self {
            name: "4g",
            source: "ITU-R Report M.2134 (2008), section 4.5.2: less than 10 ms one way in the radio network (the figure from memory); J. Huang et al., A Close \
                     Examination of Performance and Power Characteristics of 4G LTE Networks, MobiSys 2012: median throughput 13 \
                     Mbit/s down, 6 Mbit/s up. Ours: 10 ms and a lognormal of mean 25 ms, standard deviation 12 ms",
            links: || {
                let delay = || Delay::lognormal(25.0, 12.0)?.plus(10.0);
                Ok((carrying(6_000_000, 250_000, delay()?)?, carrying(13_000_000, 500_000, delay()?)?))
            },
        },
        Self {
            name: "5g",
            source: "ITU-R Report M.2410 (2017): 4 ms one way in the radio network for mobile broadband. Ours: 4 ms and a lognormal \
                     of mean 6 ms, standard deviation 4 ms, for the load and the way to the nearest data centre",
            links: || both(Delay::lognormal(6.0, 4.0)?.plus(4.0)),
        },
        Self {
            name: "leo",
            source: "F. Michel et al., A First Look at Starlink Performance, IMC 2022: round trips to European anchors, least 20 \
                     ms, quartiles 40, 50 and 60 ms. Ours: 10 ms and a lognormal through the half of the median and the upper \
                     quartile",
            links: || both(quantiles(10.0, 15.0, 20.0, Z_75)),
        },
        Self {
            name: "geo",
            source: "RFC 2488, section 2: 239.6 ms from a ground station below the satellite to another, 279.0 ms at the edge of \
                     its view. Ours: uniform between them",
            links: || both(Delay::uniform(239.6, 279.0)),
        },
        Self {
            name: "cloud-region",
            source: "Microsoft, Azure network round-trip latency statistics, October 2019: 3 to 28 ms within Europe. Ours: \
                     uniform between the halves",
            links: || both(Delay::uniform(1.5, 14.0)),
        },
        Self {
            name: "cloud-continent",
            source: "Verizon, Network Latency Guarantees: 90 ms or less on average for the round trip between New York and London. Ours: \
                     normal, mean 45 ms, standard deviation 2 ms",
            links: || both(Delay::normal(45.0, 2.0)),
        },
        Self {
            name: "lorawan",
            source: "LoRa Alliance, LoRaWAN Regional Parameters 1.0.3 (2018) and RP002-1.0.5 (2025): 5,470 bit/s (EU868, DR5), and an \
                     answer no earlier than RECEIVE_DELAY1 = 1 s. Ours: 50 ms from the gateway to the network server, and room for 4 kB. A message \
                     longer than a frame of 222 bytes is taken as sent in pieces; duty cycles are not simulated",
            links: || {
                let link = |ms| carrying(5_470, 4_000, Delay::constant(Duration::from_millis(ms)));
                Ok((link(50)?, link(1_000)?))
            },
        },
    ];

    /// The preset of this name.
    pub fn named(name: &str) -> Option<&'static Self> {
        const PRESETS: &[Preset] = &Preset::ALL;
        PRESETS.iter().find(|preset| preset.name == name)
    }

    /// Its uplink and its downlink.
    pub fn links(&self) -> (LinkProfile, LinkProfile) {
        (self.links)().expect("the figures are constants, and a test builds every preset")
    }
}

/// Standard normal quantiles of 75, 90 and 99 %.
const Z_75: f64 = 0.674_490;
const Z_90: f64 = 1.281_552;
const Z_99: f64 = 2.326_348;

/// `plus_ms` and a lognormal with this median and this other quantile, `z` standard deviations above it.
fn quantiles(plus_ms: f64, median_ms: f64, quantile_ms: f64, z: f64) -> Result<Delay, ParameterError> {
    let sigma = (quantile_ms / median_ms).ln() / z;
    let mean_ms = median_ms * (sigma * sigma / 2.0).exp();
    Delay::lognormal(mean_ms, mean_ms * (sigma * sigma).exp_m1().sqrt())?.plus(plus_ms)
}

fn both(delay: Result<Delay, ParameterError>) -> Result<(LinkProfile, LinkProfile), ParameterError> {
    let link = LinkProfile { delay: delay?, ..LinkProfile::default() };
    Ok((link.clone(), link))
}

fn carrying(bits_per_s: u64, queue_bytes_max: u64, delay: Delay) -> Result<LinkProfile, ParameterError> {
    let bandwidth = Some(Bandwidth::new(bits_per_s, queue_bytes_max, 0)?);
    Ok(LinkProfile { delay, bandwidth, ..LinkProfile::default() })
}

#[cfg(test)]
mod tests {
    use super::super::random::Purpose;
    use super::*;

    /// The `share` quantile of a preset's uplink delays, in milliseconds.
    fn quantile(name: &str, share: f64) -> f64 {
        let (uplink, _) = Preset::named(name).unwrap().links();
        let of = |number| uplink.delay.of(9, Purpose::Delay, number, Duration::ZERO).as_secs_f64() * 1e3;
        let mut delays: Vec<f64> = (0..40_000).map(of).collect();
        delays.sort_by(f64::total_cmp);
        delays[(share * 40_000.0) as usize]
    }

    #[test]
    fn every_preset_can_be_built_and_has_a_name_of_its_own() {
        for preset in &Preset::ALL {
            preset.links();
            assert_eq!(Preset::named(preset.name).unwrap().source, preset.source);
        }
        assert!(Preset::named("6g").is_none());
    }

    #[test]
    fn presets_have_the_quantiles_of_their_sources() {
        for (name, share, expected_ms) in [
            ("lan", 0.99, 0.5),
            ("wifi", 0.5, 1.5),
            ("wifi", 0.9, 10.0),
            ("leo", 0.5, 25.0),
            ("leo", 0.75, 30.0),
            ("geo", 0.5, 259.3),
            ("cloud-region", 0.5, 7.75),
            ("cloud-continent", 0.5, 45.0),
        ] {
            let found_ms = quantile(name, share);
            assert!((found_ms / expected_ms - 1.0).abs() < 0.05, "{name} {share}: {found_ms}");
        }
    }
}
