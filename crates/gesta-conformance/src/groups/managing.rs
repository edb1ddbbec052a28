//! Laws of the groups themselves: they are created once, changed under their version, and removed for good.

use gesta_consumer::group::{
    ChangeError, GroupSettings, LookError, PutError, SettingsVersion, Settlement, Take, TakeError,
};
use gesta_core::{Checkpoint, Place, Query, StoreId, When};
use pollster::block_on;

use super::{GROUP, ONE, SECOND, TWO, World, by_stream, count, group, settings, types};

pub(crate) fn a_group_is_created_once_and_its_settings_are_changed_by_version(world: &World<'_>) {
    assert_eq!(world.create(settings()), SettingsVersion::FIRST);
    let exists = PutError::Exists { group: group(GROUP), actual: SettingsVersion::FIRST };
    assert_eq!(world.put(GROUP, settings(), None), Err(exists));
    let wider = GroupSettings { run_max: count(5), ..settings() };
    let second = SettingsVersion::FIRST.next();
    let changed = PutError::Changed { group: group(GROUP), expected: second, actual: SettingsVersion::FIRST };
    assert_eq!(world.put(GROUP, wider.clone(), Some(second)), Err(changed));
    assert_eq!(world.put(GROUP, wider.clone(), Some(SettingsVersion::FIRST)), Ok(second));
    assert_eq!((world.status().settings, world.status().settings_version), (wider, second));
    let unknown = world.put("other", settings(), Some(second));
    assert_eq!(unknown, Err(PutError::NoGroup { group: group("other") }));
    assert_eq!(world.list().len(), 1);
}

pub(crate) fn settings_out_of_their_range_are_refused(world: &World<'_>) {
    let wrong = GroupSettings { run_max: count(5_000), ..settings() };
    assert!(matches!(world.put(GROUP, wrong, None), Err(PutError::Settings(_))));
    let empty = GroupSettings::new(Query::Any(Vec::new()));
    assert!(matches!(world.put(GROUP, empty, None), Err(PutError::Query(_))));
    let place = Checkpoint::start(StoreId::from_bytes([1; 16]), world.store().capabilities().partitions);
    let foreign = GroupSettings { from: Place::At(place), ..settings() };
    assert!(matches!(world.put(GROUP, foreign, None), Err(PutError::Place(_))));
    assert_eq!(world.list(), []);
}

pub(crate) fn progress_does_not_change_the_version_of_the_settings(world: &World<'_>) {
    let version = world.create(settings());
    world.append(&[ONE, TWO]);
    assert_eq!(world.member("m").handle_all().len(), 2);
    world.pause();
    world.resume();
    assert_eq!(world.status().settings_version, version);
    world.put(GROUP, settings(), Some(version)).expect("changed");
}

pub(crate) fn a_new_group_begins_where_its_settings_say(world: &World<'_>) {
    world.append(&[ONE, ONE]);
    let place = block_on(world.store().locate(When::Head)).expect("the head");
    world.append(&[ONE]);
    world.create(GroupSettings { from: Place::At(place), ..settings() });
    let now = GroupSettings { from: Place::End, ..settings() };
    world.put("other", now, None).expect("created");
    world.append(&[ONE]);
    let versions = |deliveries| {
        let deliveries: Vec<gesta_consumer::group::Delivery> = deliveries;
        by_stream(deliveries.iter().flat_map(|delivery| &delivery.events))[ONE].clone()
    };
    assert_eq!(versions(world.member("m").take_events(2)), [2, 3]);
    let take = Take::new("m".parse().expect("a name"), 5, 60 * SECOND);
    let taken =
        world.within("take", |groups| Box::pin(async move { groups.take(group("other"), take).await }));
    assert_eq!(versions(taken.expect("taken").deliveries), [3]);
}

pub(crate) fn an_added_item_selects_events_appended_from_then_on(world: &World<'_>) {
    let version = world.create(GroupSettings::new(types(&["one"])));
    world.append_typed(ONE, "other");
    let wider = GroupSettings::new(types(&["one", "other"]));
    assert_eq!(world.put(GROUP, wider, Some(version)), Ok(version.next()));
    world.append_typed(ONE, "other");
    let mut member = world.member("m");
    assert_eq!(by_stream(&member.take_events(1)[0].events)[ONE], [1]);
    member.expect_nothing();
}

