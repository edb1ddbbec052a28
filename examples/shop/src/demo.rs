//! The shop as a whole: starts its programs, lets customers order, kills stock, and compares the books of all services.

mod clocks;
mod kills;
mod nodes;
mod programs;
mod restored;
mod servers;

use std::path::Path;
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use test_servers::NatsCluster;

use programs::{Program, request};

/// Orders before stock is killed, and while it is away.
const ORDERS: u32 = 10;
/// The longest wait for something to happen.
const PATIENCE: Duration = Duration::from_secs(120);
/// The pens that come in.
const PENS: u32 = 100_000;
/// The price of a pen.
const CENTS: u64 = 150;

type Outcome<T = ()> = Result<T, String>;

/// The running shop.
struct Shop {
    server: Program,
    /// Another server of the same database, if there is one.
    second: Option<Program>,
    orders: Program,
    stock: Program,
    payments: Program,
}

/// The books of all services.
#[derive(Debug, PartialEq, Eq)]
struct Books {
    ordered: i64,
    shipped: i64,
    sold_cents: i64,
    paid_cents: i64,
}

/// Plays the demo in a new folder with the programs of a folder: stock is killed and comes back. `say` gets each line.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn run(programs: &Path, folder: &Path, say: &mut dyn FnMut(&str)) -> Outcome {
    let mut shop = Shop::start(programs, folder, say)?;
    shop.lose_stock(say)?;
    shop.give_up_two(say)?;
    shop.close_books(say)?;
    shop.stop()
}

/// The addresses of the programs of a shop, such as `http://127.0.0.1:2114`.
#[derive(Debug, Clone)]
pub struct Urls {
    /// The log.
    pub server: String,
    /// Orders.
    pub orders: String,
    /// Stock.
    pub stock: String,
    /// Payments.
    pub payments: String,
}

/// Runs a shop without goods in a new folder while `play` uses it.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn with_programs(programs: &Path, folder: &Path, play: impl FnOnce(&Urls)) -> Outcome {
    let shop = Shop::open(programs, folder, &mut |_| ())?;
    let url = |program: &Program| program.url().to_owned();
    play(&Urls {
        server: url(&shop.server),
        orders: url(&shop.orders),
        stock: url(&shop.stock),
        payments: url(&shop.payments),
    });
    shop.stop()
}

/// Kills all programs of the shop in turn, that number of times, while customers order.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn kill_all(programs: &Path, folder: &Path, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
    let mut shop = Shop::start(programs, folder, say)?;
    shop.kill_all(kills, say)?;
    shop.stop()
}

/// Kills the orders service that number of times, and starts it again under clocks that are up to two hours off. Needs the
/// package `faketime`.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn move_clocks(programs: &Path, folder: &Path, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
    let mut shop = Shop::start(programs, folder, say)?;
    shop.move_clocks(kills, say)?;
    shop.stop()
}

/// Takes a backup while customers order, restores it into a new log, and lets the shop go on there.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn restore(programs: &Path, folder: &Path, say: &mut dyn FnMut(&str)) -> Outcome {
    let shop = Shop::start(programs, folder, say)?;
    shop.restore(programs, folder, say)?.stop()
}

/// Moves the log into a schema of a database, and back into another folder, while orders and timers are open; the shop goes on there.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn move_through(programs: &Path, folder: &Path, database: &str, say: &mut dyn FnMut(&str)) -> Outcome {
    let shop = Shop::start(programs, folder, say)?;
    shop.move_through(programs, (folder, database), say)?.stop()
}

/// Runs the shop on two servers of a schema of a PostgreSQL database, and kills the one that deals the consumer groups, that number of
/// times, while customers order. Says how long no order was shipped.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn lose_servers(
    programs: &Path,
    folder: &Path,
    (database, kills): (&str, u32),
    say: &mut dyn FnMut(&str),
) -> Outcome {
    is_new(folder)?;
    let mut shop = Shop::open_shared(programs, folder, database, say)?;
    shop.fill(say)?;
    shop.lose_servers(kills, say)?;
    shop.stop()
}

/// Plays the demo on two servers of a store of three partitions on a cluster of NATS.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn run_on_nodes(
    programs: &Path,
    folder: &Path,
    cluster: &NatsCluster,
    say: &mut dyn FnMut(&str),
) -> Outcome {
    is_new(folder)?;
    let mut shop = Shop::open_clustered(programs, folder, cluster, say)?;
    shop.fill(say)?;
    shop.lose_stock(say)?;
    shop.give_up_two(say)?;
    shop.close_books(say)?;
    shop.stop()
}

