//! What comes out of a training, seen from outside.

use super::*;

/// Rows of a machine that wears: the second feature of three says so, at a level that is the machine's own.
fn machine(seed: u32, rows: usize, fails: bool) -> (Vec<f32>, Vec<Label>) {
    let mut state = seed.wrapping_mul(2_654_435_761).wrapping_add(1);
    let mut noise = || {
        state = state.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
        (state >> 8) as f32 / 8_388_608.0 - 1.0
    };
    let level = 0.3 * noise();
    let (mut values, mut labels) = (Vec::new(), Vec::new());
    for at in 0..rows {
        let share = at as f32 / rows as f32;
        let wear = if fails && share > 0.8 { 4.0 } else { 0.0 };
        values.extend([noise(), level + wear + 0.5 * noise(), noise()]);
        labels.push(match share {
            share if share < 0.5 => Label::Healthy,
            share if share > 0.9 && fails => Label::Failing,
            _ => Label::Unknown,
        });
    }
    (values, labels)
}

fn machines(count: u32) -> Vec<(Vec<f32>, Vec<Label>)> {
    (0..count).map(|seed| machine(seed, 200, true)).collect()
}

fn groups(machines: &[(Vec<f32>, Vec<Label>)]) -> Vec<Group<'_>> {
    machines.iter().map(|(rows, labels)| Group { rows, labels }).collect()
}

fn quick() -> Settings {
    Settings { hidden: vec![8], epochs_max: 8, batch_rows: 64, ..Settings::default() }
}

fn trained(machines: &[(Vec<f32>, Vec<Label>)], settings: &Settings) -> Trained {
    train(&groups(machines), 3, settings, &mut |_| ()).unwrap()
}

fn refused(machines: &[(Vec<f32>, Vec<Label>)]) -> String {
    train(&groups(machines), 3, &quick(), &mut |_| ()).unwrap_err().to_string()
}

#[test]
fn machines_that_were_held_back_are_told_healthy_from_failing() {
    let trained = trained(&machines(4), &quick());
    assert_eq!(trained.kind, Kind::Classifier);
    assert!(trained.held_back.by_group);
    for group in &trained.held_back.groups {
        assert!(group.roc_auc.unwrap() > 0.99, "{group:?}");
        assert!(group.share_at(Label::Healthy, trained.threshold).unwrap() < 0.02);
        assert!(group.share_at(Label::Failing, trained.threshold).unwrap() > 0.98);
        assert!((group.drift_auc.unwrap() - 0.5).abs() < 0.2);
    }
}

#[test]
fn weights_have_the_names_and_shapes_of_pytorchs_sequential() {
    let trained = trained(&machines(3), &quick());
    let named: Vec<_> = trained.weights.iter().map(|one| (&one.name[..], &one.shape[..])).collect();
    assert_eq!(named, [("0.weight", &[8, 3][..]), ("0.bias", &[8]), ("2.weight", &[1, 8]), ("2.bias", &[1])]);
    assert_eq!(trained.layers.len(), 3);
    assert_eq!(trained.losses.len(), trained.held_back.epochs);
}

#[test]
fn the_same_seed_gives_the_same_bits_and_another_seed_others() {
    let machines = machines(3);
    let one = trained(&machines, &quick());
    let bits = |trained: &Trained| -> Vec<u32> {
        trained.weights.iter().flat_map(|weight| weight.values.iter().map(|value| value.to_bits())).collect()
    };
    assert_eq!(bits(&one), bits(&trained(&machines, &quick())));
    assert_ne!(bits(&one), bits(&trained(&machines, &Settings { seed: 1, ..quick() })));
}

#[test]
fn without_labels_it_is_an_autoencoder_that_finds_what_it_has_not_seen() {
    let healthy: Vec<_> = (0..3).map(|seed| (machine(seed, 200, false).0, Vec::new())).collect();
    let settings = Settings { hidden: vec![8, 2], ..quick() };
    let trained = trained(&healthy, &settings);
    assert_eq!(trained.kind, Kind::Autoencoder);
    let widths: Vec<usize> =
        trained.weights.iter().filter(|one| one.shape.len() == 2).map(|one| one.shape[0]).collect();
    assert_eq!(widths, [8, 2, 8, 3]);
    assert!(trained.threshold > 0.0 && trained.scale > 0.0);
    let above = |group: &HeldBackGroup| group.share_at(Label::Healthy, trained.threshold).unwrap();
    assert!(trained.held_back.groups.iter().all(|group| above(group) < 0.05));
}

