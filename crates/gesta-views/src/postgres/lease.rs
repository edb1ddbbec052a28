//! Who may run a version: the decision, without a database.
//!
//! Every runner of a database writes a heartbeat. A version has an owner, and a fence that grows whenever it gets a new one. A page
//! commits only with the fence that its runner took. So a runner that was taken over from cannot write, and one that stands
//! by does not disturb the owner.

/// What the database says about the owner of a version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Owner {
    /// The id of the owner; `None` if it gave the version up.
    pub(crate) runner: Option<String>,
    /// The owner's heartbeat is fresh, by the clock of the database.
    pub(crate) is_alive: bool,
}

/// What a runner does about a version.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    /// Raises the fence and goes on from the place in the database.
    TakeOver,
    /// Another runner owns it and is alive.
    StandBy,
    /// A newer version serves, and this runner had this one open or stood by for it before that: its time is over.
    Superseded,
    /// A newer version serves, but this runner was started after it: the operator wants this one back.
    Revive,
}

/// Decides what the runner `me` does. `had_it` is true if it had the version open before, in the same run, or stood by for it
/// while no newer one served. `is_newest` is false if a version that was made later serves.
pub(crate) fn claim(owner: &Owner, me: &str, had_it: bool, is_newest: bool) -> Claim {
    let is_mine = owner.runner.as_deref().is_none_or(|runner| runner == me);
    match (is_newest, had_it) {
        (false, true) => Claim::Superseded,
        _ if !is_mine && owner.is_alive => Claim::StandBy,
        (false, false) => Claim::Revive,
        (true, _) => Claim::TakeOver,
    }
}

#[cfg(test)]
mod simulation;

#[cfg(test)]
mod tests {
    use super::*;

    fn check(runner: Option<&str>, is_alive: bool, (had_it, is_newest): (bool, bool), expected: Claim) {
        let owner = Owner { runner: runner.map(str::to_owned), is_alive };
        assert_eq!(claim(&owner, "me", had_it, is_newest), expected, "{owner:?} {had_it} {is_newest}");
    }

    #[test]
    fn a_version_is_taken_over_from_the_dead_and_from_oneself_only() {
        let usual = (false, true);
        check(None, false, usual, Claim::TakeOver);
        check(Some("me"), true, usual, Claim::TakeOver);
        check(Some("other"), false, usual, Claim::TakeOver);
        check(Some("other"), true, usual, Claim::StandBy);
        check(Some("other"), true, (true, true), Claim::StandBy);
    }

    #[test]
    fn an_older_version_stops_where_it_ran_and_comes_back_where_it_is_started() {
        check(Some("me"), true, (true, false), Claim::Superseded);
        check(Some("other"), true, (true, false), Claim::Superseded);
        check(Some("other"), true, (false, false), Claim::StandBy);
        check(Some("me"), true, (false, false), Claim::Revive);
    }
}
