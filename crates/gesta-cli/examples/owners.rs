//! The bank with a view in Rust: the accounts and the money of each owner. Try `cargo run --example owners -- serve --dir data`, then
//! `cargo run --example owners -- view owners 'select * from owners' --url http://127.0.0.1:2114`.

use bank::{AccountEvent, AccountId};
use gesta::{Recorded, Row, RowView, Rows, ViewError};
use gesta_cli::{Host, main_with};
use gesta_views::Dialect;

/// Who owns an account.
#[derive(Clone, Row)]
#[row("accounts")]
struct Owned {
    #[row(key)]
    account: AccountId,
    owner: String,
}

/// The accounts and the money of an owner.
#[derive(Clone, Row)]
#[row("owners")]
struct Owner {
    #[row(key)]
    name: String,
    accounts: u32,
    money: i64,
}

struct Owners;

impl RowView for Owners {
    const NAME: &'static str = "owners";
    type Event = AccountEvent;
    type Rows = (Owned, Owner);

    fn apply(
        &self,
        (accounts, owners): (&mut Rows<Owned>, &mut Rows<Owner>),
        event: &Recorded<AccountEvent>,
    ) -> Result<(), ViewError> {
        let account = event.key::<AccountId>().ok_or("the event is in the stream of no account")?;
        let change = match &event.event {
            AccountEvent::Opened { owner } => {
                let none = || Owner { name: owner.clone(), accounts: 0, money: 0 };
                owners.get_or_put(owner, none)?.accounts += 1;
                accounts.put(Owned { account, owner: owner.clone() });
                return Ok(());
            }
            AccountEvent::Deposited { amount, .. } => i64::from(amount.get()),
            AccountEvent::Withdrawn { amount, .. } => -i64::from(amount.get()),
        };
        let owned = accounts.get(&account)?.ok_or("the account was never opened")?;
        owners.get_mut(&owned.owner)?.ok_or("the account has no owner")?.money += change;
        Ok(())
    }
}

fn main() -> std::process::ExitCode {
    main_with(Host::new(bank::app()).row_view(Owners, Dialect::Sqlite))
}
