//! A gate against random schedules: whoever waits passes once there is room, in the order of coming.

use proptest::prelude::*;

use super::*;

const BYTES_MAX: usize = 40;

fn place() -> Arc<Place> {
    Arc::default()
}

#[test]
fn those_who_wait_are_let_in_one_after_the_other_and_whoever_comes_stands_behind_them() {
    let (gate, places) = (Gate::default(), [place(), place(), place()]);
    gate.guard();
    gate.note(20, BYTES_MAX);
    let admitted = || places.each_ref().map(|place| gate.admits(place));
    assert_eq!(admitted(), [false; 3]);
    gate.join(&places[0]);
    gate.join(&places[1]);
    gate.note(10, BYTES_MAX);
    assert_eq!(admitted(), [false; 3], "it is not empty enough yet");
    gate.note(9, BYTES_MAX);
    assert_eq!(admitted(), [true, false, false]);
    gate.pass(&places[0], 10);
    assert_eq!(admitted(), [true, false, false]);
    gate.pass(&places[0], 1);
    assert_eq!(admitted(), [false; 3], "what there was room for is its turn");
    gate.join(&places[0]);
    assert_eq!(admitted(), [false, true, false], "whoever has more waits again, behind");
    gate.leave(&places[1]);
    assert_eq!(admitted(), [true, false, false]);
    gate.leave(&places[0]);
    assert_eq!(admitted(), [true; 3]);
}

#[test]
fn one_message_passes_however_large_and_nobody_waits_where_nobody_takes() {
    let (gate, place) = (Gate::default(), place());
    gate.note(1_000, BYTES_MAX);
    assert!(gate.admits(&place), "it is not guarded");
    gate.guard();
    assert!(gate.admits(&place));
    gate.note(1_000, BYTES_MAX);
    assert!(!gate.admits(&place) && gate.is_shut());
    gate.join(&place);
    gate.open();
    assert!(gate.admits(&place) && !gate.is_shut() && !place.is_queued());
}

#[test]
fn a_receiver_that_waits_itself_is_waited_for_only_when_twice_as_much_lies_before_it() {
    let (gate, place) = (Gate::default(), place());
    gate.guard();
    gate.note(BYTES_MAX - 1, BYTES_MAX);
    gate.join(&place);
    assert!(!gate.admits(&place));
    gate.note_held(true);
    assert!(gate.admits(&place) && !place.is_queued(), "it was called");
    gate.note(BYTES_MAX, BYTES_MAX);
    assert!(!gate.admits(&place));
}

proptest! {
    #[test]
    fn everybody_passes_in_the_end(
        steps in prop::collection::vec((0..6_usize, 0..5_usize, 0..60_usize), 1..200),
    ) {
        let gate = Gate::default();
        let places: Vec<_> = (0..5).map(|_| place()).collect();
        gate.guard();
        for (step, who, bytes) in steps {
            match step {
                0 | 1 if !gate.admits(&places[who]) => gate.join(&places[who]),
                2 => gate.leave(&places[who]),
                3 => gate.note_held(bytes % 2 == 0),
                _ => gate.note(bytes, BYTES_MAX),
            }
        }
        // Everything is taken, and whoever is called sends what it has and leaves.
        gate.note(0, BYTES_MAX);
        for _ in 0..=places.len() {
            let called = places.iter().find(|place| gate.is_shut() && gate.admits(place)).cloned();
            called.iter().for_each(|place| gate.leave(place));
        }
        prop_assert!(!gate.is_shut(), "somebody waits for ever");
        prop_assert!(places.iter().all(|place| !place.is_queued() && gate.admits(place)));
    }
}
