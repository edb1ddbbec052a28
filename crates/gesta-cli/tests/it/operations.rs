//! The operator's commands: backup, restore, scrub, repair, stat, verify.

use std::fs;
use std::io::{BufRead, BufReader};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use gesta_conformance::sample::{self, Sample as _};
use gesta_core::{Batch, EventStore, KeyName, KeyValueStore, StoreId, When};
use gesta_log::{LogStore, Options, Scrub};
use gesta_state::StateStore;
use serde_json::Value;
use tempfile::TempDir;

use crate::harness::{Ran, Server, command, gesta, gesta_with, serve};

/// A folder with a log of that many events.
fn log_of(events: u64) -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = path(&folder, "log");
    append(&log, 1..=events);
    (folder, log)
}

fn append(log: &str, numbers: std::ops::RangeInclusive<u64>) {
    let event = |number: u64| {
        format!(
            r#"{{"specversion":"1.0","id":"{number}","source":"/test","type":"account.opened","subject":"account-{number}","data":{{"number":{number}}}}}"#
        ) + "\n"
    };
    gesta_with(["import", "-", "--dir", log], numbers.map(event).collect::<String>().as_bytes()).ok();
}

fn path(folder: &TempDir, name: &str) -> String {
    folder.path().join(name).to_str().unwrap().to_owned()
}

fn on(log: &str, arguments: &[&str]) -> Ran {
    gesta(arguments.iter().copied().chain(["--dir", log]))
}

fn read(log: &str) -> String {
    on(log, &["read", "--all"]).ok()
}

/// Flips a bit in a file.
fn flip(path: impl AsRef<Path>, at: usize) {
    let mut bytes = fs::read(&path).unwrap();
    bytes[at] ^= 1;
    fs::write(path, bytes).unwrap();
}

#[test]
fn a_log_is_backed_up_again_verified_and_restored() {
    let (folder, log) = log_of(100);
    let (to, restored) = (path(&folder, "backup"), path(&folder, "restored"));
    let said = on(&log, &["backup", "--to", &to]).ok();
    assert!(said.contains("ends at position 100: ") && said.contains(" bytes in 1 segment\n"), "{said}");
    let said = on(&log, &["backup", "--to", &to]).ok();
    assert!(said.contains("copied now: 0 bytes in 0 segments"), "{said}");
    let first = read(&log);
    append(&log, 101..=150);
    on(&log, &["backup", "--to", &to, "--link", "--rate", "1G"]).ok();
    let said = on(&log, &["backup", "--to", &to, "--rate", "0"]);
    assert!(said.code == 2 && said.err.contains("a number of bytes above 0"), "{said:?}");
    let said = gesta(["verify", "--backup", &to]).ok();
    assert!(said.contains("checked 150 events of store") && said.contains("ends at position 150"), "{said}");
    let from_environment = command(["verify", "--backup", &to]).env("GESTA_DIR", &log).output().unwrap();
    assert_eq!(Ran::from(from_environment).ok(), said, "a flag wins over the environment");
    assert_eq!(on(&log, &["verify", "--backup", &to]).code, 2, "the flags exclude each other");

    let said = gesta(["restore", "--from", &to, "--dir", &restored]).ok();
    assert!(said.contains("up to position 150") && said.contains("new store"), "{said}");
    assert!(read(&restored).starts_with(&first));
    assert_eq!(read(&restored), read(&log));
    let stat = on(&restored, &["stat"]).ok();
    assert!(stat.contains("restored from store") && stat.contains("  restored\n"), "{stat}");
    append(&restored, 151..=160);
    on(&restored, &["verify"]).ok();

    let said = gesta(["restore", "--from", &to, "--dir", &restored]).failed(1);
    assert!(said.contains("is not empty"), "{said}");
    let segments = fs::read_dir(Path::new(&to).join("segments")).unwrap();
    let segment = segments.map(|entry| entry.unwrap().path()).next().unwrap();
    flip(segment, 5_000);
    let ran = gesta(["verify", "--backup", &to]);
    assert!(ran.code == 1 && ran.out.contains("damage: segment 1 at offset"), "{ran:?}");
}

