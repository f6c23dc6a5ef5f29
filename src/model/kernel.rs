//! The arithmetic that layers share: plain numbers, without names, files or configuration.

pub mod attention;
pub mod blocks;
pub mod convolution;
pub mod convolve;
pub mod exponential;
pub mod functions;
pub mod gru;
pub mod line;
pub mod lstm;
pub mod operation;
pub mod plain;
pub mod product;
pub mod recurrence;
pub mod recurrent;
pub mod standardise;
pub mod transpose;
pub mod window;
