//! A view over accounts in Rust, and the same in SQL: two tables, keys that repeat, rows that go.

use gesta::{Event, Key, Recorded, Row, RowView, Rows, ViewError};
use gesta_views::{Definition, Dialect};

#[derive(Debug, Clone, PartialEq, Eq, Hash, Key)]
#[key("account")]
pub(crate) struct AccountId(pub(crate) String);

#[derive(Debug, Event)]
#[event(prefix = "bank")]
pub(crate) enum BankEvent {
    #[event(name = "deposited")]
    Deposited { amount: i64, note: Option<String>, share: Option<f64> },
    #[event(name = "withdrawn")]
    Withdrawn { amount: i64 },
    #[event(name = "closed")]
    Closed,
}

#[derive(Clone, Row)]
#[row("balances")]
pub(crate) struct Balance {
    #[row(key)]
    account: AccountId,
    amount: i64,
    #[row(index)]
    last: u64,
}

#[derive(Clone, Row)]
#[row("kinds")]
pub(crate) struct Kind {
    #[row(key)]
    account: String,
    #[row(key)]
    kind: String,
    events: u32,
    is_even: bool,
    note: Option<String>,
    share: Option<f64>,
    time: gesta::Timestamp,
}

/// The balance of each account, and the number of its events of each kind.
pub(crate) struct Balances;

impl RowView for Balances {
    const NAME: &'static str = "balances";
    type Event = BankEvent;
    type Rows = (Balance, Kind);

    fn apply(
        &self,
        (balances, kinds): (&mut Rows<Balance>, &mut Rows<Kind>),
        event: &Recorded<BankEvent>,
    ) -> Result<(), ViewError> {
        let account = event.key::<AccountId>().ok_or("not the stream of an account")?;
        let last = event.position().sequence;
        let key = (account.0.clone(), event.event_type().to_owned());
        let new = || Kind {
            account: key.0.clone(),
            kind: key.1.clone(),
            events: 0,
            is_even: true,
            note: None,
            share: None,
            time: event.time(),
        };
        let kind = kinds.get_or_put(&key, new)?;
        (kind.events, kind.is_even, kind.time) = (kind.events + 1, !kind.is_even, event.time());
        match &event.event {
            BankEvent::Deposited { amount, note, share } => {
                (kind.note, kind.share) = (note.clone().or(kind.note.take()), share.or(kind.share));
                let new = || Balance { account: account.clone(), amount: 0, last };
                let balance = balances.get_or_put(&account, new)?;
                (balance.amount, balance.last) = (balance.amount + amount, last);
            }
            BankEvent::Withdrawn { amount } => {
                if let Some(balance) = balances.get_mut(&account)? {
                    (balance.amount, balance.last) = (balance.amount - amount, last);
                }
            }
            BankEvent::Closed => balances.delete(&account),
        }
        Ok(())
    }
}

/// The same in SQL.
pub(crate) fn in_sql(dialect: Dialect) -> Definition {
    let (big, real, boolean, yes) = match dialect {
        Dialect::Sqlite => ("integer", "real", "integer", "1"),
        _ => ("bigint", "double precision", "boolean", "true"),
    };
    let count = |note: &str, share: &str| {
        format!(
            "insert into kinds values ($entity, $type, 1, not {yes}, {note}, {share}, $time)
            on conflict (account, kind) do update set events = kinds.events + 1, is_even = not kinds.is_even,
                note = coalesce(excluded.note, kinds.note), share = coalesce(excluded.share, kinds.share), time = excluded.time;"
        )
    };
    let (deposits, others) = (count(":note", ":share"), count("null", "null"));
    let text = format!(
        "-- dialect: {dialect}
        create table balances (account text primary key, amount {big} not null, last {big} not null);
        create table kinds (account text, kind text, events {big} not null, is_even {boolean} not null, note text,
            share {real}, time text not null, primary key (account, kind));
        -- on deposited
        {deposits}
        insert into balances values ($entity, :amount, $position)
        on conflict (account) do update set amount = balances.amount + excluded.amount, last = excluded.last;
        -- on withdrawn
        {others}
        update balances set amount = amount - :amount, last = $position where account = $entity;
        -- on closed
        {others}
        delete from balances where account = $entity;"
    );
    Definition::parse("in_sql", &text).unwrap()
}

/// Queries that show all rows, in an order that both databases have.
pub(crate) fn tables(dialect: Dialect) -> [String; 2] {
    let collate = if dialect == Dialect::Sqlite { "" } else { " collate \"C\"" };
    [
        format!("select * from balances order by account{collate}"),
        format!("select * from kinds order by account{collate}, kind{collate}"),
    ]
}

/// An account's event by small numbers: its type and data.
pub(crate) fn event_of(kind: u8, note: u8, amount: i64) -> (&'static str, String) {
    let note = match note {
        0 => String::new(),
        1 => r#","note":null"#.to_owned(),
        2 => r#","note":"é'\"\\ \n ; $1 :x","share":0.1"#.to_owned(),
        _ => r#","note":"","share":-1e300"#.to_owned(),
    };
    match kind {
        0..13 => ("deposited", format!(r#"{{"amount":{amount}{note}}}"#)),
        13..19 => ("withdrawn", format!(r#"{{"amount":{amount}}}"#)),
        _ => ("closed", "{}".to_owned()),
    }
}
