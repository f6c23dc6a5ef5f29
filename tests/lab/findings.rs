//! What is said of an experiment: figures against those computed by hand, every
//! observation accounted for, and the answer.

use std::sync::Arc;
use std::time::Duration;

use nearfar::lab::findings::{
    CDF_STEPS_MAX, Findings, Options, RESAMPLES_LEAST, RESAMPLES_TOGETHER_MAX, TIME_BINS_MAX,
};
use nearfar::lab::observation::{Choice, End, Observation, Point, Run, Stages, Usage};
use nearfar::statistics::{Bootstrap, EnergyModel, Proportion, RESAMPLES_DEFAULT, Verdict};

use crate::support::experiments::{TWO, answered, ms, run, simulated, unanswered};

/// Two placements: the first answers in 1, 2, 3, 4 ms; the second in 11, 12, never, 34 ms.
fn tiny() -> Run {
    let mut run = run(&format!("{TWO}deadline_ms: 12\n"));
    let near =
        [1.0, 2.0, 3.0, 4.0].into_iter().zip(0..).map(|(total_ms, input)| answered(0, input, total_ms));
    let far =
        [answered(1, 0, 11.0), answered(1, 1, 12.0), unanswered(1, 2, End::Silent), answered(1, 3, 34.0)];
    run.observations = near.chain(far).collect();
    run
}

fn findings(run: &Run) -> Findings {
    Findings::of(run, &Options::default())
}

#[test]
fn figures_of_a_tiny_run_are_those_computed_by_hand() {
    let findings = findings(&tiny());
    let [point] = findings.points.as_slice() else { panic!("one point") };
    let [edge, cloud] = point.placements.as_slice() else { panic!("two placements") };
    let latency = edge.latency_ms.as_ref().unwrap();
    assert_eq!((edge.name.as_str(), latency.count), ("edge", 4));
    assert!(
        (latency.mean - 2.5).abs() < 1e-9
            && (latency.min - 1.0).abs() < 1e-9
            && (latency.max - 4.0).abs() < 1e-9
    );
    assert!((latency.percentiles[0].value - 2.5).abs() < 1e-9, "{latency:?}");
    // 90 % of the way from the first to the fourth: 0.7 behind the third.
    assert!((latency.percentiles[1].value - 3.7).abs() < 1e-9, "{latency:?}");
    assert!((cloud.latency_ms.as_ref().unwrap().mean - 19.0).abs() < 1e-9);
    let misses = cloud.deadline_misses.unwrap();
    assert_eq!((misses.late, misses.unanswered, misses.all), (1, 1, Proportion { cases: 2, all: 4 }));
    assert_eq!(edge.deadline_misses.unwrap().all, Proportion { cases: 0, all: 4 });
    // The curve of the cloud ends where its answers do.
    assert_eq!(cloud.cdf.iter().map(|(_, share)| *share).collect::<Vec<_>>(), [0.25, 0.5, 0.75]);
    let [contrast] = point.contrasts.as_slice() else { panic!("one contrast") };
    let difference = contrast.latency_ms.unwrap();
    assert_eq!((contrast.inputs, contrast.both_answered, difference.pairs), (4, 3, Some(3)));
    assert!((difference.mean - (10.0 + 10.0 + 30.0) / 3.0).abs() < 1e-9, "{difference:?}");
    assert_eq!((difference.verdict, contrast.ks_distance), (Verdict::Worse, Some(1.0)));
    assert_eq!(contrast.deadline_misses.unwrap().mean, 0.5);
    assert_eq!(contrast.disagreements, Some(Proportion { cases: 0, all: 3 }));
}

