//! The page and `summary.json`: complete, escaped, deterministic, bounded, and with
//! a drawing for what is there and nothing else.
//!
//! With `NEARFAR_PAGES=DIRECTORY` the pages of these tests are written there, to be looked at.

use std::sync::Arc;

use nearfar::lab::findings::{Findings, Options};
use nearfar::lab::observation::{Choice, End, Observation, Run};
use nearfar::report::{FORMAT, Report};
use nearfar::statistics::Bootstrap;
use serde_json::Value;

use crate::support::experiments::{TWO, answered, mark, ms, run, simulated, unanswered};

const COMMAND: &str = "nearfar experiment experiments/test.yaml";

struct Written {
    html: String,
    summary: String,
    svg: Option<String>,
}

fn written(name: &str, run: &Run) -> Written {
    let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
    let findings = Findings::of(run, &Options { bootstrap, ..Options::default() });
    let report = Report { run, findings: &findings, command: COMMAND };
    let written = Written { html: report.html(), summary: report.summary_json(), svg: report.latency_svg() };
    if let Some(directory) = std::env::var_os("NEARFAR_PAGES") {
        let path = std::path::Path::new(&directory).join(name);
        std::fs::write(path.with_extension("html"), &written.html).expect("the directory can be written to");
        std::fs::write(path.with_extension("json"), &written.summary)
            .expect("the directory can be written to");
        if let Some(svg) = &written.svg {
            std::fs::write(path.with_extension("svg"), svg).expect("the directory can be written to");
        }
    }
    written
}

fn json(written: &Written) -> Value {
    serde_json::from_str(&written.summary).expect("it is JSON")
}

/// Headings of the drawings on a page.
const LATENCY: &str = "<h4>Latency</h4>";
const TIME: &str = "<h4>Through time</h4>";
const STAGES: &str = "<h4>Where the time goes</h4>";
const ALONG: &str = "<h4>Mean latency</h4>";
const MISSED: &str = "<h4>Deadline missed</h4>";
const ACCURACY: &str = "<h4>Accuracy against latency</h4>";

fn drawings(html: &str) -> Vec<&'static str> {
    [LATENCY, TIME, STAGES, ALONG, MISSED, ACCURACY]
        .into_iter()
        .filter(|heading| html.contains(heading))
        .collect()
}

const PLAIN: &str = "simulation: {duration_s: 30, seed: 7, warm_up_s: 3, repeats: 3}\ndeadline_ms: 20\nnetworks:\n  plant:\n    \
                     preset: cloud-region\n    lost: report\n    uplink: {loss: {good_to_bad: 0.01, bad_to_good: 0.2}}\n\
                     placements:\n  - {name: edge, model: models/anomaly_detector}\n  \
                     - {name: cloud, model: models/anomaly_detector, network: plant, threshold: 0.7}\n\
                     sensors: [{id: press, count: 20, rate_hz: 5}]\n";

#[test]
fn a_page_and_the_summary_say_what_a_hybrid_consists_of() {
    let hybrid = "  - name: both
    model: small
    threshold: 0.6
    cloud: {model: large, threshold: 0.75, network: plant, policy: {name: hedged, hedge_after_ms: 20}}
  - {name: halves, model: small, threshold: 0.6, cloud: {policy: confidence}}
sensors:";
    let text = PLAIN.replacen("sensors:", hybrid, 1);
    let mut run = run(&text);
    run.observations = vec![answered(2, 0, 5.0)];
    let written = written("hybrid", &run);
    for part in [
        "both, its cloud, by the policy hedged (edge first, cloud after 20 ms)",
        "halves, its cloud, by the policy confidence (band 0.1)",
        "<code>large</code>",
        "50 ms each way",
    ] {
        assert!(written.html.contains(part), "{part}");
    }
    let placements = json(&written)["scenario"]["placements"].clone();
    assert_eq!(placements[0]["hybrid"], Value::Null);
    let hybrid = &placements[2]["hybrid"];
    assert_eq!(hybrid["policy"], "hedged (edge first, cloud after 20 ms)");
    assert_eq!((&hybrid["model"], &hybrid["threshold"]), (&"large".into(), &0.75.into()));
    assert_eq!(
        (&hybrid["cloud_timeout_ms"], placements[2]["model"].as_str()),
        (&1000.0.into(), Some("small"))
    );
    assert!(hybrid["network"].as_str().unwrap().starts_with("plant: "), "{hybrid}");
    let shared = &placements[3]["hybrid"];
    assert_eq!((&shared["model"], &shared["threshold"]), (&"small".into(), &0.6.into()));
}

