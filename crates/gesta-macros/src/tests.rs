//! Mistakes that the macros refuse, with their messages.

use syn::{DeriveInput, ItemFn, parse_str};

use crate::{command, decision, event, key, row};

fn derive(name: &str, source: &str) -> String {
    let input = parse_str::<DeriveInput>(source).expect("the source of the test is Rust");
    let expanded = match name {
        "Event" => event::derive(&input),
        "Command" => command::derive(&input),
        "Key" => key::derive(&input),
        "Row" => row::derive(&input),
        other => panic!("no derive `{other}`"),
    };
    expanded.expect_err("the derive refuses it").to_string()
}

#[track_caller]
fn check_event(source: &str, expected: &str) {
    let message =
        derive("Event", &format!("#[event(prefix = \"bank.account\")] enum AccountEvent {{ {source} }}"));
    assert_eq!(message, expected, "{source}");
}

#[test]
fn an_event_enum_without_a_prefix_is_refused() {
    assert_eq!(
        derive("Event", "enum AccountEvent { Opened { owner: String } }"),
        "add #[event(prefix = \"...\")]: stored event names must not depend on Rust paths"
    );
}

#[test]
fn mistakes_in_event_enums_name_the_remedy() {
    check_event(
        "#[event(versoin = 2)] Deposited { amount: u64 }",
        "unknown attribute: on a variant, expected one of `name`, `version`, `alias`, `upcast(1 = OldType)`, `ahead(2 = NewType)`",
    );
    check_event(
        "Frozen, #[event(alias = \"bank.account.frozen\")] Blocked",
        "event type `bank.account.frozen` is defined twice in this enum: rename one with #[event(name = \"...\")]",
    );
    check_event(
        "#[event(version = 3, upcast(1 = DepositedV1))] Deposited { amount: u64 }",
        "version 3 of `bank.account.deposited` has no upcaster from version 2: add #[event(upcast(2 = OldType))] and `impl From<OldType> for AccountEvent`",
    );
    check_event(
        "#[event(version = 2, upcast(1 = many))] Deposited { amount: u64 }",
        "name the type that is read: `many OldType`",
    );
    check_event(
        "#[event(version = 2, upcast(1 = A, 1 = same))] Deposited { amount: u64 }",
        "version 1 has two upcasters: remove one",
    );
    check_event(
        "#[event(version = 2, upcast(1 = A, 2 = drop))] Deposited { amount: u64 }",
        "`bank.account.deposited` has version 2, and an upcaster reads an older version: raise `version` to 3 or more",
    );
    check_event(
        "#[event(version = 2, upcast(1 = A), ahead(4 = B))] Deposited { amount: u64 }",
        "`bank.account.deposited` is written in version 2, so the next version that is read ahead is 3, not 4",
    );
    check_event(
        "#[event(ahead(2 = A, 2 = B))] Deposited { amount: u64 }",
        "version 2 has two readings: remove one",
    );
    check_event(
        "#[event(name = \"$error\")] Failed",
        "event type `$error` begins with `$`: these types belong to the system",
    );
    check_event(
        "#[event(name = \"gesta.process.reacted\")] Reacted",
        "event type `gesta.process.reacted` begins with `gesta.process.`: these types belong to processes",
    );
}

#[test]
fn mistakes_in_retired_types_name_the_remedy() {
    let check = |retired: &str, expected: &str| {
        let source = format!("#[event(prefix = \"till\", retired({retired}))] enum TillEvent {{ Taken }}");
        assert_eq!(derive("Event", &source), expected, "{retired}");
    };
    check("\"till.audited\"", "name the last schema version of the type: `\"till.audited\" = 1`");
    check(
        "\"till.taken\" = 1",
        "event type `till.taken` is retired and also in this enum: remove one of the two",
    );
    check(
        "\"till.audited\" = 1, \"till.audited\" = 2",
        "event type `till.audited` is retired and also in this enum: remove one of the two",
    );
    check(
        "\"till.audited\" = 0",
        "a schema version is a whole number from 1 to 65535; the first version is 1",
    );
    check("\"$gap\" = 1", "event type `$gap` begins with `$`: these types belong to the system");
}

