//! Compares the lock with the code, and says what the lock becomes.

use std::collections::BTreeMap;

use super::EventSchema;
use super::compare::{Change, compare};
use super::finding::Finding;
use super::lock::{Entry, GENERATOR, Lock, SchemaState};

/// The lock against the code.
pub(crate) struct Checked {
    /// Errors and warnings.
    pub(crate) findings: Vec<Finding>,
    /// The lock as the code has it. An entry with an error stays as it was.
    pub(crate) lock: Lock,
}

/// The versions of one type in the code, under its name and older names.
struct Type<'a> {
    name: &'a str,
    aliases: &'a [&'a str],
    versions: BTreeMap<u16, &'a EventSchema>,
}

impl Type<'_> {
    fn newest(&self) -> u16 {
        self.versions.keys().next_back().copied().unwrap_or(0)
    }

    fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(self.name).chain(self.aliases.iter().copied())
    }
}

fn types(code: &[EventSchema]) -> Vec<Type<'_>> {
    let mut types: BTreeMap<&str, Type<'_>> = BTreeMap::new();
    for schema in code {
        let of_name = types.entry(schema.name).or_insert_with(|| Type {
            name: schema.name,
            aliases: schema.aliases,
            versions: BTreeMap::new(),
        });
        of_name.versions.insert(schema.version, schema);
    }
    types.into_values().collect()
}

/// Checks that the code reads all that was released, and that nothing released has changed.
pub(crate) fn check(locked: &Lock, code: &[EventSchema]) -> Checked {
    let types = types(code);
    let mut checked = Checked { findings: Vec::new(), lock: locked.clone() };
    for ((name, version), entry) in &locked.entries {
        match released(locked, &types, (name, *version), entry) {
            Ok((entry, warning)) => {
                checked.findings.extend(warning);
                checked.lock.entries.insert((name.clone(), *version), entry);
            }
            Err(finding) => checked.findings.push(finding),
        }
    }
    for of_name in &types {
        added(locked, of_name, &mut checked);
    }
    checked
}

/// The lock with the schemas of the code in place of its own, wherever the code has one. Only for another generator: the schemas
/// look different, and the events are the same.
pub(crate) fn regenerated(locked: &Lock, code: &[EventSchema]) -> Lock {
    let mut lock = Lock { schemas: GENERATOR.to_owned(), ..locked.clone() };
    for of_name in types(code) {
        for (version, schema) in &of_name.versions {
            for name in of_name.names() {
                if let Some(entry) = lock.entries.get_mut(&(name.to_owned(), *version)) {
                    entry.schema = schema.schema.clone().or(entry.schema.take());
                }
            }
        }
    }
    lock
}

