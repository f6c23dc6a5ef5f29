//! Reads lists of layers: those of a model, and those within a layer.

use std::cell::{Cell, RefCell};
use std::collections::HashSet;

use super::layer_table::{LAYER_VALUES_MAX, LayerTable};
use super::{LAYERS_MAX, Layer};
use crate::model::shape::Shape;
use crate::settings::{Entry, SettingError};

/// How deep lists of layers may stand in one another.
pub const LAYERS_NESTING_MAX: usize = 8;

/// What all lists of one model share.
#[derive(Debug, Default)]
pub struct Reading {
    names: RefCell<HashSet<String>>,
    layers: Cell<usize>,
}

impl Reading {
    /// Reads `list`, `depth` lists deep in the first, whose layers must each take what the one before gives,
    /// the first one `input`; also says what the last one gives.
    pub fn list(
        &self,
        list: &Entry<'_>,
        input: Shape,
        depth: usize,
    ) -> Result<(Vec<Layer>, Shape), SettingError> {
        if depth > LAYERS_NESTING_MAX {
            let problem = format!(
                "found a list {depth} deep, expected at most {LAYERS_NESTING_MAX} (layers_nesting_max)"
            );
            return Err(list.invalid(problem));
        }
        let entries = list.items()?;
        let all = self.layers.get().saturating_add(entries.len());
        self.layers.set(all);
        if entries.len() == 0 || all > LAYERS_MAX {
            let found = if entries.len() == 0 { 0 } else { all };
            let problem = format!("found {found}, expected 1 to {LAYERS_MAX} layers (layers_max)");
            return Err(list.invalid(problem));
        }
        let mut layers = Vec::with_capacity(entries.len());
        let mut shape = input;
        for entry in entries {
            let mut table = entry.table()?;
            let found = table.find_choice("type", &Layer::types())?;
            let (layer_type, read) = table.required("type", found)?;
            let is_first = depth == 0 && layers.is_empty();
            let mut table = LayerTable::of(table, layer_type, self)?.at(shape, depth, is_first);
            let layer = read(&mut table)?;
            table.refuse_others()?;
            shape = shape_after(&layer, shape, &table)?;
            if table.name().is_some_and(|name| !self.names.borrow_mut().insert(name.to_owned())) {
                return Err(table.invalid("name", "an earlier layer has this name"));
            }
            layers.push(layer);
        }
        Ok((layers, shape))
    }
}

/// What `layer` makes of a row of shape `input`; the error names the member of its `table` that does not fit.
fn shape_after(layer: &Layer, input: Shape, table: &LayerTable<'_>) -> Result<Shape, SettingError> {
    let output = layer.as_type().shape(input).map_err(|misfit| table.misfit(misfit, input))?;
    if output.values() > LAYER_VALUES_MAX {
        let problem =
            format!("found {output}, expected at most {LAYER_VALUES_MAX} numbers (layer_values_max)");
        return Err(table.invalid("type", problem));
    }
    Ok(output)
}