#[test]
fn every_observation_is_accounted_for() {
    let mut run = run(&TWO.replace("seed: 7", "seed: 7, warm_up_s: 0.02"));
    let ends = [
        End::Answered,
        End::Silent,
        End::Refused("OVERLOADED"),
        End::Refused("NETWORK_LOST"),
        End::Answered,
        End::Silent,
    ];
    for (input, end) in (0..).zip(ends) {
        let observation =
            if end == End::Answered { answered(0, input, 5.0) } else { unanswered(0, input, end) };
        run.observations.push(observation);
    }
    // One of a placement that the scenario lacks is not passed over either.
    run.observations.push(answered(2, 9, 1.0));
    let findings = findings(&run);
    let placements = &findings.points[0].placements;
    let counts = &placements[0].counts;
    assert_eq!((counts.warm_up, counts.sent, counts.answered, counts.silent), (2, 4, 1, 1));
    assert_eq!(
        counts.refused.iter().map(|(code, count)| (*code, *count)).collect::<Vec<_>>(),
        [("NETWORK_LOST", 1), ("OVERLOADED", 1)]
    );
    let all =
        placements.iter().map(|placement| placement.counts.sent + placement.counts.warm_up).sum::<usize>();
    assert_eq!((all, placements[2].name.as_str()), (run.observations.len(), "placement 3"));
    assert!(placements.iter().all(|placement| placement.counts.is_conserved()));
}

#[test]
fn a_generator_is_late_by_what_it_makes_of_the_latency_and_of_the_load() {
    // Requests come every 10 ms.
    for (name, late_ms, latency_ms, is_considerable) in [
        ("a thread that wakes up, and a small model at the edge", [0.1, 0.2], [0.4, 0.9], false),
        ("half of the latency is the generator's", [0.2, 0.2], [0.4, 0.9], true),
        ("the slowest ones are the generator's", [0.1, 5.0], [0.4, 5.5], true),
        ("the load comes in heaps", [0.1, 6.0], [20.0, 40.0], true),
        ("it does, but nothing of it is seen far away", [0.1, 6.0], [100.0, 140.0], false),
    ] {
        let mut run = run(TWO);
        for input in 0..100 {
            let is_slow = usize::from(input % 20 == 0);
            run.observations.push(Observation {
                sent_late: ms(late_ms[is_slow]),
                ..answered(0, input, latency_ms[is_slow])
            });
        }
        let found = findings(&run).points[0].placements[0].lateness_ms.unwrap();
        assert_eq!(found.is_considerable, is_considerable, "{name}: {found:?}");
    }
}

#[test]
fn stages_repeats_lateness_and_choices_are_counted() {
    let mut run = run(TWO);
    for repeat in 0..2 {
        for input in 0..10 {
            let stages = Stages { network: ms(2.0), queue: ms(0.5), inference: ms(0.25) };
            let reason = if input < 7 { "deadline" } else { "sure enough" };
            let choice = Choice { made_by: "edge".to_owned(), reason: reason.to_owned() };
            run.observations.push(Observation {
                repeat,
                stages,
                sent_late: ms(1.5),
                choice: Some(Arc::new(choice)),
                ..answered(0, input, 3.0 + f64::from(repeat))
            });
        }
    }
    let findings = findings(&run);
    let edge = &findings.points[0].placements[0];
    let stages = edge.stages.as_ref().unwrap();
    let means = [stages.network_ms.mean, stages.queue_ms.mean, stages.inference_ms.mean, stages.rest_mean_ms];
    for (found, expected) in means.into_iter().zip([2.0, 0.5, 0.25, 0.75]) {
        assert!((found - expected).abs() < 1e-9, "{means:?}");
    }
    let repeats: Vec<_> =
        edge.repeats.iter().map(|repeat| (repeat.sent, repeat.latency_ms.unwrap()[0])).collect();
    assert_eq!(repeats, [(10, 3.0), (10, 4.0)]);
    assert!(edge.lateness_ms.unwrap().is_considerable);
    assert!(
        findings.answer.cautions.iter().any(|caution| caution.contains("sent late")),
        "{:?}",
        findings.answer
    );
    let choices: Vec<_> =
        edge.choices.iter().map(|choice| (choice.choice.reason.as_str(), choice.count)).collect();
    assert_eq!(choices, [("deadline", 14), ("sure enough", 6)]);
}

