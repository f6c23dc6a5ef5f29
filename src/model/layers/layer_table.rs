//! One entry of `layers` in `config.json`: its members, read within their bounds.

use std::ops::Bound;

use super::Layer;
use super::reading::Reading;
use crate::model::shape::{Misfit, Shape};
use crate::settings::{Entry, Problem, SettingError, Table};

/// The most features on either side of a layer.
pub const LAYER_FEATURES_MAX: usize = 1 << 20;
/// The most numbers of one row between two layers, and in one window of a convolution.
pub const LAYER_VALUES_MAX: usize = 1 << 22;

/// The table of one layer, whose type is known.
pub struct LayerTable<'a> {
    table: Table<'a>,
    layer_type: &'static str,
    /// Any layer may have one; those without tensors do not use it.
    name: Option<&'a str>,
    /// What it shares with all layers of its model.
    reading: &'a Reading,
    /// What comes to the layer.
    input: Shape,
    /// How many lists of layers its own stands in.
    depth: usize,
    /// Whether no layer comes before it.
    is_first: bool,
}

impl<'a> LayerTable<'a> {
    /// `table`, in which `layer_type` was found.
    pub fn of(
        table: Table<'a>,
        layer_type: &'static str,
        reading: &'a Reading,
    ) -> Result<Self, SettingError> {
        let mut table = table;
        let name = table.find_text("name")?;
        Ok(Self { table, layer_type, name, reading, input: Shape::Flat(0), depth: 0, is_first: false })
    }

    /// With what comes to it, and where it stands.
    pub fn at(self, input: Shape, depth: usize, is_first: bool) -> Self {
        Self { input, depth, is_first, ..self }
    }

    /// What comes to the layer.
    pub fn input(&self) -> Shape {
        self.input
    }

    /// The layers at `key`, of which the first meets what comes to this one, with what the last one gives.
    pub fn inner(&mut self, key: &'static str) -> Result<Option<(Vec<Layer>, Shape)>, SettingError> {
        let Some(list) = self.table.find(key) else { return Ok(None) };
        self.reading.list(&list, self.input, self.depth + 1).map(Some)
    }

    /// What stands at `key`.
    pub fn find(&mut self, key: &'static str) -> Option<Entry<'a>> {
        self.table.find(key)
    }

    /// The word for the layer's type.
    pub fn layer_type(&self) -> &'static str {
        self.layer_type
    }

