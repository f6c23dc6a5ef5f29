//! The arithmetic that layers share: plain numbers, without names, files or configuration.

pub mod blocks;
pub mod convolve;
pub mod functions;
pub mod lstm;
pub mod operation;
pub mod plain;
pub mod product;
pub mod recurrent;
pub mod transpose;
pub mod window;
