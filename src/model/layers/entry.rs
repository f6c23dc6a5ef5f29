//! One entry of `layers` in `config.json`: its members, read within their bounds.

use crate::model::ConfigError;
use crate::model::config::Place;
use crate::model::config::schema::LayerEntry;
use crate::model::kernel::lstm::Returns;
use crate::model::shape::{Misfit, Shape};

/// The most features on either side of a layer.
pub const LAYER_FEATURES_MAX: usize = 1 << 20;
/// The most numbers of one row between two layers, and in one window of a convolution.
pub const LAYER_VALUES_MAX: usize = 1 << 22;

/// One entry, and where it stands.
pub struct Entry<'a> {
    raw: &'a LayerEntry,
    at: usize,
    place: &'a Place<'a>,
    /// The members that its type has.
    asked: Vec<&'static str>,
}

impl<'a> Entry<'a> {
    /// The entry number `at`, from 0.
    pub fn new(raw: &'a LayerEntry, at: usize, place: &'a Place<'a>) -> Self {
        // Any layer may have a name, which those without tensors do not use.
        Self { raw, at, place, asked: vec!["name"] }
    }

    /// What stands at `type`.
    pub fn layer_type(&self) -> &'a str {
        &self.raw.kind
    }

    /// The prefix of its tensors' names.
    pub fn prefix(&self) -> Result<String, ConfigError> {
        match self.raw.name.as_deref() {
            Some(name) if !name.is_empty() => Ok(name.to_owned()),
            _ => Err(self.error("name", format!("a {} layer needs its tensors' prefix", self.raw.kind))),
        }
    }

    /// How many features, channels or samples.
    pub fn size(&mut self, member: &'static str) -> Result<usize, ConfigError> {
        match self.size_or_none(member)? {
            Some(size) => Ok(size),
            None => Err(self.error(member, format!("missing: a {} layer needs it", self.raw.kind))),
        }
    }

    fn size_or_none(&mut self, member: &'static str) -> Result<Option<usize>, ConfigError> {
        self.asked.push(member);
        let raw = self.raw;
        let found = match member {
            "in" => raw.inputs,
            "out" => raw.outputs,
            "kernel" => raw.kernel,
            "stride" => raw.stride,
            "hidden" => raw.hidden,
            "samples" => raw.samples,
            _ => raw.features,
        };
        match found {
            Some(size) if !(1..=LAYER_FEATURES_MAX).contains(&size) => {
                let problem =
                    format!("expected 1 to {LAYER_FEATURES_MAX} (layer_features_max), found {size}");
                Err(self.error(member, problem))
            }
            found => Ok(found),
        }
    }

    /// True or false.
    pub fn flag(&mut self, member: &'static str, default: bool) -> Result<bool, ConfigError> {
        self.asked.push(member);
        Ok(if member == "bias" { self.raw.bias } else { self.raw.affine }.unwrap_or(default))
    }

    /// A number.
    pub fn number(&mut self, member: &'static str, default: f64) -> Result<f64, ConfigError> {
        self.asked.push(member);
        let found = match member {
            "eps" => self.raw.eps,
            "alpha" => self.raw.alpha,
            _ => self.raw.negative_slope,
        };
        Ok(found.unwrap_or(default))
    }

    /// A number above zero.
    pub fn positive(&mut self, member: &'static str, default: f64) -> Result<f64, ConfigError> {
        let number = self.number(member, default)?;
        if number > 0.0 && number.is_finite() {
            return Ok(number);
        }
        Err(self.error(member, format!("expected more than 0, found {number}")))
    }

    /// Which outputs go on.
    pub fn returns(&mut self) -> Result<Returns, ConfigError> {
        self.asked.push("returns");
        Ok(self.raw.returns.unwrap_or(Returns::Sequence))
    }

    /// A window's length, the distance to the next, by default as its length has it, and the padding.
    pub fn window(
        &mut self,
        stride_default: fn(usize) -> usize,
    ) -> Result<(usize, usize, usize), ConfigError> {
        let kernel = self.size("kernel")?;
        let stride = self.size_or_none("stride")?.unwrap_or(stride_default(kernel));
        self.asked.push("padding");
        let padding = self.raw.padding.unwrap_or(0);
        if padding > kernel / 2 {
            let problem = format!("expected at most {}, half the kernel, found {padding}", kernel / 2);
            return Err(self.error("padding", problem));
        }
        Ok((kernel, stride, padding))
    }

    /// Refuses members that belong to other types: they would be ignored in silence.
    pub fn finish(&self) -> Result<(), ConfigError> {
        let raw = self.raw;
        let present = [
            ("in", raw.inputs.is_some()),
            ("out", raw.outputs.is_some()),
            ("bias", raw.bias.is_some()),
            ("features", raw.features.is_some()),
            ("eps", raw.eps.is_some()),
            ("affine", raw.affine.is_some()),
            ("negative_slope", raw.negative_slope.is_some()),
            ("alpha", raw.alpha.is_some()),
            ("kernel", raw.kernel.is_some()),
            ("stride", raw.stride.is_some()),
            ("padding", raw.padding.is_some()),
            ("hidden", raw.hidden.is_some()),
            ("returns", raw.returns.is_some()),
            ("samples", raw.samples.is_some()),
        ];
        for (member, found) in present {
            if found && !self.asked.contains(&member) {
                let problem = format!("a {} layer takes {} only", raw.kind, self.asked.join(", "));
                return Err(self.error(member, problem));
            }
        }
        Ok(())
    }

    /// The error for `member`.
    pub fn error(&self, member: &str, problem: impl Into<String>) -> ConfigError {
        self.place.error(format!("layers[{}].{member}", self.at), problem)
    }

    /// The error for a layer that cannot take `input`.
    pub fn misfit(&self, misfit: Misfit, input: Shape) -> ConfigError {
        let (layer_type, first) = (self.layer_type(), self.at == 0);
        let before = if first { "inputs and layout say" } else { "the layers before it give" };
        match misfit {
            Misfit::NoSequence => {
                self.error("type", format!("a {layer_type} layer needs a sequence, {before} {input}"))
            }
            Misfit::Sequence => {
                self.error("type", format!("a {layer_type} layer needs plain features, {before} {input}"))
            }
            Misfit::Window { kernel, longest } => self
                .error("kernel", format!("expected at most {longest} samples with padding, found {kernel}")),
            Misfit::Width { member, stated, width } => {
                let before = if first { "inputs says" } else { "the layers before it give" };
                self.error(member, format!("expected {width}, as {before}, found {stated}"))
            }
        }
    }
}
