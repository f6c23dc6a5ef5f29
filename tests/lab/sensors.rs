//! Where requests come from: simulated bearings against the shipped detector, and
//! recorded files, good and hostile.

use nearfar::Detector;
use nearfar::features::{Extractor, SAMPLE_RATE_HZ, WINDOW_SAMPLES};
use nearfar::sensors::bearing::{Bearing, Config, Fault, FaultProgress, Window};
use nearfar::sensors::recorded::{Columns, Decimal, Format, RECORD_BYTES_MAX, Recording, Remedy, Row};

const MODEL: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/models/anomaly_detector");
const FAULTS: [Fault; 2] = [Fault::OuterRace, Fault::InnerRace];

fn bearing(fault: Fault, seed: u64) -> Bearing {
    Bearing::new(Config { fault, ..Config::default() }, seed)
}

/// Raw vibration in, probability of failing out.
struct Judge {
    extractor: Extractor,
    detector: Detector,
}

impl Judge {
    fn new() -> Self {
        let extractor = Extractor::new(WINDOW_SAMPLES, SAMPLE_RATE_HZ).unwrap();
        Self { extractor, detector: Detector::load(MODEL).unwrap() }
    }

    fn predict(&mut self, window: &Window) -> f32 {
        let features = self.extractor.extract(&window.h, &window.v).unwrap();
        self.detector.predict(&features).unwrap().score()
    }

    fn threshold(&self) -> f32 {
        self.detector.info().threshold
    }

    /// The predictions of `windows` windows of each of `seeds` bearings, in order of size.
    fn sweep(&mut self, fault: Fault, severity: f64, seeds: u64, windows: usize) -> Vec<f32> {
        let mut predictions = Vec::new();
        for seed in 0..seeds {
            let mut bearing = bearing(fault, seed);
            predictions.extend((0..windows).map(|_| self.predict(&bearing.window(severity))));
        }
        predictions.sort_by(f32::total_cmp);
        predictions
    }
}

#[test]
fn windows_depend_on_configuration_seed_number_and_severity_alone() {
    let (mut one, mut other) = (bearing(Fault::OuterRace, 5), bearing(Fault::OuterRace, 5));
    let first = one.window(0.0);
    assert_eq!((first.h.len(), first.v.len()), (WINDOW_SAMPLES, WINDOW_SAMPLES));
    assert_eq!(first, other.window(0.0));
    assert_ne!(first, one.window(0.0), "windows differ from each other");
    other.window(1.0);
    assert_eq!(one.window(0.3), other.window(0.3), "an earlier window's severity leaves no trace");
    assert_ne!(first, bearing(Fault::OuterRace, 6).window(0.0), "bearings differ from each other");
}

#[test]
fn sound_bearings_are_below_the_threshold() {
    let mut judge = Judge::new();
    let predictions = judge.sweep(Fault::OuterRace, 0.0, 200, 3);
    let (middle, highest) = (predictions[predictions.len() / 2], predictions[predictions.len() - 1]);
    assert!(middle < 0.05, "the median is {middle}");
    assert!(highest < judge.threshold(), "the highest is {highest}");
}

#[test]
fn ruined_bearings_are_above_the_threshold_wherever_the_fault() {
    let mut judge = Judge::new();
    for fault in FAULTS {
        let lowest = judge.sweep(fault, 1.0, 100, 2)[0];
        assert!(lowest > judge.threshold(), "{fault:?}: the lowest is {lowest}");
    }
}

#[test]
fn faults_are_found_well_before_the_end() {
    let mut judge = Judge::new();
    for fault in FAULTS {
        let predictions = judge.sweep(fault, 0.7, 40, 2);
        let found = predictions.iter().filter(|p| **p >= judge.threshold()).count();
        assert!(found * 10 >= predictions.len() * 9, "{fault:?}: {found} of {}", predictions.len());
    }
}

#[test]
fn defect_frequencies_follow_from_the_geometry() {
    let config = Config::default();
    let (outer, inner) =
        (config.geometry.outer_race_hz(config.shaft_hz), config.geometry.inner_race_hz(config.shaft_hz));
    assert!((outer - 168.3).abs() < 0.1, "outer race: {outer} Hz");
    assert!((inner - 221.7).abs() < 0.1, "inner race: {inner} Hz");
    // Together: every ball meets both races once for each turn of one against the other.
    assert!((outer + inner - 13.0 * config.shaft_hz).abs() < 1e-9);
}

