//! The protocol by series that one can count by hand.

use super::*;

const HOUR_US: i64 = 3_600_000_000;
const HOUR_S: f64 = 3_600.0;

/// A device whose rows are an hour apart. `said`: `L` learning, `.` normal, `s` stopped, `A` an alarm begins,
/// `a` it goes on. `truth`: `#` something was wrong, `.` nothing was, `?` nobody knows. Scores are the row's
/// number in an alarm and less than 0 otherwise.
fn device(name: &str, said: &str, truth: &str) -> Series {
    assert_eq!(said.len(), truth.len());
    let row = |(number, (said, truth)): (usize, (char, char))| Judged {
        at_us: Some(number as i64 * HOUR_US),
        score: if "Aa".contains(said) { number as f64 } else { -1.0 - (number % 3) as f64 },
        threshold: None,
        state: match said {
            'L' => State::Learning,
            's' => State::Stopped,
            '.' => State::Normal,
            _ => State::Alarm,
        },
        begins: said == 'A',
        truth: (truth != '?').then_some(truth == '#'),
    };
    Series { device: name.to_owned(), rows: said.chars().zip(truth.chars()).enumerate().map(row).collect() }
}

fn options(budget: &str) -> Options {
    let bootstrap = Bootstrap { resamples: 200, ..Bootstrap::default() };
    Options { bootstrap, ..Options::at(budget.parse().unwrap()) }
}

fn judged(series: &[Series]) -> Judgement {
    judge(series, &options("1/day")).unwrap()
}

fn figures(judgement: &Judgement, who: Who) -> &Figures {
    &judgement.entries.iter().find(|entry| entry.who == who).unwrap().figures
}

fn about(value: f64, expected: f64) -> bool {
    (value - expected).abs() < 1e-9
}

#[test]
fn events_episodes_and_rows_are_those_counted_by_hand() {
    //            0         1         2
    //            012345678901234567890123
    let said = "LLLL.A....Aaa...Aaa.....";
    let truth = "...........####.....##..";
    let of = judged(&[device("one", said, truth)]);
    let figures = of.detector();
    assert_eq!((figures.found.cases, figures.found.all), (1, 2));
    // The alarm is on at rows 11 and 12 of 11 to 14.
    let (delay, lead) = (figures.delay.unwrap(), figures.lead.unwrap());
    assert!(about(delay.median.value, 0.0) && about(lead.median.value, 3.0 * HOUR_S));
    assert_eq!(figures.lasting_lead, None, "the alarm is over before the event is");
    // At rows 5, 10 and 16: that of row 10 began too early, though it found the event.
    assert_eq!(figures.false_episodes.episodes, 3);
    // 20 rows count, 6 of them in events; a row stands for an hour.
    assert!(about(figures.false_episodes.exposure, 14.0 / 24.0));
    assert!(about(figures.false_episodes.per_unit().unwrap(), 3.0 / (14.0 / 24.0)));
    assert!(about(figures.false_episodes.allowed.unwrap(), 14.0 / 24.0));
    assert_eq!((figures.false_alarm_rate.cases, figures.false_alarm_rate.all), (5, 14));
    assert_eq!((figures.missed_rate.cases, figures.missed_rate.all), (4, 6));
    assert!(about(figures.time_in_alarm.unwrap().value, 7.0 / 20.0));
}

#[test]
fn a_lead_that_lasts_begins_where_its_alarm_began() {
    let of = judged(&[device("one", "L..A..Aaaa", "......####"), device("two", "L.....Aa.A", "......####")]);
    let figures = of.detector();
    let lasting = figures.lasting_lead.unwrap();
    assert!(about(lasting.most, 3.0 * HOUR_S) && about(lasting.least, 0.0), "{lasting:?}");
    assert!(about(figures.lead.unwrap().median.value, 3.0 * HOUR_S));
    let early = judged(&[device("one", "L..Aaaaaaa", "......####")]);
    let figures = early.detector();
    assert!(about(figures.lasting_lead.unwrap().median.value, 6.0 * HOUR_S));
    assert!(about(figures.lead.unwrap().median.value, 3.0 * HOUR_S));
    assert_eq!(figures.false_episodes.episodes, 1, "it began where nothing was wrong");
}

