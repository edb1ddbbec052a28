//! Recorded events that are read as several events, or as none: what folds, processes and requests make of them.

use gesta::process::HostedProcess;
use gesta::testing::{block_on, process, store};
use gesta::*;
use serde::{Deserialize, Serialize};

/// The events as the first release wrote them.
#[derive(Debug, Event)]
#[event(prefix = "till")]
enum FirstRelease {
    Taken { amounts: Vec<u32> },
    Audited,
}

#[derive(Debug, PartialEq, Event)]
#[event(prefix = "till", retired("till.audited" = 1))]
enum TillEvent {
    #[event(version = 2, upcast(1 = many TakenV1))]
    Taken { amount: u32 },
}

#[derive(Deserialize)]
struct TakenV1 {
    amounts: Vec<u32>,
}

impl From<TakenV1> for Vec<TillEvent> {
    fn from(old: TakenV1) -> Self {
        old.amounts.into_iter().map(|amount| TillEvent::Taken { amount }).collect()
    }
}

#[derive(Debug, Clone, PartialEq, Key)]
#[key("till")]
struct TillId(u32);

#[derive(Debug, Clone, Command)]
enum TillCommand {
    Take { amount: u32 },
}

#[derive(Debug, Default, PartialEq, Serialize)]
struct Till {
    amounts: Vec<u32>,
}

impl State for Till {
    type Event = TillEvent;
    fn evolve(&mut self, TillEvent::Taken { amount }: TillEvent) {
        self.amounts.push(amount);
    }
}

impl Decider for Till {
    type Id = TillId;
    type Command = TillCommand;
    type Error = std::convert::Infallible;
    fn decide(&self, TillCommand::Take { amount }: TillCommand) -> Result<Vec<TillEvent>, Self::Error> {
        Ok(vec![TillEvent::Taken { amount }])
    }
}

fn taken(amounts: &[u32]) -> NewFact {
    NewFact::new(&TillId(7), FirstRelease::Taken { amounts: amounts.to_vec() })
}

/// Appends events of the first release, each in a batch of its own.
async fn append<E: Event>(gesta: &Gesta, events: impl IntoIterator<Item = E>) {
    for (event, id) in events.into_iter().zip(1_000_u128..) {
        let info = event.info();
        let (stream, time) = ("till-7".parse().unwrap(), Timestamp::from_nanos(i64::try_from(id).unwrap()));
        let event_type = info.name.parse().unwrap();
        let new = NewEvent::json(EventId::from_u128(id), stream, event_type, time, event.encode().unwrap());
        let new = NewEvent { schema_version: info.version, ..new };
        gesta.event_store().append(Batch::new([new])).await.unwrap();
    }
}

#[test]
fn a_fold_takes_all_pieces_of_an_event_at_every_point_in_time() {
    block_on(async {
        let gesta = store();
        let [first, second] = [vec![1, 2], vec![]].map(|amounts| FirstRelease::Taken { amounts });
        append(&gesta, [first, FirstRelease::Audited, second]).await;
        let sent = gesta.send::<Till>(&TillId(7), TillCommand::Take { amount: 3 }).await.unwrap();
        assert_eq!(sent.version(), Some(Version::new(3)), "versions count recorded events");
        let now = gesta.load::<Till>(&TillId(7)).await.unwrap();
        assert_eq!((now.version, &now.amounts), (Some(Version::new(3)), &vec![1, 2, 3]));
        for version in 0..3 {
            let then = gesta.load_at::<Till>(&TillId(7), AsOf::Version(Version::new(version))).await.unwrap();
            assert_eq!((then.version, &then.amounts), (Some(Version::new(version)), &vec![1, 2]));
        }
        let then = gesta.load_at::<Till>(&TillId(7), AsOf::Time(Timestamp::from_nanos(1_000))).await.unwrap();
        assert_eq!(then.amounts, [1, 2]);
        let before = gesta.load_at::<Till>(&TillId(7), AsOf::Time(Timestamp::from_nanos(999))).await.unwrap();
        assert_eq!(before.amounts, [0_u32; 0]);
    });
}

