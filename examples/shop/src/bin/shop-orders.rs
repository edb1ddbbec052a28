//! The service of orders, with the fulfilment.
//!
//! `SHOP_STOCK` and `SHOP_PAYMENTS` are the addresses of the other services.

use std::process::ExitCode;

use gesta_cli::{Host, main_with};
use shop::orders::{Fulfilment, HttpServices, Shop, VIEWS, app};

fn main() -> ExitCode {
    let address = |name, usual: &str| std::env::var(name).unwrap_or_else(|_| usual.to_owned());
    let services = HttpServices::new(
        address("SHOP_STOCK", "http://127.0.0.1:2116"),
        address("SHOP_PAYMENTS", "http://127.0.0.1:2117"),
    );
    main_with(Host::new(app()).views(shop::views(&VIEWS)).process::<Fulfilment>(Shop(services)))
}
