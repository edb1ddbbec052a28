//! The code that the derives generate.

use gesta::testing::{json, stored, stored_all};
use gesta::*;

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.order")]
enum OrderEvent {
    Placed {
        #[tag]
        customer: CustomerId,
        #[event(tag = "item")]
        items: Vec<u32>,
        #[serde(default, skip_serializing_if = "Option::is_none", rename = "promo")]
        voucher: Option<String>,
    },
    #[event(version = 3, upcast(1 = ShippedV1, 2 = ShippedV2))]
    Shipped {
        carrier: String,
        parcels: u32,
    },
    #[event(name = "shop.parcel.lost", alias = "shop.order.gone", alias = "shop.order.missing")]
    ParcelLost(Loss),
    Cancelled,
}

#[derive(Debug, Clone, PartialEq, Key)]
#[key("customer")]
struct CustomerId(u64);

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Loss {
    weight: u32,
}

#[derive(serde::Deserialize)]
struct ShippedV1 {
    by: String,
}

impl From<ShippedV1> for OrderEvent {
    fn from(old: ShippedV1) -> Self {
        ShippedV2 { carrier: old.by }.into()
    }
}

#[derive(serde::Deserialize)]
struct ShippedV2 {
    carrier: String,
}

impl From<ShippedV2> for OrderEvent {
    fn from(old: ShippedV2) -> Self {
        Self::Shipped { carrier: old.carrier, parcels: 1 }
    }
}

/// An event as stored; `None` if the enum does not have its type.
fn decode<E: Event>(name: &str, version: u16, json: &[u8]) -> Result<Option<Vec<E>>, DecodeError> {
    let mut events = Vec::new();
    let known = E::decode(name, version, json, &mut |event| events.push(event))?;
    assert!(known || events.is_empty());
    Ok(known.then_some(events))
}

fn placed(voucher: Option<&str>) -> OrderEvent {
    OrderEvent::Placed { customer: CustomerId(7), items: vec![1, 2], voucher: voucher.map(str::to_owned) }
}

// `CustomerId` is a field of an event, so it is stored.
impl serde::Serialize for CustomerId {
    fn serialize<S: serde::Serializer>(&self, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_u64(self.0)
    }
}

impl<'de> serde::Deserialize<'de> for CustomerId {
    fn deserialize<D: serde::Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        u64::deserialize(from).map(Self)
    }
}