#[test]
fn blows_come_at_the_defect_frequency() {
    let config = Config { slip: 0.0, roughening: 0.0, ..Config::default() };
    let mut bearing = Bearing::new(config, 3);
    // The envelope's spectrum: where a fault shows in practice.
    let envelope = |window: &Window, hz: f64| {
        let step = std::f64::consts::TAU * hz / SAMPLE_RATE_HZ;
        let (mut re, mut im) = (0.0, 0.0);
        for (at, sample) in window.v.iter().enumerate() {
            re += f64::from(sample.abs()) * (step * at as f64).cos();
            im += f64::from(sample.abs()) * (step * at as f64).sin();
        }
        re.hypot(im)
    };
    let window = bearing.window(1.0);
    let (at, beside) =
        (envelope(&window, bearing.defect_hz()), envelope(&window, bearing.defect_hz() * 1.45));
    assert!(at > 5.0 * beside, "{at} at the defect frequency, {beside} beside it");
}

#[test]
fn senseless_severities_and_geometries_still_give_finite_samples() {
    let mut config = Config::default();
    config.geometry.pitch_diameter_mm = 0.0;
    config.h.resonances[0].bandwidth_hz = 1e9;
    let mut bearing = Bearing::new(config, 1);
    for severity in [f64::NAN, f64::NEG_INFINITY, -1.0, 2.0, f64::INFINITY] {
        let window = bearing.window(severity);
        assert!(window.h.iter().chain(&window.v).all(|sample| sample.is_finite()), "severity {severity}");
    }
}

#[test]
fn a_fault_begins_at_its_onset_and_ends_at_severity_one() {
    let progress = FaultProgress { onset_fraction: 0.5, onset_severity: 0.01 };
    assert_eq!([0.0, 0.49, f64::NAN].map(|life| progress.severity(life)), [0.0; 3]);
    assert!((progress.severity(0.5) - 0.01).abs() < 1e-12);
    assert!((progress.severity(0.75) - 0.1).abs() < 1e-12, "halfway it has grown tenfold of a hundredfold");
    assert_eq!([1.0, 1.5].map(|life| progress.severity(life)), [1.0; 2]);
    assert_eq!(FaultProgress::NONE.severity(1.0), 0.0);
}

fn recorded(content: impl AsRef<[u8]>) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), content).unwrap();
    file
}

fn rows(content: impl AsRef<[u8]>, columns: &Columns) -> Vec<Row> {
    Recording::open(recorded(content).path(), columns).unwrap().map(Result::unwrap).collect()
}

/// The first error of reading `a` and `b`, without the file's name.
fn refusal(content: impl AsRef<[u8]>, columns: &Columns) -> String {
    let file = recorded(content);
    let error = match Recording::open(file.path(), columns) {
        Err(error) => error,
        Ok(mut recording) => {
            let error = recording.find_map(Result::err).expect("a row is refused");
            assert!(recording.next().is_none(), "the iterator ends after an error");
            error
        }
    };
    let message = error.to_string();
    message.strip_prefix(&format!("{}: ", file.path().display())).unwrap().to_owned()
}

fn a_and_b() -> Columns {
    Columns::named(["a", "b"])
}

#[test]
fn columns_are_found_by_name_in_the_order_asked_for() {
    let content = "\u{feff}time_s, b ,note,a\n0.5,1,x,2\n1,3,\"y, z\",4e-1\n";
    let rows = rows(content, &a_and_b().label("note"));
    assert_eq!(rows[0].features, [2.0, 1.0]);
    assert_eq!(rows[1].features, [0.4, 3.0]);
    assert_eq!(rows.iter().map(|row| row.line).collect::<Vec<_>>(), [2, 3]);
    assert_eq!(rows.iter().map(|row| row.timestamp_us).collect::<Vec<_>>(), [Some(500_000), Some(1_000_000)]);
    assert_eq!(rows[1].label.as_deref(), Some("y, z"));
    assert_eq!(&rows[1].record, &csv::StringRecord::from(vec!["1", "3", "y, z", "4e-1"]));
}

#[test]
fn lines_are_counted_past_blank_ones_line_breaks_in_quotes_and_carriage_returns() {
    let lines = |content: &str| rows(content, &a_and_b()).iter().map(|row| row.line).collect::<Vec<_>>();
    assert_eq!(lines("a,b\n\n1,2\n\n\n1,2"), [3, 6]);
    assert_eq!(lines("a,b\r\n1,2\r\n\r\n1,2\r\n"), [2, 4]);
    assert_eq!(lines("a,b,note\n1,2,\"x\ny\"\n1,2,z\n"), [2, 4]);
}

