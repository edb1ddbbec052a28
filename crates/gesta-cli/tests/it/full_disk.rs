//! A folder on a disk that is full, or that is mounted to be read.

use gesta_core::{Batch, EventId, EventStore, NewEvent, Timestamp};
use gesta_log::{LogStore, Options};
use tempfile::TempDir;
use test_servers::SmallDisk;

use crate::harness::gesta;

const VIEW: &str = "\
-- dialect: sqlite
create table owners (id text primary key, owner text not null);
-- on account.opened
insert into owners (id, owner) values (:$stream, :owner) on conflict (id) do update set owner = excluded.owner;
";

/// A log with 200 events, and a folder with the view of them.
struct Folder {
    views: TempDir,
    log: String,
}

impl Folder {
    fn on(disk: &SmallDisk) -> Self {
        let views = TempDir::new().unwrap();
        std::fs::write(views.path().join("owners.sql"), VIEW).unwrap();
        let folder = Self { views, log: disk.path().join("log").to_str().unwrap().to_owned() };
        let log = LogStore::open(&folder.log, &Options::default()).unwrap();
        let owner = format!(r#"{{"owner":"{}"}}"#, "a".repeat(2_000));
        let events = (1..=200).map(|number| {
            let stream = format!("account-{number}").parse().unwrap();
            let kind = "account.opened".parse().unwrap();
            let id = EventId::from_u128(number);
            NewEvent::json(id, stream, kind, Timestamp::from_nanos(7), owner.clone())
        });
        pollster::block_on(log.append(Batch::new(events))).unwrap();
        folder
    }

    fn count(&self) -> crate::harness::Ran {
        let views = self.views.path().to_str().unwrap();
        gesta(["view", "owners", "select count(*) as n from owners", "--views", views, "--dir", &self.log])
    }
}

#[test]
fn a_view_whose_disk_is_full_is_reported_and_goes_on_when_there_is_room() {
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let folder = Folder::on(&disk);
    disk.fill();
    let said = folder.count().failed(1);
    assert!(said.contains("full"), "{said}");
    disk.make_room();
    assert_eq!(folder.count().ok(), "n\n200\n");
}

#[test]
fn a_log_on_a_disk_that_is_mounted_to_be_read_is_backed_up_and_restored_whole() {
    let Some(disk) = SmallDisk::mount(8 << 20) else { return };
    let folder = Folder::on(&disk);
    gesta(["verify", "--dir", &folder.log]).ok();
    disk.make_read_only();
    let elsewhere = TempDir::new().unwrap();
    let at = |name: &str| elsewhere.path().join(name).to_str().unwrap().to_owned();
    gesta(["backup", "--dir", &folder.log, "--to", &at("backup")]).ok();
    gesta(["restore", "--from", &at("backup"), "--dir", &at("restored")]).ok();
    let count = |log: &str| gesta(["export", "-", "--dir", log]).ok().lines().count();
    assert_eq!((count(&folder.log), count(&at("restored"))), (200, 200));
}