#[test]
fn an_event_is_stored_as_its_fields_and_read_back() {
    let cases = [
        (placed(None), "shop.order.placed", 1, r#"{"customer":7,"items":[1,2]}"#),
        (placed(Some("x")), "shop.order.placed", 1, r#"{"customer":7,"items":[1,2],"promo":"x"}"#),
        (
            OrderEvent::Shipped { carrier: "ups".into(), parcels: 2 },
            "shop.order.shipped",
            3,
            r#"{"carrier":"ups","parcels":2}"#,
        ),
        (OrderEvent::ParcelLost(Loss { weight: 9 }), "shop.parcel.lost", 1, r#"{"weight":9}"#),
        (OrderEvent::Cancelled, "shop.order.cancelled", 1, "{}"),
    ];
    for (event, name, version, payload) in cases {
        let info = event.info();
        assert_eq!((info.name, info.version), (name, version));
        let bytes = event.encode().unwrap();
        assert_eq!(std::str::from_utf8(&bytes), Ok(payload));
        assert_eq!(decode(name, version, &bytes).unwrap(), Some(vec![event]));
    }
}

#[test]
fn fields_become_tags() {
    let tags = placed(None).tags().unwrap();
    let tags = tags.iter().map(Tag::as_str).collect::<Vec<_>>();
    assert_eq!(tags, ["customer:7", "item:1", "item:2"]);
    assert_eq!(OrderEvent::Cancelled.tags().unwrap(), []);
}

#[test]
fn older_versions_are_read_through_a_chain_of_upcasters() {
    let one_parcel = OrderEvent::Shipped { carrier: "ups".into(), parcels: 1 };
    assert_eq!(stored::<OrderEvent>("shop.order.shipped", 1, json!({"by": "ups"})), one_parcel);
    assert_eq!(stored::<OrderEvent>("shop.order.shipped", 2, json!({"carrier": "ups"})), one_parcel);
}

/// An enum with a variant for each way in which another version is read.
#[derive(Debug, PartialEq, Event)]
#[event(prefix = "till", retired("till.audited" = 2, "till.counted" = 1))]
enum TillEvent {
    #[event(version = 4, upcast(1 = many TakenV1, 2 = same, 3 = drop), ahead(5 = TakenV5, 6 = same))]
    Taken {
        amount: u32,
    },
    Closed,
}

/// Two amounts in one event.
#[derive(serde::Deserialize)]
struct TakenV1 {
    amounts: Vec<u32>,
}

impl From<TakenV1> for Vec<TillEvent> {
    fn from(old: TakenV1) -> Self {
        old.amounts.into_iter().map(|amount| TillEvent::Taken { amount }).collect()
    }
}

#[derive(serde::Deserialize)]
struct TakenV5 {
    cents: u32,
}

impl From<TakenV5> for TillEvent {
    fn from(new: TakenV5) -> Self {
        Self::Taken { amount: new.cents }
    }
}

#[test]
fn a_version_is_read_as_many_events_as_its_upcaster_says() {
    let taken = |amount| TillEvent::Taken { amount };
    let cases = [
        (1, json!({"amounts": [1, 2, 3]}), vec![taken(1), taken(2), taken(3)]),
        (1, json!({"amounts": []}), vec![]),
        (2, json!({"amount": 5}), vec![taken(5)]),
        (3, json!({"amount": "anything"}), vec![]),
        (4, json!({"amount": 5}), vec![taken(5)]),
        (5, json!({"cents": 7}), vec![taken(7)]),
        (6, json!({"amount": 8}), vec![taken(8)]),
    ];
    for (version, json, events) in cases {
        assert_eq!(stored_all::<TillEvent>("till.taken", version, json), events, "version {version}");
    }
    assert_eq!(taken(1).info().version, 4);
    let error = decode::<TillEvent>("till.taken", 7, b"{}").unwrap_err();
    assert!(matches!(error, DecodeError::UnknownSchemaVersion { found: 7, newest: 6, .. }), "{error}");
}

#[test]
fn a_retired_type_is_read_as_nothing_up_to_its_last_version() {
    for (name, version) in [("till.audited", 1), ("till.audited", 2), ("till.counted", 1)] {
        assert_eq!(decode::<TillEvent>(name, version, b"anything").unwrap(), Some(vec![]));
    }
    for (name, found, last) in [("till.audited", 3, 2), ("till.audited", 0, 2), ("till.counted", 2, 1)] {
        let error = decode::<TillEvent>(name, found, b"{}").unwrap_err();
        let DecodeError::UnknownSchemaVersion { newest, .. } = error else { panic!("{error}") };
        assert_eq!(newest, last, "{name}");
    }
    assert!(TillEvent::TYPES.iter().all(|info| info.name != "till.audited"));
    assert_eq!(TillEvent::RETIRED[0], EventTypeInfo::new("till.audited", &[], 2));
}

#[test]
fn a_recorded_event_is_split_into_pieces_that_share_its_record() {
    let store = gesta::testing::memory();
    let (id, stream) = (EventId::from_u128(1), "till-1".parse().unwrap());
    let time = Timestamp::from_nanos(0);
    let old = NewEvent::json(id, stream, "till.taken".parse().unwrap(), time, r#"{"amounts":[4,5]}"#);
    store.append_now(Batch::new([old])).unwrap();
    let page = store.read_now(&Read::log(Query::All)).unwrap();
    let pieces = Recorded::<TillEvent>::decode(&page.events[0]).unwrap().unwrap();
    let of = u32::try_from(pieces.len()).unwrap();
    for (index, piece) in (0..).zip(&pieces) {
        assert_eq!(piece.piece, Piece { index, of });
        assert_eq!((piece.id(), &piece.event), (id, &TillEvent::Taken { amount: 4 + index }));
    }
    assert_eq!(of, 2);
    assert_eq!(Recorded::<OrderEvent>::decode(&page.events[0]).unwrap(), None);
}

#[test]
fn aliases_are_read_and_the_name_is_written() {
    for name in ["shop.parcel.lost", "shop.order.gone", "shop.order.missing"] {
        let lost = stored::<OrderEvent>(name, 1, json!({"weight": 3}));
        assert_eq!(lost, OrderEvent::ParcelLost(Loss { weight: 3 }));
        assert_eq!(lost.info().name, "shop.parcel.lost");
    }
}

#[test]
fn an_unknown_schema_version_is_an_error_that_names_both() {
    for found in [0, 4] {
        let error = decode::<OrderEvent>("shop.order.shipped", found, b"{}").unwrap_err();
        assert!(matches!(error, DecodeError::UnknownSchemaVersion { newest: 3, .. }));
        let message = error.to_string();
        assert!(message.contains(&format!("schema version {found}")), "{message}");
        assert!(message.contains("knows versions 1 to 3"), "{message}");
    }
}

#[test]
fn unknown_fields_of_events_are_ignored_and_missing_ones_are_not() {
    let cancelled = decode("shop.order.cancelled", 1, br#"{"why":"bored"}"#);
    assert_eq!(cancelled.unwrap(), Some(vec![OrderEvent::Cancelled]));
    let error = decode::<OrderEvent>("shop.order.shipped", 3, br#"{"carrier":"ups"}"#).unwrap_err();
    assert!(matches!(error, DecodeError::Json { event_type: "shop.order.shipped", .. }));
    assert_eq!(decode::<OrderEvent>("shop.order.eaten", 1, b"{}").unwrap(), None);
}

#[test]
fn a_query_names_every_type_and_alias() {
    let Query::Any(items) = query::<OrderEvent>() else { panic!("a query by type") };
    let types = items[0].types.iter().map(EventType::as_str).collect::<Vec<_>>();
    let names = [
        "shop.order.placed",
        "shop.order.shipped",
        "shop.parcel.lost",
        "shop.order.gone",
        "shop.order.missing",
        "shop.order.cancelled",
    ];
    assert_eq!(types, names);
}

#[derive(Debug, Clone, PartialEq, Command)]
enum OrderCommand {
    PlaceOrder {
        customer: u64,
        #[serde(default)]
        express: bool,
    },
    #[command(name = "void")]
    Cancel,
    Report(Loss),
}

#[test]
fn a_command_is_read_from_json_by_its_name() {
    let read = |name: &str, json: &str| OrderCommand::decode(name, json.as_bytes());
    let placed = OrderCommand::PlaceOrder { customer: 7, express: false };
    assert_eq!(read("place-order", r#"{"customer":7}"#), Some(Ok(placed)));
    assert_eq!(read("void", ""), Some(Ok(OrderCommand::Cancel)));
    assert_eq!(read("void", "{}"), Some(Ok(OrderCommand::Cancel)));
    assert_eq!(read("report", r#"{"weight":1}"#), Some(Ok(OrderCommand::Report(Loss { weight: 1 }))));
    assert_eq!(read("cancel", "{}"), None);
    assert_eq!(OrderCommand::Cancel.name(), "void");
}

#[test]
fn bad_input_names_the_field() {
    let cases = [
        ("place-order", "", None, "the body is empty: send a JSON object; `customer` is missing"),
        (
            "place-order",
            r#"{"customer":"x"}"#,
            Some("customer"),
            "a whole number from 0 is expected, not the string \"x\"",
        ),
        ("place-order", r#"{"customer":1,"expres":true}"#, Some("expres"), "`expres` is unknown: known are"),
        ("place-order", r#"{"customer":1} x"#, None, "there is text after the end"),
        ("void", r#"{"now":true}"#, Some("now"), "`now` is unknown: no field is accepted"),
    ];
    for (name, json, field, message) in cases {
        let error = OrderCommand::decode(name, json.as_bytes()).unwrap().unwrap_err();
        assert_eq!(error.field.as_deref(), field, "{json}: {error}");
        assert!(error.to_string().contains(message), "{json}: {error}");
    }
}

#[test]
fn commands_list_their_fields() {
    let fields = OrderCommand::COMMANDS[0].fields;
    assert_eq!(fields[0], FieldInfo::new("customer", "u64"));
    assert_eq!(
        OrderCommand::COMMANDS.iter().map(|info| info.name).collect::<Vec<_>>(),
        ["place-order", "void", "report"]
    );
}

#[test]
fn a_key_has_one_spelling() {
    assert_eq!(CustomerId::parse("7"), Ok(CustomerId(7)));
    assert_eq!(CustomerId(7).stream().unwrap().as_str(), "customer-7");
    for wrong in ["007", "x", "", "+7"] {
        let error = CustomerId::parse(wrong).unwrap_err();
        assert!(
            error.to_string().starts_with(&format!("`{wrong}` is not a valid id for `customer`: ")),
            "{error}"
        );
        assert!(!error.to_string().contains("digit found"), "{error}");
    }
}

#[derive(Debug, Refusal)]
#[expect(dead_code, reason = "only their messages are read")]
enum Refused {
    /// The order is empty.
    ///
    /// More about it.
    Empty,
    NotPaidYet,
    /// VAT number {number} is unknown, and
    /// must be given
    UnknownVat {
        number: u32,
    },
    /// Wrapped.
    Other(u8),
}

#[test]
fn the_message_of_a_refusal_is_its_documentation() {
    let cases = [
        (Refused::Empty, "the order is empty"),
        (Refused::NotPaidYet, "not paid yet"),
        (Refused::UnknownVat { number: 3 }, "VAT number 3 is unknown, and must be given"),
        (Refused::Other(1), "wrapped"),
    ];
    for (refusal, message) in cases {
        assert_eq!(refusal.to_string(), message);
    }
}

#[derive(Debug, Clone, PartialEq, Event)]
#[event(prefix = "shop.parcel")]
enum ParcelEvent {
    Weighed(Weight),
}

#[derive(Debug, Clone, PartialEq, serde::Serialize, serde::Deserialize)]
struct Weight(u32);

#[test]
fn an_event_that_is_not_an_object_is_not_recorded() {
    let fact = NewFact::new(&CustomerId(7), ParcelEvent::Weighed(Weight(3)));
    let failed = std::panic::catch_unwind(|| gesta::testing::given_facts([fact]));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    assert!(message.contains("`shop.parcel.weighed` is not written as a JSON object"), "{message}");
}

#[test]
fn the_fields_of_a_payload_have_their_names_in_json() {
    let placed = ["customer", "items", "promo"];
    assert_eq!(OrderEvent::fields("shop.order.placed"), Some(&placed[..]));
    assert_eq!(OrderEvent::fields("shop.order.cancelled"), Some(&[][..]));
    assert!(OrderEvent::fields("shop.order.gone").is_some_and(|fields| !fields.is_empty()));
    assert_eq!(OrderEvent::fields("shop.order.gone"), OrderEvent::fields("shop.parcel.lost"));
    assert_eq!(OrderEvent::fields("shop.order.none"), None);
}