#[test]
fn rows_of_the_warm_up_count_nowhere() {
    let of = judged(&[device("one", "LLLLLL....A.", "..##.##...#.")]);
    let counted = of.counted;
    assert_eq!((counted.rows, counted.judged, counted.warm_up), (12, 6, 6));
    // The first event lies in it alone, the second reaches out of it; its onset is where it began.
    assert_eq!((counted.events, counted.events_left_out), (2, 1));
    assert!(of.cautions.contains(&Caution::EventsLeftOut { events: 1 }));
    let alarmed = judged(&[device("one", "LLLLLLA...A.", "..##.##...#.")]);
    let delay = alarmed.detector().delay.unwrap();
    assert!(about(delay.most, HOUR_S) && about(delay.least, 0.0), "{delay:?}");
    let always = figures(&of, Who::Always);
    assert_eq!((always.false_alarm_rate.cases, always.false_alarm_rate.all), (4, 4), "controls neither");
}

#[test]
fn a_stopped_machine_is_quiet_and_what_nobody_knows_does_not_count() {
    let of = judged(&[device("one", "L.ssss.Aa.", "..####.???")]);
    let figures = of.detector();
    assert_eq!((figures.found.cases, figures.missed_rate.cases), (0, 4), "to say stopped is to miss");
    assert_eq!((figures.false_episodes.episodes, figures.false_alarm_rate.all), (0, 2));
    assert_eq!((of.counted.unlabelled, of.counted.stopped), (3, 4));
    assert!(of.cautions.contains(&Caution::Stopped { rows: 4, all: 6 }));
    assert!(of.cautions.contains(&Caution::Unlabelled { rows: 3 }));
}

#[test]
fn an_alarm_that_nobody_says_began_is_counted_all_the_same() {
    let of = judged(&[device("one", "Laa..aa.sa", "..........")]);
    // What follows a stop may be the alarm that was on before.
    assert_eq!(of.detector().false_episodes.episodes, 2);
}

#[test]
fn no_false_alarm_is_at_most_three_in_the_time() {
    let of = judged(&[device("one", "L............A", ".............#")]);
    let rate = of.detector().false_episodes;
    assert_eq!((rate.episodes, rate.per_unit()), (0, Some(0.0)));
    let interval = rate.interval.unwrap();
    assert!(interval.low == 0.0 && about(interval.high, 3.0 / (12.0 / 24.0)), "{interval:?}");
    assert_eq!(rate.of_budget(), Some(0.0));
    // All of one event found is not all of them: the exact interval of one of one.
    let found = of.detector().found.interval.unwrap();
    assert!(about(found.low, 0.05) && about(found.high, 1.0), "{found:?}");
    assert!(of.cautions.contains(&Caution::BudgetNotSeen { allowed: 0.5 }), "{:?}", of.cautions);
}

#[test]
fn a_pause_is_no_time_without_alarms() {
    let mut series = device("one", "L.....", "......");
    for row in &mut series.rows[3..] {
        row.at_us = row.at_us.map(|at_us| at_us + 1_000 * HOUR_US);
    }
    let of = judged(&[series]);
    assert!(about(of.detector().false_episodes.exposure, 5.0 / 24.0));
}

#[test]
fn without_times_rows_are_counted_in_thousands() {
    let mut series = device("one", "L.A..A....", "....###...");
    series.rows[7].at_us = None;
    let of = judge(&[series.clone()], &options("1/2 rows")).unwrap();
    let figures = of.detector();
    assert_eq!(of.unit, Unit::ThousandRows);
    assert!(about(figures.false_episodes.exposure, 0.006));
    assert!(about(figures.false_episodes.of_budget().unwrap(), 1.0 / 3.0));
    assert!(about(figures.delay.unwrap().median.value, 1.0) && about(figures.lead.unwrap().most, 1.0));
    assert_eq!(judge(&[series], &options("1/day")).unwrap().detector().false_episodes.allowed, None);
}

#[test]
fn controls_are_what_they_are_called() {
    //            1    6         16        26        36
    let said = "L....................A....................";
    let truth = "..............................######......";
    let of = judge(&[device("one", said, truth)], &options("1/10 rows")).unwrap();
    let of = |who| {
        let figures = figures(&of, who);
        let false_rows = figures.false_alarm_rate.cases;
        (figures.found.cases, figures.false_episodes.episodes, false_rows, figures.missed_rate.cases)
    };
    assert_eq!(of(Who::Detector), (0, 1, 1, 6));
    assert_eq!(of(Who::Never), (0, 0, 0, 6));
    assert_eq!(of(Who::Always), (1, 1, 35, 0));
    // It begins in the event's last row, at the price of the six rows behind.
    assert_eq!(of(Who::RowNumber), (1, 0, 6, 5));
    // 41 rows count: nineteen alarms of a row each, three of them in the event.
    assert_eq!(of(Who::EveryTwentieth), (1, 16, 16, 3));
    // From the 20th of them, which is row 21: 9 before the event, 6 behind.
    assert_eq!(of(Who::SecondHalf), (1, 1, 15, 0));
}