/// The id of a log.
fn store_of(log: &str) -> StoreId {
    let log = LogStore::open(log, &Options { scrub: Scrub::Off, ..Options::default() }).unwrap();
    pollster::block_on(log.locate(When::Head)).unwrap().store()
}

/// Puts the row of a group into the key-value store beside a log.
fn put_group(log: &str, value: &str) {
    let state = StateStore::open(&Path::new(log).join("state.db")).unwrap();
    let key = || KeyName::new("groups/mail").unwrap();
    let last = pollster::block_on(state.get(key())).unwrap().map(|entry| entry.revision);
    pollster::block_on(state.put(key(), value.to_owned().into(), last)).unwrap();
}

fn group(log: &str) -> String {
    let state = StateStore::open(&Path::new(log).join("state.db")).unwrap();
    let entry = pollster::block_on(state.get(KeyName::new("groups/mail").unwrap())).unwrap().unwrap();
    String::from_utf8(entry.value.to_vec()).unwrap()
}

#[test]
fn the_key_value_store_is_backed_up_and_restored_with_the_log_and_names_the_new_store() {
    let (folder, log) = log_of(5);
    let (to, restored) = (path(&folder, "backup"), path(&folder, "restored"));
    let origin = store_of(&log);
    let row = format!(r#"{{"v":1,"store":"{origin}","scanned":"{origin}.3"}}"#);
    put_group(&log, &row);
    let said = on(&log, &["backup", "--to", &to]).ok();
    assert!(said.contains("with the groups and pauses of its server"), "{said}");
    let said = gesta(["verify", "--backup", &to]).ok();
    assert!(said.contains("checked 1 value of its server"), "{said}");

    // The server goes on; a backup that is refused leaves the copy that fits the backup's log.
    put_group(&log, r#"{"v":1,"later":true}"#);
    flip(Path::new(&log).join("segments/000000000001.seg"), 5_000);
    on(&log, &["backup", "--to", &to]).failed(1);

    let said = gesta(["restore", "--from", &to, "--dir", &restored]).ok();
    assert!(said.contains("with the groups and pauses of its server: 1 value"), "{said}");
    let store = store_of(&restored);
    assert_ne!(store, origin);
    assert_eq!(group(&restored), row.replace(&origin.to_string(), &store.to_string()));
}

#[test]
fn a_damaged_key_value_store_is_named_by_backup_verify_and_restore() {
    let (folder, log) = log_of(5);
    let (to, restored) = (path(&folder, "backup"), path(&folder, "restored"));
    put_group(&log, &"group ".repeat(2_000));
    on(&log, &["backup", "--to", &to]).ok();
    let harm = |folder: &str| {
        let file = Path::new(folder).join("state.db");
        let len = fs::read(&file).unwrap().len();
        flip(file, len - 100);
    };
    harm(&to);
    let ran = gesta(["verify", "--backup", &to]);
    assert!(
        ran.code == 1 && ran.out.contains("damage: `") && ran.out.contains("state.db` is damaged"),
        "{ran:?}"
    );
    let said = gesta(["restore", "--from", &to, "--dir", &restored]).failed(1);
    assert!(said.contains("state.db` is damaged") && said.contains("move it out of the backup"), "{said}");
    assert!(!Path::new(&restored).exists(), "nothing was made");
    harm(&log);
    let said = on(&log, &["backup", "--to", &to]).failed(1);
    assert!(said.contains("cannot back up the key-value store") && said.contains("is damaged"), "{said}");
    // Without the damaged copy the log is restored alone.
    fs::remove_file(Path::new(&to).join("state.db")).unwrap();
    gesta(["restore", "--from", &to, "--dir", &restored]).ok();
    assert!(!Path::new(&restored).join("state.db").exists());
}

#[test]
fn a_log_that_a_server_has_open_is_refused_and_none_is_made() {
    let (folder, log) = log_of(1);
    let to = path(&folder, "backup");
    let server = serve(&["--dir", &log]);
    let commands =
        [&["backup", "--to", &to][..], &["scrub"], &["repair"], &["repair", "--manifest"], &["stat"]];
    for arguments in commands {
        let said = on(&log, arguments).failed(1);
        assert!(said.contains("is in use by") && said.contains("stop that server first"), "{said}");
    }
    assert_eq!(server.stop(), Some(0));
    let nowhere = path(&folder, "nowhere");
    for arguments in commands {
        let said = on(&nowhere, arguments).failed(1);
        assert!(said.contains("there is no folder"), "{said}");
        let said = gesta(arguments).failed(2);
        assert!(said.contains("--dir <folder>"), "{said}");
    }
    assert!(!Path::new(&nowhere).exists() && !Path::new(&to).exists());
}

#[test]
fn a_backup_given_as_a_log_is_refused_and_left_unchanged() {
    let (folder, log) = log_of(10);
    let (to, other) = (path(&folder, "backup"), path(&folder, "other"));
    on(&log, &["backup", "--to", &to]).ok();
    let commands = [
        &["stat"][..],
        &["scrub"],
        &["verify"],
        &["repair"],
        &["repair", "--manifest"],
        &["backup", "--to", &other],
        &["read", "--all"],
        &["append", "a-1", "a.b", "1"],
        &["serve", "--listen", "127.0.0.1:0"],
    ];
    for arguments in commands {
        let said = on(&to, arguments).failed(1);
        for part in ["holds a backup, not a log", "gesta verify --backup", "gesta restore --from"] {
            assert!(said.contains(part), "{arguments:?}: {said}");
        }
    }
    on(&log, &["backup", "--to", &to]).ok();
    gesta(["verify", "--backup", &to]).ok();
}

#[test]
fn an_unfinished_backup_is_neither_a_log_nor_a_backup_and_stays_as_it_is() {
    let (folder, log) = log_of(3);
    let part = path(&folder, "part");
    fs::create_dir_all(format!("{part}/segments")).unwrap();
    let file = format!("{part}/segments/000000000001-0a0b0c0d.seg.tmp");
    fs::write(&file, "a part").unwrap();
    let goes_on = "unfinished";
    for arguments in [&["read", "--all"][..], &["verify"], &["append", "a-1", "b.happened", "1"]] {
        let said = on(&part, arguments).failed(1);
        assert!(said.contains(goes_on) && said.contains("`gesta backup`"), "{said}");
    }
    let to = path(&folder, "to");
    for said in [gesta(["verify", "--backup", &part]), gesta(["restore", "--from", &part, "--dir", &to])] {
        let said = said.failed(1);
        assert!(said.contains(goes_on) && !said.contains("holds a log"), "{said}");
    }
    assert_eq!(fs::read_dir(&part).unwrap().count(), 1);
    assert_eq!(fs::read(&file).unwrap(), b"a part");
    on(&log, &["backup", "--to", &part]).ok();
    gesta(["verify", "--backup", &part]).ok();
}

#[test]
fn a_log_or_a_missing_folder_given_as_a_backup_is_refused() {
    let (folder, log) = log_of(10);
    let (nowhere, restored) = (path(&folder, "nowhere"), path(&folder, "restored"));
    for arguments in [&["verify", "--backup"][..], &["restore", "--dir", &restored, "--from"]] {
        let said = gesta(arguments.iter().chain([&&log[..]])).failed(1);
        for part in [
            "holds no finished backup",
            "it holds a log: check it with `gesta verify --dir",
            "gesta backup --dir",
        ] {
            assert!(said.contains(part), "{said}");
        }
        let said = gesta(arguments.iter().chain([&&nowhere[..]])).failed(1);
        assert!(said.contains("holds no finished backup") && said.contains("check the path"), "{said}");
    }
    assert!(!Path::new(&restored).exists());
}

#[test]
fn backups_inside_the_log_or_among_other_files_are_refused() {
    let (folder, log) = log_of(10);
    for within in ["", "/backup", "/quarantine", "/../log/a/b"] {
        let said = on(&log, &["backup", "--to", &format!("{log}{within}")]).failed(2);
        assert!(said.contains("lies in the folder of the log") && said.contains("--to"), "{said}");
    }
    let to = path(&folder, "log-backup");
    on(&log, &["backup", "--to", &to]).ok();
    let said = gesta(["restore", "--from", &to, "--dir", &format!("{to}/log")]).failed(2);
    assert!(said.contains("lies in the folder of the backup") && said.contains("--dir"), "{said}");
    fs::write(Path::new(&to).join("notes"), "mine").unwrap();
    let said = on(&log, &["backup", "--to", &to]).failed(1);
    assert!(said.contains("holds `notes`, which is no file of a backup"), "{said}");
    let file = path(&folder, "file");
    fs::write(&file, "mine").unwrap();
    let said = on(&log, &["backup", "--to", &file]).failed(1);
    assert!(said.contains(&format!("listing `{file}` failed")), "{said}");
}

#[test]
fn a_log_is_scrubbed() {
    let (_folder, log) = log_of(100);
    let said = on(&log, &["scrub", "--rate", "100M"]).ok();
    assert!(said.contains("no segment is sealed yet") && said.contains("1 segment is not sealed"), "{said}");
    let (_rotten, rotten) = rotten_log();
    let ran = on(&rotten, &["scrub"]);
    assert!(
        ran.out.contains("damage: segment 2 at") && ran.err.contains("help: restore the log from a backup"),
        "{ran:?}"
    );
    assert_eq!(ran.code, 1);
    assert_eq!(on(&log, &["scrub", "--rate", "0"]).code, 2);
}

#[test]
fn a_lost_manifest_is_rebuilt_on_request() {
    let (_folder, log) = log_of(100);
    let before = read(&log);
    for name in ["manifest", "manifest.previous"] {
        fs::remove_file(Path::new(&log).join(name)).unwrap();
    }
    let said = on(&log, &["read", "--all"]).failed(1);
    assert!(said.contains("gesta repair --manifest"), "{said}");
    let said = on(&log, &["repair"]).ok();
    assert!(said.contains("found: there is no manifest") && said.contains("nothing was changed"), "{said}");
    on(&log, &["read", "--all"]).failed(1);
    let said = on(&log, &["repair", "--manifest"]).ok();
    assert!(said.contains("done: write a manifest") && said.contains("repair-"), "{said}");
    assert_eq!(read(&log), before);
    append(&log, 101..=110);
    on(&log, &["verify"]).ok();
    let said = on(&log, &["repair", "--manifest"]).failed(1);
    assert!(said.contains("this repair has nothing to do"), "{said}");
    let said = on(&log, &["repair"]).ok();
    assert!(said.contains("nothing to repair"), "{said}");
    assert_eq!(on(&log, &["repair", "--manifest", "--drop-tail"]).code, 2);
}

#[test]
fn an_unproven_tail_is_dropped_on_request() {
    let (_folder, log) = log_of(100);
    let mut bytes = fs::read(segment(&log, 1)).unwrap();
    let end = end_of_idle(&bytes);
    bytes[end..end + 700].fill(7);
    fs::write(segment(&log, 1), bytes).unwrap();
    let ran = on(&log, &["verify"]);
    assert!(ran.code == 1 && ran.err.contains("gesta repair"), "{ran:?}");
    let stat = on(&log, &["stat"]).ok();
    assert!(stat.contains("100 events up to position 100"), "{stat}");
    assert!(stat.contains("ends in bytes that are no frame: see `gesta verify`"), "{stat}");
    let said = on(&log, &["repair"]).ok();
    assert!(said.contains("to do: move 700 bytes") && said.contains("--drop-tail"), "{said}");
    on(&log, &["repair", "--drop-tail"]).ok();
    on(&log, &["verify"]).ok();
    append(&log, 101..=110);
    let stat = on(&log, &["stat"]).ok();
    assert!(
        stat.contains("quarantine: ") && stat.contains(", 700 bytes") && stat.contains("repaired: "),
        "{stat}"
    );
    assert!(!stat.contains("no frame"), "{stat}");
}

#[test]
fn stat_describes_a_log_as_text_and_as_json() {
    let (_folder, log) = log_of(100);
    let said = on(&log, &["stat"]).ok();
    assert!(said.contains("100 events up to position 100") && said.contains("active"), "{said}");
    assert!(said.contains("backup: copies 0 sealed segments"), "{said}");
    let said = serde_json::from_str::<Value>(&on(&log, &["stat", "--json"]).ok()).unwrap();
    let segment = &said["segments"][0];
    assert_eq!(
        (&said["position"], &segment["events"], &segment["lastPosition"]),
        (&100.into(), &100.into(), &100.into())
    );
    assert!(segment["firstRecordedAt"].as_str().unwrap().ends_with('Z'), "{segment}");
}

fn event(number: u128, data: String) -> Batch {
    Batch::new([sample::event("account-42", number).of_type("account.opened").with_data(data)])
}

/// A log with sealed segments that the index covers, so that opening it does not read them.
fn sealed_log() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = path(&folder, "log");
    let options = Options {
        segment_size_bytes: 64 << 10,
        index_run_bytes: 1 << 10,
        scrub: Scrub::Off,
        ..Options::default()
    };
    let store = LogStore::open(&log, &options).unwrap();
    for number in 1..=40 {
        store.append_blocking(event(number, format!("\"{}\"", "1".repeat(5_000)))).unwrap();
    }
    drop(store);
    // Opening the log indexes the rest.
    drop(LogStore::open(&log, &options).unwrap());
    (folder, log)
}

/// Where the frames of a segment end whose last frame is idle.
fn end_of_idle(segment: &[u8]) -> usize {
    // Its kind is the last byte that is not zero, three bytes before its end.
    segment.iter().rposition(|byte| *byte != 0).unwrap() + 4
}

fn segment(log: &str, id: u64) -> PathBuf {
    Path::new(log).join("segments").join(format!("{id:012}.seg"))
}

/// A [`sealed_log`] with a damaged event in its second segment.
fn rotten_log() -> (TempDir, String) {
    let (folder, log) = sealed_log();
    flip(segment(&log, 2), 20_000);
    (folder, log)
}

#[test]
fn a_flaw_that_a_backup_copied_is_printed_and_is_no_failure() {
    let (folder, log) = sealed_log();
    let to = path(&folder, "backup");
    // A bit of START, the first frame of the segment.
    flip(segment(&log, 2), 4_096 + 16);
    on(&log, &["backup", "--to", &to]).ok();
    let said = gesta(["verify", "--backup", &to]).ok();
    assert!(
        said.contains("checked 40 events") && said.contains("\nflaw: segment 2 at offset 4096"),
        "{said}"
    );
}

/// Runs the binary so that it may not write to the folder of the log.
fn on_read_only(log: &str, arguments: &[&str]) -> Ran {
    let gesta = env!("CARGO_BIN_EXE_gesta");
    // Root ignores the permissions of files, unless it gives up that capability.
    let prefix: &[&str] = match rustix::process::geteuid().is_root() {
        true => &["setpriv", "--bounding-set=-dac_override", gesta],
        false => &[gesta],
    };
    let set_mode = |mode: u32| {
        for folder in [Path::new(log), &Path::new(log).join("segments")] {
            fs::set_permissions(folder, fs::Permissions::from_mode(mode)).unwrap();
        }
    };
    set_mode(0o555);
    let ran =
        Command::new(prefix[0]).args(&prefix[1..]).args(arguments).args(["--dir", log]).output().unwrap();
    set_mode(0o755);
    ran.into()
}

/// A log of two events as a kill leaves it: nothing proves that the second one was synced.
fn killed_log() -> (TempDir, String) {
    let folder = TempDir::new().unwrap();
    let log = path(&folder, "log");
    let (manifest, kept) = (Path::new(&log).join("manifest"), folder.path().join("kept"));
    let store = LogStore::open(&log, &Options { scrub: Scrub::Off, ..Options::default() }).unwrap();
    store.append_blocking(event(1, "1".to_owned())).unwrap();
    fs::copy(&manifest, &kept).unwrap();
    store.append_blocking(event(2, "2".to_owned())).unwrap();
    drop(store);
    fs::rename(&kept, &manifest).unwrap();
    let mut bytes = fs::read(segment(&log, 1)).unwrap();
    let end = end_of_idle(&bytes);
    bytes[end - 64..end].fill(0);
    fs::write(segment(&log, 1), bytes).unwrap();
    (folder, log)
}

#[test]
fn events_that_are_left_out_of_a_read_only_log_are_named_and_the_command_fails() {
    let (folder, log) = killed_log();
    let file = path(&folder, "events.jsonl");
    let commands =
        [&["read", "--all"][..], &["read", "account-42"], &["export", "-"], &["export", &file], &["streams"]];
    for arguments in commands {
        let ran = on_read_only(&log, arguments);
        assert!(ran.code == 1 && ran.out.lines().count() == 1, "{arguments:?}: {ran:?}");
        for part in [
            "error: events may be missing from the log in",
            "cannot be written to",
            "events 2 to 2 are valid",
        ] {
            assert!(ran.err.contains(part), "{arguments:?}: {ran:?}");
        }
    }
    assert_eq!(read(&log).lines().count(), 2, "an open that can write shows them");
    assert_eq!(on_read_only(&log, &["read", "--all"]).ok().lines().count(), 2, "then they are proven");
}

#[test]
fn a_server_scrubs_at_the_given_rate_and_reports_damage() {
    let (_folder, log) = rotten_log();
    let stat = on(&log, &["stat"]).ok();
    assert!(stat.contains("scrub: 0 of 3 sealed segments checked"), "{stat}");
    let mut child = command(["serve", "--listen", "127.0.0.1:0", "--dir", &log])
        .env("GESTA_SCRUB_RATE", "1G")
        .env("GESTA_LOG", "error")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut serving = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut serving).unwrap();
    let url = serving.trim().rsplit(' ').next().unwrap().to_owned();
    let logged = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
    let mut found = logged.filter(|line| line.contains("a scrub found damage"));
    let found = found.next().unwrap();
    for part in ["segment=2", "offset=", "from=1", "to=1", "no valid frame stands here"] {
        assert!(found.contains(part), "{part}: {found}");
    }
    let server = Server::of(child, url.clone());
    gesta(["append", "account-42", "account.closed", "{}", "--url", &url]).ok();
    assert_eq!(server.stop(), Some(0));
    let stat = on(&log, &["stat"]);
    assert!(stat.code == 1 && stat.out.contains("\ndamage: segment 2 at offset"), "{stat:?}");
    assert!(stat.err.starts_with("error: events are lost from the log in"), "{stat:?}");
    let stat = serde_json::from_str::<Value>(&on(&log, &["stat", "--json"]).out).unwrap();
    let scrub = &stat["scrub"];
    assert_eq!((&scrub["damage"][0]["segment"], &scrub["segments"][1]["segment"]), (&2.into(), &2.into()));
    assert!(scrub["segments"][1]["verifiedAt"].as_str().unwrap().ends_with('Z'), "{scrub}");
}

