//! A consumer group with a typed handler, which does something outside for each event, at least once.

use std::future::Future;
use std::marker::PhantomData;
use std::sync::Arc;

use bytes::Bytes;
use gesta_consumer::group::{Delivery, GroupName, GroupNameError, GroupSettings};
use gesta_consumer::{Failed, Handle};
use gesta_core::{BoxFuture, CommandKey, RecordedEvent, Retry};

use crate::decider::Decider;
use crate::error::{LoadError, SendError};
use crate::event::{Event, Piece, Recorded};
use crate::halt::{Halt, decode};
use crate::handle::{Committed, Gesta};
use crate::hex::hex;
use crate::idempotency::digest;
use crate::key::Key as _;
use crate::meta::Meta;
use crate::process::Failure;

/// A consumer group with the handler of its events, its types erased.
///
/// It holds no store. The host passes one with [`Self::handler`].
///
/// The events of one stream come in order, those of different streams side by side. Each comes at least once: a crash between
/// an effect and its settlement is followed by the same event again. So give [`GroupContext::key`] to the target, or do what can
/// be done twice.
///
/// A recorded event that is read as several is handed over piece after piece; if one fails, all of them come again. One that is
/// read as nothing is done.
///
/// An event of a type that `E` does not have, or of a newer schema version, is released: it comes again, and its stream waits,
/// until a newer copy of the host takes it. An event that does not decode is parked.
#[derive(Clone)]
pub struct HostedGroup {
    name: GroupName,
    settings: GroupSettings,
    handler: Arc<dyn Handler>,
}

impl std::fmt::Debug for HostedGroup {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("HostedGroup").field("name", &self.name).finish_non_exhaustive()
    }
}

impl HostedGroup {
    /// Creates a group whose events `handle` handles.
    ///
    /// # Errors
    /// [`GroupNameError`].
    pub fn new<E, R>(
        name: &str,
        settings: GroupSettings,
        handle: impl Fn(Recorded<E>, GroupContext) -> R + Send + Sync + 'static,
    ) -> Result<Self, GroupNameError>
    where
        E: Event,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        let handler = Arc::new(Typed { handle, event: PhantomData::<fn() -> E> });
        Ok(Self { name: GroupName::new(name)?, settings, handler })
    }

    /// Returns the name of the group.
    #[must_use]
    pub const fn name(&self) -> &GroupName {
        &self.name
    }

    /// Returns the settings of the group.
    #[must_use]
    pub const fn settings(&self) -> &GroupSettings {
        &self.settings
    }

    /// Returns the handler of the group's deliveries, on a store.
    #[must_use]
    pub fn handler(&self, gesta: Gesta) -> Arc<dyn Handle> {
        let (group, handler) = (self.name.clone(), Arc::clone(&self.handler));
        Arc::new(OnStore { group, handler, gesta })
    }
}

/// What the handler of a group gets beside the event.
#[derive(Debug, Clone)]
pub struct GroupContext {
    gesta: Gesta,
    key: [u8; 32],
    attempt: u32,
}

impl GroupContext {
    /// Returns a key that is the same whenever this event comes to this group, and for nothing else: 64 hexadecimal digits.
    /// Give it to a target that drops repeats, for example as `Idempotency-Key`.
    #[must_use]
    pub fn key(&self) -> String {
        hex(&self.key)
    }

    /// Returns the number of this attempt, from 1.
    #[must_use]
    pub const fn attempt(&self) -> u32 {
        self.attempt
    }

    /// Returns a handle on the store. What it records has the event as its cause.
    #[must_use]
    pub const fn gesta(&self) -> &Gesta {
        &self.gesta
    }

    /// Sends a command to an entity of the same store, under the key of the event: a repeat gets the first answer.
    ///
    /// An event sends one command, to one entity. For several, write a [`Process`](crate::Process).
    ///
    /// # Errors
    /// [`SendError`]; `KeyReused` for a command to a second entity.
    pub async fn send<D: Decider>(
        &self,
        id: &D::Id,
        command: D::Command,
    ) -> Result<Committed<D::Event>, SendError<D::Error>> {
        let stream = id.stream().map_err(LoadError::from)?;
        let request = digest([self.key.as_slice(), stream.as_str().as_bytes()]);
        let key = CommandKey { key: Bytes::copy_from_slice(&self.key), request };
        self.gesta.command_key(key).send::<D>(id, command).await
    }
}

