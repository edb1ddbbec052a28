//! `gesta import` and `gesta export`.

use std::io::Write;

use flate2::Compression;
use flate2::write::GzEncoder;
use tempfile::TempDir;

use crate::data::{file, lines};
use crate::harness::{gesta, gesta_with};

fn folder() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = folder.path().join("log").to_str().unwrap().to_owned();
    (folder, log)
}

/// The counts in the summary: read, appended, repeated, skipped.
#[track_caller]
fn counts(summary: &str) -> [u64; 4] {
    let numbers =
        summary.split([' ', ',']).filter_map(|word| word.parse().ok()).take(4).collect::<Vec<u64>>();
    numbers.try_into().unwrap_or_else(|_| panic!("{summary}"))
}

fn import(file: &str, log: &str) -> [u64; 4] {
    counts(&gesta(["import", file, "--dir", log]).ok())
}

#[test]
fn an_import_run_again_appends_nothing() {
    let (folder, log) = folder();
    let file = file(folder.path(), "events.jsonl", &lines(0..2_500));
    assert_eq!(import(&file, &log), [2_500, 2_500, 0, 0]);
    assert_eq!(import(&file, &log), [2_500, 0, 2_500, 0]);
    let read = gesta(["read", "s-3", "--limit", "2", "--dir", &log]).ok();
    assert!(read.starts_with("4  2024-01-01T00:00:00.000003Z  s-3@0  t.0  {\"n\": 3}\n14  "), "{read}");
    assert_eq!(gesta(["streams", "--category", "s", "--dir", &log]).ok().lines().count(), 10);
}

#[test]
fn a_file_that_has_grown_is_completed() {
    let (folder, log) = folder();
    for (end, expected) in
        [(700, [700, 700, 0, 0]), (1_300, [1_300, 600, 700, 0]), (4_000, [4_000, 2_700, 1_300, 0])]
    {
        let file = file(folder.path(), "events.jsonl", &lines(0..end));
        assert_eq!(import(&file, &log), expected);
    }
    let all = gesta(["read", "--all", "--dir", &log]).ok();
    let positions = all.lines().map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap());
    assert!(positions.eq(1..=4_000_usize));
}

#[test]
fn an_id_that_is_repeated_in_its_stream_is_appended_once() {
    let (folder, log) = folder();
    let ids = (0..50).chain(0..50).chain(50..2_000).chain([7, 1_999, 2_000]);
    let file = file(folder.path(), "events.jsonl", &lines(ids));
    assert_eq!(import(&file, &log), [2_053, 2_001, 1, 51]);
    assert_eq!(import(&file, &log)[1], 0);
}