/// An entry of the lock against the code: the entry that it becomes, or what is wrong.
fn released(
    locked: &Lock,
    types: &[Type<'_>],
    (name, version): (&str, u16),
    entry: &Entry,
) -> Result<(Entry, Option<Finding>), Finding> {
    let highest = locked.versions().filter(|(other, ..)| *other == name).map(|(_, version, _)| version).max();
    let highest = highest.unwrap_or(version);
    let Some(of_name) = types.iter().find(|of_name| of_name.names().any(|known| known == name)) else {
        let remedy = format!(
            "add `alias = \"{name}\"` to the variant that took its place, or `retired(\"{name}\" = {highest})` to the enum"
        );
        return Err(Finding::error(name, version, "the code does not read this type any more", remedy));
    };
    let Some(code) = of_name.versions.get(&version) else {
        let newest = of_name.newest();
        let problem = format!("the code reads versions 1 to {newest} only");
        let remedy = match entry.state {
            SchemaState::Retired => format!("write `retired(\"{name}\" = {version})`"),
            _ => format!(
                "write `version = {version}` with `upcast({newest} = …)`, or `ahead({version} = …)` if this release does not write it"
            ),
        };
        return Err(Finding::error(name, version, problem, remedy));
    };
    let change = match (&entry.schema, &code.schema) {
        (Some(released), Some(code)) => compare(released, code),
        _ => Change::Same,
    };
    match change {
        Change::Breaking(found) => {
            let at = if found.at.is_empty() { String::new() } else { format!("`{}` ", found.at) };
            return Err(Finding::error(name, version, format!("{at}{}", found.what), remedy(of_name, code)));
        }
        Change::Additive if entry.state == SchemaState::Ahead && code.state == SchemaState::Current => {
            let remedy = "write the version as the release before reads it, and change it in the next one";
            return Err(Finding::error(name, version, "is not what the release before reads ahead", remedy));
        }
        Change::Same | Change::Additive => {}
    }
    let is_renamed = name != of_name.name;
    let is_written = code.state == SchemaState::Current && !is_renamed;
    let tags = if is_written { code.tags() } else { entry.tags.clone() };
    let has_other_tags = is_written && entry.state == SchemaState::Current && tags != entry.tags;
    let warning = has_other_tags.then(|| {
        let problem = format!("has the tags {}, and was released with {}", list(&tags), list(&entry.tags));
        let remedy = "make sure that no rule over these tags needs the older events";
        Finding::warning(name, version, problem, remedy)
    });
    let state = if is_renamed { SchemaState::Superseded } else { code.state };
    let renamed_to = is_renamed.then(|| of_name.name.to_owned());
    let schema = code.schema.clone().or_else(|| entry.schema.clone());
    Ok((Entry { state, tags, renamed_to, schema }, warning))
}

/// What helps against a breaking change.
fn remedy(of_name: &Type<'_>, code: &EventSchema) -> String {
    let version = code.version;
    match code.state {
        SchemaState::Current if version == of_name.newest() => format!(
            "leave version {version} as it was released; write `version = {}` with `upcast({version} = same)` if the new fields read the old data, else with an old type",
            u32::from(version) + 1
        ),
        _ => "leave the type of this version as it was released: events of it are stored".to_owned(),
    }
}

/// Adds the versions of a type that the lock does not have.
fn added(locked: &Lock, of_name: &Type<'_>, checked: &mut Checked) {
    let known = |version: u16| of_name.names().any(|name| locked.get(name, version).is_some());
    let highest = of_name.versions.keys().copied().filter(|version| known(*version)).max();
    let new = of_name.versions.values().filter(|schema| locked.get(of_name.name, schema.version).is_none());
    let new = new.collect::<Vec<_>>();
    if let Some(next) = highest.and_then(|highest| highest.checked_add(1))
        && let Some(skipping) = new.iter().find(|schema| schema.version > next)
    {
        let problem = format!("version {next} was never released");
        let remedy = format!("lock and release version {next} first: one new version a release");
        checked.findings.push(Finding::error(of_name.name, skipping.version, problem, remedy));
        return;
    }
    // A new name goes on from the old one: it never had the older versions.
    let is_renamed = locked.versions().any(|(name, ..)| of_name.aliases.contains(&name));
    for schema in new {
        if is_renamed && schema.state == SchemaState::Superseded {
            continue;
        }
        let (state, tags, schema_json) = (schema.state, schema.tags(), schema.schema.clone());
        let entry = Entry { state, tags, renamed_to: None, schema: schema_json };
        checked.lock.entries.insert((of_name.name.to_owned(), schema.version), entry);
    }
}

fn list(tags: &[String]) -> String {
    if tags.is_empty() { "(none)".to_owned() } else { format!("`{}`", tags.join("`, `")) }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use SchemaState::{Ahead, Current, Retired, Superseded};

    const TYPE: &str = "till.taken";

    fn object(required: &[&str], optional: &[&str]) -> Value {
        let properties =
            required.iter().chain(optional).map(|name| ((*name).to_owned(), json!({"type": "integer"})));
        json!({"type": "object", "required": required, "properties": Value::Object(properties.collect())})
    }

    fn version(version: u16, state: SchemaState, schema: &Value) -> EventSchema {
        EventSchema::new(TYPE, &[], version, state).with_schema(schema)
    }

    fn bare(version: u16, state: SchemaState) -> EventSchema {
        EventSchema::new(TYPE, &[], version, state)
    }

    fn locked(code: &[EventSchema]) -> Lock {
        let checked = check(&Lock::default(), code);
        assert_eq!(checked.findings, []);
        checked.lock
    }

    fn states(lock: &Lock) -> Vec<(&str, u16, SchemaState)> {
        lock.versions().collect()
    }

    /// Locks one release, then checks the next. Returns the lock that it becomes.
    #[track_caller]
    fn accepted(release: &[EventSchema], next: &[EventSchema]) -> Lock {
        let checked = check(&locked(release), next);
        assert_eq!(checked.findings, []);
        checked.lock
    }

    #[track_caller]
    fn refused(release: &[EventSchema], next: &[EventSchema], version: u16, problem: &str, remedy: &str) {
        let before = locked(release);
        let checked = check(&before, next);
        let [finding] = &checked.findings[..] else { panic!("{:?}", checked.findings) };
        assert!(finding.is_error(), "{finding}");
        assert_eq!((finding.version, finding.problem.as_str()), (Some(version), problem));
        assert!(finding.remedy.contains(remedy), "{finding}");
        assert_eq!(
            checked.lock.get(TYPE, version),
            before.get(TYPE, version),
            "an entry in error stays as it was"
        );
    }

    #[test]
    fn row_1_a_new_property_that_is_not_required_changes_the_lock_and_no_version() {
        let release = [version(1, Current, &object(&["amount"], &[]))];
        let next = [version(1, Current, &object(&["amount"], &["note"]))];
        let lock = accepted(&release, &next);
        assert_eq!(states(&lock), [(TYPE, 1, Current)]);
        assert_eq!(
            lock.get(TYPE, 1).unwrap().schema.as_ref(),
            Some(&super::super::canonical(&object(&["amount"], &["note"])))
        );
        assert_ne!(lock, locked(&release));
    }

    #[test]
    fn row_2_any_other_change_needs_a_new_version() {
        let release = [version(1, Current, &object(&["amount"], &[]))];
        let changed = object(&["amount", "note"], &[]);
        refused(
            &release,
            &[version(1, Current, &changed)],
            1,
            "requires `note` now",
            "`version = 2` with `upcast(1 = same)`",
        );
        let older = [version(1, Superseded, &changed), version(2, Current, &changed)];
        refused(
            &release,
            &older,
            1,
            "requires `note` now",
            "leave the type of this version as it was released",
        );
        let lock = accepted(
            &release,
            &[version(1, Superseded, &object(&["amount"], &[])), version(2, Current, &changed)],
        );
        assert_eq!(states(&lock), [(TYPE, 1, Superseded), (TYPE, 2, Current)]);
    }

    #[test]
    fn row_2_a_version_that_is_read_as_the_current_fields_or_as_nothing_keeps_its_schema() {
        let (first, second) = (object(&["amount"], &[]), object(&[], &["amount"]));
        let lock =
            accepted(&[version(1, Current, &first)], &[bare(1, Superseded), version(2, Current, &second)]);
        assert_eq!(lock.get(TYPE, 1).unwrap().schema.as_ref(), Some(&super::super::canonical(&first)));
    }

    #[test]
    fn row_3_what_is_gone_from_the_code_names_the_attribute_to_write() {
        let release = [
            version(1, Superseded, &json!({"type": "object"})),
            version(2, Current, &object(&["amount"], &[])),
        ];
        refused(
            &release,
            &release[..1],
            2,
            "the code reads versions 1 to 1 only",
            "`version = 2` with `upcast(1 = …)`, or `ahead(2 = …)`",
        );
        let checked = check(&locked(&release), &[]);
        let remedy = "add `alias = \"till.taken\"` to the variant that took its place, or `retired(\"till.taken\" = 2)` to the enum";
        assert_eq!(checked.findings.len(), 2);
        for finding in checked.findings {
            assert_eq!(
                (&*finding.problem, &*finding.remedy),
                ("the code does not read this type any more", remedy)
            );
        }
        let lock = accepted(&release, &[bare(1, Retired), bare(2, Retired)]);
        assert_eq!(states(&lock), [(TYPE, 1, Retired), (TYPE, 2, Retired)]);
        assert_eq!(lock.get(TYPE, 2).unwrap().schema, locked(&release).get(TYPE, 2).unwrap().schema);
        let retired_too_far = [bare(1, Retired)];
        let checked = check(&lock, &retired_too_far);
        assert_eq!(checked.findings[0].remedy, "write `retired(\"till.taken\" = 2)`");
    }

    #[test]
    fn row_4_other_tags_are_a_warning() {
        let schema = object(&["amount"], &[]);
        let tagged = |tags| version(1, Current, &schema).with_tags(tags);
        for (before, after) in [(&[][..], &["till"][..]), (&["till"], &[]), (&["till"], &["till", "clerk"])] {
            let checked = check(&locked(&[tagged(before)]), &[tagged(after)]);
            let [finding] = &checked.findings[..] else { panic!("{:?}", checked.findings) };
            assert!(!finding.is_error() && finding.problem.contains("was released with"), "{finding}");
            assert_eq!(checked.lock.get(TYPE, 1).unwrap().tags.len(), after.len());
        }
        let same = [tagged(&["till", "clerk"])];
        assert_eq!(accepted(&same, &[tagged(&["clerk", "till"])]), locked(&same));
        // A new version may have other tags: the older one keeps those that it was written with.
        let lock = accepted(&[tagged(&["till"])], &[bare(1, Superseded), version(2, Current, &schema)]);
        assert_eq!(lock.get(TYPE, 1).unwrap().tags, ["till"]);
    }

    #[test]
    fn row_5_a_new_version_is_the_highest_and_one() {
        let schema = object(&["amount"], &[]);
        let third = [bare(1, Superseded), bare(2, Superseded), version(3, Current, &schema)];
        let problem = "version 2 was never released";
        refused(&[version(1, Current, &schema)], &third, 3, problem, "release version 2 first");
        accepted(&[bare(1, Superseded), version(2, Current, &schema)], &third);
        // A lock that begins late takes what is there.
        assert_eq!(locked(&third).entries.len(), 3);
    }

    #[test]
    fn row_5_a_new_name_goes_on_from_the_versions_of_the_old_one() {
        let (old, new) = ("till.frozen", "till.blocked");
        let first = object(&["by"], &[]);
        let release = [EventSchema::new(old, &[], 1, Current).with_schema(&first)];
        let renamed = |version, state| EventSchema::new(new, &["till.frozen"], version, state);
        let lock = accepted(&release, &[renamed(1, Current).with_schema(&first)]);
        assert_eq!(states(&lock), [(new, 1, Current), (old, 1, Superseded)]);
        assert_eq!(lock.get(old, 1).unwrap().renamed_to.as_deref(), Some(new));
        let second =
            [renamed(1, Superseded).with_schema(&first), renamed(2, Current).with_schema(&object(&[], &[]))];
        assert_eq!(states(&accepted(&release, &second)), [(new, 2, Current), (old, 1, Superseded)]);
        let checked =
            check(&locked(&release), &[renamed(1, Current).with_schema(&object(&["by", "at"], &[]))]);
        assert_eq!(checked.findings[0].problem, "requires `at` now", "an old name shares its versions");
        let third = [renamed(1, Superseded), renamed(2, Superseded), renamed(3, Current)];
        let checked = check(&locked(&release), &third);
        assert_eq!(checked.findings[0].problem, "version 2 was never released");
        // The old name is remembered: without its alias, its events are not read.
        let checked = check(&lock, &[EventSchema::new(new, &[], 1, Current).with_schema(&first)]);
        assert!(
            checked.findings[0].remedy.contains("add `alias = \"till.frozen\"`"),
            "{:?}",
            checked.findings
        );
    }

    #[test]
    fn a_version_that_was_read_ahead_is_then_written_as_it_was_read() {
        let (first, second) = (object(&["amount"], &[]), object(&["amount", "branch"], &[]));
        let a = [version(1, Current, &first), version(2, Ahead, &second)];
        let b = |schema: &Value| [version(1, Superseded, &first), version(2, Current, schema)];
        let lock = accepted(&[version(1, Current, &first)], &a);
        assert_eq!(states(&lock), [(TYPE, 1, Current), (TYPE, 2, Ahead)]);
        assert_eq!(states(&accepted(&a, &b(&second))), [(TYPE, 1, Superseded), (TYPE, 2, Current)]);
        let more = object(&["amount", "branch"], &["note"]);
        let problem = "is not what the release before reads ahead";
        refused(&a, &b(&more), 2, problem, "write the version as the release before reads it");
        refused(&a, &b(&first), 2, "has no property `branch` any more", "leave version 2 as it was released");
        // Rolled back.
        assert_eq!(states(&accepted(&b(&second), &a)), [(TYPE, 1, Current), (TYPE, 2, Ahead)]);
    }

    #[test]
    fn another_generator_takes_the_schemas_of_the_code_and_keeps_those_that_it_lacks() {
        let schema = object(&["amount"], &[]);
        let before = locked(&[version(1, Superseded, &schema), version(2, Current, &schema)]);
        let before = Lock { schemas: "schemars 0".to_owned(), ..before };
        assert!(!before.is_comparable());
        let new = object(&["cents"], &[]);
        let lock = regenerated(&before, &[bare(1, Superseded), version(2, Current, &new)]);
        assert!(lock.is_comparable());
        assert_eq!(lock.get(TYPE, 1).unwrap().schema, before.get(TYPE, 1).unwrap().schema);
        assert_eq!(lock.get(TYPE, 2).unwrap().schema, Some(super::super::canonical(&new)));
    }
}