#[test]
fn a_server_with_scrub_rate_0_does_not_scrub() {
    let (_folder, log) = rotten_log();
    let server = serve(&["--dir", &log, "--scrub-rate", "0"]);
    assert_eq!(server.stop(), Some(0));
    let stat = on(&log, &["stat"]).ok();
    assert!(stat.contains("scrub: 0 of 3 sealed segments checked"), "{stat}");
    assert!(!Path::new(&log).join("scrub").exists());
    let said = on(&log, &["serve", "--scrub-rate", "fast"]);
    assert!(said.code == 2 && said.err.contains("or 0 for never"), "{said:?}");
}

/// A server whose files can hardly grow, like on a disk whose quota is used up in the middle of a write.
fn serve_at_the_limit(log: &str, arguments: &[&str]) -> Server {
    append(log, 1..=100);
    let stat = serde_json::from_str::<Value>(&on(log, &["stat", "--json"]).ok()).unwrap();
    let used = stat["segments"][0]["bytes"].as_u64().unwrap();
    // Without the trap, the signal would kill the process. With it, the write fails. Some shells count in blocks of 512 bytes, some in
    // 1,024.
    let script = format!("trap '' XFSZ; ulimit -f {}; exec \"$@\"", used / 512 + 4);
    let mut child = Command::new("sh")
        .args(["-c", &script, "sh", env!("CARGO_BIN_EXE_gesta"), "serve", "--listen", "127.0.0.1:0"])
        .args(["--dir", log])
        .args(arguments)
        .env("GESTA_LOG", "off")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut serving = String::new();
    BufReader::new(child.stdout.take().unwrap()).read_line(&mut serving).unwrap();
    let url = serving.trim().rsplit(' ').next().unwrap().to_owned();
    Server::of(child, url)
}