#[test]
fn a_repeat_is_answered_with_what_the_recorded_events_are_read_as() {
    #[derive(Debug, Default)]
    struct Before;
    impl State for Before {
        type Event = FirstRelease;
        fn evolve(&mut self, _: FirstRelease) {}
    }
    impl Decider for Before {
        type Id = TillId;
        type Command = TillCommand;
        type Error = std::convert::Infallible;
        fn decide(&self, _: TillCommand) -> Result<Vec<FirstRelease>, Self::Error> {
            Ok(vec![FirstRelease::Taken { amounts: vec![1, 2] }, FirstRelease::Audited])
        }
    }
    block_on(async {
        let gesta = store();
        let key = CommandKey { key: Bytes::from_static(b"k"), request: [1; 32] };
        let take = TillCommand::Take { amount: 0 };
        gesta.command_key(key.clone()).send::<Before>(&TillId(7), take.clone()).await.unwrap();
        let repeat = gesta.command_key(key).send::<Till>(&TillId(7), take).await.unwrap();
        assert!(repeat.repeated);
        assert_eq!(repeat.events, [1, 2].map(|amount| TillEvent::Taken { amount }));
        assert_eq!(repeat.places.len(), 2, "the places are those of `taken` and `audited`");
    });
}

/// Prints a receipt for each amount.
#[derive(Debug, Default)]
struct Receipts;

#[derive(Debug, PartialEq, Event)]
#[event(prefix = "receipts")]
enum ReceiptEvent {
    Ordered { amount: u32 },
}

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Print {
    amount: u32,
}

impl State for Receipts {
    type Event = ReceiptEvent;
    fn evolve(&mut self, _: ReceiptEvent) {}
}

impl Process for Receipts {
    const NAME: &'static str = "receipts";
    type Id = TillId;
    type Input = TillEvent;
    type Effect = Print;
    type Outcome = ();
    type Timer = ();

    fn correlate(input: &Recorded<TillEvent>) -> Option<TillId> {
        let TillEvent::Taken { amount } = input.event;
        if amount == 0 { None } else { input.key() }
    }

    fn react(&self, _: &TillId, trigger: Trigger<Self>) -> Reaction<Self> {
        match trigger {
            Trigger::Event(TillEvent::Taken { amount }) => {
                Reaction::record(ReceiptEvent::Ordered { amount }).effect(Print { amount })
            }
            _ => Reaction::none(),
        }
    }
}

struct Printer;

impl Perform<Receipts> for Printer {
    async fn perform(&self, _: &EffectContext<'_>, _: Print) -> Result<(), Failure> {
        Ok(())
    }
}

#[test]
fn a_process_takes_each_piece_once() {
    let ordered = |amount| ReceiptEvent::Ordered { amount };
    process::<Receipts>(Printer)
        .given([taken(&[1, 2, 0, 2]), NewFact::new(&TillId(7), TillEvent::Taken { amount: 5 })])
        .then_effects([1, 2, 2, 5].map(|amount| Print { amount }))
        .then([1, 2, 2, 5].map(ordered));
}

#[test]
fn an_event_that_is_read_as_nothing_is_handled() {
    block_on(async {
        let gesta = store();
        append(&gesta, [FirstRelease::Taken { amounts: vec![] }, FirstRelease::Audited]).await;
        let process = HostedProcess::new::<Receipts>(Printer).unwrap();
        let page = gesta.event_store().read(Read::log(Query::All)).await.unwrap();
        assert_eq!(process.handle(&gesta, &page.events).await, Ok(()));
        let page = gesta.event_store().read(Read::log(Query::All)).await.unwrap();
        assert_eq!(page.events.len(), 2, "nothing was recorded");
    });
}
