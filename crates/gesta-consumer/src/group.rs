//! Consumer groups: several members share the work of handling the events of a log, each stream in its order.
//!
//! A group reads the log once. A member calls [`Groups::take`] and gets deliveries: consecutive events of one stream each. It settles
//! them with its next call.
//!
//! # Guarantee
//! At least once, in the order of the stream. An event is delivered only when every earlier matching event of its stream was handled or
//! skipped. After a parked event nothing of its stream is delivered until the stream is replayed or skipped.
//!
//! A member whose delivery expired may still act while another member has the events. So the target of the effects must be the fence: in
//! the transaction of the effect it keeps the last version that it has seen of each stream, and drops what is not newer. Then the effect
//! of each event happens exactly once.

pub(crate) mod dealer;
mod delivery;
mod error;
mod groups;
pub mod limits;
mod local;
mod name;
mod settings;
mod shared;
mod status;
mod take;

pub use delivery::{Delivery, DeliveryId, DeliveryIdParseError};
pub use error::{ChangeError, LookError, PutError, TakeError};
pub use groups::{Dealer, Groups, Reset, To, host_by_puts};
pub use local::{LocalGroups, LocalGroupsOptions, StartError};
pub use name::{GroupName, GroupNameError, MemberName};
pub use settings::{BackOff, GroupSettings, OnPoison, Order, SettingsError, SettingsVersion};
pub use shared::{Connect, Peer, SharedGroups};
pub use status::{GroupState, GroupStatus, Held, MemberStatus, Parked, SelectedItem, Settled};
pub use take::{Refused, RefusedWhy, Settlement, Take, TakeFormError, Taken, Then};
