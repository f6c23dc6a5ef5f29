//! What the alarms of one device came to: events, episodes, rows.

use super::decisions::Decisions;
use super::device::{Device, Event};

/// Counts of one device.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Tally {
    /// How many events there were.
    pub events: usize,
    /// In how many of them an alarm was on at some row that counts.
    pub found: usize,
    /// For each of those, from its onset to the first row in it with an alarm: seconds, or rows.
    pub delays: Vec<f64>,
    /// For each of those, from that row to the event's last row.
    pub leads: Vec<f64>,
    /// For each event at whose last row an alarm was on, from where that alarm began, be it before the event,
    /// to that row.
    pub lasting_leads: Vec<f64>,
    /// How many alarms there were.
    pub episodes: usize,
    /// How many of them began where nothing was wrong.
    pub false_episodes: usize,
    /// How long nothing was wrong, in the unit.
    pub healthy_exposure: f64,
    /// How long there was something to say.
    pub exposure: f64,
    /// How long of that an alarm was on.
    pub alarm_exposure: f64,
    /// Rows in which nothing was wrong.
    pub healthy_rows: usize,
    /// Those of them with an alarm.
    pub false_rows: usize,
    /// Rows in which something was wrong.
    pub event_rows: usize,
    /// Those of them without an alarm.
    pub missed_rows: usize,
}

impl Tally {
    /// That of what was said of a device.
    pub(crate) fn of(device: &Device<'_>, said: &Decisions) -> Self {
        let mut tally = Self {
            events: device.events.len(),
            exposure: device.counted.exposure,
            healthy_exposure: device.counted.healthy_exposure,
            ..Self::default()
        };
        for ((row, is_alarm), begins) in device.rows.iter().zip(&said.alarms).zip(&said.begins) {
            tally.episodes += usize::from(*begins);
            tally.alarm_exposure += if *is_alarm { row.exposure } else { 0.0 };
            if row.truth {
                tally.event_rows += 1;
                tally.missed_rows += usize::from(!is_alarm);
            } else {
                tally.healthy_rows += 1;
                tally.false_rows += usize::from(*is_alarm);
                tally.false_episodes += usize::from(*begins);
            }
        }
        for event in &device.events {
            tally.see(event, device, said);
        }
        tally
    }

    fn see(&mut self, event: &Event, device: &Device<'_>, said: &Decisions) {
        if let Some(first) = event.rows.clone().find(|at| said.alarms[*at]) {
            let at = device.rows[first].at;
            self.found += 1;
            self.delays.push(at - event.onset);
            self.leads.push(event.end - at);
        }
        let last = event.rows.end - 1;
        if said.alarms[last] {
            let before = said.alarms[..last].iter().rposition(|is_alarm| !is_alarm);
            let from = before.map_or(0, |quiet| quiet + 1);
            self.lasting_leads.push(event.end - device.rows[from].at);
        }
    }
}