/// Runs the shop on two servers of a store on three nodes of NATS, which are started for it, and kills nodes, that number of times, while
/// customers order. Says how long no order was shipped. Does nothing, and says so, if NATS is not installed.
///
/// # Errors
/// What went wrong, as a sentence.
pub fn lose_nodes(programs: &Path, folder: &Path, kills: u32, say: &mut dyn FnMut(&str)) -> Outcome {
    is_new(folder)?;
    let Some(mut cluster) = NatsCluster::start() else { return Ok(()) };
    let mut shop = Shop::open_clustered(programs, folder, &cluster, say)?;
    shop.fill(say)?;
    shop.lose_nodes(&mut cluster, kills, say)?;
    shop.stop()
}

/// Refuses a folder that exists.
fn is_new(folder: &Path) -> Outcome {
    match folder.exists() {
        true => Err(format!("`{}` exists: remove it, or name another folder", folder.display())),
        false => Ok(()),
    }
}

impl Books {
    fn agree(&self) -> bool {
        self.ordered == self.shipped && self.sold_cents == self.paid_cents
    }
}

/// The folder of the log in a folder of the shop.
fn log_of(folder: &Path) -> String {
    folder.join("log").display().to_string()
}

fn order_names(prefix: &str) -> Vec<String> {
    (1..=ORDERS).map(|number| format!("{prefix}-{number}")).collect()
}

impl Shop {
    fn start(programs: &Path, folder: &Path, say: &mut dyn FnMut(&str)) -> Outcome<Self> {
        is_new(folder)?;
        let shop = Self::open(programs, folder, say)?;
        shop.fill(say)?;
        Ok(shop)
    }

    fn fill(&self, say: &mut dyn FnMut(&str)) -> Outcome {
        self.stock.send("/commands/stock/pen/receive", &json!({"count": PENS}))?;
        say(&format!("{PENS} pens came in"));
        Ok(())
    }

    /// Starts the programs on the log in a folder, which is made if it is missing.
    fn open(programs: &Path, folder: &Path, say: &mut dyn FnMut(&str)) -> Outcome<Self> {
        let mut server = Program::new(programs, "shop-server", &["--dir", &log_of(folder)]);
        server.start()?;
        Self::serve(programs, folder, (server, None), say)
    }

    /// Starts the services on one server, or on two: stock on the first one, the others on the second one.
    fn serve(
        programs: &Path,
        folder: &Path,
        (server, second): (Program, Option<Program>),
        say: &mut dyn FnMut(&str),
    ) -> Outcome<Self> {
        let service = |name: &str, server: &Program| {
            let state = folder.join(name).display().to_string();
            Program::new(programs, name, &["--store", server.url(), "--state", &state])
        };
        let last = second.as_ref().unwrap_or(&server);
        let (mut stock, mut payments) = (service("shop-stock", &server), service("shop-payments", last));
        stock.start()?;
        payments.start()?;
        let mut orders = service("shop-orders", last);
        orders.set("SHOP_STOCK", stock.url());
        orders.set("SHOP_PAYMENTS", payments.url());
        orders.start()?;
        say(&format!("the log is at {}", server.url()));
        say(&format!("orders {}, stock {}, payments {}", orders.url(), stock.url(), payments.url()));
        Ok(Self { server, second, orders, stock, payments })
    }

    /// Stock is killed between two rounds of orders, and comes back.
    fn lose_stock(&mut self, say: &mut dyn FnMut(&str)) -> Outcome {
        let first = order_names("first");
        self.order_all(&first)?;
        self.wait("the first orders are shipped", |shop| shop.has_status(&first, "shipped"))?;
        say(&format!("{ORDERS} orders are placed, paid and shipped"));

        self.stock.kill()?;
        say("stock is killed");
        let second = order_names("second");
        self.order_all(&second)?;
        self.wait("reservations wait", |shop| Ok(shop.fulfilment()?["waiting"].as_u64() >= Some(1)))?;
        let (waiting, parked) = (self.fulfilment()?["waiting"].clone(), self.parked()?);
        say(&format!(
            "{ORDERS} more orders are placed and paid; {waiting} streams wait for stock, {parked} are parked"
        ));
        if !self.has_status(&second, "placed")? || parked != 0 {
            return Err("orders must be placed while stock is away, and none parked".to_owned());
        }

        self.stock.start()?;
        say("stock is back");
        self.wait("all orders are shipped", |shop| shop.has_status(&second, "shipped"))?;
        say(&format!("the {ORDERS} orders are shipped, {} are parked", self.parked()?));
        Ok(())
    }