    /// The layer's name, if it has one.
    pub fn name(&self) -> Option<&'a str> {
        self.name
    }

    /// The prefix of its tensors' names.
    pub fn prefix(&self) -> Result<String, SettingError> {
        match self.name {
            Some("") => Err(self.invalid("name", "found \"\", expected its tensors' prefix")),
            Some(name) => Ok(name.to_owned()),
            None => Err(self.missing("name", "needs its tensors' prefix")),
        }
    }

    /// How many features, channels or samples.
    pub fn size(&mut self, key: &'static str) -> Result<usize, SettingError> {
        match self.find_size(key)? {
            Some(size) => Ok(size),
            None => Err(self.missing(key, "needs it")),
        }
    }

    /// The error for what the layer `needs` at `key` and does not have; or for the member that is probably a
    /// slip of it.
    fn missing(&self, key: &'static str, needs: &str) -> SettingError {
        let slip = self.table.missing(key, "");
        if slip.is_unknown_key() {
            // What else the type takes is not known yet: it was not asked for.
            let problem = format!("a {} layer does not take it", self.layer_type);
            return SettingError { problem: Problem::Other(problem), ..slip };
        }
        self.invalid(key, format!("missing: a {} layer {needs}", self.layer_type))
    }

    /// A size that may be left out.
    pub fn find_size(&mut self, key: &'static str) -> Result<Option<usize>, SettingError> {
        let Some(entry) = self.table.find(key) else { return Ok(None) };
        let size = entry.number(1..=LAYER_FEATURES_MAX);
        let error = |_| entry.wrong(format!("1 to {LAYER_FEATURES_MAX} (layer_features_max)"));
        size.map(Some).map_err(error)
    }

    /// How many of something there are, at most `max`, the bound called `bound`; or the default.
    pub fn count(
        &mut self,
        key: &'static str,
        default: usize,
        max: usize,
        bound: &str,
    ) -> Result<usize, SettingError> {
        let Some(entry) = self.table.find(key) else { return Ok(default) };
        let error = |_| entry.wrong(format!("1 to {max} ({bound})"));
        entry.number(1..=max).map_err(error)
    }

    /// The place of a feature, from 0, that may be left out.
    pub fn find_place(&mut self, key: &'static str) -> Result<Option<usize>, SettingError> {
        self.table.find_number(key, ..LAYER_FEATURES_MAX)
    }

    /// Reads true or false, or takes the default.
    pub fn flag(&mut self, key: &'static str, default: bool) -> Result<bool, SettingError> {
        Ok(self.table.find_flag(key)?.unwrap_or(default))
    }

    /// Reads a number, or takes the default.
    pub fn number(&mut self, key: &'static str, default: f64) -> Result<f64, SettingError> {
        Ok(self.table.find_number(key, ..)?.unwrap_or(default))
    }

    /// Reads a number above zero, or takes the default.
    pub fn positive(&mut self, key: &'static str, default: f64) -> Result<f64, SettingError> {
        let more_than_0 = (Bound::Excluded(0.0), Bound::Unbounded);
        Ok(self.table.find_number(key, more_than_0)?.unwrap_or(default))
    }

    /// What one of the `known` names stands for.
    pub fn choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
        default: T,
    ) -> Result<T, SettingError> {
        Ok(self.table.find_choice(key, known)?.unwrap_or(default))
    }

    /// What one of the `known` names stands for, where one stands there.
    pub fn find_choice<T: Copy>(
        &mut self,
        key: &'static str,
        known: &[(&str, T)],
    ) -> Result<Option<T>, SettingError> {
        self.table.find_choice(key, known)
    }

    /// A window's length, the distance to the next, by default as its length has it, and the padding.
    pub fn window(
        &mut self,
        stride_default: fn(usize) -> usize,
    ) -> Result<(usize, usize, usize), SettingError> {
        let kernel = self.size("kernel")?;
        let stride = self.find_size("stride")?.unwrap_or(stride_default(kernel));
        let Some(entry) = self.table.find("padding") else { return Ok((kernel, stride, 0)) };
        // A pooling's window of padding alone would have no largest number; PyTorch refuses it too.
        let error = |_| entry.wrong(format!("at most {}, half the kernel", kernel / 2));
        let padding = entry.number(..=kernel / 2).map_err(error)?;
        Ok((kernel, stride, padding))
    }

    /// Refuses members that nobody asked for, among them those of other types, which would have no effect.
    pub fn refuse_others(&self) -> Result<(), SettingError> {
        let Err(error) = self.table.refuse_others() else { return Ok(()) };
        let Problem::UnknownKey { known } = &error.problem else { return Err(error) };
        let members: Vec<_> = known.iter().copied().filter(|key| *key != "type").collect();
        let problem = format!("a {} layer takes {} only", self.layer_type, members.join(", "));
        Err(SettingError { problem: Problem::Other(problem), ..error })
    }

    /// The error for what stands at `key`, or should, in words.
    pub fn invalid(&self, key: &str, problem: impl Into<String>) -> SettingError {
        self.table.invalid(key, problem)
    }

    /// The error for a layer that cannot take `input`.
    pub fn misfit(&self, misfit: Misfit, input: Shape) -> SettingError {
        let before = if self.is_first { "inputs and layout say" } else { "the layers before it give" };
        match misfit {
            Misfit::NoSequence => {
                let problem = format!("a {} layer needs a sequence, {before} {input}", self.layer_type);
                self.invalid("type", problem)
            }
            Misfit::Sequence => {
                let problem = format!("a {} layer needs plain features, {before} {input}", self.layer_type);
                self.invalid("type", problem)
            }
            Misfit::Window { kernel, longest } => {
                let problem = format!("found {kernel}, expected at most {longest} samples with padding");
                self.invalid("kernel", problem)
            }
            Misfit::Width { member, stated, width } => {
                let before = if self.is_first { "inputs says" } else { "the layers before it give" };
                self.invalid(member, format!("found {stated}, expected {width}, as {before}"))
            }
            Misfit::Beyond { member, stated, most, why } => {
                self.invalid(member, format!("found {stated}, expected at most {most}: {why}"))
            }
            Misfit::Samples { samples, most, why } => {
                let problem = format!("{before} {samples} samples, expected at most {most}, {why}");
                self.invalid("type", problem)
            }
            Misfit::Branches { .. } => self.invalid("type", misfit.to_string()),
        }
    }
}
