//! The past through the public interface: series of a category, steps, and what-ifs over HTTP.

use std::collections::BTreeMap;
use std::sync::Arc;

use gesta::http::router_on;
use gesta::past::{By, CategoryError, Cut, Cuts, Step};
use gesta::testing::{block_on, json, store};
use gesta::*;

use crate::domain::*;
use crate::http::{get, post};

const HOUR: i64 = 3_600_000_000_000;

/// Deposits money that came at an hour.
async fn deposit_at(gesta: &Gesta, name: &str, amount: u64, hour: i64) {
    let gesta = gesta.with(Meta::new().time(Timestamp::from_nanos(hour * HOUR)));
    if gesta.load::<Account>(&id(name)).await.unwrap().version.is_none() {
        gesta.send::<Account>(&id(name), open()).await.unwrap();
    }
    gesta.send::<Account>(&id(name), AccountCommand::Deposit { amount }).await.unwrap();
}

/// Accounts with deposits over three days.
fn deposits() -> Gesta {
    let gesta = store();
    block_on(async {
        for (name, amount, hour) in [("ann", 1, 1), ("ben", 2, 20), ("ann", 4, 30), ("cid", 8, 60)] {
            deposit_at(&gesta, name, amount, hour).await;
        }
    });
    gesta
}

type Balances = Vec<(Cut, u64)>;

/// The balances at each cut, by account.
fn of_category(gesta: &Gesta, cuts: &Cuts) -> Result<BTreeMap<String, Balances>, CategoryError> {
    let mut found = BTreeMap::<_, Balances>::new();
    let visit = |id: &AccountId, cut, account: &Account| {
        found.entry(id.0.clone()).or_default().push((cut, account.balance));
    };
    block_on(gesta.series_of_category::<Account>(cuts, None, visit))?;
    Ok(found)
}

fn of_entity(gesta: &Gesta, name: &str, cuts: &Cuts) -> Balances {
    let mut found = Vec::new();
    let visit = |cut, account: &Account| found.push((cut, account.balance));
    block_on(gesta.series::<Account>(&id(name), cuts, visit)).unwrap();
    found
}

#[test]
fn the_series_of_a_category_has_those_of_its_entities() {
    let gesta = deposits();
    let days = Cuts::every(Step::Day, "UTC").unwrap().by(By::Time).to(Timestamp::from_nanos(96 * HOUR - 1));
    for cuts in [days.clone(), Cuts::every_events(2.try_into().unwrap())] {
        let found = of_category(&gesta, &cuts).unwrap();
        assert_eq!(found.keys().collect::<Vec<_>>(), ["ann", "ben", "cid"]);
        for (name, series) in &found {
            assert_eq!(*series, of_entity(&gesta, name, &cuts), "{name}");
        }
    }
    let part = days.clone().from(Timestamp::from_nanos(24 * HOUR)).to(Timestamp::from_nanos(72 * HOUR - 1));
    let found = of_category(&gesta, &part).unwrap();
    let balances = |name: &str| found[name].iter().map(|(_, balance)| *balance).collect::<Vec<_>>();
    assert_eq!((balances("ann"), balances("ben"), balances("cid")), (vec![5, 5], vec![2, 2], vec![8]));
    let first = of_category(&gesta, &days.to(Timestamp::from_nanos(24 * HOUR - 1))).unwrap();
    assert_eq!(first.values().map(Vec::len).collect::<Vec<_>>(), [1, 1], "later cuts are left out");
    let recorded = of_category(&gesta, &Cuts::every(Step::Day, "UTC").unwrap()).unwrap();
    assert!(recorded.values().all(|series| series.len() == 1), "{recorded:?}");
}

#[test]
fn a_late_event_ends_the_series_of_a_category_by_time() {
    let gesta = deposits();
    block_on(deposit_at(&gesta, "ben", 16, 2));
    let days = Cuts::every(Step::Day, "UTC").unwrap().by(By::Time);
    let error = of_category(&gesta, &days).unwrap_err();
    let CategoryError::LateEvent { stream, version, .. } = &error else { panic!("{error}") };
    assert_eq!((stream.as_str(), version.get()), ("account-ben", 2));
    assert_eq!(of_entity(&gesta, "ben", &days)[0].1, 18, "the series of the entity has it");
}

#[test]
fn lanes_divide_a_category() {
    let gesta = deposits();
    let cuts = Cuts::every_events(100.try_into().unwrap());
    let mut found = Vec::new();
    for lanes in ["0-511", "512-1023"] {
        let visit = |id: &AccountId, _, _: &Account| found.push(id.0.clone());
        let lanes = Some(lanes.parse().unwrap());
        block_on(gesta.series_of_category::<Account>(&cuts, lanes, visit)).unwrap();
    }
    found.sort();
    assert_eq!(found, ["ann", "ben", "cid"]);
}

/// A state that says that it is large.
#[derive(Default)]
struct Large;

impl State for Large {
    type Event = AccountEvent;

    fn evolve(&mut self, _: AccountEvent) {}

    fn weight(&self) -> usize {
        150 << 20
    }
}

impl Decider for Large {
    type Id = AccountId;
    type Command = AccountCommand;
    type Error = Refused;

