//! The processor time of other programs, which says what a step costs on a busy machine too.

use std::fs;

/// Ticks in a second, in the files of `/proc`. Linux has the same number on every machine.
const TICKS: f64 = 100.0;

/// The processor time of the programs that this one has started and that have ended, with all their own, in seconds. `None` where the system
/// does not tell.
pub(crate) fn seconds_of_children() -> Option<f64> {
    seconds(&fs::read_to_string("/proc/self/stat").ok()?)
}

/// The time in a line of `/proc/PID/stat`. The name of the program stands in parentheses and may hold anything.
fn seconds(stat: &str) -> Option<f64> {
    let (_, after_name) = stat.rsplit_once(')')?;
    let mut fields = after_name.split_whitespace().skip(13);
    let user = fields.next()?.parse::<f64>().ok()?;
    let system = fields.next()?.parse::<f64>().ok()?;
    Some((user + system) / TICKS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn user_and_system_time_are_added() {
        let stat = "7 (a ) b) S 1 2 3 4 5 6 7 8 9 10 11 12 1250 250 20 0 1 0";
        assert_eq!(seconds(stat), Some(15.0));
        assert_eq!(seconds("7 (cut"), None);
    }
}
