//! Files that are right, and files that are not.

use gesta_core::Item;

use super::*;

/// A variable that every run of a test has, with a text that is no secret.
const VARIABLE: &str = "CARGO_PKG_NAME";

fn read(text: &str) -> Result<Vec<Publisher>, ConfigError> {
    read_text(text, Path::new("folder/publish.toml"))
}

#[track_caller]
fn check_fails(text: &str, message: &str) {
    let error = read(text).map(|read| read.len()).expect_err("it is wrong").to_string();
    assert!(error.contains("folder/publish.toml") && error.contains(message), "{text}\n{error}");
}

#[test]
fn a_file_that_is_no_list_of_publishers_is_refused_with_the_line() {
    check_fails("", "has no publisher: add a table `[publisher.NAME]`");
    check_fails("[publisher]", "has no publisher");
    check_fails("\n\n[publishers.a]\nto = \"http://h\"\n", "line 3: unknown field `publishers`");
    check_fails("[publisher.a]\nto = \"http://h\"\nform = \"start\"\n", "line 3: unknown field `form`");
    check_fails("[publisher.a]\nto = 7\n", "line 2: invalid type");
    check_fails("[publisher.a]\nto = \"x\n", "line 2: ");
    check_fails("[publisher.a]\nselect = [{ kategorie = \"order\" }]\n", "line 2: unknown field `kategorie`");
}

#[test]
fn a_key_that_is_missing_or_wrong_is_named_with_what_helps() {
    let with = |lines: &str| format!("[publisher.a]\nfrom = \"now\"\n{lines}\n");
    let webhook = |lines: &str| with(&format!("to = \"http://h\"\nsecret_env = \"{VARIABLE}\"\n{lines}"));
    check_fails("[publisher.\"a b\"]\n", "`publisher` has a name that cannot be used");
    check_fails(&with(""), "[publisher.a]: `to` is missing: give the address");
    check_fails(&with("to = \"localhost:4222\""), "`to` has no scheme: begin it with");
    check_fails(&webhook("ca_file = \"ca.pem\""), "`ca_file` is for targets with TLS: write `https://`");
    check_fails(
        &with("to = \"tls://h\"\nstream = \"S\"\nsubject = \"s\"\nca_file = \"none\""),
        "`ca_file` names a file that cannot be used: cannot use the certificates of authorities in `folder/none`",
    );
    check_fails(&with("to = \"ftp://h\""), "`to` begins with `ftp://`: begin it with");
    for to in ["nats://token@h", "amqp://guest:guest@h:5672/v", "http://a:b@h/p?q"] {
        check_fails(&with(&format!("to = \"{to}\"")), "`to` holds a user or a password: leave out");
    }
    check_fails(&webhook("exchange = \"x\""), "`exchange` is for RabbitMQ alone: remove it");
    check_fails(&webhook("stream = \"X\""), "`stream` is for NATS alone: remove it");
    check_fails(&webhook("topic = \"X\""), "`topic` is for Kafka alone: remove it");
    check_fails(&with("to = \"kafka://h\"\nexchange = \"x\""), "`exchange` is for RabbitMQ alone");
    check_fails(&with("to = \"kafka://h\"\nsubject = \"x\""), "`subject` is not for Kafka");
    check_fails(&with("to = \"kafkas://h\"\ntopic = \"x\""), "`to` asks for Kafka with TLS, which no build");
    check_fails(&webhook("subject = \"{kind}\""), "`subject` names `{kind}`: there are");
    check_fails(&webhook("in_flight_max = 0"), "`in_flight_max` is 0: give 1 to 1024");
    check_fails(&webhook("in_flight_max = 1025"), "`in_flight_max` is 1025: give 1 to 1024");
    check_fails(
        &with("to = \"http://h\"\nsecret_env = \"GESTA_NO_SUCH\""),
        "`GESTA_NO_SUCH`, which is not set",
    );
    check_fails(
        &with("to = \"http://h\"\nsecret_file = \"none\""),
        "the file `folder/none`, which cannot be read",
    );
    check_fails(
        &with("to = \"http://h\"\nsecret_file = \"/dev/zero\""),
        "the file `/dev/zero`, which is longer than 65536 bytes",
    );
    check_fails(&webhook("secret_file = \"x\""), "`secret_file` is given beside `secret_env`");
}