#[test]
fn consumption_counts_whole_repeats_and_only_a_network_s_bytes_cost_its_energy() {
    let mut run = tiny();
    run.usages = (0..2)
        .map(|placement| Usage { point: 0, repeat: 0, placement, cpu: Some(Duration::from_millis(500)) })
        .collect();
    let energy = EnergyModel { joules_per_cpu_second: 4.0, joules_per_byte: 0.001 };
    let findings = Findings::of(&run, &Options { energy, ..Options::default() });
    let [edge, cloud] = [0, 1].map(|at| findings.points[0].placements[at].consumption);
    assert_eq!((edge.request_bytes, edge.answer_bytes, edge.network_bytes), (1_600, 800, 0));
    assert_eq!((cloud.request_bytes, cloud.answer_bytes, cloud.network_bytes), (1_600, 600, 2_200));
    assert_eq!((edge.energy_j(), cloud.cpu_energy_j), (2.0, Some(2.0)));
    assert!((cloud.energy_j() - 4.2).abs() < 1e-9);
    run.usages.pop();
    assert_eq!(self::findings(&run).points[0].placements[1].consumption.cpu, None);
}

#[test]
fn a_hybrid_s_bytes_are_those_of_every_leg_that_its_choices_tell_of() {
    let scenario = TWO.replace(
        "placements:",
        "placements:\n  - {name: both, model: m, network: lan, cloud: {network: 4g, policy: deadline}}\n  \
         - {name: near, model: m, cloud: {network: 4g, policy: deadline}}",
    );
    let mut run = run(&scenario);
    let answer = answered(0, 0, 5.0);
    let (request, both) =
        (u64::from(answer.request_bytes), u64::from(answer.request_bytes + answer.answer_bytes));
    let choices = [
        // Over the network to the edge, and over that to the cloud.
        ("edge", "deadline", both, 0),
        ("edge", "probe", both, both),
        ("edge", "cloud_silent", both, request),
        ("cloud", "in_time", 0, both),
        ("cloud", "escalated", both, both),
        ("cloud", "hedge", both, both),
    ];
    for placement in 0..2 {
        for (input, (made_by, reason, ..)) in (0..).zip(choices) {
            let choice = Choice { made_by: made_by.to_owned(), reason: reason.to_owned() };
            let choice = Some(Arc::new(choice));
            run.observations.push(Observation { choice, ..answered(placement, input, 5.0) });
        }
    }
    let lost = unanswered(1, 6, End::Refused("NETWORK_LOST"));
    let of_lost = u64::from(lost.request_bytes) + u64::from(lost.answer_bytes);
    run.observations.push(lost);
    let findings = findings(&run);
    let carried = [0, 1].map(|at| findings.points[0].placements[at].consumption.network_bytes);
    let far: u64 = choices.iter().map(|(_, _, edge, cloud)| edge + cloud).sum();
    let cloud: u64 = choices.iter().map(|(.., cloud)| cloud).sum();
    assert_eq!(carried, [far, cloud + of_lost]);
}

