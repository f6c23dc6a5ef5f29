//! Where the time of requests with a result went, on average.

use maud::{Markup, html};

use super::drawn;
use crate::lab::findings::{PointFindings, StageFindings};
use crate::lab::words::milliseconds;
use crate::report::drawing::{Scale, WIDTH, figure, tenths};

/// Names of the stages, in the order of the bars.
const STAGES: [&str; 4] = ["network (simulated)", "queue", "forward pass", "the rest"];

/// A bar for each placement; nothing when nothing was answered.
pub fn stages(point: &PointFindings, id: &str) -> Option<Markup> {
    let rows: Vec<(&str, [f64; 4])> = drawn(point)
        .iter()
        .filter_map(|placement| Some((placement.name.as_str(), means(placement.stages.as_ref()?))))
        .collect();
    let most = rows.iter().map(|(_, means)| means.iter().sum::<f64>()).reduce(f64::max)?;
    let scale = Scale::exactly(0.0, most);
    let height = ROW * rows.len() as f64 + 6.0;
    let said = |(name, means): &(&str, [f64; 4])| {
        let parts = STAGES.iter().zip(means).map(|(stage, mean)| format!("{stage} {}", milliseconds(*mean)));
        format!("{name}: {}.", parts.collect::<Vec<_>>().join(", "))
    };
    let drawing = html! {
        svg.plot viewBox=(format!("0 0 {WIDTH} {height}")) role="img"
            aria-labelledby=(format!("{id}-title {id}-description")) {
            title id=(format!("{id}-title")) { "Where the time went, on average" }
            desc id=(format!("{id}-description")) { (rows.iter().map(said).collect::<Vec<_>>().join(" ")) }
            @for (at, (name, means)) in rows.iter().enumerate() { (bar(at, name, means, &scale)) }
        }
    };
    let legend = html! {
        ul.legend {
            @for (at, stage) in STAGES.iter().enumerate() {
                li { svg.key viewBox="0 0 34 12" aria-hidden="true" { rect class=(format!("stage{at}")) width="34" height="12" {} } span { (stage) } }
            }
        }
    };
    let caption = html! {
        "Means of requests with a result. The network's share is decided by the simulation; the rest is the broker, encoding and the \
         operating system."
    };
    Some(figure("Where the time goes", &legend, &drawing, &caption))
}

const ROW: f64 = 54.0;
const BAR: f64 = 22.0;
const RIGHT: f64 = 8.0;

fn means(stages: &StageFindings) -> [f64; 4] {
    [stages.network_ms.mean, stages.queue_ms.mean, stages.inference_ms.mean, stages.rest_mean_ms]
}

/// The beginning of a name that fits above a bar on a narrow screen.
fn shortened(name: &str) -> String {
    match name.char_indices().nth(NAME_CHARACTERS_MAX) {
        Some((at, _)) => format!("{}…", &name[..at]),
        None => name.to_owned(),
    }
}

const NAME_CHARACTERS_MAX: usize = 36;

fn bar(row: usize, name: &str, means: &[f64; 4], scale: &Scale) -> Markup {
    let top = ROW * row as f64;
    let x = |value: f64| scale.at(value) * (WIDTH - RIGHT);
    let mut from = 0.0;
    let parts = means.iter().enumerate().map(|(stage, mean)| {
        let (left, right) = (x(from), x(from + mean));
        from += mean;
        (stage, left, right - left)
    });
    let parts: Vec<_> = parts.collect();
    html! {
        text.bar-name x="0" y=(top + 18.0) { (shortened(name)) " · " (milliseconds(means.iter().sum())) }
        @for (stage, left, width) in parts {
            @if width > 0.05 {
                rect class=(format!("stage{stage}")) x=(tenths(left)) y=(top + 25.0) width=(tenths(width.max(0.1))) height=(BAR) {}
            }
        }
        // However short the bar, one sees where it is.
        path.axis d=(format!("M0 {}v{BAR}", top + 25.0)) {}
    }
}
