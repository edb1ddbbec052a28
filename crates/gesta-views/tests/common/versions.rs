//! The life of a view's versions, on whatever database: built beside the old one, switched to, rolled back, dropped. Each binary of
//! tests runs every scenario.

use std::io::{BufRead, BufReader, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use event_listener::Event;
use gesta_conformance::sample::{self, Sample as _};
use gesta_core::*;
use gesta_views::*;

/// Where the views of a scenario have their tables.
pub(crate) struct Home {
    pub(crate) folder: PathBuf,
    pub(crate) dialect: &'static str,
    pub(crate) options: Options,
}

/// Events of a page, so that a rebuild has several.
const PAGE: u64 = 10;

/// A version whose rows name it: two tables that agree only within one version and one place.
pub(crate) fn version(dialect: &str, number: u32) -> String {
    format!(
        "-- dialect: {dialect}
        -- version: {number}
        create table balances (account text primary key, amount bigint not null);
        create table counts (version int primary key, events bigint not null);
        -- on deposited
        insert into balances values ($entity, :amount * {number})
        on conflict (account) do update set amount = balances.amount + excluded.amount;
        insert into counts values ({number}, 1) on conflict (version) do update set events = counts.events + 1;
        -- on only.version{number}
        -- ignore
        "
    )
}

pub(crate) const WHOLE: &str = "select cast((select sum(amount) from balances) as bigint),
    cast((select version from counts) as bigint), (select events from counts), (select count(*) from counts)";

/// Checks one answer, and gives its version and place.
pub(crate) fn check(answer: &Rows) -> (i64, u64) {
    let values = answer.rows[0].iter().map(|value| match value {
        SqlValue::Integer(number) => *number,
        _ => 0,
    });
    let [sum, version, events, versions] = values.collect::<Vec<_>>()[..] else { panic!("four columns") };
    let site = answer.checkpoint.sequence(0);
    assert_eq!(sum, version * events, "sums and version agree");
    assert_eq!(u64::try_from(events).unwrap(), site, "rows and checkpoint are of one moment");
    assert_eq!(versions, i64::from(events > 0), "rows of one version only");
    (version, site)
}

/// A store that gives pages to one version of the view only as they are permitted, and to all others at once.
struct Metered {
    inner: Arc<MemoryStore>,
    of: EventType,
    permits: Mutex<u64>,
    permitted: Event,
}

impl Metered {
    fn new(inner: &Arc<MemoryStore>, version: u32, permits: u64) -> Arc<Self> {
        let of = format!("only.version{version}").parse().unwrap();
        let (inner, permits) = (Arc::clone(inner), Mutex::new(permits));
        Arc::new(Self { inner, of, permits, permitted: Event::new() })
    }

    fn permit(&self, pages: u64) {
        *self.permits.lock().unwrap() += pages;
        self.permitted.notify(usize::MAX);
    }

    fn is_metered(&self, read: &Read) -> bool {
        let Select::Log { query: Query::Any(items), .. } = &read.select else { return false };
        items.iter().any(|item| item.types.contains(&self.of))
    }

    async fn take(&self) {
        loop {
            let listener = self.permitted.listen();
            {
                let mut permits = self.permits.lock().unwrap();
                if *permits > 0 {
                    *permits -= 1;
                    return;
                }
            }
            listener.await;
        }
    }
}

impl StoreLayer for Metered {
    fn inner(&self) -> &dyn EventStore {
        &*self.inner
    }

    fn read(&self, read: Read) -> BoxFuture<'_, Result<Page, ReadError>> {
        Box::pin(async move {
            if self.is_metered(&read) {
                self.take().await;
            }
            self.inner.read(read).await
        })
    }
}

/// A store whose content depends on the number of events alone, so that several processes can have the same one.
fn store() -> Arc<MemoryStore> {
    Arc::new(MemoryStore::new(StoreId::from_bytes([1; 16]), 1, || Timestamp::from_nanos(7)))
}