#[test]
fn a_page_has_what_was_asked_the_answer_the_figures_and_how_to_repeat_it() {
    let mut run = simulated(PLAIN, true);
    run.marks =
        vec![mark(1, 8.0, 11.0, "outage of the uplink"), mark(1, 20.0, 20.0, "network changed to lan")];
    let written = written("plain", &run);
    let html = &written.html;
    for part in [
        "With a deadline of 20 ms, edge misses 0 % and cloud ",
        "plant: to the model",
        "press, 20 of them: simulated bearings, 5 requests a second each",
        "cloud: outage of the uplink, 8 s to 11 s",
        "cloud: network changed to lan, at 20 s",
        "On a simulated clock",
        "120 µs a pass and 15.0 µs a row, fitted to 200 passes",
        COMMAND,
        "bad_to_good: 0.2",
        "A model: 3.5 J",
        "Repeat by repeat",
        "NETWORK_LOST",
        "of the warm-up are left out",
    ] {
        assert!(html.contains(part), "{part}");
    }
    assert_eq!(drawings(html), [LATENCY, TIME, STAGES, ACCURACY]);
    // Nothing is fetched, nothing is run.
    for absent in ["<script", "http://", "https://", "@import", "url(", "<link", "<img", " onclick"] {
        assert!(!html.contains(absent), "{absent}");
    }
    let svg = written.svg.unwrap();
    assert!(
        svg.starts_with("<svg")
            && svg.contains("prefers-color-scheme: dark")
            && svg.contains(">cloud</text>")
    );
}

#[test]
fn summary_json_has_every_figure_and_accounts_for_every_observation() {
    let run = simulated(PLAIN, true);
    let summary = json(&written("summary", &run));
    assert_eq!(summary["format"], FORMAT);
    assert_eq!(summary["run"]["observations"], run.observations.len());
    let placements = summary["points"][0]["placements"].as_array().unwrap();
    let number = |value: &Value| value.as_u64().unwrap();
    let mut all = 0;
    for placement in placements {
        let requests = &placement["requests"];
        let refused: u64 = requests["refused"].as_object().unwrap().values().map(number).sum();
        let sent = number(&requests["sent"]);
        assert_eq!(sent, number(&requests["answered"]) + refused + number(&requests["silent"]));
        all += sent + number(&requests["warm_up"]);
        for member in [
            "latency_ms",
            "stages",
            "deadline_misses",
            "accuracy",
            "consumption",
            "repeats",
            "generator_lateness_ms",
        ] {
            assert!(!placement[member].is_null(), "{member}");
        }
        assert!(placement["latency_ms"]["p99.9"]["interval"][1].as_f64().unwrap() > 0.0);
    }
    assert_eq!(all as usize, run.observations.len());
    assert_eq!(summary["points"][0]["contrasts"][0]["latency_ms"]["verdict"], "worse");
    assert_eq!(summary["run"]["clock"]["cost_models"][0]["per_batch_us"], 120.0);
    assert_eq!(summary["method"]["energy_model"]["joules_per_cpu_second"], 3.5);
}

#[test]
fn the_same_run_gives_the_same_bytes() {
    let of = || written("same", &simulated(PLAIN, true));
    let (one, other) = (of(), of());
    assert!(one.html == other.html && one.summary == other.summary && one.svg == other.svg);
}

const SWEPT: &str = "simulation: {duration_s: 20, seed: 7, warm_up_s: 1}\ndeadline_ms: 20\nnetworks:\n  plant: {preset: cloud-region, \
                     uplink: {loss: {probability: 0.01}}}\n\
                     placements:\n  - {name: edge, model: models/anomaly_detector}\n  \
                     - {name: cloud, model: models/anomaly_detector, network: plant}\n  \
                     - {name: satellite, model: models/anomaly_detector, network: leo}\n\
                     sensors: [{id: press, count: 20, rate_hz: 5}]\n\
                     sweep:\n  - {key: networks.plant.uplink.loss.probability, values: [0.01, 0.02, 0.05, 0.1, 0.2]}\n  \
                     - {key: sensors.press.rate_hz, values: [5, 20, 60]}\n";

#[test]
fn a_sweep_has_curves_for_every_key_and_a_row_for_every_point() {
    let written = written("sweep", &simulated(SWEPT, true));
    assert_eq!(drawings(&written.html), [LATENCY, TIME, STAGES, ALONG, MISSED, ACCURACY]);
    assert_eq!(written.html.matches(ALONG).count(), 2);
    assert_eq!(json(&written)["points"].as_array().unwrap().len(), 15);
    assert!(written.html.contains("Of 15 points 4 are shown in full"));
    let answer = &json(&written)["answer"];
    assert!(
        answer["sentence"].as_str().unwrap().contains("the other keys having their first values"),
        "{answer}"
    );
}

#[test]
fn what_is_not_there_is_not_drawn() {
    let mut bare = run(TWO);
    bare.observations =
        (0..30).flat_map(|input| [answered(0, input, 1.0), answered(1, input, 9.0)]).collect();
    // Thirty requests make one bin of time.
    assert_eq!(drawings(&written("bare", &bare).html), [LATENCY, STAGES]);
    for observation in &mut bare.observations {
        observation.end = End::Refused("OVERLOADED");
    }
    let refused = written("refused", &bare);
    assert_eq!(drawings(&refused.html), [] as [&str; 0]);
    assert!(refused.html.contains("Nothing was answered") && refused.svg.is_none());
}

