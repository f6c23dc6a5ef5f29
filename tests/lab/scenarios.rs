//! Every scenario in `examples/scenarios` is read, names models that are there, and can be simulated.

use std::path::Path;
use std::time::Duration;

use nearfar::lab::experiment::Fleet;
use nearfar::lab::scenario::{Document, Placement, Scenario};
use nearfar::trial::virtual_time::{CostModel, Experiment, Hybrid, WorkerModel, simulate};

fn examples() -> Vec<(String, Document, Scenario)> {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/scenarios");
    let files = std::fs::read_dir(directory).expect("the directory is there");
    let read = |file: std::io::Result<std::fs::DirEntry>| {
        let path = file.expect("it can be listed").path();
        let name = path.display().to_string();
        let text = std::fs::read_to_string(&path).expect("it can be read");
        let document = Document::parse(&name, &text).unwrap_or_else(|error| panic!("{error}"));
        let scenario =
            document.scenario(&|file| std::fs::read_to_string(file).map(Some).map_err(|e| e.to_string()));
        (name, document, scenario.unwrap_or_else(|error| panic!("{error}")))
    };
    files.map(read).collect()
}

#[test]
fn every_example_is_read_and_its_models_are_there() {
    let examples = examples();
    assert_eq!(examples.len(), 4);
    for (name, document, scenario) in examples {
        let hybrids = scenario.placements.iter().filter(|placement| placement.hybrid.is_some()).count();
        let is_of_a_hybrid = name.ends_with("hybrid_deadline.yaml");
        assert_eq!(
            (scenario.placements.len(), hybrids, scenario.sensors.len()),
            if is_of_a_hybrid { (3, 1, 1) } else { (2, 0, 1) },
            "{name}"
        );
        for placement in &scenario.placements {
            let cloud = placement.hybrid.as_ref().map(|hybrid| hybrid.model_beside(placement));
            for model in [Some(placement.model.as_path()), cloud].into_iter().flatten() {
                let model = Path::new(env!("CARGO_MANIFEST_DIR")).join(model);
                assert!(model.exists(), "{name}: {}", model.display());
            }
        }
        for point in document.points(&scenario.sweeps).unwrap() {
            document.with(&point).unwrap().scenario(&|_| Ok(None)).unwrap();
        }
    }
}

#[test]
fn every_example_can_be_simulated() {
    let cost = CostModel { per_batch: Duration::from_micros(5), per_row: Duration::from_micros(1) };
    let worker = WorkerModel::like_a_node(cost);
    for (name, _, scenario) in examples() {
        let median = |placement: &Placement| {
            let fleet = Fleet::of(&scenario, &[]).unwrap();
            let mut experiment = Experiment::of(&scenario, &fleet, placement, worker);
            if let Some(cloud) = &placement.hybrid {
                experiment = experiment.with_cloud(Hybrid::of(cloud, worker, [0.5; 2], scenario.deadline));
            }
            let (mut latencies, mut answered) = (Vec::new(), [0, 0]);
            let totals = simulate(&experiment, &|_, _| Some(0.1), &mut |record| {
                latencies.push(record.ended_at - record.sent_at);
                record.made.iter().for_each(|made| answered[made.site as usize] += 1);
            });
            assert!(totals.is_conserved() && totals.answered > 0, "{name}: {totals:?}");
            assert_eq!(
                placement.hybrid.is_some(),
                answered[0] > 0 && answered[1] > 0,
                "{name}: {answered:?}"
            );
            latencies.sort_unstable();
            latencies[latencies.len() / 2]
        };
        let medians: Vec<_> = scenario.placements.iter().map(median).collect();
        let between = medians.get(2).copied().unwrap_or(medians[1]);
        assert!(medians[0] < between && between <= medians[1], "{name}: {medians:?}");
    }
}
