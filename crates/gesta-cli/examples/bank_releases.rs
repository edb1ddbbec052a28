//! Releases of the bank that run beside each other on one log, for the test of a rolling upgrade. `BANK_RELEASE` names one:
//!
//! - `first` writes withdrawals as version 1, and knows no other.
//! - `between` still writes version 1, and reads version 2.
//! - `today` is the example bank: it writes version 2, and reads both.
//!
//! Each hosts the group `statement`, which adds the stream and version of each event to the file that `BANK_STATEMENT` names.

use std::fs::OpenOptions;
use std::io::Write;
use std::process::ExitCode;
use std::time::Duration;

use gesta::{App, Event, Failure, GroupContext, GroupSettings, Recorded};
use gesta_cli::{Host, main_with};
use gesta_core::{Item, Query};

/// A release that writes withdrawals as version 1. `$ahead` says what else it reads.
macro_rules! release {
    ($name:ident, $($ahead:tt)*) => {
        mod $name {
            use gesta::{Command, Decider, Event, Key, State};
            use serde::{Deserialize, Serialize};

            #[derive(Debug, Clone, Key, Serialize, Deserialize)]
            #[key("account")]
            pub(super) struct AccountId(String);

            #[derive(Debug, Event)]
            #[event(prefix = "bank.account")]
            pub(super) enum AccountEvent {
                Opened { owner: String },
                Deposited { amount: u32 },
                #[event(version = 1 $($ahead)*)]
                Withdrawn {
                    amount: u32,
                    #[serde(default)]
                    fee: u32,
                },
            }

            /// A withdrawal as the next release writes it.
            #[derive(Deserialize)]
            #[allow(dead_code, reason = "the first release does not know it")]
            pub(super) struct WithdrawnV2 {
                amount: u32,
            }

            impl From<WithdrawnV2> for AccountEvent {
                fn from(next: WithdrawnV2) -> Self {
                    Self::Withdrawn { amount: next.amount, fee: 0 }
                }
            }

            #[derive(Debug, Clone, Command)]
            pub(super) enum AccountCommand {
                Open { owner: String },
                Deposit { amount: u32 },
                Withdraw { amount: u32 },
            }

            #[derive(Debug)]
            pub(super) struct Refused;

            impl std::fmt::Display for Refused {
                fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                    f.write_str("the account does not allow it")
                }
            }

            impl std::error::Error for Refused {}

            #[derive(Debug, Default, Serialize, Deserialize)]
            pub(super) struct Account {
                open: bool,
                balance: i64,
            }

            impl State for Account {
                type Event = AccountEvent;

                fn evolve(&mut self, event: AccountEvent) {
                    match event {
                        AccountEvent::Opened { .. } => self.open = true,
                        AccountEvent::Deposited { amount } => self.balance += i64::from(amount),
                        AccountEvent::Withdrawn { amount, fee } => {
                            self.balance -= i64::from(amount) + i64::from(fee);
                        }
                    }
                }
            }

            impl Decider for Account {
                type Id = AccountId;
                type Command = AccountCommand;
                type Error = Refused;

                fn decide(&self, command: AccountCommand) -> Result<Vec<AccountEvent>, Refused> {
                    match command {
                        AccountCommand::Open { owner } if !self.open => Ok(vec![AccountEvent::Opened { owner }]),
                        AccountCommand::Deposit { amount } if self.open => {
                            Ok(vec![AccountEvent::Deposited { amount }])
                        }
                        AccountCommand::Withdraw { amount } if i64::from(amount) <= self.balance => {
                            Ok(vec![AccountEvent::Withdrawn { amount, fee: 0 }])
                        }
                        _ => Err(Refused),
                    }
                }
            }
        }
    };
}

release!(first,);
release!(between, , ahead(2 = WithdrawnV2));

/// Adds an event to the statement.
async fn note<E: Event>(event: Recorded<E>, _: GroupContext) -> Result<(), Failure> {
    // An event that is read as several is noted once.
    if event.piece.index > 0 {
        return Ok(());
    }
    let path = std::env::var("BANK_STATEMENT").map_err(|error| Failure::Final(error.into()))?;
    let line = format!("{} {}\n", event.stream(), event.version().get());
    OpenOptions::new().create(true).append(true).open(path)?.write_all(line.as_bytes())?;
    Ok(())
}

/// A release with its group. All releases ask for the same events.
fn host<E: Event>(app: App) -> Host {
    let category = "account".parse().expect("a category");
    let accounts = Query::from(Item { category: Some(category), ..Item::default() });
    let mut settings = GroupSettings::new(accounts);
    settings.back_off.first = Duration::from_millis(50);
    settings.back_off.max = Duration::from_millis(200);
    Host::new(app).group("statement", settings, note::<E>)
}

fn main() -> ExitCode {
    main_with(match std::env::var("BANK_RELEASE").as_deref() {
        Ok("first") => host::<first::AccountEvent>(App::new("bank").decider::<first::Account>()),
        Ok("between") => host::<between::AccountEvent>(App::new("bank").decider::<between::Account>()),
        _ => host::<bank::AccountEvent>(bank::app()),
    })
}