/// Appends deposits of 1 in batches of five at most.
fn deposit(store: &MemoryStore, events: u64) -> Checkpoint {
    deposit_as(store, events, "deposited", 1)
}

fn deposit_as(store: &MemoryStore, events: u64, event_type: &str, schema: u16) -> Checkpoint {
    let first = pollster::block_on(store.locate(When::Head)).unwrap().sequence(0) + 1;
    let event = |number: u64| {
        let event = sample::event(&format!("account-{}", number % 10), number).of_type(event_type);
        NewEvent { schema_version: schema, ..event.with_data(r#"{"amount": 1}"#.to_owned()) }
    };
    let numbers = (first..first + events).collect::<Vec<_>>();
    let batches =
        numbers.chunks(5).map(|chunk| Batch::new(chunk.iter().map(|n| event(*n)).collect::<Vec<_>>()));
    batches.map(|batch| store.append_now(batch).unwrap().checkpoint).last().unwrap()
}

impl Home {
    fn open(&self, store: &Arc<impl EventStore + 'static>, number: u32) -> Views {
        self.open_text(store, &version(self.dialect, number))
    }

    fn open_text(&self, store: &Arc<impl EventStore + 'static>, text: &str) -> Views {
        let definition = Definition::parse("balances", text).unwrap();
        let page = Limit::events(u32::try_from(PAGE).unwrap().try_into().unwrap());
        let options = Options { page, ..self.options.clone() };
        Views::open_with(store.clone(), self.folder.clone(), vec![definition], &options).unwrap()
    }
}

fn wait(views: &Views, checkpoint: &Checkpoint) {
    assert!(pollster::block_on(views.wait_for("balances", checkpoint)).unwrap().at_least(checkpoint));
}

fn status(views: &Views) -> Status {
    pollster::block_on(views.status("balances")).unwrap()
}

/// Waits for something that nobody announces.
fn until(what: &str, views: &Views, is_so: impl Fn(&Status) -> bool) -> Status {
    let deadline = std::time::Instant::now() + Duration::from_secs(180);
    loop {
        let now = status(views);
        if is_so(&now) {
            return now;
        }
        assert!(std::time::Instant::now() < deadline, "it never came: {what}: {now:?}");
        std::thread::yield_now();
    }
}

fn until_version(views: &Views, wanted: i64) {
    until("the switch", views, |_| ask(views).0 == wanted);
}

/// Asks the view, and checks that the answer is whole.
fn ask(views: &Views) -> (i64, u64) {
    ask_with(views, WHOLE)
}

/// As [`ask`], with a query that gives what [`WHOLE`] does.
fn ask_with(views: &Views, sql: &str) -> (i64, u64) {
    let limits = QueryLimits { time: Duration::from_secs(60), ..QueryLimits::default() };
    check(&views.query("balances", sql, &[], &limits).unwrap())
}

fn old_is(status: &Status, state: &str) -> bool {
    let old = status.old.as_ref().and_then(|old| old.state.as_ref());
    old.is_some_and(|old| old.name() == state)
}

/// Rolls back, and waits until the other version serves. Gives the versions, and whether it is the given one.
fn roll_back(views: &Views, to: i64) -> (String, String, bool) {
    let done = views.roll_back("balances").unwrap();
    until_version(views, to);
    (done.from, done.to, done.is_given)
}

fn has_passed(events: u64) -> impl Fn(&Status) -> bool {
    move |status| status.checkpoint.as_ref().is_some_and(|at| at.sequence(0) >= events)
}

pub(crate) fn queries_see_whole_versions_and_advance_during_a_rebuild(home: &Home) {
    let store = store();
    wait(&home.open(&store, 1), &deposit(&store, 60));
    let metered = Metered::new(&store, 2, 0);
    let views = home.open(&metered, 2);
    let (is_over, answers) = (AtomicBool::new(false), AtomicU64::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let (mut last, mut seen) = ((0, 0), Vec::new());
            while !is_over.load(Ordering::SeqCst) {
                let now = ask(&views);
                assert!(now.0 >= last.0 && now.1 >= last.1, "{now:?} after {last:?}");
                seen.extend(Some(now.0).filter(|version| seen.last() != Some(version)));
                last = now;
                answers.fetch_add(1, Ordering::SeqCst);
            }
            seen
        });
        for round in 1..=5 {
            // The old version shows what is appended while the new one is built.
            let head = deposit(&store, 3);
            wait(&views, &head);
            assert_eq!(ask(&views), (1, head.sequence(0)));
            metered.permit(1);
            let is_there = |status: &Status| has_passed(round * PAGE)(status) && old_is(status, "live");
            let now = until("a page", &views, is_there);
            let progress = now.progress.unwrap();
            assert_eq!((progress.events_done, progress.events_total), (round * PAGE, head.sequence(0)));
            assert!(now.serves_predecessor);
            assert_eq!(now.serving, Some(head));
        }
        // The log goes on through the switch.
        metered.permit(1_000_000);
        while status(&views).serves_predecessor {
            wait(&views, &deposit(&store, 3));
        }
        let head = deposit(&store, 3);
        wait(&views, &head);
        let (asked, before) = (ask(&views), answers.load(Ordering::SeqCst));
        assert_eq!(asked, (2, head.sequence(0)));
        while answers.load(Ordering::SeqCst) < before + 2 {
            std::thread::yield_now();
        }
        is_over.store(true, Ordering::SeqCst);
        assert_eq!(asking.join().unwrap(), [1, 2]);
    });
    let now = status(&views);
    assert_eq!(now.progress, None);
    // The old one is kept, and goes on.
    let head = deposit(&store, 3);
    let is_there =
        |status: &Status| status.old.as_ref().is_some_and(|old| old.checkpoint.as_ref() == Some(&head));
    until("the old version at the head", &views, is_there);
}

