//! The bounds of the checkpoint reader: no file makes it use more.

/// The bounds of the checkpoint reader. A file that reaches one is refused, and the error names the bound.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Limits {
    /// The size of the file.
    pub file_bytes_max: u64,
    /// Entries of a zip archive.
    pub entries_max: u64,
    /// One pickle, after inflation.
    pub pickle_bytes_max: u64,
    /// Opcodes of one pickle.
    pub opcodes_max: u64,
    /// Memory for the values of one pickle, by the reader's own account.
    pub value_bytes_max: u64,
    /// Objects that one pickle remembers for later.
    pub memo_entries_max: u64,
    /// Values that wait on one pickle's stack.
    pub stack_depth_max: u64,
    /// One string or byte string in a pickle.
    pub string_bytes_max: u64,
    /// Modules within modules, dicts within dicts.
    pub nesting_max: u64,
    /// Values looked at in search of tensors.
    pub walk_steps_max: u64,
    /// A tensor's name.
    pub name_bytes_max: u64,
    /// All names together, with those of what contains the tensors.
    pub names_bytes_max: u64,
    /// Tensors in a file.
    pub tensors_max: u64,
    /// A tensor's dimensions.
    pub dimensions_max: u64,
    /// One tensor, and one storage.
    pub tensor_bytes_max: u64,
    /// All tensors together.
    pub total_bytes_max: u64,
    /// All tensors together, as a multiple of the file's size (beyond the first 64 MiB): tensors
    /// may share a storage or repeat it, and a small file could ask for any amount that way.
    pub sharing_factor_max: u64,
}

/// What tensors may take, whatever the file's size, before `sharing_factor_max` counts.
const SHARED_BYTES_FREE: u64 = 64 << 20;

impl Default for Limits {
    fn default() -> Self {
        Self {
            file_bytes_max: 2 << 30,
            entries_max: 100_000,
            pickle_bytes_max: 256 << 20,
            opcodes_max: 4_000_000,
            value_bytes_max: 256 << 20,
            memo_entries_max: 1_000_000,
            stack_depth_max: 1_000_000,
            string_bytes_max: 64 << 20,
            nesting_max: 64,
            walk_steps_max: 1_000_000,
            name_bytes_max: 1_024,
            names_bytes_max: 64 << 20,
            tensors_max: 65_536,
            dimensions_max: 64,
            tensor_bytes_max: 1 << 30,
            total_bytes_max: 2 << 30,
            sharing_factor_max: 4,
        }
    }
}

/// A bound that was reached.
#[derive(Debug)]
pub struct Over {
    pub what: String,
    pub bound: &'static str,
    pub max: u64,
}

impl Limits {
    /// Refuses `amount` of `what` when it is more than `max`, the field called `bound`.
    pub(crate) fn check(&self, what: &str, bound: &'static str, amount: u64, max: u64) -> Result<(), Over> {
        if amount <= max { Ok(()) } else { Err(Over { what: format!("{what} ({amount})"), bound, max }) }
    }

    /// Refuses tensors of `bytes` in all from a file of `file_bytes`.
    pub(crate) fn check_total(&self, bytes: u64, file_bytes: u64) -> Result<(), Over> {
        self.check("the size of all tensors", "total_bytes_max", bytes, self.total_bytes_max)?;
        let shared_max = file_bytes.saturating_mul(self.sharing_factor_max).max(SHARED_BYTES_FREE);
        if bytes <= shared_max {
            return Ok(());
        }
        let what = format!("the size of all tensors ({bytes} bytes, from a file of {file_bytes})");
        Err(Over { what, bound: "sharing_factor_max", max: self.sharing_factor_max })
    }
}