pub(crate) fn items_are_taken_away_only_from_a_paused_and_quiet_group(world: &World<'_>) {
    let version = world.create(GroupSettings::new(types(&["one", "other"])));
    world.append_typed(ONE, "other");
    let mut member = world.member("m");
    let held = member.take_one();
    let narrow = || world.put(GROUP, GroupSettings::new(types(&["one"])), Some(version));
    assert!(matches!(narrow(), Err(PutError::Busy { .. })), "it is not paused");
    world.pause();
    assert!(matches!(narrow(), Err(PutError::Busy { .. })), "an event is in flight");
    member.done(&held);
    assert_eq!(narrow(), Ok(version.next()));
    world.resume();
    world.append_typed(ONE, "other");
    world.append_typed(ONE, "one");
    assert_eq!(by_stream(&member.take_events(1)[0].events)[ONE], [2]);
    member.expect_nothing();
}

pub(crate) fn a_host_creates_a_group_or_adds_to_its_query(world: &World<'_>) {
    let host = |names: &[&str]| {
        let settings = GroupSettings::new(types(names));
        let hosted =
            world.within("host", |groups| Box::pin(async move { groups.host(group(GROUP), settings).await }));
        hosted.unwrap_or_else(|error| panic!("host: {error}")).get()
    };
    assert_eq!(host(&["one"]), 1);
    assert_eq!(host(&["other"]), 2);
    let query = world.status().settings.query;
    assert_eq!(query, types(&["one", "other"]), "an older copy still needs its items");
    assert_eq!(host(&["one"]), 2, "nothing changes");
}

pub(crate) fn a_missing_group_is_named_by_every_call(world: &World<'_>) {
    let missing = || group(GROUP);
    let looked = world.within("get", |groups| Box::pin(async move { groups.get(group(GROUP)).await }));
    assert_eq!(looked, Err(LookError::NoGroup { group: missing() }));
    let take = Take::new("m".parse().expect("a name"), 1, SECOND);
    assert_eq!(world.member("m").call(take), Err(TakeError::NoGroup { group: missing() }));
    let paused = world.within("pause", |groups| {
        Box::pin(async move { groups.pause(group(GROUP), "ops".to_owned()).await })
    });
    assert_eq!(paused, Err(ChangeError::NoGroup { group: missing() }));
    assert_eq!(world.replay(&[]), Err(ChangeError::NoGroup { group: missing() }));
    assert_eq!(world.remove(), Err(ChangeError::NoGroup { group: missing() }));
    assert_eq!(world.list(), []);
}

pub(crate) fn groups_are_listed_by_name_and_are_independent(world: &World<'_>) {
    for name in ["b", "a", GROUP, "a.b"] {
        world.put(name, settings(), None).expect("created");
    }
    let names = || world.list().iter().map(|status| status.name.to_string()).collect::<Vec<_>>();
    assert_eq!(names(), ["a", "a.b", "b", GROUP]);
    world.append(&[ONE]);
    assert_eq!(world.member("m").handle_all().len(), 1);
    world.remove().expect("removed");
    assert_eq!(names(), ["a", "a.b", "b"]);
    let take = Take::new("m".parse().expect("a name"), 1, 60 * SECOND);
    let taken =
        world.within("take", move |groups| Box::pin(async move { groups.take(group("a"), take).await }));
    assert_eq!(taken.expect("taken").deliveries.len(), 1, "another group has its own progress");
}

pub(crate) fn a_removed_group_is_gone_and_its_ids_are_never_given_again(world: &World<'_>) {
    world.create(settings());
    world.append(&[ONE]);
    let held = world.member("m").take_one();
    world.remove().expect("removed");
    assert_eq!(world.remove(), Err(ChangeError::NoGroup { group: group(GROUP) }));
    world.create(settings());
    let mut member = world.member("m");
    let again = member.take_one();
    assert_ne!(again.id, held.id);
    assert_eq!(member.try_settle(Settlement::handled(held.id)).len(), 1, "the old id is stale");
    member.done(&again);
    member.expect_nothing();
}