#[test]
fn payloads_without_field_names_are_refused() {
    for ty in ["u32", "String", "Vec<u8>", "(u8, u8)", "[u8; 2]", "Option<Loss>", "Box<u64>", "&'static str"]
    {
        for name in ["Event", "Command"] {
            let message = derive(name, &format!("#[event(prefix = \"p\")] enum Events {{ Done({ty}) }}"));
            assert!(message.starts_with("`Done` would be JSON without field names"), "{ty}: {message}");
            assert!(message.contains("write `Done { field: "), "{ty}: {message}");
        }
    }
    for ty in ["Loss", "Box<Loss>", "BTreeMap<String, u8>"] {
        let input = format!("#[event(prefix = \"p\")] enum Events {{ Done({ty}) }}");
        let input = parse_str::<DeriveInput>(&input).expect("the source of the test is Rust");
        assert!(event::derive(&input).is_ok(), "{ty}");
    }
}

#[test]
fn a_category_with_a_dash_is_refused() {
    assert_eq!(
        derive("Key", "#[key(\"bank-account\")] struct AccountId(String);"),
        "category `bank-account` holds a `-`: the category of a stream ends at the first `-` of its name"
    );
}

#[test]
fn mistakes_in_rows_name_the_remedy() {
    let check = |source: &str, expected: &str| assert_eq!(derive("Row", source), expected, "{source}");
    check(
        "struct Balance { #[row(key)] account: String }",
        "add #[row(\"…\")]: the name of the table, which must not depend on Rust paths",
    );
    check(
        "#[row(\"Balances\")] struct Balance { #[row(key)] account: String }",
        "`Balances` cannot be the name of a table or column: use 1 to 60 of a-z, 0-9 and _, not beginning with a digit, `gesta_`, `sqlite_` or `pg_`, and not excluded, tableoid, xmin, cmin, xmax, cmax, ctid",
    );
    for source in [
        "#[row(\"excluded\")] struct Balance { #[row(key)] account: String }",
        "#[row(\"balances\")] struct Balance { #[row(key)] account: String, xmin: i64 }",
    ] {
        assert!(derive("Row", source).contains("cannot be the name of a table or column"), "{source}");
    }
    check(
        "#[row(\"balances\")] struct Balance { account: String }",
        "mark the key with #[row(key)]: the first field, or the first fields",
    );
    check(
        "#[row(\"balances\")] struct Balance { amount: i64, #[row(key)] account: String }",
        "put the fields of the key first: the order of the fields is that of the columns",
    );
    check(
        "#[row(\"balances\")] struct Balance { #[row(primary)] account: String }",
        "unknown attribute: on a field, expected `key` or `index`",
    );
    check(
        "#[row(\"balances\")] struct Balance(String);",
        "`Row` is derived for a struct with named fields: they are the columns of the table",
    );
    check(
        "#[row(\"balances\")] struct Balance<T> { #[row(key)] account: T }",
        "`Row` cannot be derived for a generic struct: name the types",
    );
}

#[track_caller]
fn check_decision(parameters: &str, expected: &str) {
    let source = format!("fn decide({parameters}) -> Result<Vec<NewFact>, Refused> {{ Ok(vec![]) }}");
    let function = parse_str::<ItemFn>(&source).expect("the source of the test is Rust");
    let message =
        decision::expand(&decision::Arguments::default(), &function).expect_err(parameters).to_string();
    assert!(message.contains(expected), "{parameters}: {message}");
}

#[test]
fn mistakes_in_decisions_name_the_remedy() {
    check_decision("from: &At<Account>, note: &str", "take an input by value, such as `note: String`");
    check_decision("from: &At<Account>, note: &str", "write `impl gesta::Decision` by hand");
    check_decision("amount: u64", "it reads one to 8 states, each `&At<State>`");
    check_decision("#[tag(email)] email: String", "`#[tag(…)]` belongs on a state, `&At<State>`");
    check_decision("#[tag] taken: &At<Taken>, email: String", "`#[tag(email)]` for the input `email`");
    check_decision("#[tag()] taken: &At<Taken>", "name the tag and its value");
    check_decision("#[tag(\"$actor\" = email)] taken: &At<Taken>, email: String", "or begin with `$`");
    check_decision(
        "#[tag(email)] taken: &Vec<At<Taken>>, email: String",
        "put `#[tag(…)]` on one `&At<State>`",
    );
}
