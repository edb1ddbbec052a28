//! Hosted deciders and decisions, and the messages of the test kit.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gesta::testing::{block_on, given, json, store};
use gesta::*;

use crate::domain::*;

pub(crate) fn bank() -> App {
    App::new("bank").decider::<Account>().decision::<Transfer>("transfer")
}

#[test]
fn an_application_lists_its_deciders_and_decisions() {
    let app = bank();
    let decider = app.deciders().next().unwrap();
    assert_eq!(decider.category, "account");
    assert_eq!(
        decider.commands.iter().map(|info| info.name).collect::<Vec<_>>(),
        ["open", "deposit", "withdraw", "check"]
    );
    assert_eq!(decider.events[0], "bank.account.opened");
    let decision = app.decisions().next().unwrap();
    assert_eq!((decision.name, decision.fields), ("transfer", Transfer::FIELDS));
}

#[test]
fn commands_decisions_and_states_are_called_by_name() {
    block_on(async {
        let (app, gesta) = (bank(), store());
        let send = |id: &'static str, name: &'static str, json: &'static str| {
            app.command(&gesta, "account", id, name, json.as_bytes(), CommandOptions::default())
        };
        send("ann", "open", r#"{"owner":"Ann"}"#).await.unwrap();
        send("ben", "open", r#"{"owner":"Ben"}"#).await.unwrap();
        let outcome = send("ann", "deposit", r#"{"amount":5}"#).await.unwrap();
        let outcome = serde_json::to_value(&outcome).unwrap();
        assert_eq!(outcome["streams"], json!([{"stream": "account-ann", "version": 1}]));
        assert_eq!(outcome["repeated"], json!(false));
        assert_eq!(
            outcome["events"],
            json!([{"id": outcome["events"][0]["id"], "stream": "account-ann", "version": 1, "position": 3, "type": "bank.account.deposited",
                    "schemaVersion": 1, "data": {"amount": 5}}])
        );
        let input = br#"{"from":"ann","to":"ben","amount":2}"#;
        app.decide(&gesta, "transfer", input, CommandOptions::default()).await.unwrap();
        let view = app.state(&gesta, "account", "ben", None).await.unwrap();
        assert_eq!(view.state.get(), r#"{"open":true,"balance":2}"#);
        assert_eq!(view.version, Some(Version::new(1)));
    });
}

#[test]
fn errors_name_what_was_wrong() {
    block_on(async {
        let (app, gesta) = (bank(), store());
        let error = |category: &'static str, name: &'static str, json: &'static str| {
            let (app, gesta) = (&app, &gesta);
            async move {
                let options = CommandOptions::default();
                app.command(gesta, category, "ann", name, json.as_bytes(), options).await.unwrap_err()
            }
        };
        let unknown = error("acount", "open", "{}").await;
        assert_eq!(unknown.to_string(), "nothing is hosted for category `acount`: there is only `account`");
        let unknown = error("account", "opn", "{}").await;
        assert!(
            unknown.to_string().contains("has no command `opn`: there are `open`, `deposit`"),
            "{unknown}"
        );
        let bad = error("account", "deposit", r#"{"amount":-1}"#).await;
        assert!(
            matches!(&bad, AppError::BadInput(error) if error.field.as_deref() == Some("amount")),
            "{bad}"
        );
        app.command(&gesta, "account", "ann", "open", br#"{"owner":"Ann"}"#, CommandOptions::default())
            .await
            .unwrap();
        let refused = error("account", "withdraw", r#"{"amount":3}"#).await;
        let AppError::Refused { code, message } = refused else { panic!("{refused}") };
        assert_eq!(
            (code.as_str(), message.as_str()),
            ("InsufficientFunds", "only 0 is left, 3 was asked for")
        );
    });
}

#[test]
#[should_panic(expected = "category `account` already has a decider")]
fn a_category_has_one_decider() {
    let _ = bank().decider::<Account>();
}

#[test]
fn a_failing_test_shows_what_was_given_expected_and_got() {
    let opened = || AccountEvent::Opened { owner: "ann".into() };
    let failed = catch_unwind(AssertUnwindSafe(|| {
        given::<Account>([opened()])
            .when(AccountCommand::Withdraw { amount: 3 })
            .then([AccountEvent::Withdrawn { amount: 3 }]);
    }));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    expect_test::expect![[r#"
        expected events, got a refusal
        given
            bank.account.opened {"owner":"ann"}
        expected
            bank.account.withdrawn {"amount":3}
        but got
            refused: InsufficientFunds { balance: 0, amount: 3 } (only 0 is left, 3 was asked for)
    "#]]
    .assert_eq(&message);
    given::<Account>([opened()]).when(AccountCommand::Check).then_nothing();
}

#[test]
fn an_id_in_the_input_of_a_decision_is_checked_like_one_in_a_url() {
    block_on(async {
        let (app, gesta) = (bank(), store());
        for (wrong, reason) in [("", "is empty"), ("a\\nb", "control character")] {
            let json = format!(r#"{{"from":"ann","to":"{wrong}","amount":1}}"#);
            let error = app.decide(&gesta, "transfer", json.as_bytes(), CommandOptions::default()).await;
            let Err(AppError::BadInput(error)) = error else { panic!("{error:?}") };
            assert_eq!(error.field.as_deref(), Some("to"));
            assert!(error.to_string().contains("is not a valid id for `account`"), "{error}");
            assert!(error.to_string().contains(reason), "{error}");
        }
    });
}

#[test]
fn input_is_an_object_with_named_fields() {
    block_on(async {
        let error =
            bank().decide(&store(), "transfer", br#"["ann","ben",1]"#, CommandOptions::default()).await;
        let Err(AppError::BadInput(error)) = error else { panic!("{error:?}") };
        assert_eq!(error.to_string(), "an object is expected: name the fields");
    });
}

#[derive(Debug, Clone, Command)]
#[expect(dead_code, reason = "only the descriptions of its fields are read")]
enum Described {
    All { owner: AccountId, owners: Vec<Option<AccountId>>, amount: std::num::NonZeroU32, loss: Loss },
}

#[derive(Debug, Clone, serde::Deserialize)]
struct Loss {}

#[test]
fn fields_are_described_without_rust_types() {
    let fields = serde_json::to_value(Described::COMMANDS[0].fields).unwrap();
    assert_eq!(
        fields,
        json!([
            {"name": "owner", "type": "id", "category": "account"},
            {"name": "owners", "type": "array of id or null", "category": "account"},
            {"name": "amount", "type": "whole number from 1"},
            {"name": "loss", "type": "value"},
        ])
    );
    let fields = serde_json::to_value(Transfer::FIELDS).unwrap();
    assert_eq!(fields[0], json!({"name": "from", "type": "id", "category": "account"}));
}
