//! Alarms from rows that count.

use super::*;

/// Takes rows, `#` for one that counts, `-` for one between, `.` for a quiet one; `!` is where an alarm
/// begins, `#` where it is on.
fn course(rule: &EpisodeRule, rows: &str) -> String {
    let mut state = vec![0; rule.words()];
    let see = |row| {
        let surprisal = match row {
            '#' => 10.0,
            '-' => 8.0,
            _ => 1.0,
        };
        let course = rule.see(surprisal, 10.0, Some(Duration::from_secs(1)), true, &mut state);
        match (course.is_on, course.begins) {
            (true, true) => '!',
            (true, false) => '#',
            (false, _) => '.',
        }
    };
    rows.chars().map(see).collect()
}

fn rule(needs: u32, of: u32, clear_after: u32, silence: u32) -> EpisodeRule {
    EpisodeRule {
        clear_after: Span::Rows(clear_after),
        silence: Span::Rows(silence),
        ..EpisodeRule::new(needs, of)
    }
}

#[test]
fn two_of_three_make_an_alarm_and_two_quiet_rows_end_it() {
    let rule = rule(2, 3, 2, 0);
    assert_eq!(course(&rule, "#..#.#.....#..##.."), ".....!#........!#.");
}

#[test]
fn what_wavers_about_the_threshold_is_one_alarm() {
    let rule = rule(1, 1, 2, 0);
    assert_eq!(course(&rule, "--#---#----.--..#"), "..!############.!");
}

#[test]
fn after_an_alarm_there_is_silence_at_first() {
    assert_eq!(course(&rule(1, 1, 1, 3), "#.######.#.##"), "!...!###...!#");
}

#[test]
fn spans_may_be_of_time() {
    let time = |seconds| Span::Time(Duration::from_secs(seconds));
    let timed = EpisodeRule { clear_after: time(2), silence: time(3), ..EpisodeRule::new(1, 1) };
    let rows = "#...#.#..##.####..#.#.###";
    assert_eq!(course(&timed, rows), course(&rule(1, 1, 2, 3), rows));
    // Without times it lasts.
    let mut state = vec![0; timed.words()];
    assert!(timed.see(1.0, 1.0, None, true, &mut state).begins);
    assert!((0..100).all(|_| timed.see(0.0, 1.0, None, true, &mut state).is_on));
}

#[test]
fn none_begins_where_none_may() {
    let rule = rule(1, 1, 1, 0);
    let mut state = vec![0; rule.words()];
    assert!(!rule.see(9.0, 1.0, None, false, &mut state).is_on);
    assert!(rule.see(9.0, 1.0, None, true, &mut state).begins);
    assert!(rule.see(9.0, 1.0, None, false, &mut state).is_on);
}
