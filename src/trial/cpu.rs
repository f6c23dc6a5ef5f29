//! Processor time of a placement's own threads, as Linux counts it.

use std::path::Path;
use std::time::Duration;

/// What a deployment's threads are called before its name, which goes on with
/// `-cloud` where they are those of a hybrid's cloud.
const STAGES: [&str; 6] = ["intake-", "network-", "publish-", "model-", "watch-", "dispatch-"];

/// What the threads of the deployment whose name begins with `prefix` have used so far; `None`
/// where that cannot be had. A thread's name is cut after 15 bytes, so the prefix has to be short.
pub fn of_threads(prefix: &str) -> Option<Duration> {
    let mut total = Duration::ZERO;
    for task in std::fs::read_dir("/proc/self/task").ok()? {
        let task = task.ok()?.path();
        // A thread may end while this looks at it.
        let Ok(name) = std::fs::read_to_string(task.join("comm")) else { continue };
        let is_own = STAGES
            .iter()
            .any(|stage| name.strip_prefix(stage).is_some_and(|deployment| deployment.starts_with(prefix)));
        if is_own {
            total += used(&task)?;
        }
    }
    Some(total)
}

/// The first of the numbers in `schedstat` is the time on a processor, in nanoseconds.
fn used(task: &Path) -> Option<Duration> {
    let schedstat = std::fs::read_to_string(task.join("schedstat")).ok()?;
    schedstat.split_whitespace().next()?.parse().ok().map(Duration::from_nanos)
}