#[test]
fn accuracy_is_that_of_results_and_says_what_had_none() {
    let mut run = run(TWO);
    // The truth turns at the fourth of eight inputs; the alarm comes one later, at 40
    // ms, and its answer 5 ms after that.
    for input in 0..8 {
        let (truth, alarm) = (input >= 3, input >= 4);
        let scored = Observation {
            truth: Some(truth),
            is_anomaly: Some(alarm),
            prediction: Some(input as f32 / 10.0),
            ..answered(0, input, 5.0)
        };
        run.observations.push(scored);
    }
    run.observations.push(Observation { truth: Some(true), ..unanswered(0, 8, End::Silent) });
    let findings = findings(&run);
    let accuracy = findings.points[0].placements[0].accuracy.as_ref().unwrap();
    let confusion = accuracy.confusion;
    assert_eq!(
        (confusion.precision(), confusion.recall(), accuracy.roc_auc),
        (Some(1.0), Some(0.8), Some(1.0))
    );
    assert_eq!(
        (accuracy.anomalies_unanswered, accuracy.recall_of_all()),
        (1, Some(Proportion { cases: 4, all: 6 }))
    );
    let detection = accuracy.detection.unwrap();
    assert_eq!((detection.anomalies, detection.found, detection.false_alarms_before), (1, 1, 0));
    assert!((detection.delay_s.unwrap()[0] - 0.015).abs() < 1e-9, "{detection:?}");
    assert_eq!(self::findings(&tiny()).points[0].placements[0].accuracy, None);
}

#[test]
fn curves_stay_small_and_end_where_their_samples_do() {
    let mut run = run(TWO);
    run.observations =
        (0..50_000).map(|input| answered(0, input, f64::from(input * 7_919 % 50_000) + 1.0)).collect();
    let findings = findings(&run);
    let edge = &findings.points[0].placements[0];
    assert!(edge.cdf.len() <= CDF_STEPS_MAX && edge.cdf.len() > 300, "{}", edge.cdf.len());
    assert_eq!((edge.cdf[0], *edge.cdf.last().unwrap()), ((1.0, 0.00002), (50_000.0, 1.0)));
    assert!(edge.cdf.is_sorted_by(|one, other| one.0 < other.0 && one.1 < other.1));
    assert_eq!(edge.timeline.len(), TIME_BINS_MAX);
    assert_eq!(edge.timeline.iter().map(|bin| bin.sent).sum::<usize>(), 50_000);
}

#[test]
fn the_answer_names_misses_and_the_difference_with_its_interval() {
    let text = format!("{TWO}deadline_ms: 12\n");
    let mut run = run(&text);
    let noise = |input: u32| f64::from(input * 7_919 % 101) / 100.0;
    let near = (0..400).map(|input| answered(0, input, 1.0 + noise(input)));
    let far = (0..400).map(|input| answered(1, input, 11.4 + noise(input + 7)));
    run.observations = near.chain(far).collect();
    let sentence = findings(&run).answer.sentence;
    assert!(sentence.starts_with("With a deadline of 12 ms, edge misses 0 % and cloud 4"), "{sentence}");
    assert!(
        sentence.contains("cloud is 10.4") && sentence.contains(" ms slower than edge (95 % interval 10."),
        "{sentence}"
    );
    // Many are lost.
    for observation in run.observations.iter_mut().filter(|observation| observation.placement == 1) {
        if observation.input % 5 != 0 {
            *observation = unanswered(1, observation.input, End::Silent);
        }
    }
    let answer = findings(&run).answer;
    assert!(answer.sentence.contains("(cloud never answers 80 %)"), "{answer:?}");
    assert!(answer.sentence.contains("slower than edge where both answer"), "{answer:?}");
    assert!(answer.cautions.iter().any(|caution| caution.contains("Many had none: cloud")), "{answer:?}");
}

#[test]
fn the_answer_can_be_no_difference() {
    let mut run = run(TWO);
    let noise = |input: u32| f64::from(input * 7_919 % 101);
    let of = |placement: u16| {
        (0..404).map(move |input| answered(placement, input, 20.0 + noise(input + u32::from(placement) * 50)))
    };
    run.observations = of(0).chain(of(1)).collect();
    let sentence = findings(&run).answer.sentence;
    assert!(
        sentence.starts_with("There is no difference in latency between edge and cloud that counts ("),
        "{sentence}"
    );
}

