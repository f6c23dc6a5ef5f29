//! Energy by a stated model. Nothing here is measured: whoever shows such a figure says that it is a model's.

use std::time::Duration;

/// Energy is proportional to the processor's time and to the bytes on the wire.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct EnergyModel {
    /// Joules for a second of one processor core.
    pub joules_per_cpu_second: f64,
    /// Joules for a byte sent or received.
    pub joules_per_byte: f64,
}

impl EnergyModel {
    /// Joules for a processor's time and bytes sent and received.
    pub fn joules(&self, cpu: Duration, bytes: u64) -> f64 {
        cpu.as_secs_f64() * self.joules_per_cpu_second + bytes as f64 * self.joules_per_byte
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn energy_adds_up() {
        let model = EnergyModel { joules_per_cpu_second: 4.0, joules_per_byte: 1e-6 };
        assert_eq!(model.joules(Duration::from_millis(1_500), 2_000_000), 8.0);
    }
}
