//! The service of payments.

use std::process::ExitCode;

use gesta::GroupSettings;
use gesta_cli::{Host, main_with};
use shop::payments::{PaymentEvent, VIEWS, app, send_receipt};

fn main() -> ExitCode {
    let payments = GroupSettings::new(gesta::query::<PaymentEvent>());
    main_with(Host::new(app()).views(shop::views(&VIEWS)).group("payments-receipts", payments, send_receipt))
}
