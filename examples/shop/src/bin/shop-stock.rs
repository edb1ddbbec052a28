//! The service of stock.

use std::process::ExitCode;

use gesta::GroupSettings;
use gesta_cli::{Host, main_with};
use shop::stock::{Order, VIEWS, app, send_out};

fn main() -> ExitCode {
    let on_their_way = GroupSettings::new(gesta::query::<Order>());
    main_with(Host::new(app()).views(shop::views(&VIEWS)).group("stock-send-out", on_their_way, send_out))
}