#[test]
fn the_row_number_has_one_number_for_all_devices_and_keeps_to_the_budget() {
    let devices = [
        device("one", "L...................", "..........####......"),
        device("two", "L...................", "............####...."),
        device("three", "L...................", "................####"),
    ];
    // Rows 12 and 13 are in the events of the first two.
    let of_two = judge(&devices[..2], &options("1/1000 rows")).unwrap();
    let row_number = figures(&of_two, Who::RowNumber);
    assert_eq!((row_number.found.cases, row_number.false_episodes.episodes), (2, 0));
    assert_eq!(row_number.missed_rate.cases, 3 + 1, "of several the highest");
    // No row is in all three: without a false episode there is no alarm.
    let strict = judge(&devices, &options("1/1000 rows")).unwrap();
    assert_eq!(figures(&strict, Who::RowNumber).time_in_alarm.unwrap().value, 0.0);
    // One is allowed: all three, at row 13.
    let loose = judge(&devices, &options("1/40 rows")).unwrap();
    let row_number = figures(&loose, Who::RowNumber);
    assert_eq!((row_number.found.cases, row_number.false_episodes.episodes), (3, 1));
}

#[test]
fn the_row_number_ranks_runs_to_failure_without_a_mistake_and_drifts_as_much() {
    let run = |name| device(name, "L...............Aaaa", "................####");
    let of = judged(&[run("one"), run("two"), run("three")]);
    let row_number = figures(&of, Who::RowNumber);
    assert!(about(row_number.roc_auc.unwrap().value, 1.0));
    assert!(about(row_number.healthy_drift.unwrap().value, 1.0));
    let detector = of.detector();
    assert!(about(detector.roc_auc.unwrap().value, 1.0));
    // The healthy scores are -2, -3, -1 and so on.
    assert!((detector.healthy_drift.unwrap().value - 0.5).abs() < 0.1, "{detector:?}");
    assert!(of.cautions.contains(&Caution::RunsToFailure));
    let verdict = of.verdicts.iter().find(|verdict| verdict.control == Who::RowNumber).unwrap();
    assert_eq!(verdict.ranking.unwrap().outcome(), Outcome::NotBetter);
    assert!(!verdict.is_better());
}

#[test]
fn a_constant_score_is_worth_what_chance_is() {
    let of = judged(&[device("one", "L.........", "....###...")]);
    let never = figures(&of, Who::Never);
    assert!(about(never.roc_auc.unwrap().value, 0.5) && about(never.healthy_drift.unwrap().value, 0.5));
    assert!(about(never.auc_pr.unwrap().value, 3.0 / 9.0));
    assert_eq!(never.affiliation_precision, None);
    assert!(about(never.affiliation_recall.unwrap().value, 0.0));
}

#[test]
fn a_detector_is_said_to_be_better_only_where_it_is() {
    let good = |at: usize| {
        let said = format!("L{}Aaaa{}", ".".repeat(at), ".".repeat(40 - at));
        let truth = format!(".{}####{}", ".".repeat(at), ".".repeat(40 - at));
        device(&format!("device {at}"), &said, &truth)
    };
    let of = judged(&[8, 13, 17, 22, 28, 33].map(good));
    assert!(of.verdicts.iter().all(Verdict::is_better), "{:?}", of.verdicts);
    let quiet = |at: usize| {
        let mut series = good(at);
        series.rows.iter_mut().filter(|row| row.state == State::Alarm).for_each(|row| {
            (row.state, row.begins, row.score) = (State::Normal, false, -4.0);
        });
        series
    };
    let of = judged(&[8, 13, 17, 22, 28, 33].map(quiet));
    let never = of.verdicts[0];
    assert_eq!(never.control, Who::Never);
    assert!(never.is_matched && never.rows.unwrap().outcome() == Outcome::NotBetter);
}

#[test]
fn medians_of_even_numbers_lie_between() {
    let of = judged(&[device("one", "L.aa.aaaa", "..##.####"), device("two", "L....aaa.", "...#####.")]);
    // Delays of 0, 0 and 2 hours, leads of 1, 3 and 2.
    let (delay, lead) = (of.detector().delay.unwrap(), of.detector().lead.unwrap());
    assert!(about(delay.median.value, 0.0) && about(delay.most, 2.0 * HOUR_S) && delay.events == 3);
    assert!(about(lead.median.value, 2.0 * HOUR_S));
    let one = judged(&[device("one", "L.aa.aaaa", "..##.####")]);
    assert!(about(one.detector().lead.unwrap().median.value, 2.0 * HOUR_S));
}

