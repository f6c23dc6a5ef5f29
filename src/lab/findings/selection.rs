//! Which observations belong to which point, placement and repeat, and which of them count.

use std::time::Duration;

use crate::lab::observation::{Observation, Run};

/// All observations, in groups.
pub struct Selection<'a> {
    /// The placements' names.
    pub names: Vec<String>,
    /// For each point and placement: its repeats, each in the order of the inputs.
    pub points: Vec<Vec<Vec<Repeat<'a>>>>,
}

/// One repeat at one placement.
pub struct Repeat<'a> {
    /// Its number, from 0.
    pub number: u16,
    /// In the order of the inputs; the warm-up is included.
    pub observations: Vec<&'a Observation>,
}

/// What one placement left at one point.
pub struct Chosen<'s, 'a> {
    /// The repeats of the placement at the point.
    pub repeats: &'s [Repeat<'a>],
    /// What was due before does not count.
    pub warm_up: Duration,
}

impl<'a> Selection<'a> {
    /// Groups a run. A point or a placement that has no name gets a number: no observation is passed over.
    pub fn of(run: &'a Run) -> Self {
        let highest = |of: fn(&Observation) -> u16| {
            run.observations.iter().map(|observation| usize::from(of(observation)) + 1).max().unwrap_or(0)
        };
        let placements = run.scenario.placements.len().max(highest(|observation| observation.placement));
        let point_count = run.points.len().max(highest(|observation| observation.point)).max(1);
        let name = |at: usize| match run.scenario.placements.get(at) {
            Some(placement) => placement.name.clone(),
            None => format!("placement {}", at + 1),
        };
        let mut points: Vec<Vec<Vec<Repeat<'a>>>> =
            (0..point_count).map(|_| (0..placements).map(|_| Vec::new()).collect()).collect();
        let mut observations: Vec<_> = run.observations.iter().collect();
        // It is sorted already, which costs one look at each.
        observations.sort_by_key(|o| (o.point, o.repeat, o.placement, o.input));
        for group in
            observations.chunk_by(|a, b| (a.point, a.repeat, a.placement) == (b.point, b.repeat, b.placement))
        {
            let repeat = Repeat { number: group[0].repeat, observations: group.to_vec() };
            points[usize::from(group[0].point)][usize::from(group[0].placement)].push(repeat);
        }
        Self { names: (0..placements).map(name).collect(), points }
    }

    /// What `placement` left at `point`.
    pub fn chosen(&self, point: usize, placement: usize, warm_up: Duration) -> Chosen<'_, 'a> {
        Chosen { repeats: &self.points[point][placement], warm_up }
    }
}

impl<'s, 'a> Chosen<'s, 'a> {
    /// Everything, the warm-up included.
    pub fn all(&self) -> impl Iterator<Item = &'a Observation> + use<'s, 'a> {
        self.repeats.iter().flat_map(|repeat| repeat.observations.iter().copied())
    }

    /// What counts, repeat after repeat, in the order of the inputs.
    pub fn counted(&self) -> impl Iterator<Item = &'a Observation> + use<'s, 'a> {
        let warm_up = self.warm_up;
        self.all().filter(move |observation| observation.due >= warm_up)
    }

    /// What counts of one repeat.
    pub fn counted_of(&self, repeat: &'s Repeat<'a>) -> impl Iterator<Item = &'a Observation> + use<'s, 'a> {
        let warm_up = self.warm_up;
        repeat.observations.iter().copied().filter(move |observation| observation.due >= warm_up)
    }
}
