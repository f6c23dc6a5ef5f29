//! `summary.json`: all figures, units in the names. docs/experiments.md lists the members.

use serde_json::{Value, json};

use super::json::{figures, interval, proportion};
use super::{FORMAT, Report};
use crate::lab::findings::{
    Accuracy, Consumption, Contrast, Counts, Findings, PlacementFindings, PointFindings, RepeatFindings,
    StageFindings,
};
use crate::lab::observation::{Clock, Cost, Run};
use crate::statistics::{Difference, EnergyModel, MEAN_GROUPS_MAX};

/// The text, members in alphabetical order, a line at the end.
pub fn summary(report: &Report<'_>) -> String {
    let Report { run, findings, command } = report;
    let level = findings.options.bootstrap.level;
    let summary = json!({
        "format": FORMAT,
        "program": { "name": "nearfar", "version": run.version },
        "command": command,
        "scenario": scenario(run),
        "run": {
            "clock": clock(run),
            "began_us": run.began_us,
            "machine": run.machine,
            "observations": run.observations.len(),
        },
        "method": method(findings),
        "answer": {
            "sentence": findings.answer.sentence,
            "further": findings.answer.further,
            "cautions": findings.answer.cautions,
        },
        "points": findings.points.iter().map(|each| point(each, level)).collect::<Vec<_>>(),
        "marks": run.marks.iter().map(|mark| json!({
            "point": mark.point,
            "repeat": mark.repeat,
            "placement": name_of(run, mark.placement),
            "from_s": mark.from.as_secs_f64(),
            "until_s": mark.until.as_secs_f64(),
            "what": mark.what,
        })).collect::<Vec<_>>(),
    });
    format!("{summary:#}\n")
}

fn name_of(run: &Run, placement: u16) -> Option<&str> {
    run.scenario.placements.get(usize::from(placement)).map(|placement| placement.name.as_str())
}

fn scenario(run: &Run) -> Value {
    let scenario = &run.scenario;
    json!({
        "source": run.source,
        "duration_s": scenario.duration.as_secs_f64(),
        "warm_up_s": scenario.warm_up.as_secs_f64(),
        "repeats": scenario.repeats,
        "seed": scenario.seed,
        "deadline_ms": scenario.deadline.map(|deadline| deadline.as_secs_f64() * 1e3),
        "placements": scenario.placements.iter().map(|placement| json!({
            "name": placement.name,
            "model": placement.model.display().to_string(),
            "threshold": placement.threshold,
            "network": placement.network.words(),
            "hybrid": placement.hybrid.as_ref().map(|hybrid| json!({
                "policy": hybrid.placement.policy.to_string(),
                "cloud_timeout_ms": hybrid.placement.cloud_timeout.as_secs_f64() * 1e3,
                "model": hybrid.model_beside(placement).display().to_string(),
                "threshold": hybrid.threshold_beside(placement),
                "network": hybrid.network.words(),
            })),
        })).collect::<Vec<_>>(),
        "devices": run.devices.len(),
    })
}

fn clock(run: &Run) -> Value {
    match &run.clock {
        Clock::Real => json!({ "kind": "real" }),
        Clock::Virtual(costs) => json!({
            "kind": "virtual",
            "cost_models": costs.iter().map(|of| {
                let mut value = cost(&of.edge);
                value["cloud"] = json!(of.cloud.as_ref().map(cost));
                value
            }).collect::<Vec<_>>(),
        }),
    }
}

fn cost(cost: &Cost) -> Value {
    json!({
        "per_batch_us": cost.model.per_batch.as_secs_f64() * 1e6,
        "per_row_us": cost.model.per_row.as_secs_f64() * 1e6,
        "basis": cost.basis,
    })
}

fn method(findings: &Findings) -> Value {
    let options = &findings.options;
    json!({
        "level": options.bootstrap.level,
        "resamples": options.bootstrap.resamples,
        "seed": options.bootstrap.seed,
        "block": options.bootstrap.block,
        "samples_resampled_max": MEAN_GROUPS_MAX,
        "margin_ms": options.margin_ms,
        "energy_model": {
            "joules_per_cpu_second": options.energy.joules_per_cpu_second,
            "joules_per_byte": options.energy.joules_per_byte,
            "source": (options.energy == EnergyModel::default()).then_some(EnergyModel::SOURCE),
        },
    })
}

fn point(point: &PointFindings, level: f64) -> Value {
    json!({
        "settings": point.settings.iter().map(|(key, value)| json!({ "key": key, "value": value })).collect::<Vec<_>>(),
        "deadline_ms": point.deadline_ms,
        "warm_up_s": point.warm_up.as_secs_f64(),
        "placements": point.placements.iter().map(|each| placement(each, level)).collect::<Vec<_>>(),
        "contrasts": point.contrasts.iter().map(|each| contrast(each, level)).collect::<Vec<_>>(),
    })
}

