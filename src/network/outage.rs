//! Outages, by a schedule or by chance (an on-off process): when a link is down, and what becomes of messages
//! then.

use std::time::Duration;

use super::chain::Chain;
use super::parameter::{ParameterError, seconds, within};
use super::random::Purpose;

/// The most outages of a schedule.
pub const WINDOWS_MAX: usize = 1_000;

/// When a link is down. Times are since the link began.
#[derive(Debug, Clone, PartialEq)]
pub struct Outages {
    /// What becomes of a message that is sent meanwhile; one that is under way already is not affected.
    pub policy: Policy,
    times: Times,
}

/// What becomes of a message that is sent while the link is down.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Policy {
    /// It waits, and sets out when the link is up again.
    #[default]
    Wait,
    /// It is lost.
    Fail,
}

impl Policy {
    /// Every one with its name in settings.
    pub const NAMES: &[(&str, Self)] = &[("wait", Self::Wait), ("fail", Self::Fail)];
}

/// An outage that may repeat itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Window {
    at: Duration,
    lasts: Duration,
    every: Option<Duration>,
}

#[derive(Debug, Clone, PartialEq)]
enum Times {
    Scheduled(Vec<Window>),
    Random { states: Chain, step: Duration },
}

impl Window {
    /// Down at `at_s` for `for_s`, and again every `every_s` from then on; in seconds.
    ///
    /// # Errors
    /// When a time makes no sense, or the link would never be up between two outages.
    pub fn new(at_s: f64, for_s: f64, every_s: Option<f64>) -> Result<Self, ParameterError> {
        let at = Duration::from_secs_f64(within("at_s", at_s, 0.0, 31_536_000.0)?);
        let lasts = seconds("for_s", for_s)?;
        let every = every_s.map(|every| seconds("every_s", every)).transpose()?;
        if every.is_some_and(|every| every <= lasts) {
            let problem =
                format!("found {} s, expected more than for_s ({for_s} s)", every_s.unwrap_or_default());
            return Err(ParameterError::new("every_s", problem));
        }
        Ok(Self { at, lasts, every })
    }

    /// When the outage that the link is in at `at` ends.
    fn end(&self, at: Duration) -> Option<Duration> {
        let since = at.checked_sub(self.at)?;
        let phase = match self.every {
            Some(every) => Duration::from_nanos((since.as_nanos() % every.as_nanos()) as u64),
            None => since,
        };
        (phase < self.lasts).then(|| at + (self.lasts - phase))
    }
}

impl Outages {
    /// Outages at times that are known.
    ///
    /// # Errors
    /// When there are more than [`WINDOWS_MAX`].
    pub fn scheduled(policy: Policy, windows: Vec<Window>) -> Result<Self, ParameterError> {
        if windows.len() > WINDOWS_MAX {
            let problem = format!("found {} outages, expected at most {WINDOWS_MAX}", windows.len());
            return Err(ParameterError::new("schedule", problem));
        }
        Ok(Self { policy, times: Times::Scheduled(windows) })
    }

    /// A link that is up and down by turns, for times that are geometric with these means,
    /// in seconds: a two-state Markov chain, whose step is a 64th of the shorter mean.
    ///
    /// # Errors
    /// When a mean is no time, or one is more than 10,000 times the other.
    pub fn random(policy: Policy, mean_up_s: f64, mean_down_s: f64) -> Result<Self, ParameterError> {
        let (up, down) = (seconds("mean_up_s", mean_up_s)?, seconds("mean_down_s", mean_down_s)?);
        let (shorter, longer) = (up.min(down), up.max(down));
        if longer > shorter * MEANS_RATIO_MAX {
            let problem = format!(
                "found {mean_up_s} s up and {mean_down_s} s down, expected neither more than {MEANS_RATIO_MAX} times the other"
            );
            return Err(ParameterError::new("mean_up_s", problem));
        }
        // Geometric times with a mean of n steps have a standard deviation of sqrt(1 - 1/n) means,
        // exponential ones of one mean: with 64 steps the two differ by less than 1 %.
        let step = shorter / STEPS;
        let per_step = |mean: Duration| step.as_secs_f64() / mean.as_secs_f64();
        let states = Chain::new(per_step(up), per_step(down), "mean_up_s")?;
        Ok(Self { policy, times: Times::Random { states, step } })
    }

