//! The text, the JSON and the page of a small judgement.

use serde_json::Value;

use super::*;
use crate::judgement::{self, Judged, Options, Series, State, Who};

fn series(device: &str, event: std::ops::Range<usize>, alarms: &[usize]) -> Series {
    let row = |number: usize| {
        let is_alarm = alarms.contains(&number);
        Judged {
            at_us: Some(number as i64 * 600_000_000),
            score: if is_alarm { 9.0 } else { (number * 7 % 5) as f64 },
            threshold: Some(8.0),
            state: match number {
                0..10 => State::Learning,
                _ if is_alarm => State::Alarm,
                _ => State::Normal,
            },
            begins: false,
            truth: Some(event.contains(&number)),
        }
    };
    Series { device: device.to_owned(), rows: (0..200).map(row).collect() }
}

fn judged() -> judgement::Judgement {
    let devices = [
        series("press <1>", 150..160, &[152, 153]),
        series("press 2", 60..75, &[20, 61, 62, 63]),
        series("press 3", 100..110, &[]),
    ];
    let options = Options::at("1/day".parse().unwrap());
    let mut judgement = judgement::judge(&devices, &options).unwrap();
    for budget in ["1/week", "1/day", "3/day"] {
        let point = judgement::at_budget(budget.parse().unwrap(), &devices, &options).unwrap();
        judgement.curve.push(point);
    }
    judgement
}

fn about() -> About {
    About {
        detector: "models/presses".to_owned(),
        data: vec!["presses.csv".to_owned()],
        command: "nearfar judge models/presses presses.csv --label fault".to_owned(),
        version: "1.2.3".to_owned(),
    }
}

#[test]
fn the_text_has_every_control_in_every_table_and_its_columns_are_aligned() {
    let (judgement, about) = (judged(), about());
    let text = JudgementReport { judgement: &judgement, about: &about }.text();
    assert!(
        text.starts_with("At a budget of 1/day, 2 of 3 events are found; 1 alarm is false in "),
        "{text}"
    );
    for who in [Who::Detector].into_iter().chain(Who::CONTROLS) {
        let rows = text.lines().filter(|line| line.starts_with(&format!("{}  ", units::name(who)))).count();
        assert_eq!(rows, 3, "{who:?}\n{text}");
    }
    let table: Vec<&str> = text.lines().skip_while(|line| !line.starts_with("Rows ")).take(7).collect();
    let column = table[0].find("missed rate").unwrap();
    assert!(table.iter().all(|line| line[..column].ends_with("  ")), "{text}");
    assert!(!text.contains("F1") && !text.contains("NaN"), "{text}");
}

#[test]
fn the_json_has_the_figures_with_their_units() {
    let (judgement, about) = (judged(), about());
    let text = JudgementReport { judgement: &judgement, about: &about }.json();
    let json: Value = serde_json::from_str(&text).unwrap();
    assert_eq!(json["format"], JUDGEMENT_FORMAT);
    let names: Vec<&str> =
        json["entries"].as_array().unwrap().iter().map(|entry| entry["who"].as_str().unwrap()).collect();
    assert_eq!(names, ["detector", "never", "always", "row_number", "every_twentieth", "second_half"]);
    let detector = &json["entries"][0];
    assert_eq!(detector["events_found"]["cases"], 2);
    assert_eq!(detector["false_episodes"]["episodes"], 1);
    assert!(detector["false_episodes"]["per_device_day"].as_f64().unwrap() > 0.0);
    assert_eq!(detector["delay_s"]["median"], 900.0);
    assert_eq!(json["devices"][1]["device"], "press 2");
    assert_eq!(json["curve"][2]["budget"], "3/day");
    assert_eq!(json["against_controls"].as_array().unwrap().len(), 5);
}

#[test]
fn the_page_has_every_device_every_control_and_no_text_unescaped() {
    let (judgement, about) = (judged(), about());
    let report = JudgementReport { judgement: &judgement, about: &about };
    let page = report.html();
    for device in ["press &lt;1&gt;", "press 2", "press 3"] {
        assert!(page.contains(&format!("Score and alarms of {device}</title>")), "{device}");
    }
    for who in [Who::Detector].into_iter().chain(Who::CONTROLS) {
        assert!(
            page.matches(&format!("<th scope=\"row\">{}</th>", units::name(who))).count() >= 3,
            "{who:?}"
        );
    }
    assert!(!page.contains("press <1>") && !page.contains("<script") && !page.contains("http://"));
    assert!(page.contains("1/week") && page.contains("models/presses presses.csv"));
    assert!(!page.contains("F1") || page.contains("there is no F1"));
    assert_eq!(page, report.html());
    // The room for one drawing is bounded by its columns, whatever the rows.
    assert!(page.len() < 120_000, "{}", page.len());
}

#[test]
fn without_an_event_nothing_is_said_to_be_better() {
    let judgement =
        judgement::judge(&[series("one", 0..0, &[50])], &Options::at("1/week".parse().unwrap())).unwrap();
    assert!(sentences::answer(&judgement).contains("there is no event to find; 1 alarm is false in"));
    let expected = [
        "It does not keep its budget here: 1 false episode where 0.188 are allowed.",
        "Without an event it cannot be told whether it is better than no alarm at all.",
    ];
    assert_eq!(sentences::verdicts(&judgement), expected);
    let about = about();
    let report = JudgementReport { judgement: &judgement, about: &about };
    assert!(report.html().contains("only false alarms can be judged") && report.text().contains("note: "));
}

#[test]
fn what_is_not_better_than_a_control_is_said_to_be_so() {
    let quiet = [series("one", 50..60, &[]), series("two", 90..99, &[])];
    let judgement = judgement::judge(&quiet, &Options::at("1/day".parse().unwrap())).unwrap();
    let said = sentences::verdicts(&judgement).join("\n");
    assert!(said.contains("Its alarms are not better than no alarm at all"), "{said}");
    let answer = sentences::answer(&judgement);
    assert!(
        answer.contains("0 of 2 events are found; no alarm is false in ") && answer.contains("at most"),
        "{answer}"
    );
}