/// Sixteen loops ask while a version is built and takes over: each answer is whole, and the answers of a loop never go back. Prints the longest
/// wait for an answer, and how long the switch took from the moment when nothing held the new version back.
#[expect(clippy::print_stdout, reason = "figures, which no test asserts")]
pub(crate) fn sixteen_loops_of_queries_go_on_during_a_rebuild_and_its_switch(home: &Home, sql: &str) {
    let store = store();
    wait(&home.open(&store, 1), &deposit(&store, 60));
    let metered = Metered::new(&store, 2, 0);
    let views = home.open(&metered, 2);
    let is_over = AtomicBool::new(false);
    // The version of the newest answer of each loop.
    let answered = [const { AtomicI64::new(0) }; 16];
    let every = |wanted: i64| {
        until("every loop has an answer of the version", &views, |_| {
            answered.iter().all(|version| version.load(Ordering::SeqCst) == wanted)
        });
    };
    let asking = |version: &AtomicI64| {
        let (mut last, mut longest) = ((0, 0), Duration::ZERO);
        while !is_over.load(Ordering::SeqCst) {
            let begun = Instant::now();
            let now = ask_with(&views, sql);
            longest = longest.max(begun.elapsed());
            assert!(now.0 >= last.0 && now.1 >= last.1, "{now:?} after {last:?}");
            last = now;
            version.store(now.0, Ordering::SeqCst);
        }
        longest
    };
    let (longest, switch) = std::thread::scope(|scope| {
        let loops = answered.iter().map(|version| scope.spawn(|| asking(version))).collect::<Vec<_>>();
        every(1);
        for round in 1..=3 {
            wait(&views, &deposit(&store, 3));
            metered.permit(1);
            until("a page", &views, has_passed(round * PAGE));
        }
        let begun = Instant::now();
        metered.permit(1_000_000);
        // The log goes on through the switch.
        while status(&views).serves_predecessor {
            wait(&views, &deposit(&store, 3));
        }
        let switch = begun.elapsed();
        every(2);
        is_over.store(true, Ordering::SeqCst);
        (loops.into_iter().map(|asking| asking.join().unwrap()).max(), switch)
    });
    println!("{}: the longest query took {longest:?}, the switch {switch:?}", home.dialect);
}