fn append_too_much(server: &Server) {
    let data = format!("\"{}\"", "1".repeat(200_000));
    let ran = gesta_with(["append", "large-1", "large.thing", "-", "--url", &server.url], data.as_bytes());
    assert_ne!(ran.code, 0, "{ran:?}");
}

#[test]
fn after_a_failed_write_a_server_stays_up_read_only() {
    let folder = TempDir::new().unwrap();
    let log = path(&folder, "log");
    let server = serve_at_the_limit(&log, &[]);
    append_too_much(&server);
    let read = gesta(["read", "--all", "--url", &server.url]).ok();
    assert_eq!(read.lines().count(), 100);
    let said = gesta(["append", "account-1", "account.closed", "{}", "--url", &server.url]).failed(1);
    assert!(said.contains("read-only"), "{said}");
    assert_eq!(server.stop(), Some(0));
}

#[test]
fn after_a_failed_write_a_server_exits_if_asked() {
    let folder = TempDir::new().unwrap();
    let log = path(&folder, "log");
    let server = serve_at_the_limit(&log, &["--on-failed-write", "exit"]);
    append_too_much(&server);
    let (code, said) = server.end();
    assert_eq!(code, Some(1), "{said}");
    for part in
        ["the log cannot be written any more: writing segment 1 failed", "help: ", "start the server again"]
    {
        assert!(said.contains(part), "{part}: {said}");
    }
    assert_eq!(read(&log).lines().count(), 100, "acknowledged events are there");
}

#[test]
fn a_repair_that_cannot_help_names_the_damage_and_fails() {
    let (_folder, log) = sealed_log();
    fs::remove_file(segment(&log, 2)).unwrap();
    let said = on(&log, &["repair"]).failed(1);
    for part in ["cannot repair the log in", "segment 2 at offset 0: the file is missing", "gesta restore"] {
        assert!(said.contains(part), "{part}: {said}");
    }
    // Nothing proves that this segment held events, so it is no proven loss. It may have held some all the same.
    let (_folder, log) = killed_log();
    fs::remove_file(segment(&log, 1)).unwrap();
    let said = on(&log, &["repair"]).failed(1);
    for part in ["a repair cannot help the log in", "because: segment 1 at offset 0", "gesta restore"] {
        assert!(said.contains(part), "{part}: {said}");
    }
}
