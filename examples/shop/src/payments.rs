//! The service of payments.

use gesta::{App, Command, Decider, Event, Failure, GroupContext, Key, Recorded, Refusal, State};
use serde::{Deserialize, Serialize};

use {PaymentCommand::*, PaymentEvent::*, Refused::*};

/// The id of a payment. Its stream is `payment-<id>`.
#[derive(Debug, Clone, Key, Serialize, Deserialize)]
#[key("payment")]
pub struct PaymentId(pub String);

/// The events of a payment.
#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.payment")]
pub enum PaymentEvent {
    /// A customer paid.
    Paid {
        /// The payment, for readers that have only the event.
        payment: String,
        /// What it is for.
        order: String,
        /// How much.
        cents: u64,
    },
    /// The customer has a receipt.
    ReceiptSent,
    /// The money went back.
    Refunded {
        /// How much.
        cents: u64,
    },
}

/// The commands to a payment.
#[derive(Debug, Clone, Command)]
pub enum PaymentCommand {
    /// Pays.
    Pay {
        /// The payment, as in the address.
        payment: String,
        /// What it is for.
        order: String,
        /// How much.
        cents: u64,
    },
    /// Sends a receipt. The second time, nothing happens.
    SendReceipt,
    /// Gives the money back. The second time, nothing happens.
    Refund,
}

/// Why a command is refused.
#[derive(Debug, PartialEq, Eq, Refusal)]
pub enum Refused {
    /// The payment was made already.
    AlreadyPaid,
    /// There is no such payment.
    NotPaid,
}

/// A payment.
#[derive(Debug, Default, Serialize)]
pub struct Payment {
    /// How much was paid; `None` before.
    pub cents: Option<u64>,
    /// True if the customer has a receipt.
    pub receipt: bool,
    /// True if the money went back.
    pub refunded: bool,
}

impl State for Payment {
    type Event = PaymentEvent;

    fn evolve(&mut self, event: PaymentEvent) {
        match event {
            Paid { cents, .. } => self.cents = Some(cents),
            ReceiptSent => self.receipt = true,
            Refunded { .. } => self.refunded = true,
        }
    }
}

impl Decider for Payment {
    type Id = PaymentId;
    type Command = PaymentCommand;
    type Error = Refused;

    fn decide(&self, command: PaymentCommand) -> Result<Vec<PaymentEvent>, Refused> {
        match (command, self.cents) {
            (Pay { payment, order, cents }, None) => Ok(vec![Paid { payment, order, cents }]),
            (Pay { .. }, Some(_)) => Err(AlreadyPaid),
            (SendReceipt | Refund, None) => Err(NotPaid),
            (SendReceipt, Some(_)) if self.receipt => Ok(vec![]),
            (SendReceipt, Some(_)) => Ok(vec![ReceiptSent]),
            (Refund, Some(_)) if self.refunded => Ok(vec![]),
            (Refund, Some(cents)) => Ok(vec![Refunded { cents }]),
        }
    }
}

/// Sends a receipt for every payment.
///
/// # Errors
/// [`Failure`], by the error of the command.
pub async fn send_receipt(event: Recorded<PaymentEvent>, context: GroupContext) -> Result<(), Failure> {
    if let (Paid { .. }, Some(id)) = (&event.event, event.key::<PaymentId>()) {
        context.send::<Payment>(&id, SendReceipt).await?;
    }
    Ok(())
}

/// Payments as an application.
#[must_use]
pub fn app() -> App {
    App::new("payments").decider::<Payment>()
}

/// The view of payments, as name and SQL definition.
pub const VIEWS: [(&str, &str); 1] = [("payments", include_str!("../views/payments.sql"))];

#[cfg(test)]
mod tests {
    use gesta::testing::given;

    use super::*;

    fn paid() -> PaymentEvent {
        Paid { payment: "p".to_owned(), order: "7".to_owned(), cents: 500 }
    }

    #[test]
    fn a_payment_is_made_once_and_refunded_once() {
        let pay = || Pay { payment: "p".to_owned(), order: "7".to_owned(), cents: 500 };
        given::<Payment>([]).when(pay()).then([paid()]);
        given::<Payment>([paid()]).when(pay()).then_refused(AlreadyPaid);
        given::<Payment>([]).when(Refund).then_refused(NotPaid);
        given::<Payment>([paid()]).when(Refund).then([Refunded { cents: 500 }]);
        given::<Payment>([paid(), Refunded { cents: 500 }]).when(Refund).then_nothing();
    }
}