#[test]
fn a_byte_order_mark_is_no_part_of_the_first_column_and_utf_16_is_named() {
    assert_eq!(rows("\u{feff}a,b\n1,2\n", &a_and_b())[0].features, [1.0, 2.0]);
    let utf_16: Vec<u8> = "\u{feff}a,b\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(refusal(utf_16, &a_and_b()).contains("UTF-16LE"));
}

#[test]
fn columns_are_chosen_by_list_or_by_range() {
    let content = "w,x,y,z\n1,2,3,4\n";
    for (text, names, features) in [
        ("z, x", vec!["z", "x"], vec![4.0, 2.0]),
        ("x..z", vec!["x", "y", "z"], vec![2.0, 3.0, 4.0]),
        ("y..y", vec!["y"], vec![3.0]),
    ] {
        let columns = Columns::parse(text);
        let file = recorded(content);
        let mut recording = Recording::open(file.path(), &columns).unwrap();
        let row = recording.next().unwrap().unwrap();
        // The first column holds 1, the second one 2.
        let found = row.features.iter().map(|value| &recording.header()[*value as usize - 1]);
        assert_eq!(found.collect::<Vec<_>>(), names);
        assert_eq!((row.features, row.timestamp_us, row.label), (features, None, None));
    }
}

#[test]
fn integer_microseconds_are_preferred_to_seconds() {
    let rows = rows("time_s,timestamp_us,a,b\n9,-7,1,2\n", &a_and_b());
    assert_eq!(rows[0].timestamp_us, Some(-7));
}

#[test]
fn a_file_without_rows_has_none() {
    assert!(rows("a,b\n", &a_and_b()).is_empty());
}

#[test]
fn a_refusal_names_line_column_what_was_found_and_what_was_expected() {
    let number = "expected a finite number that fits 32 bits";
    for (content, expected) in [
        ("", "line 1: found nothing, expected a header with the columns' names".to_owned()),
        ("\n\n", "line 1: found nothing, expected a header with the columns' names".to_owned()),
        ("a,c\n", "line 1: found no column \"b\"; there are a, c".to_owned()),
        ("a,b,c,b\n", "line 1: columns 2 and 4 are both called \"b\", expected one".to_owned()),
        ("a,b\n1,2\n1\n", "line 3: found 1 cells, expected 2 as in the header".to_owned()),
        ("a,b\n1,2,3\n", "line 2: found 3 cells, expected 2 as in the header".to_owned()),
        ("a,b\n1,2\n1,high\n", format!("line 3, column b: found \"high\", {number}")),
        ("a,b\nNaN,1\n", format!("line 2, column a: found \"NaN\", {number}")),
        ("a,b\n-inf,1\n", format!("line 2, column a: found \"-inf\", {number}")),
        ("a,b\n1,1e39\n", format!("line 2, column b: found \"1e39\", {number}")),
        ("a,b\n1,\n", format!("line 2, column b: found \"\", {number}")),
        (
            "timestamp_us,a,b\n1.5,1,2\n",
            "line 2, column timestamp_us: found \"1.5\", expected whole microseconds".to_owned(),
        ),
        ("time_s,a,b\nnoon,1,2\n", "line 2, column time_s: found \"noon\", expected seconds".to_owned()),
        ("time_s,a,b\n1e300,1,2\n", "line 2, column time_s: found \"1e300\", expected seconds".to_owned()),
    ] {
        assert_eq!(refusal(content, &a_and_b()), expected, "of {content:?}");
    }
}

/// What is said of a file, and what reads it all the same.
fn told(content: impl AsRef<[u8]>, format: Format) -> (String, Option<Remedy>) {
    let file = recorded(content);
    let columns = a_and_b().format(format);
    let read = Recording::open(file.path(), &columns).and_then(|rows| rows.collect::<Result<Vec<_>, _>>());
    let error = read.expect_err("it is refused");
    (error.to_string().replace(&format!("{}: ", file.path().display()), ""), error.remedy())
}