#[test]
fn one_device_has_no_interval_and_few_are_said_to_be_few() {
    let one = device("one", "L..A...Aa.", "......###.");
    let alone = judged(std::slice::from_ref(&one));
    assert_eq!(alone.detector().false_episodes.interval, None);
    assert_eq!(alone.detector().missed_rate.interval, None);
    assert!(alone.cautions.contains(&Caution::OneDevice));
    let two = judged(&[one, device("two", "L......Aaa", "......###.")]);
    let interval = two.detector().missed_rate.interval.unwrap();
    assert!(about(interval.low, 1.0 / 3.0) && about(interval.high, 1.0 / 3.0), "{interval:?}");
    let rate = two.detector().false_episodes;
    // Drawn are two of one, two of the other, or both.
    let most = 2.0 / (12.0 / 24.0);
    let interval = rate.interval.unwrap();
    assert!(about(interval.low, 0.0) && about(interval.high, most), "{rate:?}");
    assert!(two.cautions.contains(&Caution::FewDevices { devices: 2 }));
}

#[test]
fn the_same_rows_give_the_same_judgement() {
    let devices = [device("one", "L..A...Aa.", "......###."), device("two", "L......Aaa", "......###.")];
    assert_eq!(judged(&devices), judged(&devices));
}

#[test]
fn without_a_truth_or_after_the_warm_up_there_is_nothing_to_judge() {
    let of = |said, truth| judge(&[device("one", said, truth)], &options("1/day")).unwrap_err();
    assert_eq!(of("L..", "???"), JudgeError::NoTruth);
    assert_eq!(of("LLL", "..#"), JudgeError::OnlyWarmUp { rows: 3 });
    assert_eq!(judge(&[], &options("1/day")), Err(JudgeError::NoTruth));
}

#[test]
fn healthy_data_alone_is_judged_by_its_false_alarms() {
    let of = judged(&[device("one", "L..A......", "..........")]);
    let detector = of.detector();
    assert_eq!((detector.found.share(), detector.vus_pr, detector.roc_auc), (None, None, None));
    assert!(about(detector.false_episodes.per_unit().unwrap(), 24.0 / 9.0));
    assert!(of.cautions.contains(&Caution::NoEvents));
    assert!(of.verdicts.iter().all(|verdict| !verdict.is_matched && verdict.rows.is_none()));
}

#[test]
fn what_is_not_a_number_is_the_least_unusual() {
    let mut series = device("one", "L.........", "......##..");
    series.rows[6].score = f64::NAN;
    series.rows[7].score = f64::NAN;
    let of = judged(&[series]);
    assert!(about(of.detector().roc_auc.unwrap().value, 0.0));
    assert!(of.cautions.contains(&Caution::WithoutScore { rows: 2 }));
}

#[test]
fn a_point_of_the_curve_is_what_judging_says() {
    let devices = [device("one", "L..A...Aa.", "......###."), device("two", "L......Aaa", "......###.")];
    let budget: Budget = "3/day".parse().unwrap();
    let point = at_budget(budget, &devices, &options("1/week")).unwrap();
    let judged = judge(&devices, &options("3/day")).unwrap();
    assert_eq!(point.found, judged.detector().found);
    assert_eq!(point.false_episodes, judged.detector().false_episodes);
    assert_eq!(point.false_alarm_rate, judged.detector().false_alarm_rate);
}

#[test]
fn a_trace_has_as_many_columns_as_can_be_seen_and_loses_no_alarm() {
    let said = format!("LL{}A{}", ".".repeat(3_000), ".".repeat(2_000));
    let truth = ".".repeat(said.len());
    let of = judged(&[device("one", &said, &truth)]);
    let columns = &of.devices[0].trace.columns;
    assert!(columns.len() <= COLUMNS_MAX && columns.len() > COLUMNS_MAX / 2, "{}", columns.len());
    let alarms: Vec<_> = columns.iter().filter(|column| column.is_alarm).collect();
    assert_eq!((alarms.len(), alarms[0].begins_false), (1, 1));
    assert_eq!(alarms[0].score, Some(3_002.0));
    assert!(columns.windows(2).all(|pair| pair[0].until == pair[1].from));
}