#[test]
fn texts_of_a_scenario_are_shown_and_never_obeyed() {
    let hostile = "\"><script>alert(1)</script><img src=x onerror='alert(2)'>&amp;</style></title>]]>";
    let mut run = run(TWO);
    run.scenario.placements[0].name = hostile.to_owned();
    run.scenario.placements[1].model = hostile.into();
    run.scenario.sensors[0].id = hostile.to_owned();
    run.scenario
        .sweeps
        .push(nearfar::lab::scenario::Sweep { key: hostile.to_owned(), values: vec![1.0, 2.0] });
    run.source = hostile.to_owned();
    run.source_text = hostile.to_owned();
    run.machine = hostile.to_owned();
    run.version = hostile.to_owned();
    run.devices = vec![Arc::from(hostile)];
    run.marks = vec![mark(0, 0.1, 0.2, hostile)];
    run.points = [1.0, 2.0]
        .map(|value| nearfar::lab::observation::Point { settings: vec![(hostile.to_owned(), value)] })
        .to_vec();
    let choice = Arc::new(Choice { made_by: hostile.to_owned(), reason: hostile.to_owned() });
    for point in 0..2 {
        for input in 0..100 {
            let choice = Some(Arc::clone(&choice));
            run.observations.push(Observation {
                point,
                choice,
                truth: Some(true),
                ..answered(0, input, 1.0)
            });
            run.observations.push(Observation { point, ..answered(1, input, 2.0) });
        }
    }
    let written = written("hostile", &run);
    for text in [&written.html, written.svg.as_ref().unwrap()] {
        for danger in ["<script", "<img", "onerror='alert(2)'>", "title>]]>"] {
            assert!(!text.contains(danger), "{danger}");
        }
        assert_eq!(text.matches("</style>").count(), 1);
    }
    assert_eq!(written.html.matches("</title>").count(), 1 + written.html.matches("<title ").count());
    assert!(written.html.matches("&lt;script&gt;alert(1)").count() > 10);
    assert_eq!(json(&written)["scenario"]["placements"][0]["name"], hostile);
}

#[test]
fn degenerate_runs_have_a_page_that_says_so() {
    let empty = written("empty", &run(TWO));
    assert!(empty.html.contains("Nothing can be said") && empty.svg.is_none());
    let mut without_points = run("simulation: {duration_s: 1, seed: 1}\n");
    without_points.points.clear();
    assert!(written("nothing", &without_points).html.contains("Nothing can be said"));
    let mut single = run(TWO);
    single.observations = vec![answered(1, 0, 5.0)];
    let single = written("single", &single);
    assert!(single.html.contains("edge answered nothing") && single.svg.is_some());
    let mut instant = run(TWO);
    instant.observations =
        (0..5).flat_map(|input| [answered(0, input, 0.0), answered(1, input, 0.0)]).collect();
    assert!(!written("instant", &instant).html.contains("NaN"));
    let mut lost = run(&format!("{TWO}deadline_ms: 50\n"));
    lost.observations =
        (0..2).flat_map(|at| (0..500).map(move |input| unanswered(at, input, End::Silent))).collect();
    let lost = written("lost", &lost);
    assert!(lost.html.contains("edge misses 100 % and cloud 100 %") && !lost.html.contains("NaN"));
}

#[test]
fn a_page_stays_small_whatever_it_is_made_of() {
    // Twelve placements and a sweep of 200 points, each with marks and losses: as many
    // drawings and rows as there can be.
    let places: String = (0..14)
        .map(|at| format!("  - {{name: place-{at}, model: models/anomaly_detector, network: wifi}}\n"))
        .collect();
    let text = format!(
        "simulation: {{duration_s: 10, seed: 1}}\ndeadline_ms: 20\nplacements:\n{places}sensors: [{{id: press, count: 4, rate_hz: 5}}]\n\
         sweep: [{{key: sensors.press.rate_hz, from: 1, to: 2, steps: 50}}]\n"
    );
    let mut run = run(&text);
    let document = nearfar::lab::scenario::Document::parse("test.yaml", &text).unwrap();
    run.points = document
        .points(&run.scenario.sweeps)
        .unwrap()
        .into_iter()
        .map(|settings| nearfar::lab::observation::Point { settings })
        .collect();
    run.marks =
        (0..500).map(|at| mark(0, f64::from(at) / 50.0, f64::from(at) / 50.0 + 0.01, "outage")).collect();
    run.source_text = "# a comment of a scenario\n".repeat(40_000);
    for point in [0, 16, 49] {
        for placement in 0..14 {
            for input in 0..1_500_u32 {
                let total_ms = 1.0 + f64::from(input.wrapping_mul(2_654_435_761) % 100_000) / 100.0;
                let mut observation = answered(placement, input, total_ms);
                observation.point = point;
                observation.due = ms(f64::from(input) * 6.0);
                run.observations.push(if input % 9 == 0 {
                    unanswered(placement, input, End::Silent)
                } else {
                    observation
                });
            }
        }
    }
    let written = written("large", &run);
    assert!(written.html.len() < 1_000_000, "{}", written.html.len());
    assert!(written.svg.unwrap().len() < 100_000);
}
