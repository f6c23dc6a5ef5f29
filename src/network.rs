//! The simulated network: what happens to each message on its way, and the line that
//! keeps it for as long as that takes.
//!
//! A model that seems to be 20 ms away, and then behind a mobile network:
//! ```
//! use std::time::Duration;
//!
//! use nearfar::network::{Preset, Profile, Shape};
//! use nearfar::{Detector, Node, deployment};
//!
//! let far = deployment::Config::edge().network(Profile::constant(Duration::from_millis(20)));
//! let node = Node::builder().deployment(far, Detector::shipped()?).start()?;
//! let answered = node.ask([0.5; 32], Duration::from_secs(10))?;
//! assert_eq!(answered.network, Duration::from_millis(40), "there and back");
//! assert!(answered.total >= answered.network);
//!
//! let (uplink, downlink) = Preset::named("4g").expect("it is a preset").links();
//! let shape = Shape { seed: 7, uplink, downlink, ..Shape::default() };
//! node.deployment("edge").expect("it is called so").network().configure(Profile::shaped(shape))?;
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod bandwidth;
mod chain;
mod delay;
mod delay_line;
mod link;
mod loss;
mod outage;
mod parameter;
mod preset;
mod profile;
mod random;
mod recorded;
mod schedule;
pub mod settings;
mod words;

pub use self::bandwidth::Bandwidth;
pub use self::delay::Delay;
pub use self::delay_line::{DelayLine, DelayLineFull};
pub use self::link::{Letter, Link, Verdict};
pub use self::loss::{GilbertElliott, Loss};
pub use self::outage::{Outages, Policy, WINDOWS_MAX, Window};
pub use self::parameter::{DELAY_MAX, ParameterError};
pub use self::preset::Preset;
pub use self::profile::{Direction, LinkProfile, Lost, Profile, Reorder, Shape};
pub use self::recorded::{RECORDED_LINES_MAX, RecordedError, Samples, TimeSeries};
pub use self::schedule::Schedule;