pub(crate) fn a_stop_in_mid_rebuild_resumes(home: &Home) {
    let store = store();
    let head = deposit(&store, 60);
    wait(&home.open(&store, 1), &head);
    let views = home.open(&Metered::new(&store, 2, 3), 2);
    until("three pages", &views, has_passed(3 * PAGE));
    drop(views);
    let metered = Metered::new(&store, 2, 0);
    let views = home.open(&metered, 2);
    let now = until("the open", &views, |status| status.checkpoint.is_some());
    assert_eq!(now.checkpoint.unwrap().sequence(0), 3 * PAGE);
    assert_eq!(ask(&views), (1, 60));
    metered.permit(1_000_000);
    until_version(&views, 2);
}

/// The process that is killed in mid-rebuild: it says so on its output.
pub(crate) fn the_process_that_is_killed(home: &Home) {
    let store = store();
    deposit(&store, 60);
    let views = home.open(&Metered::new(&store, 2, 3), 2);
    until("three pages", &views, has_passed(3 * PAGE));
    let mut out = std::io::stdout();
    writeln!(out, "\nin mid-rebuild").unwrap();
    out.flush().unwrap();
    loop {
        std::thread::park();
    }
}

/// `process` names the test that runs [`the_process_that_is_killed`].
pub(crate) fn a_kill_in_mid_rebuild_resumes(home: &Home, process: &str, variables: &[(&str, &str)]) {
    let store = store();
    let head = deposit(&store, 60);
    wait(&home.open(&store, 1), &head);
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", process, "--ignored", "--nocapture"]).env("GESTA_TEST_FOLDER", &home.folder);
    command.envs(variables.iter().copied()).stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let mut child = command.spawn().unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap()).lines();
    assert!(lines.map_while(Result::ok).any(|line| line == "in mid-rebuild"));
    child.kill().unwrap();
    child.wait().unwrap();
    let metered = Metered::new(&store, 2, 0);
    let views = home.open(&metered, 2);
    let now = until("the open", &views, |status| status.checkpoint.is_some());
    // In PostgreSQL the last pages before a kill of the server may be lost, but this was one of the process.
    assert_eq!(now.checkpoint.unwrap().sequence(0), 3 * PAGE);
    let head = deposit(&store, 3);
    wait(&views, &head);
    assert_eq!(ask(&views), (1, head.sequence(0)));
    metered.permit(1_000_000);
    until_version(&views, 2);
}

pub(crate) fn a_rollback_holds_until_the_definition_changes(home: &Home) {
    let store = store();
    wait(&home.open(&store, 1), &deposit(&store, 60));
    let views = home.open(&store, 2);
    until_version(&views, 2);
    let (first, second) = [1, 2].map(|number| short_hash(home, number)).into();
    assert_eq!(roll_back(&views, 1), (second.clone(), first.clone(), false));
    assert_eq!(ask(&views), (1, 60));
    let now = until("the switch", &views, |status| !status.serves_predecessor);
    assert!(now.rolled_back.unwrap().starts_with(&second));
    let old = now.old.unwrap();
    assert_eq!(old.version, second);
    // Both follow, and a restart changes nothing.
    wait(&views, &deposit(&store, 3));
    assert_eq!(ask(&views), (1, 63));
    drop(views);
    let views = home.open(&store, 2);
    wait(&views, &deposit(&store, 3));
    assert_eq!(ask(&views), (1, 66));
    // The other way round.
    assert_eq!(roll_back(&views, 2), (first, second, true));
    assert_eq!(ask(&views), (2, 66));
    assert_eq!(status(&views).rolled_back, None);
    roll_back(&views, 1);
    drop(views);
    // A change of the definition goes forward, also one to what was rolled back.
    for number in [3, 2, 1] {
        let views = home.open(&store, number);
        until_version(&views, number.into());
        assert_eq!(status(&views).rolled_back, None);
    }
}