#[test]
fn the_answer_of_a_sweep_says_up_to_where() {
    let mut run = run(&format!(
        "{TWO}deadline_ms: 30\nsweep: [{{key: sensors.press.rate_hz, values: [1, 2, 4, 8]}}]\n"
    ));
    run.points = [1.0, 2.0, 4.0, 8.0]
        .map(|value| Point { settings: vec![("sensors.press.rate_hz".to_owned(), value)] })
        .to_vec();
    for point in 0..4_u16 {
        for input in 0..300 {
            // The edge becomes slow at the third point, and at the fourth the cloud does too.
            let near_ms = if point < 2 { 5.0 } else { 35.0 };
            let far_ms = if point == 0 {
                40.0
            } else if point < 3 {
                25.0
            } else {
                50.0
            };
            run.observations.push(Observation { point, ..answered(0, input, near_ms) });
            run.observations.push(Observation { point, ..answered(1, input, far_ms) });
        }
    }
    let answer = findings(&run).answer;
    assert_eq!(
        answer.sentence,
        "At sensors.press.rate_hz = 1, cloud misses the deadline of 30 ms more often than edge; at 2 there is no difference; at 4 \
         cloud misses it less often; at 8 there is no difference (at a level of 95 %)."
    );
    run.observations.retain(|observation| observation.point == 0 || observation.placement == 0);
    let answer = findings(&run).answer;
    assert!(answer.sentence.contains("one of them answered nothing"), "{answer:?}");
}

#[test]
fn runs_that_are_hardly_one_say_so_in_words() {
    let empty = run(TWO);
    assert!(
        findings(&empty).answer.sentence.starts_with("Nothing can be said"),
        "{:?}",
        findings(&empty).answer
    );
    let mut single = run(TWO);
    single.observations = vec![answered(1, 0, 5.0)];
    let sentence = findings(&single).answer.sentence;
    assert!(sentence.contains("edge answered nothing"), "{sentence}");
    let mut lost = run(&format!("{TWO}deadline_ms: 50\n"));
    lost.observations =
        (0..2).flat_map(|at| (0..50).map(move |input| unanswered(at, input, End::Silent))).collect();
    let sentence = findings(&lost).answer.sentence;
    assert!(sentence.contains("edge misses 100 % and cloud 100 %"), "{sentence}");
    assert!(
        sentence.ends_with("edge and cloud answered nothing, so that their latencies cannot be compared."),
        "{sentence}"
    );
    assert!(!sentence.contains("never answers"), "{sentence}");
    let mut alone = run("simulation: {duration_s: 1, seed: 1}\nplacements: [{name: edge, model: m}]\n");
    alone.observations = (0..9).map(|input| answered(0, input, 2.0)).collect();
    assert_eq!(
        findings(&alone).answer.sentence,
        "edge answers half of its requests within 2.00 ms and 99 % within 2.00 ms."
    );
}

#[test]
fn the_same_run_gives_the_same_findings_whatever_the_order_of_its_observations() {
    let text = format!("{TWO}deadline_ms: 20\nsweep: [{{key: sensors.press.rate_hz, values: [1, 2]}}]\n");
    let mut run = simulated(&text, true);
    let of = |run: &Run| {
        let bootstrap = Bootstrap { resamples: 100, ..Bootstrap::default() };
        Findings::of(run, &Options { bootstrap, ..Options::default() })
    };
    let findings = of(&run);
    assert_eq!(of(&run), findings);
    run.observations.reverse();
    assert_eq!(of(&run), findings);
}

#[test]
fn many_points_have_fewer_resamples_each() {
    let mut run = run(TWO);
    let resamples = |run: &Run| findings(run).options.bootstrap.resamples;
    assert_eq!(resamples(&run), RESAMPLES_DEFAULT);
    run.points = vec![Point::default(); 200];
    assert_eq!(resamples(&run), RESAMPLES_TOGETHER_MAX / 400);
    run.points = vec![Point::default(); 1_000];
    assert_eq!(resamples(&run), RESAMPLES_LEAST);
}