impl GroupContext {
    /// The context of one of the events that a recorded one is read as. Each has its own key; the first has that of the
    /// recorded event, which stays the same when a later version reads it as several.
    fn of_piece(&self, piece: Piece) -> Self {
        match piece.index {
            0 => self.clone(),
            index => Self { key: digest([self.key.as_slice(), &index.to_le_bytes()]), ..self.clone() },
        }
    }
}

/// A handler without the type of its events.
trait Handler: Send + Sync {
    fn handle<'a>(
        &'a self,
        event: &'a RecordedEvent,
        context: GroupContext,
    ) -> BoxFuture<'a, Result<(), Halt>>;
}

struct Typed<E, F> {
    handle: F,
    event: PhantomData<E>,
}

impl<E, F, R> Handler for Typed<fn() -> E, F>
where
    E: Event,
    F: Fn(Recorded<E>, GroupContext) -> R + Send + Sync,
    R: Future<Output = Result<(), Failure>> + Send,
{
    fn handle<'a>(
        &'a self,
        event: &'a RecordedEvent,
        context: GroupContext,
    ) -> BoxFuture<'a, Result<(), Halt>> {
        Box::pin(async move {
            for event in decode::<E>(event)? {
                let context = context.of_piece(event.piece);
                (self.handle)(event, context).await.map_err(|failure| Halt::of_failure(&failure))?;
            }
            Ok(())
        })
    }
}

/// A handler on a store.
struct OnStore {
    group: GroupName,
    handler: Arc<dyn Handler>,
    gesta: Gesta,
}

impl OnStore {
    fn context(&self, event: &RecordedEvent, attempt: u32) -> GroupContext {
        let meta = Meta::new().caused_by(event).actor(format!("group:{}", self.group));
        // An event id is unique only within its stream.
        let id = event.id();
        let parts: [&[u8]; 4] =
            [b"group", self.group.as_str().as_bytes(), event.stream().as_bytes(), id.as_bytes()];
        GroupContext { gesta: self.gesta.with(meta), key: digest(parts), attempt }
    }

    async fn handle_all(&self, delivery: &Delivery) -> Result<(), Failed> {
        for (handled, event) in delivery.events.iter().enumerate() {
            // The attempts of a delivery are those of its first event.
            let attempt = if handled == 0 { delivery.attempt } else { 1 };
            let ended = self.handler.handle(event, self.context(event, attempt)).await;
            ended.map_err(|halt| halt.after(handled))?;
        }
        Ok(())
    }
}

impl Handle for OnStore {
    fn handle<'a>(&'a self, delivery: &'a Delivery) -> BoxFuture<'a, Result<(), Failed>> {
        Box::pin(self.handle_all(delivery))
    }
}

/// An error of the system, such as a file that cannot be written: by its kind it passes or not. Most of them do.
impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Transient(error.into())
    }
}