fn short_hash(home: &Home, number: u32) -> String {
    let definition = Definition::parse("balances", &version(home.dialect, number)).unwrap();
    definition.hash()[..8].to_owned()
}

pub(crate) fn a_rollback_in_mid_rebuild_ends_it(home: &Home) {
    let store = store();
    wait(&home.open(&store, 1), &deposit(&store, 60));
    let metered = Metered::new(&store, 2, 2);
    let views = home.open(&metered, 2);
    until("two pages", &views, has_passed(2 * PAGE));
    std::thread::scope(|scope| {
        // The view stands still for a moment. A wait goes on over that.
        let built = scope.spawn(|| pollster::block_on(views.wait_until_built("balances")));
        roll_back(&views, 1);
        built.join().unwrap().unwrap();
    });
    assert_eq!(ask(&views), (1, 60));
    let has_ended =
        |status: &Status| status.old.is_none() && !status.serves_predecessor && status.checkpoint.is_some();
    let now = until("the end of the rebuild", &views, has_ended);
    assert_eq!(now.progress, None);
    // It is taken back, and the new version is built again.
    metered.permit(1_000_000);
    views.roll_back("balances").unwrap();
    until_version(&views, 2);
}

pub(crate) fn the_old_version_is_dropped_on_request_and_with_the_next_switch(home: &Home) {
    let store = store();
    let head = deposit(&store, 60);
    wait(&home.open(&store, 1), &head);
    let metered = Metered::new(&store, 2, 1);
    let views = home.open(&metered, 2);
    until("a page", &views, has_passed(PAGE));
    let refused = views.drop_old("balances").unwrap_err();
    assert!(matches!(refused, DropOldError::Serves { .. }), "{refused}");
    metered.permit(1_000_000);
    until_version(&views, 2);
    drop(views);
    let views = home.open(&store, 3);
    until_version(&views, 3);
    assert_eq!(status(&views).old.unwrap().version, short_hash(home, 2));
    assert_eq!(views.drop_old("balances").unwrap(), short_hash(home, 2));
    assert_eq!(ask(&views), (3, 60));
    until("a live view", &views, |status| status.state.name() == "live" && status.old.is_none());
    let refused = views.drop_old("balances").unwrap_err();
    assert!(matches!(refused, DropOldError::NothingKept { .. }), "{refused}");
    let refused = views.roll_back("balances").unwrap_err();
    assert!(matches!(refused, RollBackError::NothingKept { .. }), "{refused}");
    wait(&views, &deposit(&store, 3));
    assert_eq!(ask(&views), (3, 63));
}

pub(crate) fn a_view_is_not_rolled_back_to_a_version_that_has_stopped(home: &Home) {
    let store = store();
    wait(&home.open(&store, 1), &deposit(&store, 60));
    let text = version(home.dialect, 2).replace("-- on deposited", "-- on deposited@1-2");
    let views = home.open_text(&store, &text);
    until_version(&views, 2);
    let head = deposit_as(&store, 3, "deposited", 2);
    wait(&views, &head);
    until("a stop of the old version", &views, |status| old_is(status, "stopped"));
    let refused = views.roll_back("balances").unwrap_err();
    assert!(
        refused.to_string().contains("has stopped, so its rows are old: event `deposited`@2"),
        "{refused}"
    );
    assert_eq!(ask(&views), (2, head.sequence(0)));
}