#[test]
#[cfg(feature = "kafka")]
fn kafka_needs_brokers_and_a_topic() {
    let with = |lines: &str| format!("[publisher.a]\nfrom = \"now\"\n{lines}\n");
    check_fails(&with("to = \"kafka://h\""), "`topic` is missing: name the topic");
    check_fails(&with("to = \"kafka://h\"\ntopic = \"{category}\""), "`topic` is no name of a topic");
    check_fails(&with("to = \"kafka://h:x\"\ntopic = \"t\""), "`to` names the broker `h:x`: write");
    check_fails(
        &with(&format!("to = \"kafka://h\"\ntopic = \"t\"\nsecret_env = \"{VARIABLE}\"")),
        "`secret_env` names a secret that is not `user:password`",
    );
    check_fails(
        &with("to = \"kafka://h\"\ntopic = \"t\"\nca_file = \"ca\""),
        "`ca_file` is for targets with TLS",
    );
    assert_eq!(read(&with("to = \"kafka://a:1,b:2\"\ntopic = \"t\"")).unwrap().len(), 1);
}

#[test]
#[cfg(not(feature = "kafka"))]
fn a_target_that_was_left_out_names_its_feature() {
    let text = "[publisher.a]\nfrom = \"now\"\nto = \"kafka://h\"\ntopic = \"t\"\n";
    check_fails(text, "`to` needs a program that was built with the feature `publish-kafka`");
}

#[test]
#[cfg(feature = "webhook")]
fn a_webhook_needs_a_secret_of_its_form() {
    let with = |lines: &str| format!("[publisher.a]\nfrom = \"now\"\nto = \"http://h\"\n{lines}\n");
    check_fails(&with(""), "`secret_env` is missing: name a variable");
    check_fails(&with(&format!("secret_env = \"{VARIABLE}\"")), "make one with `echo whsec_");
}

/// Settings of a webhook, whose secret is in a file.
#[cfg(feature = "webhook")]
fn publishers(lines: &str) -> Result<Vec<Publisher>, ConfigError> {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("secret"), "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw\n").unwrap();
    let text = format!("[publisher.a]\nto = \"http://h\"\nsecret_file = \"secret\"\n{lines}\n");
    read_text(&text, &folder.path().join("publish.toml"))
}

#[test]
#[cfg(feature = "webhook")]
fn settings_come_from_the_keys_and_have_defaults() {
    let read = publishers("from = \"start\"").unwrap();
    let publisher = &read[0];
    assert_eq!(publisher.group().as_str(), "publish-a");
    let settings = publisher.settings();
    settings.check().unwrap();
    assert_eq!((&settings.query, &settings.from), (&Query::All, &Place::Start));
    assert_eq!((settings.run_max.get(), publisher.concurrency, publisher.skips_system), (16, 256, true));
    let lines = "from = \"now\"\nin_flight_max = 1024\nattempts_max = 3\nselect = [{ category = \"order\" }, { types = [\"payment.captured\"] }]";
    let read = publishers(lines).unwrap();
    let publisher = &read[0];
    let settings = publisher.settings();
    settings.check().unwrap();
    let order = Item { category: Some("order".parse().unwrap()), ..Item::default() };
    let captured = Item { types: vec!["payment.captured".parse().unwrap()], ..Item::default() };
    assert_eq!((&settings.query, &settings.from), (&Query::Any(vec![order, captured]), &Place::End));
    assert_eq!((settings.run_max.get(), publisher.concurrency, publisher.skips_system), (4, 1_024, false));
    assert_eq!(settings.attempts_max, NonZeroU32::new(3));
}

#[test]
#[cfg(feature = "webhook")]
fn the_place_and_the_selection_are_checked() {
    for (lines, message) in [
        ("", "`from` is missing: give `start` for all events"),
        ("from = \"yesterday\"", "`from` is neither `start` nor `now` nor a checkpoint"),
        ("from = \"now\"\nselect = []", "`select` selects nothing"),
        ("from = \"now\"\nselect = [{ category = \"a-b\" }]", "`select` category `a-b` contains a `-`"),
        ("from = \"now\"\nattempts_max = 0", "`attempts_max` is 0"),
        ("from = \"now\"\nanswer_ms = 99", "`answer_ms` is 99: give 100 to 300000"),
    ] {
        let error = publishers(lines).map(|read| read.len()).expect_err("it is wrong").to_string();
        assert!(error.contains(message), "{error}");
    }
}
