//! Events as earlier releases wrote them. They are stored, so these types never change.

use std::num::NonZeroU32;

use schemars::JsonSchema;
use serde::Deserialize;

use super::AccountEvent;

/// A withdrawal with its fee.
#[derive(Deserialize, JsonSchema)]
pub(super) struct DebitedV1 {
    amount: NonZeroU32,
    #[serde(default)]
    fee: u32,
}

impl From<DebitedV1> for Vec<AccountEvent> {
    fn from(old: DebitedV1) -> Self {
        let amounts = [Some(old.amount), NonZeroU32::new(old.fee)];
        let withdrawn = |amount| AccountEvent::Withdrawn { amount, half_of: None };
        amounts.into_iter().flatten().map(withdrawn).collect()
    }
}
