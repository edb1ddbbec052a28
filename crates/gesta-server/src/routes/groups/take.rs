//! `POST /groups/{group}/take`: a member settles, renews and takes deliveries.

use std::sync::Arc;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use gesta::http::api::Operation;
use gesta::http::{Params, Problem};
use gesta_consumer::group::{DeliveryId, Taken};
use gesta_wire::schema::named;
use gesta_wire::{TakeJson, kinds, write_taken};

use super::reply::{Unwritten, guarded};
use super::{Dealt, GroupPath, of_group};
use crate::answer;
use crate::body::{RequestBody, read_json, want_json};
use crate::limits::REPLY_BYTES_MAX;
use crate::routes::feed::subscription_permit;
use crate::state::{Shared, stopped};

/// Takes deliveries, waiting for them. A stop of the server ends the wait with an empty reply.
///
/// Deliveries that do not reach the member are given back without an attempt: when it hangs up during the wait, when its connection
/// breaks before the reply is taken from us, and what a reply has no room for.
pub(super) async fn take(
    State(shared): State<Arc<Shared>>,
    Dealt(groups): Dealt,
    GroupPath(group): GroupPath,
    headers: HeaderMap,
    params: Params,
    body: RequestBody,
) -> Result<Response, Problem> {
    params.finish()?;
    want_json(&headers)?;
    let take = read_json::<TakeJson<'_>>(&body.bytes, "an object with `member` and `max`")?.to_take()?;
    drop(body);
    take.check()?;
    let waits = take.max > 0 && !take.wait.is_zero();
    let _permit = waits.then(|| subscription_permit(&shared)).transpose()?;
    let mut stopping = shared.stopping.subscribe();
    let member = take.member.clone();
    let taken = tokio::select! {
        // First, so that the settlements are handed over even if the server is stopping.
        biased;
        taken = groups.take(group.clone(), take) => taken?,
        () = stopped(&mut stopping) => Taken::default(),
    };
    reply(&shared, Unwritten::new(groups, group, member), taken)
}

pub(super) fn operation() -> Operation {
    of_group("take", "settle, renew and take deliveries")
        .text("The only call of a member. It settles first, then looks at `holds`, then takes.")
        .body("application/json", named("Take"))
        .json(200, "The deliveries.", named("Taken"))
        .problems(kinds::OF_TAKES)
}

fn reply(shared: &Shared, mut unwritten: Unwritten, mut taken: Taken) -> Result<Response, Problem> {
    let rest = split_off_rest(&mut taken);
    unwritten.give_back(&rest);
    unwritten.hold(taken.deliveries.iter().map(|delivery| delivery.id).collect());
    let mut out = Vec::new();
    write_taken(&taken, &mut out);
    Ok(guarded(answer::json(shared, out)?, unwritten))
}

/// Splits off the deliveries that a reply has no room for. It holds at least one.
fn split_off_rest(taken: &mut Taken) -> Vec<DeliveryId> {
    let mut bytes = 0;
    let fits = taken.deliveries.iter().take_while(|delivery| {
        let is_first = bytes == 0;
        bytes += delivery.events.iter().map(|event| event.as_bytes().len()).sum::<usize>().max(1);
        is_first || bytes <= REPLY_BYTES_MAX
    });
    let fitting = fits.count();
    taken.deliveries.split_off(fitting).into_iter().map(|delivery| delivery.id).collect()
}
