//! What an ONNX file may ask for. Memory stays in proportion to the file: each bound is on something that
//! takes more in memory than it does in the file.

/// The bytes of a file, together with those of the files beside it that hold its weights.
pub const FILE_BYTES_MAX: u64 = 512 << 20;
/// The nodes of all graphs and functions, each function counted as often as it is called.
pub const NODES_MAX: usize = 65_536;
/// The names that nodes have as inputs and outputs, all together.
pub const VALUES_MAX: usize = 1 << 20;
/// The attributes of a node.
pub const ATTRIBUTES_MAX: usize = 128;
/// The weights of all graphs, and the tensors in attributes.
pub const TENSORS_MAX: usize = 65_536;
/// The axes of a tensor.
pub const AXES_MAX: usize = 16;
/// The inputs of a graph, and its outputs.
pub const INPUTS_MAX: usize = 4_096;
/// The words in attributes and tensors, all together.
pub const WORDS_MAX: usize = 1 << 20;
/// The length of a name.
pub const NAME_BYTES_MAX: usize = 1_024;
/// The domains with versions of their operators.
pub const DOMAINS_MAX: usize = 64;
/// The functions of a file.
pub const FUNCTIONS_MAX: usize = 4_096;
/// How deep functions may call functions.
pub const CALLS_DEPTH_MAX: usize = 16;
/// The bytes of functions, each counted as often as it is called.
pub const CALLED_BYTES_MAX: usize = 64 << 20;
/// The versions of the file format that are read: opsets are named from 3 on.
pub const IR_VERSIONS: std::ops::RangeInclusive<i64> = 3..=14;

/// How the smallest and largest `IR_VERSIONS` are written in messages.
pub fn ir_versions() -> String {
    format!("{} to {}", IR_VERSIONS.start(), IR_VERSIONS.end())
}