#[test]
fn several_networks_become_one_that_is_wider() {
    let trained = trained(&machines(3), &Settings { averaged: 3, ..quick() });
    let shapes: Vec<_> = trained.weights.iter().map(|one| &one.shape[..]).collect();
    assert_eq!(shapes, [&[24, 3][..], &[24], &[1, 24], &[1]]);
    assert_eq!(trained.layers[2], Layer::Linear { name: "2".to_owned(), inputs: 24, outputs: 1 });
}

#[test]
fn one_machine_alone_is_judged_by_pieces_of_its_time() {
    let trained = trained(&machines(1), &quick());
    assert!(!trained.held_back.by_group);
    assert!(trained.held_back.groups[0].scores.iter().all(|score| score.is_finite()));
}

#[test]
fn a_convolution_reads_rows_as_sequences_in_either_order() {
    let machines: Vec<_> = machines(3).into_iter().map(|(rows, labels)| (rows.repeat(4), labels)).collect();
    // Twelve features in a row: the same three, four times over, in a quarter of the rows.
    let machines: Vec<_> = machines
        .into_iter()
        .map(|(rows, labels)| {
            let wide = rows[..labels.len() * 3].chunks_exact(3).flat_map(|row| row.repeat(4));
            (wide.collect::<Vec<f32>>(), labels)
        })
        .collect();
    for order in [Order::SamplesChannels, Order::ChannelsSamples] {
        let convolution = Convolution { order, channels: 3, samples: 4, filters: 4, kernel: 3 };
        let settings = Settings { convolution: Some(convolution), ..quick() };
        let trained = train(&groups(&machines), 12, &settings, &mut |_| ()).unwrap();
        assert_eq!(trained.weights[0].shape, [4, 3, 3]);
        assert_eq!(trained.layers[2], Layer::GlobalAveragePool);
        assert!(trained.held_back.groups.iter().all(|group| group.roc_auc.unwrap() > 0.9));
    }
}

#[test]
fn progress_counts_up_to_what_was_promised() {
    let mut told = Vec::new();
    train(&groups(&machines(3)), 3, &quick(), &mut |progress| told.push(progress)).unwrap();
    assert!(told.iter().zip(1..).all(|(progress, epoch)| progress.epoch == epoch && progress.of == 4 * 8));
    assert!(told.len() <= 4 * 8 && told.first().unwrap().loss > told.last().unwrap().loss);
}

#[test]
fn heavy_tailed_features_are_taken_as_logarithms_and_a_constant_one_does_no_harm() {
    let mut machines = machines(3);
    for (rows, _) in &mut machines {
        for row in rows.chunks_exact_mut(3) {
            (row[0], row[1], row[2]) = ((2.0 * row[0]).exp(), (2.0 * row[1]).exp(), 7.0);
        }
    }
    let trained = trained(&machines, &quick());
    assert_eq!(trained.normalisation.log_offset, Some(1e-6));
    assert_eq!(trained.normalisation.spread[2], 1.0);
    assert!(trained.held_back.groups.iter().all(|group| group.roc_auc.unwrap() > 0.99));
}

#[test]
fn data_that_teach_nothing_are_refused_with_what_to_do() {
    let mut one = machines(1);
    one[0].0[4] = f32::NAN;
    assert!(refused(&one).starts_with("row 1 of group 0 has a feature 1 that is not a finite number"));
    let healthy: Vec<_> =
        machines(2).into_iter().map(|(rows, _)| (rows, vec![Label::Healthy; 200])).collect();
    assert!(refused(&healthy).starts_with("400 rows are labelled healthy and 0 failing"));
    assert!(refused(&[(vec![1.0; 600], Vec::new())]).starts_with("every feature has one value"));
    assert!(refused(&[(vec![1.0; 6], Vec::new())]).starts_with("2 rows are too few"));
    let mut mixed = machines(2);
    mixed[1].1.clear();
    assert!(refused(&mixed).starts_with("group 1 has no labels"));
    let steep = Settings { learning_rate: 1e30, ..quick() };
    let error = train(&groups(&machines(2)), 3, &steep, &mut |_| ()).unwrap_err();
    assert!(error.to_string().contains("is not a number: try a learning rate below"), "{error}");
}