/// As [`SendError`]: an error that lasts is `Final`, any other is `Unavailable`.
impl From<LoadError> for Failure {
    fn from(error: LoadError) -> Self {
        match error.retry() {
            Retry::Never => Self::Final(error.into()),
            _ => Self::Unavailable(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use gesta_consumer::group::{DeliveryId, Then};
    use gesta_core::{EventId, MemoryStore, NewEvent, Position, StoreId, Timestamp, Version};

    use super::*;
    use crate::testing::block_on;
    use crate::{Event, Key, State};

    #[derive(Debug, PartialEq, Event)]
    #[event(prefix = "course")]
    enum CourseEvent {
        Filled { seats: u32 },
    }

    #[derive(Debug, Clone, Key)]
    #[key("letter")]
    struct LetterId(String);

    #[derive(Debug, PartialEq, Event)]
    #[event(prefix = "letter")]
    enum LetterEvent {
        Sent,
    }

    #[derive(Debug, Clone, crate::Command)]
    enum LetterCommand {
        Send,
    }

    #[derive(Debug, Default)]
    struct Letter;

    impl State for Letter {
        type Event = LetterEvent;
        fn evolve(&mut self, _: LetterEvent) {}
    }

    impl Decider for Letter {
        type Id = LetterId;
        type Command = LetterCommand;
        type Error = std::convert::Infallible;
        fn decide(&self, LetterCommand::Send: LetterCommand) -> Result<Vec<LetterEvent>, Self::Error> {
            Ok(vec![LetterEvent::Sent])
        }
    }

    fn recorded(version: u64, event_type: &str, schema_version: u16, data: &str) -> RecordedEvent {
        let id = EventId::from_u128(7 + u128::from(version));
        let (stream, kind) = ("course-1".parse().unwrap(), event_type.parse().unwrap());
        let new = NewEvent::json(id, stream, kind, Timestamp::from_nanos(0), data.to_owned());
        let new = NewEvent { schema_version, ..new };
        let position = Position { partition: 0, sequence: version + 1 };
        RecordedEvent::new(position, Version::new(version), Timestamp::from_nanos(0), new.to_bytes())
    }

    fn delivery(events: Vec<RecordedEvent>) -> Delivery {
        let id = DeliveryId::new(StoreId::from_bytes([7; 16]), 1, 1);
        Delivery { id, attempt: 3, ack_time: std::time::Duration::from_secs(30), events }
    }

    fn settings() -> GroupSettings {
        GroupSettings::new(crate::query::<CourseEvent>())
    }

    /// Handles a delivery with a handler that fails for 0 seats by `failure`, and returns the seats that it saw.
    fn check(events: Vec<RecordedEvent>, failure: fn() -> Failure) -> (Vec<u32>, Result<(), Failed>) {
        let seen = Arc::new(Mutex::new(Vec::new()));
        let saw = Arc::clone(&seen);
        let handle = move |event: Recorded<CourseEvent>, _| {
            let CourseEvent::Filled { seats } = event.event;
            let fails = seats == 0;
            if !fails {
                saw.lock().unwrap().push(seats);
            }
            async move { if fails { Err(failure()) } else { Ok(()) } }
        };
        let group = HostedGroup::new("mail", settings(), handle).unwrap();
        let gesta = crate::testing::store();
        let ended = block_on(group.handler(gesta).handle(&delivery(events)));
        let seen = seen.lock().unwrap().clone();
        (seen, ended)
    }

    fn filled(version: u64, seats: u32) -> RecordedEvent {
        recorded(version, "course.filled", 1, &format!(r#"{{"seats":{seats}}}"#))
    }

    #[test]
    fn events_are_decoded_and_handled_in_order() {
        let (seen, ended) = check(vec![filled(0, 20), filled(1, 30)], || panic!("nothing fails"));
        assert_eq!((seen, ended), (vec![20, 30], Ok(())));
    }

    #[test]
    fn a_failure_ends_the_delivery_by_its_kind() {
        let cases: [(fn() -> Failure, Then); 3] = [
            (|| Failure::Transient("why".into()), Then::Retry { after: None }),
            (|| Failure::Unavailable("why".into()), Then::Release { after: None }),
            (|| Failure::Final("why".into()), Then::Park),
        ];
        for (failure, then) in cases {
            let (seen, ended) = check(vec![filled(0, 20), filled(1, 0), filled(2, 30)], failure);
            let failed = ended.unwrap_err();
            assert_eq!((seen, failed.handled, failed.then), (vec![20], 1, then));
            assert!(failed.error.ends_with("why"), "{}", failed.error);
        }
    }

    #[test]
    fn what_a_newer_program_wrote_is_released_and_what_never_decodes_is_parked() {
        let release = Then::Release { after: None };
        let cases = [
            (
                recorded(0, "course.moved", 1, "{}"),
                release.clone(),
                "does not know the event type `course.moved`",
            ),
            (recorded(0, "course.filled", 2, "{}"), release, "version"),
            (recorded(0, "course.filled", 1, r#"{"seats":"many"}"#), Then::Park, "does not decode"),
        ];
        for (event, then, words) in cases {
            let (_, ended) = check(vec![event], || panic!("nothing fails"));
            let failed = ended.unwrap_err();
            assert_eq!((failed.handled, failed.then), (0, then));
            assert!(failed.error.contains(words), "{}", failed.error);
        }
    }

    #[test]
    fn a_repeated_event_has_the_same_key_and_its_command_is_sent_once() {
        let keys = Arc::new(Mutex::new(Vec::new()));
        let saw = Arc::clone(&keys);
        let handle = move |event: Recorded<CourseEvent>, context: GroupContext| {
            saw.lock().unwrap().push((context.key(), context.attempt()));
            async move {
                let id = LetterId(event.stream().to_owned());
                context.send::<Letter>(&id, LetterCommand::Send).await?;
                let CourseEvent::Filled { seats } = event.event;
                if seats == 1 {
                    let other = LetterId("other".to_owned());
                    context.send::<Letter>(&other, LetterCommand::Send).await?;
                }
                Ok(())
            }
        };
        let group = HostedGroup::new("mail", settings(), handle).unwrap();
        let store = Arc::new(MemoryStore::new(StoreId::from_bytes([7; 16]), 1, || Timestamp::from_nanos(1)));
        let gesta = Gesta::new(store);
        let handler = group.handler(gesta.clone());
        for _ in 0..2 {
            block_on(handler.handle(&delivery(vec![filled(0, 20)]))).unwrap();
        }
        block_on(handler.handle(&delivery(vec![filled(1, 20)]))).unwrap();
        let keys = keys.lock().unwrap().clone();
        assert_eq!(keys[0], keys[1]);
        assert_ne!(keys[0].0, keys[2].0);
        assert_eq!((keys[0].0.len(), keys[0].1), (64, 3));
        let letter = block_on(gesta.load::<Letter>(&LetterId("course-1".to_owned()))).unwrap();
        assert_eq!(letter.version, Some(Version::new(1)), "two events, two letters");
        let refused = block_on(handler.handle(&delivery(vec![filled(2, 1)]))).unwrap_err();
        assert_eq!(refused.then, Then::Park, "an event sends one command: {}", refused.error);
    }

    #[derive(Debug, PartialEq, Event)]
    #[event(prefix = "course")]
    enum SeatEvent {
        #[event(version = 2, upcast(1 = many FilledV1))]
        Filled { seat: u32 },
    }

    #[derive(serde::Deserialize)]
    struct FilledV1 {
        seats: u32,
    }

    impl From<FilledV1> for Vec<SeatEvent> {
        fn from(old: FilledV1) -> Self {
            (0..old.seats).map(|seat| SeatEvent::Filled { seat }).collect()
        }
    }

    #[test]
    fn each_event_that_a_recorded_one_is_read_as_is_handled_under_a_key_of_its_own() {
        let keys = Arc::new(Mutex::new(Vec::new()));
        let saw = Arc::clone(&keys);
        let handle = move |event: Recorded<SeatEvent>, context: GroupContext| {
            let SeatEvent::Filled { seat } = event.event;
            let fails = seat == 4;
            saw.lock().unwrap().push((seat, event.piece, context.key()));
            async move { if fails { Err(Failure::Final("no such seat".into())) } else { Ok(()) } }
        };
        let group = HostedGroup::new("mail", settings(), handle).unwrap();
        let handler = group.handler(crate::testing::store());
        let whole = recorded(0, "course.filled", 2, r#"{"seat":0}"#);
        block_on(handler.handle(&delivery(vec![filled(0, 3), filled(1, 0), whole]))).unwrap();
        let keys = std::mem::take(&mut *keys.lock().unwrap());
        let seats = keys.iter().map(|(seat, piece, _)| (*seat, piece.of)).collect::<Vec<_>>();
        assert_eq!(seats, [(0, 3), (1, 3), (2, 3), (0, 1)]);
        assert_eq!(keys[0].2, keys[3].2, "the first piece has the key of the whole event");
        assert!(keys[0].2 != keys[1].2 && keys[1].2 != keys[2].2 && keys[0].2 != keys[2].2);
        let failed = block_on(handler.handle(&delivery(vec![filled(0, 1), filled(1, 5)]))).unwrap_err();
        assert_eq!((failed.handled, failed.then), (1, Then::Park));
    }

    #[test]
    fn a_name_that_no_group_can_have_is_refused() {
        let handle = |_: Recorded<CourseEvent>, _| async { Ok(()) };
        assert!(HostedGroup::new("a b", settings(), handle).is_err());
    }
}
