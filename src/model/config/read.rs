//! Reads `config.json`, as a table of settings, into a [`Config`] that has been checked as a whole.

use std::collections::HashMap;
use std::path::Path;

use super::{
    CONFIG_FILE, Config, FORMAT_DETECTION, FORMAT_GRAPH, FORMAT_LAYERS, Feature, Format, Golden, INPUTS_MAX,
    WeightsFile,
};
use crate::detection;
use crate::model::graph::json;
use crate::model::layers::{self, Activation, Layer};
use crate::model::narrow;
use crate::model::normalise::Normalisation;
use crate::model::output::Output;
use crate::model::shape::{Layout, Shape};
use crate::settings::{Entry, SettingError, Table};

/// The difference to the golden output that is forgiven when `golden.tolerance` is absent.
const GOLDEN_TOLERANCE_DEFAULT: f32 = 1e-6;
/// The most patterns of tensors that need not be used.
const IGNORE_MAX: usize = 256;
/// Every key that the file may have, in the order in which they are written.
const KEYS: &[&str] = &[
    "format",
    "name",
    "version",
    "description",
    "source",
    "origin",
    "weights",
    "inputs",
    "layout",
    "features",
    "normalisation",
    "ignore",
    "layers",
    "graph",
    "output",
    "reconstruction",
    "score",
    "class",
    "label",
    "value",
    "also",
    "detection",
    "threshold",
    "labels",
    "golden",
];

/// Reads `table`, which is the whole file.
pub fn config(mut table: Table<'_>) -> Result<Config, SettingError> {
    // Before anything is understood: a misspelt `layout` is named, not a layer that does not fit.
    table.refuse_all_but(KEYS)?;
    let format = read_format(&mut table)?;
    let is_name = |name: &str| (!name.is_empty()).then(|| name.to_owned());
    let name = required(&mut table, "name")?.parsed("a name", is_name)?;
    let inputs = read_inputs(&mut table)?;
    let mut config = Config {
        version: table.find_text("version")?.map(str::to_owned),
        description: table.find_text("description")?.map(str::to_owned),
        source: read_source(&mut table)?,
        weights: WeightsFile::read(required(&mut table, "weights")?.table()?)?,
        layout: table.find("layout").map(|entry| Layout::read(&entry, inputs)).transpose()?,
        normalisation: table
            .find("normalisation")
            .map(|entry| Normalisation::read(&entry, inputs))
            .transpose()?,
        output: if is_without_network(&table) { Output::Probability } else { Output::read(&mut table)? },
        golden: table.find("golden").map(|entry| Golden::read(&entry, inputs)).transpose()?,
        ..Config::new(name, inputs)
    };
    if let Some(entry) = table.find("features") {
        config.features = read_features(&entry, inputs)?;
    }
    if let Some(entry) = table.find("threshold") {
        config.threshold = narrow::number(&entry, "a probability in [0, 1]", is_probability)?;
    }
    if let Some(entry) = table.find("labels") {
        config.labels = read_labels(&entry)?;
    }
    if let Some(entry) = table.find("ignore") {
        config.ignore = read_ignore(&entry)?;
    }
    config.format = format;
    if let Some(entry) = table.find("detection") {
        if format < Format(FORMAT_DETECTION) {
            let problem = format!("a description of \"format\": {FORMAT_DETECTION} has this");
            return Err(entry.invalid(problem));
        }
        config.detection = Some(detection::Settings::read(&entry)?);
    }
    read_network(&mut table, &mut config)?;
    table.finish()?;
    Ok(config)
}

/// Whether it only detects: then nothing gives an output that could mean anything.
fn is_without_network(table: &Table<'_>) -> bool {
    let has = |key: &str| table.others().any(|(other, _)| other == key);
    has("detection") && !has("layers") && !has("graph") && !has("output")
}

/// What stands at `key`, and must.
fn required<'a>(table: &mut Table<'a>, key: &'static str) -> Result<Entry<'a>, SettingError> {
    let entry = table.find(key);
    table.required(key, entry)
}

fn read_format(table: &mut Table<'_>) -> Result<Format, SettingError> {
    let entry = required(table, "format")?;
    let error = |_| entry.wrong(format!("{FORMAT_LAYERS}, {FORMAT_GRAPH} or {FORMAT_DETECTION}"));
    entry.number(FORMAT_LAYERS..=FORMAT_DETECTION).map(Format).map_err(error)
}

fn read_inputs(table: &mut Table<'_>) -> Result<usize, SettingError> {
    let entry = required(table, "inputs")?;
    let error = |_| entry.wrong(format!("1 to {INPUTS_MAX} (inputs_max)"));
    entry.number(1..=INPUTS_MAX).map_err(error)
}

/// Where the weights come from; `origin` is an older word for it.
fn read_source(table: &mut Table<'_>) -> Result<Option<String>, SettingError> {
    let (source, origin) = (table.find_text("source")?, table.find_text("origin")?);
    if source.is_some() && origin.is_some() {
        return Err(table.invalid("origin", "it is another word for source, which stands there too"));
    }
    Ok(source.or(origin).map(str::to_owned))
}

fn read_features(entry: &Entry<'_>, inputs: usize) -> Result<Vec<Feature>, SettingError> {
    let items = entry.items()?;
    if items.len() != inputs {
        let problem = format!("found {}, expected {inputs} features, as inputs says", items.len());
        return Err(entry.invalid(problem));
    }
    let mut places = HashMap::new();
    let mut features = Vec::with_capacity(inputs);
    for (at, item) in items.enumerate() {
        let mut table = item.table()?;
        let (name, unit) = (table.find_text("name")?, table.find_text("unit")?.map(str::to_owned));
        table.refuse_others()?;
        let name = table.required("name", name)?;
        if let Some(first) = places.insert(name, at) {
            return Err(table.invalid("name", format!("{name:?} is the name of features[{first}] too")));
        }
        features.push(Feature { name: name.to_owned(), unit });
    }
    Ok(features)
}