#[test]
fn what_other_programs_write_is_called_what_it_is_and_read_as_the_error_says() {
    let names = "expected a header with the columns' names";
    let by = |what: &str| format!("line 1: found names with {what} between them, expected commas");
    for (content, said, remedy) in [
        (&b"a;b\n1;2\n"[..], &*by("semicolons"), Remedy::Delimiter(';')),
        (b"a\tb\n1\t2\n", &by("tabs"), Remedy::Delimiter('\t')),
        (b"a|b\n1|2\n", &by("bars (|)"), Remedy::Delimiter('|')),
        (b"t a b\n1 1 2\n", &by("blanks"), Remedy::Delimiter(' ')),
        (b"0,5;0,7\n1;2\n", &by("semicolons"), Remedy::Delimiter(';')),
        (b"0.5,0.7\n1,2\n", &format!("line 1: found numbers (0.5, 0.7), {names}"), Remedy::Header),
        (
            b"# pump 7\na,b\n1,2\n",
            "line 1: found a comment (\"# pump 7\"), expected the columns",
            Remedy::SkipBadRows,
        ),
        (
            b"a,b\n1,2\n# pause\n1,2\n",
            "line 3: found a comment (\"# pause\"), expected the columns",
            Remedy::SkipBadRows,
        ),
        (b"a,b\n0,5,0,7\n", "line 2: found 4 cells, twice the 2 of the header", Remedy::AmbiguousCommas),
        (
            b"a,b\n\"0,5\",1\n",
            "line 2, column a: found \"0,5\", expected a finite number that fits 32 bits",
            Remedy::DecimalComma,
        ),
        (
            b"a,b\n1,nan\n",
            "line 2, column b: found \"nan\", expected a finite number that fits 32 bits",
            Remedy::SkipBadRows,
        ),
        (b"a,b\n1\n", "line 2: found 1 cells, expected 2 as in the header", Remedy::SkipBadRows),
        (
            b"a,b,Pr\xfcfer\n1,2,3\n",
            "line 1, column 3: found bytes that are not UTF-8, expected text",
            Remedy::Encoding,
        ),
    ] {
        let told = told(content, Format::default());
        assert_eq!(told, (said.to_owned(), Some(remedy)), "{}", String::from_utf8_lossy(content));
        assert!(!remedy.in_flags().is_empty() && !remedy.in_keys().is_empty());
    }
}

#[test]
fn the_format_says_how_a_file_is_written() {
    let features = |content: &str, format: Format| {
        rows(content, &a_and_b().format(format)).into_iter().map(|row| row.features).collect::<Vec<_>>()
    };
    let format = |delimiter, decimal| Format { delimiter, decimal, skips_bad_rows: false };
    let expected = [[0.5, -1500.0], [3.0, 0.25]];
    assert_eq!(features("a;b\n0,5;-1,5e3\n3;,25\n", format(b';', Decimal::Comma)), expected);
    assert_eq!(features("a\tb\n0.5\t-1.5e3\n3\t.25\n", format(b'\t', Decimal::Point)), expected);
    let quoted = features("a,b\n\"0,5\",\"-1500\"\n3,\"0,25\"\n", format(b',', Decimal::Comma));
    assert_eq!(quoted, expected);
    assert_eq!(features(" \"a\" , 'b'\n\"0.5\", '-1500'\n 3 , \"0.25\"\n", Format::default()), expected);
    // NumPy's header is a comment, and old Macs end lines with a carriage return.
    assert_eq!(features("# a,b\n0.5,-1500\n3,0.25\n", Format::default()), expected);
    assert_eq!(features("a,b\r0.5,-1500\r3,0.25\r", Format::default()), expected);
    let (thousands, _) = told("a;b\n1.234,5;1\n", format(b';', Decimal::Comma));
    assert!(thousands.starts_with("line 2, column a: found \"1.234,5\", expected"), "{thousands}");
    let names = [
        ("tab", Some(b'\t')),
        ("\\t", Some(b'\t')),
        (";", Some(b';')),
        (".", None),
        ("ab", None),
        ("a", None),
    ];
    for (name, delimiter) in names {
        assert_eq!(Format::delimiter_of(name), delimiter, "{name}");
    }
}

#[test]
fn times_that_go_back_or_are_none_are_told_of_the_rows_so_far() {
    let content = "time,a,b\n2026-12-01,1,2\n2026-12-03,1,2\nnoon,1,2\n2026-12-02,1,2\n2026-12-01,1,2\n";
    let file = recorded(content);
    let mut recording = Recording::open(file.path(), &a_and_b()).unwrap();
    assert!(recording.by_ref().take(2).all(|row| row.is_ok()) && recording.check_times().is_ok());
    assert!(recording.next().unwrap().is_ok_and(|row| row.timestamp_us.is_none()));
    let none = recording.without_time().cloned().expect("one has none");
    assert_eq!((none.rows, none.line, none.column.as_str(), none.found.as_str()), (1, 4, "time", "noon"));
    let problem = recording.check_times().unwrap_err().to_string();
    assert!(problem.ends_with(
        "line 4, column time: found \"noon\", expected a time in ISO 8601, as in the rows around it"
    ));
    assert_eq!(recording.by_ref().count(), 2);
    let back = recording.time_goes_back().expect("it does");
    assert_eq!((back.line, back.by_us), (5, 86_400_000_000), "the first such row");
    assert!(recording.check_times().unwrap_err().to_string().contains("line 5: its time is 86400 s before"));
}

