//! A network in words, for people who read what an experiment was about.

use super::delay::Delay;
use super::loss::Loss;
use super::outage::Policy;
use super::profile::{LinkProfile, Lost, Profile};
use super::random::Purpose;

impl Profile {
    /// What the network is like, such as `50 ms each way`. Delays that vary are described by the delays
    /// themselves: median, and between which 90 % of them lie, of a few thousand that are drawn for it.
    pub fn words(&self) -> String {
        let Some(shape) = self.shape() else {
            return match self.as_constant() {
                Some(one_way) if !one_way.is_zero() => {
                    format!("{} each way", milliseconds(one_way.as_secs_f64()))
                }
                _ => "none: beside the sensors".to_owned(),
            };
        };
        let (up, down) = (shape.uplink.words(), shape.downlink.words());
        let name = if shape.link.is_empty() { String::new() } else { format!("{}: ", shape.link) };
        if up == down {
            format!("{name}each way {up}")
        } else {
            format!("{name}to the model {up}; back {down}")
        }
    }
}

impl LinkProfile {
    /// What one direction is like.
    pub fn words(&self) -> String {
        let mut parts = vec![delay(&self.delay)];
        if let Some(bandwidth) = &self.bandwidth {
            parts.push(bandwidth.words());
        }
        match &self.loss {
            Loss::None => {}
            Loss::Independent(_) => parts.push(format!("{} lost", percent(self.loss.mean()))),
            Loss::GilbertElliott(_) => parts.push(format!("{} lost, in bursts", percent(self.loss.mean()))),
        }
        if let Some(reorder) = &self.reorder {
            let (share, held_back) = (percent(reorder.share), milliseconds(reorder.held_back.as_secs_f64()));
            parts.push(format!("{share} held back by up to {held_back}"));
        }
        if self.duplicates > 0.0 {
            parts.push(format!("{} arrive twice", percent(self.duplicates)));
        }
        if let Some(outages) = &self.outages {
            parts.push(match outages.policy {
                Policy::Wait => "outages, in which messages wait".to_owned(),
                Policy::Fail => "outages, in which messages are lost".to_owned(),
            });
        }
        if self.lost == Lost::Report && (self.loss != Loss::None || self.outages.is_some()) {
            parts.push("losses are reported".to_owned());
        }
        parts.join(", ")
    }
}

/// How many delays are drawn to describe them.
const DRAWN: u64 = 4_001;

fn delay(delay: &Delay) -> String {
    if let Some(constant) = delay.as_constant() {
        return milliseconds(constant.as_secs_f64());
    }
    // A series goes on with time: a second for each message.
    let at = std::time::Duration::from_secs;
    let mut drawn: Vec<_> =
        (0..DRAWN).map(|number| delay.of(0, Purpose::Delay, number, at(number))).collect();
    drawn.sort_unstable();
    let quantile = |percent: usize| milliseconds(drawn[percent * (drawn.len() - 1) / 100].as_secs_f64());
    let (low, median, high) = (quantile(5), quantile(50), quantile(95));
    format!("mostly {low} to {high} (median {median})")
}

/// Two significant digits.
fn milliseconds(seconds: f64) -> String {
    let ms = seconds * 1e3;
    match ms {
        0.0 => "no delay".to_owned(),
        ms if ms < 1.0 => format!("{ms:.2} ms"),
        ms if ms < 10.0 => format!("{} ms", (ms * 10.0).round() / 10.0),
        ms => format!("{ms:.0} ms"),
    }
}

/// Two significant digits, and no zeros behind them.
fn percent(share: f64) -> String {
    let percent = share * 100.0;
    if percent >= 10.0 || percent <= 0.0 {
        return format!("{percent:.0} %");
    }
    let scale = 10_f64.powf(1.0 - percent.log10().floor());
    format!("{} %", (percent * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    use super::super::{Bandwidth, Preset, Shape};
    use super::*;

    #[test]
    fn networks_are_described_by_what_they_do() {
        assert_eq!(Profile::NONE.words(), "none: beside the sensors");
        assert_eq!(Profile::CLOUD.words(), "50 ms each way");
        let uplink = LinkProfile {
            delay: Delay::uniform(10.0, 30.0).unwrap(),
            loss: Loss::independent(0.025).unwrap(),
            bandwidth: Some(Bandwidth::new(6_000_000, 250_000, 40).unwrap()),
            lost: Lost::Report,
            ..LinkProfile::default()
        };
        let downlink = LinkProfile {
            delay: Delay::constant(std::time::Duration::from_millis(5)),
            ..LinkProfile::default()
        };
        let profile = Profile::shaped(Shape { seed: 1, link: "plant".to_owned(), uplink, downlink });
        assert_eq!(
            profile.words(),
            "plant: to the model mostly 11 ms to 29 ms (median 20 ms), 6 Mbit/s with room for 250 kB before it, 2.5 % lost, losses \
             are reported; back 5 ms"
        );
    }

    #[test]
    fn shares_have_two_digits() {
        assert_eq!(
            [0.047_62, 0.01, 0.000_123, 0.333, 0.0].map(percent),
            ["4.8 %", "1 %", "0.012 %", "33 %", "0 %"]
        );
    }

    #[test]
    fn every_preset_can_be_described() {
        for preset in Preset::ALL {
            let (uplink, downlink) = preset.links();
            let words =
                Profile::shaped(Shape { seed: 1, link: preset.name.to_owned(), uplink, downlink }).words();
            assert!(words.starts_with(preset.name) && words.contains(" ms"), "{words}");
        }
    }
}