fn read_labels(entry: &Entry<'_>) -> Result<[String; 2], SettingError> {
    let labels = entry.items()?.map(|item| item.text().map(str::to_owned));
    let labels: Vec<_> = labels.collect::<Result<_, _>>()?;
    labels.try_into().map_err(|labels: Vec<_>| {
        let expected = "two words, for below the threshold and for at or above it";
        entry.invalid(format!("found {}, expected {expected}", labels.len()))
    })
}

fn read_ignore(entry: &Entry<'_>) -> Result<Vec<String>, SettingError> {
    let items = entry.items()?;
    if items.len() > IGNORE_MAX {
        let problem = format!("found {}, expected at most {IGNORE_MAX} patterns (ignore_max)", items.len());
        return Err(entry.invalid(problem));
    }
    items.map(|item| item.text_or("the name of a tensor, or a pattern with *").map(str::to_owned)).collect()
}

/// The layers, or the graph, or neither where the file of weights says what the network is.
fn read_network(table: &mut Table<'_>, config: &mut Config) -> Result<(), SettingError> {
    let is_graph = config.format >= Format(FORMAT_GRAPH);
    let (graph, value, also) = (table.find("graph"), table.find_text("value")?, table.find_list("also")?);
    let found = [("graph", graph.is_some()), ("value", value.is_some()), ("also", also.is_some())];
    if !is_graph && let Some((key, _)) = found.into_iter().find(|(_, found)| *found) {
        return Err(table.invalid(
            key,
            format!(
                "a description of \"format\": {FORMAT_GRAPH} has this; the format here is {FORMAT_LAYERS}"
            ),
        ));
    }
    config.value = value.map(str::to_owned);
    let also = also.into_iter().flatten().map(|item| item.text().map(str::to_owned));
    config.also = also.collect::<Result<_, _>>()?;
    let layers = table.find("layers");
    if let Some(entry) = graph {
        if layers.is_some() {
            return Err(entry.invalid("layers are there too: a network is the one or the other"));
        }
        config.graph = Some(json::read(&entry)?);
    } else if layers.is_some()
        || !(is_graph && config.weights.file.ends_with(".onnx") || config.detection.is_some())
    {
        config.layers = read_layers(table, config)?;
    }
    Ok(())
}

/// The layers, of which the last one must give what `config.output` needs.
fn read_layers(table: &mut Table<'_>, config: &Config) -> Result<Vec<Layer>, SettingError> {
    let entry = required(table, "layers")?;
    let input = Shape::of_input(config.inputs, config.layout);
    let (layers, last) = layers::read(&entry, input)?;
    let expected = match config.output {
        Output::Reconstruction { .. } => input,
        Output::Class { index } => match last {
            Shape::Flat(classes) if classes > index => last,
            _ => {
                let problem =
                    format!("expected the last layer to give more than {index} numbers, it gives {last}");
                return Err(entry.invalid(problem));
            }
        },
        Output::Label { .. } => {
            return Err(table.invalid("output", "layers give no labels, which a graph may"));
        }
        Output::Probability | Output::Logit | Output::Score { .. } => Shape::Flat(1),
    };
    if last != expected {
        let problem = format!("expected the last layer to give {expected}, it gives {last}");
        return Err(entry.invalid(problem));
    }
    if config.output == Output::Logit && layers.last() == Some(&Layer::Activation(Activation::Sigmoid)) {
        let problem = "found \"logit\" after a final sigmoid layer, which would apply the sigmoid twice; \
                       write \"probability\", or leave out the last layer";
        return Err(table.invalid("output", problem));
    }
    Ok(layers)
}

impl WeightsFile {
    fn read(mut table: Table<'_>) -> Result<Self, SettingError> {
        let (file, sha256) = (table.find("file"), table.find("sha256"));
        table.refuse_others()?;
        let (file, sha256) = (table.required("file", file)?, table.required("sha256", sha256)?);
        let is_plain = |name: &str| Path::new(name).file_name().is_some_and(|file| file == name);
        let name = file.parsed(&format!("the name of a file beside {CONFIG_FILE}"), |name| {
            (is_plain(name) && !name.contains('\\')).then_some(name)
        })?;
        let expected = format!("64 hexadecimal digits (`sha256sum {name}` prints them)");
        let sha256 = sha256.parsed(&expected, |digits| {
            let is_hash = digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit());
            is_hash.then(|| digits.to_ascii_lowercase())
        })?;
        Ok(Self { file: name.to_owned(), sha256 })
    }
}

impl Golden {
    fn read(entry: &Entry<'_>, inputs: usize) -> Result<Self, SettingError> {
        let mut table = entry.table()?;
        let (input, output, tolerance) = (table.find("input"), table.find("output"), table.find("tolerance"));
        table.refuse_others()?;
        let (input, output) = (table.required("input", input)?, table.required("output", output)?);
        let is_tolerance = |tolerance| tolerance > 0.0 && tolerance < 1.0;
        let tolerance = tolerance
            .map(|entry| narrow::number(&entry, "more than 0 and less than 1 in f32", is_tolerance))
            .transpose()?;
        Ok(Self {
            input: narrow::vector(&input, inputs, "a number", |_| true)?,
            output: narrow::number(&output, "a probability in [0, 1]", is_probability)?,
            tolerance: tolerance.unwrap_or(GOLDEN_TOLERANCE_DEFAULT),
        })
    }
}

fn is_probability(number: f32) -> bool {
    (0.0..=1.0).contains(&number)
}