#[test]
fn bad_rows_are_left_out_and_counted_where_that_is_asked_for() {
    let content = "# pump 7\n# 2026\na,b\n1,2\n1,nan\n# pause\n1\nx\n3,4\n";
    let file = recorded(content);
    let format = Format { skips_bad_rows: true, ..Format::default() };
    let mut recording = Recording::open(file.path(), &a_and_b().format(format)).unwrap();
    let read: Vec<_> = recording.by_ref().map(|row| row.unwrap().features).collect();
    assert_eq!(read, [[1.0, 2.0], [3.0, 4.0]]);
    let skipped = recording.skipped().expect("some were");
    assert_eq!(skipped.rows, 6);
    assert!(
        skipped.first.to_string().ends_with("line 1: found a comment (\"# pump 7\"), expected the columns")
    );
    let whole = recorded("a,b\n1,2\n");
    let mut recording = Recording::open(whole.path(), &a_and_b().format(format)).unwrap();
    assert!(recording.by_ref().count() == 1 && recording.skipped().is_none());
}

#[test]
fn a_misspelt_column_is_answered_with_the_one_that_was_meant() {
    let content = "h_rms,h_peak,label\n1,2,x\n";
    let meant = |columns: &Columns| refusal(content, columns);
    assert_eq!(meant(&Columns::parse("h_rsm")), "line 1: found no column \"h_rsm\"; did you mean \"h_rms\"?");
    assert!(meant(&Columns::parse("h_rms..h_peek")).ends_with("did you mean \"h_peak\"?"));
    assert!(meant(&Columns::parse("h_rms").label("labels")).ends_with("did you mean \"label\"?"));
    let many = (0..20).map(|at| format!("c{at}")).collect::<Vec<_>>().join(",");
    assert!(
        refusal(many, &Columns::parse("vibration"))
            .ends_with("there are c0, c1, c2, c3, c4, c5, c6, c7 and more")
    );
}

#[test]
fn a_range_from_right_to_left_is_refused_with_the_right_one() {
    assert_eq!(
        refusal("a,b\n", &Columns::parse("b..a")),
        "line 1: column \"a\" stands before \"b\", expected a range from left to right: a..b"
    );
}

#[test]
fn bytes_that_are_not_text_are_refused_in_rows_and_in_the_header() {
    let expected = "found bytes that are not UTF-8, expected text";
    assert_eq!(refusal(b"a,b\n1,2\n1,\xff\n", &a_and_b()), format!("line 3, column b: {expected}"));
    assert_eq!(refusal(b"a,\xff\n1,2\n", &a_and_b()), format!("line 1, column 2: {expected}"));
}

#[test]
fn a_row_without_end_is_refused_before_it_fills_the_memory() {
    let open_quote = ["a,b\n1,2\n1,\"", &"2\n".repeat(RECORD_BYTES_MAX)].concat();
    let too_long = "the row has more than 1048576 bytes; is a quote left open?";
    assert_eq!(refusal(open_quote, &a_and_b()), format!("line 3: {too_long}"));
    let long_header = "a".repeat(2 * RECORD_BYTES_MAX);
    assert_eq!(refusal(long_header, &a_and_b()), format!("line 1: {too_long}"));
}

#[test]
fn a_long_cell_is_cut_short_in_the_error() {
    let message = refusal(["a,b\n1,", &"x".repeat(100_000)].concat(), &a_and_b());
    assert!(message.len() < 200, "{message}");
}

#[test]
fn many_rows_are_read_whatever_their_sum() {
    let content = ["a,b\n", &"1,2\n".repeat(RECORD_BYTES_MAX / 2)].concat();
    let file = recorded(content);
    let recording = Recording::open(file.path(), &a_and_b()).unwrap();
    assert_eq!(recording.map(Result::unwrap).count(), RECORD_BYTES_MAX / 2);
}

#[test]
fn a_missing_file_is_named() {
    let error = Recording::open("nowhere/bearing.csv", &a_and_b()).err().unwrap();
    assert!(error.to_string().starts_with("nowhere/bearing.csv: cannot be opened: "), "{error}");
}
