//! `judgement.json`: all figures, units in the names. docs/judge.md lists the members.

use serde_json::{Map, Value, json};

use super::{JUDGEMENT_FORMAT, JudgementReport, sentences};
use crate::judgement::{
    Against, Caution, Counted, CurvePoint, DeviceFigures, Entry, Estimate, Figures, Judgement, Rate, Share,
    Spread, Unit, Verdict,
};
use crate::statistics::Interval;

/// The text, members in alphabetical order, a line at the end.
pub fn json(report: &JudgementReport<'_>) -> String {
    let JudgementReport { judgement, about } = report;
    let Judgement { options, unit, counted: all, entries, devices, verdicts, cautions, curve } = judgement;
    let said =
        |caution: &Caution| json!({ "code": caution.as_str(), "sentence": sentences::caution(caution) });
    let json = json!({
        "format": JUDGEMENT_FORMAT,
        "program": { "name": "nearfar", "version": about.version },
        "command": about.command,
        "detector": about.detector,
        "data": about.data,
        "budget": options.budget.to_string(),
        "time_unit": match unit { Unit::Days => "day", Unit::ThousandRows => "1000 rows" },
        "method": {
            "level": options.bootstrap.level,
            "resamples": options.bootstrap.resamples,
            "seed": options.bootstrap.seed,
            "vus_width_max_rows": options.width_max,
        },
        "answer": sentences::answer(judgement),
        "verdict": sentences::verdicts(judgement),
        "cautions": cautions.iter().map(said).collect::<Vec<_>>(),
        "counted": counted(all, *unit),
        "entries": entries.iter().map(|each| entry(each, *unit)).collect::<Vec<_>>(),
        "against_controls": verdicts.iter().map(verdict).collect::<Vec<_>>(),
        "curve": curve.iter().map(|point| curve_point(point, *unit)).collect::<Vec<_>>(),
        "devices": devices.iter().map(|each| device(each, *unit)).collect::<Vec<_>>(),
    });
    let mut text = serde_json::to_string_pretty(&json).unwrap_or_default();
    text.push('\n');
    text
}

fn counted(counted: &Counted, unit: Unit) -> Value {
    json!({
        "rows": counted.rows,
        "judged_rows": counted.judged,
        "warm_up_rows": counted.warm_up,
        "unlabelled_rows": counted.unlabelled,
        "stopped_rows": counted.stopped,
        "rows_without_score": counted.without_score,
        "events": counted.events,
        "events_left_out": counted.events_left_out,
        (named("judged", unit)): counted.exposure,
        (named("healthy", unit)): counted.healthy_exposure,
    })
}

/// With the unit of exposures behind.
fn named(name: &str, unit: Unit) -> String {
    match unit {
        Unit::Days => format!("{name}_days"),
        Unit::ThousandRows => format!("{name}_thousand_rows"),
    }
}

/// With the unit of delays and leads behind.
fn timed(name: &str, unit: Unit) -> String {
    match unit {
        Unit::Days => format!("{name}_s"),
        Unit::ThousandRows => format!("{name}_rows"),
    }
}

fn entry(entry: &Entry, unit: Unit) -> Value {
    let mut object = figures(&entry.figures, unit);
    object.insert("who".to_owned(), json!(entry.who.as_str()));
    Value::Object(object)
}

fn figures(figures: &Figures, unit: Unit) -> Map<String, Value> {
    let mut object = Map::new();
    let mut put = |name: &str, value: Value| object.insert(name.to_owned(), value);
    put("events_found", share(figures.found));
    put("false_episodes", rate(figures.false_episodes, unit));
    put(&timed("delay", unit), spread(figures.delay));
    put(&timed("lead", unit), spread(figures.lead));
    put(&timed("lasting_lead", unit), spread(figures.lasting_lead));
    put("false_alarm_rate", share(figures.false_alarm_rate));
    put("missed_rate", share(figures.missed_rate));
    put("time_in_alarm", estimate(figures.time_in_alarm));
    put("vus_pr", estimate(figures.vus_pr));
    put("vus_roc", estimate(figures.vus_roc));
    put("auc_pr", estimate(figures.auc_pr));
    put("roc_auc", estimate(figures.roc_auc));
    put("healthy_drift_auc", estimate(figures.healthy_drift));
    put("affiliation_precision", estimate(figures.affiliation_precision));
    put("affiliation_recall", estimate(figures.affiliation_recall));
    object
}

fn curve_point(point: &CurvePoint, unit: Unit) -> Value {
    json!({
        "budget": point.budget.to_string(),
        "events_found": share(point.found),
        "false_episodes": rate(point.false_episodes, unit),
        "false_alarm_rate": share(point.false_alarm_rate),
        "missed_rate": share(point.missed_rate),
    })
}

fn device(device: &DeviceFigures, unit: Unit) -> Value {
    let DeviceFigures { device, counted: of, tally, ranking, .. } = device;
    json!({
        "device": device,
        "counted": counted(of, unit),
        "events_found": tally.found,
        "episodes": tally.episodes,
        "false_episodes": tally.false_episodes,
        (timed("delays", unit)): tally.delays,
        (timed("leads", unit)): tally.leads,
        (timed("lasting_leads", unit)): tally.lasting_leads,
        "healthy_rows": tally.healthy_rows,
        "false_rows": tally.false_rows,
        "event_rows": tally.event_rows,
        "missed_rows": tally.missed_rows,
        (named("alarm", unit)): tally.alarm_exposure,
        "vus_pr": ranking.vus_pr,
        "vus_roc": ranking.vus_roc,
        "auc_pr": ranking.auc_pr,
        "roc_auc": ranking.roc_auc,
        "healthy_drift_auc": ranking.healthy_drift,
        "affiliation_precision": ranking.affiliation_precision,
        "affiliation_recall": ranking.affiliation_recall,
    })
}

fn verdict(verdict: &Verdict) -> Value {
    let against = |against: Option<Against>| {
        against
            .map(|against| json!({ "by": estimate(Some(against.by)), "outcome": against.outcome().as_str() }))
    };
    json!({
        "control": verdict.control.as_str(),
        "is_matched": verdict.is_matched,
        "rows": against(verdict.rows),
        "vus_pr": against(verdict.ranking),
    })
}

fn share(share: Share) -> Value {
    json!({
        "cases": share.cases,
        "all": share.all,
        "share": share.share(),
        "interval": interval(share.interval),
    })
}

fn rate(rate: Rate, unit: Unit) -> Value {
    let per_unit = match unit {
        Unit::Days => "per_device_day",
        Unit::ThousandRows => "per_thousand_rows",
    };
    json!({
        "episodes": rate.episodes,
        (named("healthy", unit)): rate.exposure,
        (per_unit): rate.per_unit(),
        "interval": interval(rate.interval),
        "allowed": rate.allowed,
        "of_budget": rate.of_budget(),
    })
}

fn spread(spread: Option<Spread>) -> Value {
    let of = |spread: Spread| {
        json!({
            "events": spread.events,
            "median": spread.median.value,
            "interval": interval(spread.median.interval),
            "least": spread.least,
            "most": spread.most,
        })
    };
    spread.map_or(Value::Null, of)
}

fn estimate(estimate: Option<Estimate>) -> Value {
    let of = |estimate: Estimate| json!({ "value": estimate.value, "interval": interval(estimate.interval) });
    estimate.map_or(Value::Null, of)
}

fn interval(interval: Option<Interval>) -> Value {
    interval.map_or(Value::Null, crate::report::json::interval)
}
