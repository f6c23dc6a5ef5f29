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

impl Default for EnergyModel {
    /// Published averages; [`EnergyModel::SOURCE`] says whose.
    fn default() -> Self {
        Self { joules_per_cpu_second: 3.5, joules_per_byte: KWH_PER_GB * JOULES_PER_KWH / BYTES_PER_GB }
    }
}

/// Of core networks and fixed access lines, 2015.
const KWH_PER_GB: f64 = 0.06;
const JOULES_PER_KWH: f64 = 3.6e6;
const BYTES_PER_GB: f64 = 1e9;

impl EnergyModel {
    /// Where the figures of the default come from.
    pub const SOURCE: &str = "3.5 W for a busy virtual processor: Cloud Carbon Footprint, methodology, mean of the processors of one \
         large provider at full use. 0.06 kWh/GB: J. Aslan, K. Mayers, J. G. Koomey and C. France, Electricity Intensity of Internet \
         Data Transmission: Untangling the Estimates, Journal of Industrial Ecology 22, 2018, for core networks and fixed access \
         lines in 2015; by the same source it halves about every two years, so that it is too high today";

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
        // 0.06 kWh are 216 kJ.
        assert!((EnergyModel::default().joules(Duration::ZERO, 1_000_000_000) - 216_000.0).abs() < 1e-6);
    }
}