    /// When a message that is sent at `at` can set out: at once, or when the link is up again.
    pub fn up_from(&self, key: u64, at: Duration) -> Duration {
        match &self.times {
            Times::Scheduled(windows) => {
                // One outage may end within another; each round ends at least one of them.
                let mut up = at;
                for _ in 0..=windows.len() {
                    match windows.iter().filter_map(|window| window.end(up)).max() {
                        Some(end) => up = end,
                        None => break,
                    }
                }
                up
            }
            Times::Random { states, step } => {
                let mut number = (at.as_nanos() / step.as_nanos()) as u64;
                if !states.is_bad(key, Purpose::Outage, number) {
                    return at;
                }
                for _ in 0..DOWN_STEPS_MAX {
                    number += 1;
                    if !states.next(key, Purpose::Outage, number, true) {
                        break;
                    }
                }
                Duration::from_nanos((step.as_nanos() as u64).saturating_mul(number))
            }
        }
    }

    /// When the link is down until `until`: from when and until when, the first [`SPELLS_MAX`] times.
    pub(crate) fn spells(&self, key: u64, until: Duration) -> Vec<(Duration, Duration)> {
        let mut spells: Vec<(Duration, Duration)> = Vec::new();
        let starts: Box<dyn Iterator<Item = Duration> + '_> = match &self.times {
            Times::Scheduled(windows) => Box::new(scheduled_starts(windows, until).into_iter()),
            Times::Random { states, step } => Box::new(random_starts(states, *step, key, until)),
        };
        for start in starts {
            // Those that begin within another one are a part of it.
            if spells.last().is_none_or(|(_, up)| *up < start) {
                spells.push((start, self.up_from(key, start)));
            }
            if spells.len() == SPELLS_MAX {
                break;
            }
        }
        spells
    }
}

/// The most outages that are listed.
const SPELLS_MAX: usize = 1_000;
/// The most steps of a chain that are looked through for outages.
const STEPS_LISTED_MAX: u64 = 10_000_000;

fn scheduled_starts(windows: &[Window], until: Duration) -> Vec<Duration> {
    let of_one = |window: &Window| {
        let next = {
            let every = window.every;
            move |start: &Duration| every.and_then(|every| start.checked_add(every))
        };
        std::iter::successors(Some(window.at), next)
            .take_while(|start| *start < until)
            .take(SPELLS_MAX)
            .collect()
    };
    let mut starts: Vec<_> = windows.iter().flat_map(|window| -> Vec<Duration> { of_one(window) }).collect();
    starts.sort_unstable();
    starts
}

fn random_starts(
    states: &Chain,
    step: Duration,
    key: u64,
    until: Duration,
) -> impl Iterator<Item = Duration> + '_ {
    let steps = (until.as_nanos() / step.as_nanos().max(1)).min(STEPS_LISTED_MAX.into()) as u64;
    let mut was_bad = false;
    (0..=steps).filter_map(move |number| {
        let is_bad = if number == 0 {
            states.is_bad(key, Purpose::Outage, 0)
        } else {
            states.next(key, Purpose::Outage, number, was_bad)
        };
        let begins = is_bad && !was_bad;
        was_bad = is_bad;
        begins.then(|| Duration::from_nanos((step.as_nanos() as u64).saturating_mul(number)))
    })
}