    fn decide(&self, _: AccountCommand) -> Result<Vec<AccountEvent>, Refused> {
        Ok(Vec::new())
    }
}

#[test]
fn a_category_whose_states_are_too_much_is_refused_with_advice() {
    let gesta = deposits();
    let cuts = Cuts::every_events(100.try_into().unwrap());
    let error = block_on(gesta.series_of_category::<Large>(&cuts, None, |_, _, _| {})).unwrap_err();
    assert!(matches!(error, CategoryError::TooManyEntities { entities: 2, .. }), "{error}");
    assert!(error.to_string().contains("divide the category by lanes"), "{error}");
}

#[test]
fn a_step_tells_what_changed_who_did_it_and_why() {
    let gesta = store();
    block_on(async {
        funded(&gesta, "ann", 5).await;
        let meta = Meta::new().actor("ben").causation("ticket-7").reason("a gift");
        gesta.with(meta).send::<Account>(&id("ann"), AccountCommand::Deposit { amount: 2 }).await.unwrap();
        let mut steps = gesta.steps::<Account>(&id("ann")).await.unwrap();
        assert_eq!(steps.version(), None);
        let step = steps.goto(Version::new(2)).await.unwrap();
        assert_eq!((step.who(), step.cause()), (Some("ben"), Some("ticket-7")));
        assert_eq!(step.reason().as_deref(), Some("a gift"));
        let changes = serde_json::to_value(&step.changes).unwrap();
        assert_eq!(changes, json!([{"pointer": "/balance", "before": 5, "after": 7}]));
        assert_eq!(steps.next().await.unwrap(), None);
        let back = steps.back().await.unwrap().unwrap();
        assert_eq!((back.event.version(), back.who(), back.reason()), (Version::new(1), None, None));
    });
}

#[test]
fn a_what_if_over_http_shows_the_state_and_writes_nothing() {
    let gesta = deposits();
    let router = router_on(Arc::new(crate::app::bank()), gesta.clone());
    let what_if = |body: &str| post(&router, "/states/account/ann/what-if", &[], body);
    let balance = |body: &str| what_if(body).body["state"]["balance"].clone();
    assert_eq!(balance("{}"), 5);
    assert_eq!(balance(r#"{"without": [1]}"#), 4);
    let deposited = r#""type": "bank.account.deposited", "data": {"amount": 40}"#;
    assert_eq!(balance(&format!(r#"{{"replace": [{{"version": 1, {deposited}}}]}}"#)), 44);
    assert_eq!(balance(&format!(r#"{{"insert": [{{"after": 2, {deposited}}}]}}"#)), 45);
    assert_eq!(balance(r#"{"without": [0], "until": 1}"#), 1);
    for (body, status, kind) in [
        (r#"{"without": [9]}"#, 404, "no-version"),
        (r#"{"without": "x"}"#, 400, "invalid-input"),
        (r#"{"without": [1], "replace": [{"version": 1, "type": "t", "data": {}}]}"#, 400, "invalid-input"),
        (r#"{"until": "2200-01-01T00:00:00Z"}"#, 400, "invalid-request"),
        (r#"{"with": []}"#, 400, "invalid-input"),
        (r#"{"until": "soon"}"#, 400, "invalid-input"),
        (r#"{"insert": [{"after": 0, "type": "x", "data": {}}]}"#, 400, "invalid-request"),
    ] {
        let answer = what_if(body);
        assert_eq!(answer.status, status, "{body}: {}", answer.body);
        assert_eq!(answer.body["type"], format!("urn:gesta:problem:{kind}"), "{body}");
    }
    let nobody = |body: &str| post(&router, "/states/account/nobody/what-if", &[], body);
    assert_eq!(
        (nobody("{}").status.as_u16(), nobody("{}").body["type"].as_str()),
        (404, Some("urn:gesta:problem:no-stream"))
    );
    assert_eq!(nobody(r#"{"without": [0]}"#).status, 404);
    assert_eq!(get(&router, "/states/account/ann").body["state"]["balance"], 5);
    assert_eq!(block_on(gesta.load::<Account>(&id("ann"))).unwrap().version, Some(Version::new(2)));
}

#[test]
fn the_series_of_a_category_over_http_names_each_entity() {
    let router = router_on(Arc::new(crate::app::bank()), deposits());
    let answer = get(&router, "/states/account?every=day&by=time").body;
    let cuts = answer["cuts"].as_array().unwrap();
    let shown =
        cuts.iter().map(|cut| (cut["id"].as_str().unwrap(), cut["state"]["balance"].as_u64().unwrap()));
    let expected = [("ann", 1), ("ben", 2), ("ann", 5), ("ben", 2), ("ann", 5), ("ben", 2), ("cid", 8)];
    assert_eq!(shown.collect::<Vec<_>>(), expected);
    assert_eq!(cuts[0]["at"], "1970-01-01T23:59:59.999999999Z");
    let lanes = get(&router, "/states/account?every=day&by=time&lanes=0-1023").body;
    assert_eq!(lanes["cuts"], answer["cuts"]);
    assert_eq!(get(&router, "/states/account").status, 400);
    assert_eq!(get(&router, "/states/order?every=day").status, 404);
}