pub(crate) fn a_reload_takes_what_changed_while_queries_go_on(home: &Home) {
    let store = store();
    let views = home.open(&store, 1);
    wait(&views, &deposit(&store, 60));
    let definition =
        |name: &str, number: u32| Definition::parse(name, &version(home.dialect, number)).unwrap();
    let is_over = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut last = (0, 0);
            while !is_over.load(Ordering::SeqCst) {
                let now = ask(&views);
                assert!(now.0 >= last.0 && now.1 >= last.1, "{now:?} after {last:?}");
                last = now;
            }
        });
        let done = views.reload(vec![Ok(definition("balances", 2)), Ok(definition("others", 1))]);
        assert_eq!((done.changed, done.added), (vec!["balances".to_owned()], vec!["others".to_owned()]));
        until_version(&views, 2);
        let head = deposit(&store, 3);
        for name in ["balances", "others"] {
            assert!(pollster::block_on(views.wait_for(name, &head)).unwrap().at_least(&head));
        }
        is_over.store(true, Ordering::SeqCst);
        asking.join().unwrap();
    });
    let done = views.reload(vec![Ok(definition("balances", 2))]);
    assert_eq!((done.unchanged, done.undefined), (vec!["balances".to_owned()], vec!["others".to_owned()]));
    assert!(done.changed.is_empty() && done.added.is_empty());
    // A rollback holds over a reload without a change, and ends with one that has.
    views.roll_back("balances").unwrap();
    views.reload(vec![Ok(definition("balances", 2))]);
    assert_eq!(ask(&views), (1, 63));
    views.reload(vec![Ok(definition("balances", 3))]);
    until_version(&views, 3);
}

pub(crate) fn a_definition_with_an_error_leaves_the_one_before(home: &Home) {
    let folder = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| std::fs::write(folder.path().join(name), text).unwrap();
    let load = || Definition::load_each(folder.path()).unwrap();
    write("balances.sql", &version(home.dialect, 1));
    let store = store();
    let views =
        Views::open_with(store.clone(), home.folder.clone(), vec![load().remove(0).unwrap()], &home.options)
            .unwrap();
    let views = Arc::new(views);
    wait(&views, &deposit(&store, 60));
    write("balances.sql", "-- dialect: none");
    write("good.sql", &version(home.dialect, 1));
    let done = views.reload(load());
    assert_eq!(done.added, ["good"]);
    let refused = done.refused[0].clone();
    assert_eq!(refused.view.as_deref(), Some("balances"));
    assert!(refused.error.starts_with("balances.sql:1: the dialect `none` is not supported"), "{refused}");
    assert_eq!(status(&views).refused, Some(refused.error.clone()));
    let report = pollster::block_on(views.consumers()[0].report());
    assert!(report.error.unwrap().contains(&refused.error));
    let head = deposit(&store, 3);
    wait(&views, &head);
    assert_eq!(ask(&views), (1, head.sequence(0)));
    write("balances.sql", &version(home.dialect, 2));
    let done = views.reload(load());
    assert_eq!((done.changed, done.refused), (vec!["balances".to_owned()], Vec::new()));
    until_version(&views, 2);
    assert_eq!(status(&views).refused, None);
}

pub(crate) fn a_definition_that_the_database_refuses_leaves_the_one_before(home: &Home) {
    let store = store();
    let views = home.open(&store, 1);
    wait(&views, &deposit(&store, 60));
    // Well formed, and no statement of any database.
    let text = version(home.dialect, 2).replace("primary key", "primary nothing");
    match Definition::parse("balances", &text) {
        Err(error) => {
            let done = views.reload(vec![Err(error.into())]);
            assert_eq!(done.refused.len(), 1);
        }
        Ok(definition) => {
            views.reload(vec![Ok(definition)]);
            let now = until("a stop", &views, |status| status.state.name() == "stopped");
            let error = now.state.error().unwrap().to_string();
            assert!(error.contains("balances.sql:3"), "{error}");
        }
    }
    let head = deposit(&store, 3);
    wait(&views, &head);
    assert_eq!(ask(&views), (1, head.sequence(0)));
    views.reload(vec![Ok(Definition::parse("balances", &version(home.dialect, 3)).unwrap())]);
    until_version(&views, 3);
}

/// The folder of the process that is killed.
pub(crate) fn folder_of_process() -> PathBuf {
    Path::new(&std::env::var("GESTA_TEST_FOLDER").unwrap()).to_owned()
}