#[test]
fn a_wrong_line_is_named_and_the_rest_is_imported_later() {
    let (folder, log) = folder();
    let good = lines(0..1_500);
    let cases = [
        ("not json", "it is not a CloudEvent in JSON: expected ident at column 2"),
        ("[]", "it is not a CloudEvent in JSON"),
        (r#"{"specversion":"1.0","id":"1","source":"u","type":"t"}"#, "no `subject`"),
        (
            r#"{"specversion":"1.0","id":"1","source":"u","type":"t","subject":"s-1","time":"now"}"#,
            "`now` is not a time",
        ),
    ];
    for (wrong, reason) in cases {
        let text = good.replacen('\n', &format!("\n\n{wrong}\n"), 1);
        let path = file(folder.path(), "wrong.jsonl", &text);
        let said = gesta(["import", &path, "--dir", &log]).failed(1);
        assert!(said.contains("cannot import line 3: ") && said.contains(reason), "{said}");
    }
    let late = file(folder.path(), "late.jsonl", &format!("{good}{{\n"));
    let said = gesta(["import", &late, "--dir", &log]).failed(1);
    assert!(said.contains("cannot import line 1501: "), "{said}");
    assert!(
        said.contains(
            "the first 1000 events of the file are in the log; fix the cause and run the import again"
        ),
        "{said}"
    );
    let path = file(folder.path(), "good.jsonl", &good);
    assert_eq!(import(&path, &log), [1_500, 500, 1_000, 0]);
}

#[test]
fn gzip_and_the_standard_input_are_read() {
    let (folder, log) = folder();
    let mut packed = Vec::new();
    for part in [0..600, 600..1_200] {
        let mut member = GzEncoder::new(&mut packed, Compression::fast());
        member.write_all(lines(part).as_bytes()).unwrap();
        member.finish().unwrap();
    }
    let path = folder.path().join("events");
    std::fs::write(&path, &packed).unwrap();
    assert_eq!(import(path.to_str().unwrap(), &log), [1_200, 1_200, 0, 0]);
    let piped = gesta_with(["import", "-", "--dir", &log], &packed).ok();
    assert_eq!(counts(&piped), [1_200, 0, 1_200, 0]);
    let plain = gesta_with(["import", "-", "--dir", &log], lines(0..1_201).as_bytes()).ok();
    assert_eq!(counts(&plain), [1_201, 1, 1_200, 0]);
    let torn = gesta_with(["import", "-", "--dir", &log], &packed[..packed.len() - 5]).failed(1);
    assert!(torn.contains("cannot read line"), "{torn}");
    assert_eq!(counts(&gesta_with(["import", "-", "--dir", &log], b"").ok()), [0, 0, 0, 0]);
}

#[test]
fn the_stream_can_be_taken_from_the_data() {
    let (folder, log) = folder();
    let text = lines(0..4).replace("subject", "topic");
    let path = file(folder.path(), "events.jsonl", &text);
    let said = gesta(["import", &path, "--dir", &log]).failed(1);
    assert!(said.contains("no `subject`") && said.contains("`--stream-from data.account`"), "{said}");
    assert!(!std::path::Path::new(&log).exists(), "no log is made");
    let from = ["import", &path, "--dir", &log, "--stream-from", "order-{data.n}"];
    assert_eq!(counts(&gesta(from).ok()), [4, 4, 0, 0]);
    assert_eq!(gesta(["streams", "--dir", &log]).ok().lines().count(), 4);
    let said = gesta(["import", &path, "--dir", &log, "--stream-from", "data.x"]).failed(1);
    assert!(said.contains("the event has no field `data.x`"), "{said}");
    assert_eq!(gesta(["import", &path, "--dir", &log, "--stream-from", "{"]).code, 2);
}

#[test]
fn an_export_is_imported_unchanged() {
    let (folder, log) = folder();
    let path = file(folder.path(), "events.jsonl", &lines(0..1_500));
    import(&path, &log);
    let tagged = ["append", "s-3", "odd", "line\nline", "--text", "--tag", "a:b,c%", "--schema-version", "7"];
    gesta(tagged.iter().chain(&["--dir", &log])).ok();
    for name in ["out.jsonl", "out.jsonl.gz"] {
        let out = folder.path().join(name).to_str().unwrap().to_owned();
        let said = gesta(["export", &out, "--dir", &log]).ok();
        assert_eq!(said, format!("wrote 1501 events to `{out}`\n"));
        let copy = format!("{log}.{name}");
        assert_eq!(import(&out, &copy), [1_501, 1_501, 0, 0]);
        let again = gesta(["export", "-", "--dir", &copy]).ok();
        let plain = gesta(["export", "-", "--dir", &log]).ok();
        assert_eq!(without(&plain, "recordedtime"), without(&again, "recordedtime"));
        let said = gesta(["export", &out, "--dir", &log]).failed(1);
        assert!(said.contains("already exists"), "{said}");
    }
    let some =
        gesta(["export", "-", "--dir", &log, "--stream", "s-3", "--type", "t.0", "--type", "odd"]).ok();
    assert_eq!(some.lines().count(), 51);
    let out = folder.path().join("none.jsonl");
    let said = gesta(["export", out.to_str().unwrap(), "--stream", "s-x", "--dir", &log]).failed(1);
    assert!(said.contains("stream `s-x` has no event") && !out.exists(), "{said}");
}

/// The lines as JSON, without that member.
fn without(text: &str, member: &str) -> Vec<serde_json::Value> {
    let parse = |line: &str| {
        let mut event = serde_json::from_str::<serde_json::Value>(line).unwrap();
        assert!(event.as_object_mut().unwrap().remove(member).is_some());
        // An event without a source is exported with its store as the source.
        if event["source"].as_str().unwrap().starts_with("urn:gesta:store:") {
            event.as_object_mut().unwrap().remove("source");
        }
        event
    };
    text.lines().map(parse).collect()
}

#[test]
fn the_largest_event_is_exported_and_imported() {
    let (folder, log) = folder();
    // In JSON, each line break takes two bytes.
    let data = "\n".repeat(gesta_core::DATA_BYTES_MAX);
    gesta_with(["append", "s-1", "large", "-", "--text", "--dir", &log], data.as_bytes()).ok();
    let out = folder.path().join("out.jsonl").to_str().unwrap().to_owned();
    assert_eq!(gesta(["export", &out, "--dir", &log]).ok(), format!("wrote 1 event to `{out}`\n"));
    let copy = format!("{log}.copy");
    assert_eq!(import(&out, &copy), [1, 1, 0, 0]);
    let again = folder.path().join("again.jsonl").to_str().unwrap().to_owned();
    gesta(["export", &again, "--dir", &copy]).ok();
    let event = |path: &str| without(&std::fs::read_to_string(path).unwrap(), "recordedtime");
    assert!(event(&out) == event(&again), "the copy has the same event");
}
