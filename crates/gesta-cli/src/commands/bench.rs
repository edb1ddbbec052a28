//! `gesta bench`: how many commands a store takes from many clients on few or many accounts, and how long each waits.
//!
//! Every client sends its next command when it has the answer to the one before. Every command has a key, as the command
//! of a careful client has.

mod bank;
mod figures;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::runtime;
use uuid::Uuid;

use crate::failure::{Failure, Outcome};
use crate::output::{count, say};
use crate::store::{OpenOptions, StoreUrl, open};
use crate::target::cannot_open_store;
use crate::unread::Unread;
use bank::{Answer, Bank};
use figures::Figures;

#[derive(clap::Args)]
pub(crate) struct Bench {
    /// The number of accounts that the clients share. With 1, all of them send to one entity.
    #[arg(long, value_name = "ACCOUNTS", default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    hot: u32,
    /// The number of clients.
    #[arg(long, value_name = "CLIENTS", default_value_t = 64, value_parser = clap::value_parser!(u32).range(1..=10_000))]
    clients: u32,
    /// How long the clients send, in seconds.
    #[arg(long, value_name = "SECONDS", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=86_400))]
    seconds: u64,
    /// Deposits that each account has before the clients begin: long histories. Only with `--store`.
    #[arg(long, value_name = "EVENTS", default_value_t = 0, conflicts_with = "url", value_parser = clap::value_parser!(u32).range(0..=10_000_000))]
    history: u32,
    #[command(flatten)]
    place: Place,
}

/// The store of the bank, or the server that hosts it.
#[derive(clap::Args)]
#[group(required = true, multiple = false)]
struct Place {
    /// A store for a bank in this process: a folder, `memory:`, `http://HOST:PORT`, `postgres://USER@HOST/DATABASE` or
    /// `nats://HOST,HOST,HOST/NAME?copy=FOLDER`. It gets new accounts, which stay.
    #[arg(long, value_name = "URL")]
    store: Option<Unread<StoreUrl>>,
    /// A server that hosts the bank, such as that of `gesta demo`. It gets new accounts, which stay.
    #[arg(long, value_name = "URL")]
    url: Option<String>,
}

impl Bench {
    pub(crate) fn run(self) -> Outcome {
        let runtime = runtime::Builder::new_multi_thread().enable_all().build();
        let runtime = runtime.map_err(|error| Failure::new("cannot start the runtime").because(&error))?;
        match (&self.place.store, &self.place.url) {
            (Some(store), _) => {
                let opened = open(&store.read("--store")?, &OpenOptions::default());
                let opened = opened.map_err(|error| cannot_open_store(&error))?;
                let outcome = runtime.block_on(self.measure(Bank::here(&opened.store)));
                opened.close();
                outcome
            }
            (None, Some(url)) => runtime.block_on(self.measure(Bank::at(url, self.clients)?)),
            (None, None) => {
                Err(Failure::usage("no bank given").help("give `--store <url>` or `--url <url>`"))
            }
        }
    }

    async fn measure(&self, bank: Bank) -> Outcome {
        let bank = Arc::new(bank);
        let run = Uuid::now_v7();
        let accounts = (0..self.hot).map(|number| Arc::from(format!("bench-{run}-{number}")));
        let accounts = accounts.collect::<Vec<Arc<str>>>();
        for account in &accounts {
            bank.open(account).await?;
            bank.fill(account, self.history).await?;
        }
        let begun = Instant::now();
        let until = begun + Duration::from_secs(self.seconds);
        let clients = (0..self.clients).map(|client| {
            let account = Arc::clone(&accounts[client as usize % accounts.len()]);
            tokio::spawn(deposits(Arc::clone(&bank), account, client, until))
        });
        let clients = clients.collect::<Vec<_>>();
        let mut figures = Figures::default();
        for client in clients {
            figures.add(client.await.map_err(|error| Failure::new("a client failed").because(&error))?);
        }
        let took = begun.elapsed();
        let (clients, accounts_text) =
            (count(u64::from(self.clients), "client"), count(accounts.len(), "account"));
        say(&format!("{clients} on {accounts_text}: {}", figures.describe(took)))?;
        if let Some(metrics) = bank.metrics() {
            say(&format!(
                "{} decided again after a conflict, {} after a predecessor, {} after verification; {} early; {} loaded",
                metrics.conflicts,
                metrics.predecessors,
                metrics.wrong_answers,
                metrics.early,
                count(metrics.events_loaded, "event"),
            ))?;
        }
        let before = u64::from(self.hot) * u64::from(self.history);
        check_balances(&bank, &accounts, before, &figures).await
    }
}

/// One client: deposits of 1 until the time is over.
async fn deposits(bank: Arc<Bank>, account: Arc<str>, client: u32, until: Instant) -> Figures {
    let mut figures = Figures::default();
    let mut number = 0_u64;
    while Instant::now() < until {
        let key = format!("{account}-{client}-{number}");
        number += 1;
        let begun = Instant::now();
        let answer = bank.deposit(&account, &key).await;
        figures.note(answer, begun.elapsed());
    }
    figures
}

/// Compares the balances with those before and the deposits that were acknowledged. Where an answer was lost, the deposit
/// may be there.
async fn check_balances(bank: &Bank, accounts: &[Arc<str>], before: u64, figures: &Figures) -> Outcome {
    let mut balance = 0;
    for account in accounts {
        balance += bank.balance(account).await?;
    }
    let least = before + figures.done();
    let most = least + figures.unknown();
    if !(least..=most).contains(&balance) {
        let what = format!("the balances are wrong: {balance} instead of {least}");
        return Err(Failure::new(what));
    }
    say(if least == most { "the balances are exact" } else { "the balances fit: some answers were lost" })?;
    Ok(())
}
