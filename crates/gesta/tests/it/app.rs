//! The hosting of deciders and decisions, and the test kit's own messages.

use std::panic::{AssertUnwindSafe, catch_unwind};

use gesta::testing::{block_on, given, json, store};
use gesta::*;

use crate::domain::*;

pub(crate) fn bank() -> App {
    App::new("bank").decider::<Account>().decision::<Transfer>("transfer")
}

#[test]
fn an_application_says_what_it_hosts() {
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
fn commands_decisions_and_states_go_by_name() {
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
fn errors_say_whose_turn_it_is() {
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
        assert_eq!(unknown.to_string(), "nothing is hosted for category `acount`: there is `account`");
        let unknown = error("account", "opn", "{}").await;
        assert!(
            unknown.to_string().contains("has no command `opn`: there is `open`, `deposit`"),
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
#[should_panic(expected = "category `account` has a decider already")]
fn a_category_has_one_decider() {
    let _ = bank().decider::<Account>();
}

#[test]
fn a_failing_specification_shows_what_was_given_expected_and_got() {
    let opened = || AccountEvent::Opened { owner: "ann".into() };
    let failed = catch_unwind(AssertUnwindSafe(|| {
        given::<Account>([opened()])
            .when(AccountCommand::Withdraw { amount: 3 })
            .then([AccountEvent::Withdrawn { amount: 3 }]);
    }));
    let message = failed.unwrap_err().downcast::<String>().unwrap();
    expect_test::expect![[r#"
        a refusal where events were expected
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
