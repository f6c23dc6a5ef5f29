//! Small series made by a formula, and what the Python packages say of them, for tests. The figures are
//! those that `benches/peers/judge_metrics.py` prints, which makes the same series.

/// The package's figures have twelve decimals.
pub const TOLERANCE: f64 = 1e-11;

/// A series with its recorded figures.
pub struct Recorded {
    pub name: &'static str,
    pub series: Series,
    /// From which score on a row is an alarm, for affiliation.
    pub threshold: f64,
    pub average_precision: f64,
    pub roc_auc: f64,
    /// Precision and recall.
    pub affiliation: (f64, f64),
    /// Width, volume under ROC, volume under precision and recall.
    pub volumes: [(usize, f64, f64); 3],
}

/// A score and the truth for each row.
pub struct Series {
    pub scores: Vec<f64>,
    pub truth: Vec<bool>,
}

impl Series {
    pub fn pairs(&self) -> Vec<(f64, bool)> {
        self.scores.iter().copied().zip(self.truth.iter().copied()).collect()
    }
}

/// All of them.
pub fn all() -> [Recorded; 5] {
    [
        Recorded {
            name: "apart",
            series: series(400, &[(60, 80), (200, 215), (330, 360)], 48, 1.5, 7),
            threshold: 3.0,
            average_precision: 0.639_269_669_473,
            roc_auc: 0.858_185_993_111,
            affiliation: (0.976_123_980_841, 0.995_034_441_45),
            volumes: [
                (0, 0.858_185_993_111, 0.639_534_195_796),
                (10, 0.888_459_105_229, 0.704_971_629_046),
                (40, 0.930_492_213_562, 0.798_455_567_041),
            ],
        },
        Recorded {
            name: "close and at both ends",
            series: series(300, &[(0, 6), (90, 100), (104, 110), (118, 119), (280, 300)], 48, 1.0, 11),
            threshold: 2.75,
            average_precision: 0.513_317_855_465,
            roc_auc: 0.731_653_244_05,
            affiliation: (0.741_151_759_052, 0.965_026_748_567),
            volumes: [
                (1, 0.701_438_783_82, 0.448_576_337_261),
                (9, 0.781_181_169_155, 0.542_879_146_849),
                (33, 0.854_228_667_104, 0.635_000_443_574),
            ],
        },
        Recorded {
            name: "few levels",
            series: series(257, &[(40, 50), (120, 160)], 5, 0.125, 3),
            threshold: 0.25,
            average_precision: 0.414_552_790_458,
            roc_auc: 0.719_275_362_319,
            affiliation: (0.583_758_665_246, 0.987_051_128_591),
            volumes: [
                (0, 0.718_888_888_889, 0.411_133_987_039),
                (16, 0.775_130_009_523, 0.499_739_371_744),
                (25, 0.795_513_325_557, 0.526_860_548_508),
            ],
        },
        Recorded {
            name: "longer than the thresholds",
            series: series(1500, &[(300, 420), (700, 701), (1300, 1400)], 64, 2.0, 5),
            threshold: 4.5,
            average_precision: 0.666_915_120_157,
            roc_auc: 0.862_878_946_009,
            affiliation: (0.991_817_981_432, 0.996_070_752_865),
            volumes: [
                (2, 0.802_846_963_074, 0.550_629_596_242),
                (50, 0.893_881_993_107, 0.722_142_431_291),
                (101, 0.913_552_932_015, 0.754_345_278_294),
            ],
        },
        Recorded {
            name: "upside down",
            series: series(120, &[(100, 120)], 32, -1.0, 13),
            threshold: 1.0,
            average_precision: 0.107_682_848_888,
            roc_auc: 0.198_25,
            affiliation: (0.444_907_407_407, 0.875),
            volumes: [
                (0, 0.198_25, 0.107_682_848_888),
                (8, 0.246_796_985_516, 0.117_170_770_962),
                (12, 0.265_362_006_911, 0.121_653_293_538),
            ],
        },
    ]
}

/// Noise in `levels` sixteenths by a linear congruential generator, and `lift` more of it in events and a
/// little after them; with few levels many scores are equal.
pub fn series(rows: usize, events: &[(usize, usize)], levels: u64, lift: f64, seed: u64) -> Series {
    let mut state = seed;
    let score = |row| {
        state = (state * 1_103_515_245 + 12_345) % 2_147_483_648;
        let is_lifted = events.iter().any(|(from, to)| (from + 2..to + 3).contains(&row));
        (state / 65_536 % levels) as f64 / 16.0 + if is_lifted { lift } else { 0.0 }
    };
    let is_anomaly = |row| events.iter().any(|(from, to)| (*from..*to).contains(&row));
    Series { scores: (0..rows).map(score).collect(), truth: (0..rows).map(is_anomaly).collect() }
}