    /// Compares the books of the three services.
    fn close_books(&self, say: &mut dyn FnMut(&str)) -> Outcome {
        self.wait("the books agree", |shop| shop.books().map(|books| books.agree()))?;
        let Books { ordered, shipped, sold_cents, paid_cents } = self.books()?;
        say(&format!("orders: {ordered} pens sold for {sold_cents} cents"));
        say(&format!("stock: {shipped} pens left the house"));
        say(&format!("payments: {paid_cents} cents were paid"));
        if ordered != i64::from(2 * ORDERS) || self.parked()? != 0 {
            return Err(format!("{ordered} pens were sold, {} expected, none parked", 2 * ORDERS));
        }
        say("the books agree");
        Ok(())
    }

    /// Orders one pen each, and pays for it.
    fn order_all(&self, orders: &[String]) -> Outcome {
        for order in orders {
            self.place(order, 1, 900)?;
            self.pay(order)?;
        }
        Ok(())
    }

    fn place(&self, order: &str, count: u32, pay_within_seconds: u64) -> Outcome {
        let body = json!({
            "article": "pen",
            "count": count,
            "cents": CENTS * u64::from(count),
            "pay_within_seconds": pay_within_seconds,
        });
        self.orders.send(&format!("/commands/order/{order}/place"), &body)
    }

    fn pay(&self, order: &str) -> Outcome {
        let payment = format!("for-{order}");
        let body = json!({"payment": payment, "order": order, "cents": CENTS});
        self.payments.send(&format!("/commands/payment/{payment}/pay"), &body)
    }

    /// An order that nobody pays, and one of more pens than there are.
    fn give_up_two(&self, say: &mut dyn FnMut(&str)) -> Outcome {
        self.place("unpaid", 1, 1)?;
        self.place("too-many", 2 * PENS, 900)?;
        let both = ["unpaid".to_owned(), "too-many".to_owned()];
        self.wait("both are cancelled", |shop| shop.has_status(&both, "cancelled"))?;
        let reasons = self
            .orders
            .rows("orders", "select id, reason from orders where reason is not null order by id")?;
        say(&format!("cancelled: {}", Value::from(reasons)));
        self.wait("the reservation is given back", |shop| {
            let reserved = shop.stock.rows("stock", "select reserved from stock")?;
            Ok(reserved == [json!([0])])
        })
    }

    fn has_status(&self, orders: &[String], wanted: &str) -> Outcome<bool> {
        for order in orders {
            let state = request(&format!("{}/states/order/{order}", self.orders.url()))?;
            if state["state"]["status"] != wanted {
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// The group of the fulfilment.
    fn fulfilment(&self) -> Outcome<Value> {
        request(&format!("{}/groups/process-fulfilment", self.orders.url()))
    }

    fn parked(&self) -> Outcome<u64> {
        let group = self.fulfilment()?;
        group["parked"].as_u64().ok_or_else(|| format!("the group has no `parked`: {group}"))
    }

    fn books(&self) -> Outcome<Books> {
        let numbers = |program: &Program, view: &str, sql: &str| {
            let rows = program.rows(view, sql)?;
            let numbers = rows
                .first()
                .and_then(Value::as_array)
                .map(|row| row.iter().map(|number| number.as_i64().unwrap_or_default()).collect::<Vec<_>>());
            numbers.ok_or_else(|| format!("`{sql}` has no row"))
        };
        let sold = "select sum(count), sum(cents) from orders where status = 'shipped'";
        let sold = numbers(&self.orders, "orders", sold)?;
        let shipped = numbers(&self.stock, "stock", "select sum(shipped) from stock")?;
        let paid = numbers(&self.payments, "payments", "select sum(cents - refunded) from payments")?;
        Ok(Books { ordered: sold[0], sold_cents: sold[1], shipped: shipped[0], paid_cents: paid[0] })
    }

    /// Waits until something has happened. Between two looks it waits for the log to grow.
    fn wait(&self, what: &str, mut has_happened: impl FnMut(&Self) -> Outcome<bool>) -> Outcome {
        let begun = Instant::now();
        let checkpoint = format!("{}/checkpoint", self.server.url());
        while begun.elapsed() < PATIENCE {
            let head = request(&checkpoint)?;
            if has_happened(self)? {
                return Ok(());
            }
            let head = head["checkpoint"].as_str().unwrap_or_default();
            request(&format!("{checkpoint}?past={head}&wait=1"))?;
        }
        Err(format!("{} s passed, and still not: {what}", PATIENCE.as_secs()))
    }

    fn stop(self) -> Outcome {
        let services = [self.orders, self.stock, self.payments];
        services.into_iter().chain(self.second).chain([self.server]).try_for_each(Program::stop)
    }
}