fn placement(placement: &PlacementFindings, level: f64) -> Value {
    json!({
        "name": placement.name,
        "requests": counts(&placement.counts),
        "unanswered": proportion(placement.unanswered(), level),
        "latency_ms": placement.latency_ms.as_ref().map(figures),
        "stages": placement.stages.as_ref().map(stages),
        "deadline_misses": placement.deadline_misses.map(|misses| {
            let mut value = proportion(misses.all, level);
            value["deadline_ms"] = json!(misses.deadline_ms);
            value["late"] = json!(misses.late);
            value["unanswered"] = json!(misses.unanswered);
            value
        }),
        "generator_lateness_ms": placement.lateness_ms.map(|late| json!({
            "p50": late.p50, "p99": late.p99, "max": late.max, "is_considerable": late.is_considerable,
        })),
        "accuracy": placement.accuracy.as_ref().map(|each| accuracy(each, level)),
        "consumption": consumption(&placement.consumption),
        "choices": placement.choices.iter().map(|choice| json!({
            "made_by": choice.choice.made_by, "reason": choice.choice.reason, "count": choice.count,
        })).collect::<Vec<_>>(),
        "repeats": placement.repeats.iter().map(|each| repeat(each, level)).collect::<Vec<_>>(),
    })
}

fn counts(counts: &Counts) -> Value {
    json!({
        "sent": counts.sent,
        "answered": counts.answered,
        "refused": counts.refused,
        "silent": counts.silent,
        "warm_up": counts.warm_up,
    })
}

fn stages(stages: &StageFindings) -> Value {
    json!({
        "network_ms": figures(&stages.network_ms),
        "queue_ms": figures(&stages.queue_ms),
        "inference_ms": figures(&stages.inference_ms),
        "rest_mean_ms": stages.rest_mean_ms,
    })
}

fn accuracy(accuracy: &Accuracy, level: f64) -> Value {
    let confusion = accuracy.confusion;
    json!({
        "true_positives": confusion.true_positives,
        "false_positives": confusion.false_positives,
        "true_negatives": confusion.true_negatives,
        "false_negatives": confusion.false_negatives,
        "anomalies_unanswered": accuracy.anomalies_unanswered,
        "precision": confusion.precision(),
        "recall": confusion.recall(),
        "recall_of_all": accuracy.recall_of_all().map(|recall| proportion(recall, level)),
        "f1": confusion.f1(),
        "roc_auc": accuracy.roc_auc,
        "detection": accuracy.detection.map(|detection| json!({
            "anomalies": detection.anomalies,
            "found": detection.found,
            "delay_s": detection.delay_s.map(|[mean, p50, max]| json!({ "mean": mean, "p50": p50, "max": max })),
            "false_alarms_before": detection.false_alarms_before,
        })),
    })
}

fn consumption(consumption: &Consumption) -> Value {
    json!({
        "requests": consumption.requests,
        "answered": consumption.answered,
        "request_bytes": consumption.request_bytes,
        "answer_bytes": consumption.answer_bytes,
        "network_bytes": consumption.network_bytes,
        "cpu_s": consumption.cpu.map(|cpu| cpu.as_secs_f64()),
        "energy_by_model_j": {
            "network": consumption.network_energy_j,
            "cpu": consumption.cpu_energy_j,
        },
    })
}

fn repeat(repeat: &RepeatFindings, level: f64) -> Value {
    json!({
        "repeat": repeat.repeat,
        "sent": repeat.sent,
        "answered": repeat.answered,
        "latency_ms": repeat.latency_ms.map(|[mean, p50, p99]| json!({ "mean": mean, "p50": p50, "p99": p99 })),
        "deadline_misses": repeat.deadline_misses.map(|misses| proportion(misses, level)),
    })
}

fn contrast(contrast: &Contrast, level: f64) -> Value {
    json!({
        "first": contrast.first,
        "second": contrast.second,
        "inputs": contrast.inputs,
        "both_answered": contrast.both_answered,
        "latency_ms": contrast.latency_ms.map(difference),
        "ks_distance": contrast.ks_distance,
        "deadline_misses_share": contrast.deadline_misses.map(difference),
        "unanswered_share": contrast.unanswered.map(difference),
        "disagreements": contrast.disagreements.map(|each| proportion(each, level)),
    })
}

fn difference(difference: Difference) -> Value {
    json!({
        "mean_difference": difference.mean,
        "interval": interval(difference.interval),
        "pairs": difference.pairs,
        "verdict": difference.verdict.as_str(),
    })
}
