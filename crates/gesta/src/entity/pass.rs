//! One pass over halted lines: what came too early is sent again, oldest first.
//!
//! *Choice: all in one pass, not each after its predecessor.* If each batch waited until its predecessor is written, one
//! late batch would slow its entity down for good, because every new command would be too early as well.
//!
//! A line halts when a batch comes too early. Nothing new is sent then. When every sending under way has its answer, the
//! pass begins: each batch that waits is sent when all before it in each of its lines are in line.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::Context;

use gesta_core::StreamName;

use super::line::{Flow, LineCell};
use super::lock;
use super::outcome::{Outcome, Standing, poll_sending};

/// A batch in flight, as the plan of a pass sees it.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Item {
    standing: Standing,
    /// The indices of its lines among those of the pass.
    rows: Vec<usize>,
    /// True if all its lines are among those of the pass.
    is_complete: bool,
}

/// Sends what can be sent in these lines, under their turns. Returns true if it sent a batch.
pub(super) fn pass(cells: &BTreeMap<StreamName, Arc<LineCell>>, context: &mut Context<'_>) -> bool {
    let mut lines = cells.values().map(|cell| lock(&cell.line)).collect::<Vec<_>>();
    let mut outcomes = BTreeMap::<u64, (Arc<Outcome>, Vec<usize>)>::new();
    for (row, line) in lines.iter_mut().enumerate() {
        line.note_flow();
        for outcome in line.unsettled() {
            let new = || (Arc::clone(outcome), Vec::new());
            outcomes.entry(outcome.number()).or_insert_with(new).1.push(row);
        }
    }
    let items = outcomes.values().map(|(outcome, rows)| Item {
        standing: outcome.standing(),
        rows: rows.clone(),
        is_complete: outcome.lines().count() == rows.len(),
    });
    let flows = lines.iter().map(|line| line.flow).collect::<Vec<_>>();
    let sendable = plan(&items.collect::<Vec<_>>(), &flows);
    let mut has_sent = false;
    for ((outcome, _), is_sendable) in outcomes.into_values().zip(sendable) {
        if is_sendable && let Some((_, mut sending)) = outcome.send() {
            // In line now. Its answer is noted by those who wait for it.
            let _ = poll_sending(&mut sending, context);
            has_sent = true;
        }
    }
    lines.iter_mut().for_each(|line| line.note_flow());
    has_sent
}

/// For each batch, in the order of decisions, whether the pass sends it. Pure.
fn plan(items: &[Item], flows: &[Flow]) -> Vec<bool> {
    let mut is_open = flows.iter().map(|flow| *flow == Flow::Passing).collect::<Vec<_>>();
    let mut sendable = Vec::with_capacity(items.len());
    for item in items {
        let is_next = item.is_complete && item.rows.iter().all(|row| is_open[*row]);
        let is_sent = is_next && item.standing == Standing::Waiting;
        let is_in_line = is_sent || matches!(item.standing, Standing::Sending | Standing::Settled);
        if !is_in_line {
            item.rows.iter().for_each(|row| is_open[*row] = false);
        }
        sendable.push(is_sent);
    }
    sendable
}

#[cfg(test)]
mod tests {
    use super::*;
    use Flow::{Halted, Passing, Running};

    /// Batches as `w` (waiting), `s` (sending), `d` (in doubt) with the rows they span, and a `+` for a row elsewhere.
    fn check(items: &[&str], flows: &[Flow]) -> String {
        let items = items.iter().map(|text| {
            let standing = match text.as_bytes()[0] {
                b'w' => Standing::Waiting,
                b's' => Standing::Sending,
                _ => Standing::InDoubt,
            };
            let rows = text[1..].chars().filter_map(|row| row.to_digit(10)).map(|row| row as usize).collect();
            Item { standing, rows, is_complete: !text.ends_with('+') }
        });
        let sendable = plan(&items.collect::<Vec<_>>(), flows);
        sendable.into_iter().map(|is_sent| if is_sent { 'x' } else { '.' }).collect()
    }

    #[test]
    fn all_that_waits_is_sent_in_one_pass() {
        assert_eq!(check(&["w0", "w0", "w0"], &[Passing]), "xxx");
        assert_eq!(check(&["s0", "w0", "w0"], &[Passing]), ".xx");
    }

    #[test]
    fn nothing_is_sent_while_the_line_is_not_passing() {
        for flow in [Running, Halted] {
            assert_eq!(check(&["s0", "w0"], &[flow]), "..");
        }
    }

    #[test]
    fn a_batch_in_doubt_holds_back_those_behind_it_and_not_those_before() {
        assert_eq!(check(&["w0", "d0", "w0"], &[Passing]), "x..");
    }

    #[test]
    fn a_batch_over_two_lines_waits_until_it_is_next_in_both() {
        assert_eq!(check(&["w0", "w01", "w1"], &[Passing, Passing]), "xxx");
        assert_eq!(check(&["w0", "w01", "w0", "w1"], &[Passing, Halted]), "x...");
        assert_eq!(check(&["d1", "w0", "w01", "w0"], &[Passing, Passing]), ".x..");
    }

    #[test]
    fn a_batch_with_a_line_that_the_pass_does_not_hold_waits() {
        assert_eq!(check(&["w0", "w0+", "w0"], &[Passing]), "x..");
    }
}
