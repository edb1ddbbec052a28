//! Laws of lists: a listing has every key that exists throughout it, once.

use gesta_core::{KeyName, LIST_BYTES_MAX, VALUE_BYTES_MAX};

use super::World;

/// Keys whose order by bytes differs from the order of a dictionary.
const KEYS: [&str; 9] = ["A", "B/1", "a", "a-b", "a.b", "a/", "a/b", "a_b", "b"];

fn fill(world: &World<'_>) {
    for name in KEYS.iter().rev() {
        world.put(name, (*name).to_owned(), None);
    }
}

fn names<T>(list: &[(KeyName, T)]) -> Vec<&str> {
    list.iter().map(|(key, _)| key.as_str()).collect()
}

pub(crate) fn a_list_has_the_keys_of_a_prefix_sorted_by_bytes(world: &World<'_>) {
    assert_eq!(world.page("", None, 10), []);
    fill(world);
    let mut sorted = KEYS;
    sorted.sort_unstable();
    for prefix in ["", "a", "a/", "a.", "a/b", "b", "B", "A", "c", "a/b/c", "z"] {
        let expected = sorted.iter().copied().filter(|name| name.starts_with(prefix)).collect::<Vec<_>>();
        let page = world.page(prefix, None, 100);
        assert_eq!(names(&page), expected, "prefix `{prefix}`");
        for (name, entry) in page {
            assert_eq!(world.get(name.as_str()), Some(entry));
        }
    }
}

pub(crate) fn a_list_goes_on_after_any_key_even_one_that_is_gone(world: &World<'_>) {
    fill(world);
    world.delete("a/");
    let present = KEYS.iter().copied().filter(|name| *name != "a/");
    let mut present = present.collect::<Vec<_>>();
    present.sort_unstable();
    for prefix in ["", "a", "a/", "b"] {
        for after in ["A", "Z", "a", "a-", "a/", "a/a", "a0", "b", "b0", "z"] {
            let wanted = |name: &&str| name.starts_with(prefix) && *name > after;
            let expected = present.iter().copied().filter(wanted).collect::<Vec<_>>();
            let page = world.page(prefix, Some(after), 100);
            assert_eq!(names(&page), expected, "prefix `{prefix}` after `{after}`");
        }
    }
}

pub(crate) fn pages_of_any_limit_add_up_to_all_keys(world: &World<'_>) {
    for number in 0..30 {
        world.put(&format!("k/{number}"), format!("{number}"), None);
    }
    world.put("j", "", None);
    world.put("l", "", None);
    let all = world.page("k/", None, 1_000);
    assert_eq!(all.len(), 30);
    for limit in [1, 2, 7, 29, 30, 31, u32::MAX] {
        assert_eq!(world.list("k/", limit), all, "pages of {limit}");
    }
}

pub(crate) fn a_page_of_large_values_is_cut_and_the_rest_follows(world: &World<'_>) {
    let count = LIST_BYTES_MAX / VALUE_BYTES_MAX + 3;
    for number in 0..count {
        world.put(&format!("k{number}"), vec![0; VALUE_BYTES_MAX], None);
    }
    let page = world.page("", None, 1_000);
    let bytes = page.iter().map(|(_, entry)| entry.value.len()).sum::<usize>();
    assert!(bytes <= LIST_BYTES_MAX + VALUE_BYTES_MAX, "a page of {bytes} bytes");
    assert!(page.len() < count);
    assert_eq!(world.list("", 1_000).len(), count);
}

pub(crate) fn a_key_that_exists_throughout_a_listing_is_listed_once_while_others_come_and_go(
    world: &World<'_>,
) {
    for number in 0..20 {
        world.put(&format!("k{number:02}"), "stays", None);
        world.put(&format!("k{number:02}/goes"), "goes", None);
    }
    let mut listed = Vec::new();
    for step in 0.. {
        let after = listed.last().cloned();
        let page = world.page("k", after.as_deref(), 3);
        if page.is_empty() {
            break;
        }
        listed.extend(names(&page).iter().map(|name| (*name).to_owned()));
        // Behind the listing and ahead of it, keys come, go and change.
        let (behind, ahead) = (step % 20, 19 - step % 20);
        world.set(&format!("k{behind:02}/new"), "new");
        world.set(&format!("k{ahead:02}"), "stays");
        if world.get(&format!("k{ahead:02}/goes")).is_some() {
            world.delete(&format!("k{ahead:02}/goes"));
        }
    }
    assert!(listed.is_sorted_by(|one, next| one < next), "no key twice: {listed:?}");
    let stay = listed.iter().filter(|name| !name.contains('/')).count();
    assert_eq!(stay, 20, "every key that stays: {listed:?}");
}