/// How many steps of the chain make the shorter mean.
const STEPS: u32 = 64;
/// The most by which the two means may differ.
const MEANS_RATIO_MAX: u32 = 10_000;
/// An outage ends here at the latest: at least 15 times the mean of the longest that is accepted.
const DOWN_STEPS_MAX: u32 = 10_000_000;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use proptest::test_runner::RngSeed;

    use super::*;

    fn s(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    fn scheduled(windows: &[(f64, f64, Option<f64>)]) -> Outages {
        let windows = windows.iter().map(|(at, lasts, every)| Window::new(*at, *lasts, *every).unwrap());
        Outages::scheduled(Policy::Wait, windows.collect()).unwrap()
    }

    #[test]
    fn at_10_s_for_3_s_every_60_s() {
        let outages = scheduled(&[(10.0, 3.0, Some(60.0))]);
        let up_from = |at| outages.up_from(0, s(at)).as_secs_f64();
        assert_eq!([0.0, 9.999, 10.0, 12.5, 13.0].map(up_from), [0.0, 9.999, 13.0, 13.0, 13.0]);
        assert_eq!([69.0, 70.0, 72.9, 73.0, 3_611.0].map(up_from), [69.0, 73.0, 73.0, 73.0, 3_613.0]);
        let once = scheduled(&[(1.0, 2.0, None)]);
        assert_eq!(once.up_from(0, s(2.0)), s(3.0));
        assert_eq!(once.up_from(0, s(1e6)), s(1e6));
    }

    #[test]
    fn an_outage_that_ends_within_another_lasts_until_that_one_ends() {
        let outages = scheduled(&[(10.0, 5.0, None), (14.0, 4.0, None), (18.0, 2.0, None)]);
        assert_eq!(outages.up_from(0, s(10.0)), s(20.0));
    }

    #[test]
    fn outages_are_listed_as_messages_meet_them() {
        let outages = scheduled(&[(10.0, 3.0, Some(60.0)), (12.0, 2.0, None), (200.0, 1.0, None)]);
        let listed = |until| outages.spells(0, s(until));
        assert_eq!(listed(10.0), []);
        assert_eq!(listed(100.0), [(s(10.0), s(14.0)), (s(70.0), s(73.0))]);
        let random = Outages::random(Policy::Wait, 2.0, 0.5).unwrap();
        let spells = random.spells(3, s(500.0));
        assert!((100..400).contains(&spells.len()), "{}", spells.len());
        for (down, up) in spells {
            assert_eq!((random.up_from(3, down), random.up_from(3, up)), (up, up));
            assert_eq!(random.up_from(3, down + (up - down) / 2), up);
        }
    }

    #[test]
    fn senseless_times_are_refused_by_name() {
        assert_eq!(Window::new(0.0, 3.0, Some(3.0)).unwrap_err().parameter, "every_s");
        assert_eq!(Window::new(-1.0, 3.0, None).unwrap_err().parameter, "at_s");
        assert_eq!(Outages::random(Policy::Fail, 1.0, 0.0).unwrap_err().parameter, "mean_down_s");
        assert_eq!(Outages::random(Policy::Fail, 1e6, 1.0).unwrap_err().parameter, "mean_up_s");
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 16, rng_seed: RngSeed::Fixed(6), ..ProptestConfig::default() })]

        #[test]
        fn a_schedule_is_up_when_it_says_so_and_not_before(
            at in 0.0..100.0, lasts in 0.5..20.0, pause in 0.5..60.0, when in 0.0..1e4,
        ) {
            let outages = scheduled(&[(at, lasts, Some(lasts + pause))]);
            let up = outages.up_from(0, s(when));
            prop_assert_eq!(outages.up_from(0, up), up);
            prop_assert!(up - s(when) <= s(lasts));
            if up > s(when) {
                let down = up - Duration::from_nanos(1);
                prop_assert_eq!(outages.up_from(0, down), up);
            }
        }

        #[test]
        fn a_random_link_is_down_as_often_and_as_long_as_it_should_be(
            mean_up in 1.0..5.0, mean_down in 0.2..2.0, key: u64,
        ) {
            let outages = Outages::random(Policy::Wait, mean_up, mean_down).unwrap();
            // From one outage to the next, over a long time.
            let (mut now, mut down, mut spells) = (Duration::ZERO, 0.0, 0);
            let end = s(1_500.0);
            let step = s(mean_up.min(mean_down) / 64.0);
            while now < end {
                let up = outages.up_from(key, now);
                if up > now {
                    (down, spells) = (down + (up - now).as_secs_f64(), spells + 1);
                }
                now = up + step;
            }
            let (share, length) = (down / now.as_secs_f64(), down / f64::from(spells));
            let expected = mean_down / (mean_up + mean_down);
            // Some 200 spells or more: a standard error of 10 % at most.
            prop_assert!((share / expected - 1.0).abs() < 0.35, "{share} {expected}");
            prop_assert!((length / mean_down - 1.0).abs() < 0.35, "{length} {mean_down}");
        }
    }
}
