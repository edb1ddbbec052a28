//! Laws of values: what is put comes back exactly, and only the expected revision is replaced.

use gesta_core::{KEY_BYTES_MAX, KeyValueError, Revision, VALUE_BYTES_MAX};

use super::{World, changed};

pub(crate) fn a_key_without_a_value_has_no_entry(world: &World<'_>) {
    assert_eq!(world.get("a"), None);
    world.set("a/b", "1");
    assert_eq!(world.get("a"), None);
    assert_eq!(world.get("a/b/c"), None);
}

pub(crate) fn a_get_after_a_put_returns_the_value_and_its_revision(world: &World<'_>) {
    let mut expect = None;
    for value in ["first", "", "third"] {
        let revision = world.put("a", value, expect);
        let entry = world.get("a").expect("the value that was put");
        assert_eq!((&entry.value[..], entry.revision), (value.as_bytes(), revision));
        expect = Some(revision);
    }
}

pub(crate) fn a_put_replaces_exactly_the_expected_revision(world: &World<'_>) {
    let first = world.put("a", "1", None);
    let second = world.put("a", "2", Some(first));
    let other = world.put("b", "1", None);
    let beyond = Revision::new(other.get() + 1);
    for stale in [first, other, beyond, Revision::new(0), Revision::new(u64::MAX)] {
        assert_eq!(world.refuse("a", Some(stale)), Some(second), "expecting {stale}");
    }
    world.put("a", "3", Some(second));
}

pub(crate) fn a_put_of_a_key_with_a_value_is_refused_if_it_expects_none(world: &World<'_>) {
    let first = world.put("a", "1", None);
    assert_eq!(world.refuse("a", None), Some(first));
    let second = world.put("a", "2", Some(first));
    assert_eq!(world.refuse("a", None), Some(second));
}

pub(crate) fn a_put_of_a_key_without_a_value_is_refused_if_it_expects_one(world: &World<'_>) {
    let other = world.put("b", "1", None);
    for expected in [other, Revision::new(0), Revision::new(other.get() + 1)] {
        assert_eq!(world.refuse("a", Some(expected)), None, "expecting {expected}");
    }
}

pub(crate) fn a_deleted_key_has_no_entry_and_can_be_put_again(world: &World<'_>) {
    let first = world.put("a", "1", None);
    world.put("b", "1", None);
    world.try_delete("a", first).expect("deleted");
    assert_eq!(world.get("a"), None);
    assert_eq!(world.refuse("a", Some(first)), None);
    world.put("a", "2", None);
    assert_eq!(&world.get("a").expect("the new value").value[..], b"2");
    assert_eq!(&world.get("b").expect("the other value").value[..], b"1");
}

pub(crate) fn a_delete_is_refused_unless_the_key_has_the_expected_revision(world: &World<'_>) {
    assert_eq!(changed(world.try_delete("a", Revision::new(1))), None);
    let first = world.put("a", "1", None);
    let second = world.put("a", "2", Some(first));
    for stale in [first, Revision::new(second.get() + 1), Revision::new(0)] {
        assert_eq!(changed(world.try_delete("a", stale)), Some(second), "expecting {stale}");
        assert_eq!(world.revision("a"), Some(second));
    }
    world.try_delete("a", second).expect("deleted");
    assert_eq!(changed(world.try_delete("a", second)), None);
}

pub(crate) fn every_byte_of_a_value_comes_back(world: &World<'_>) {
    let all = (0..=u8::MAX).collect::<Vec<_>>();
    let not_text = vec![0xff, 0xfe, 0, 0];
    let zeros = vec![0; 4_097];
    for (number, value) in
        [all, Vec::new(), vec![0], not_text, b"{\"v\":1}\n".to_vec(), zeros].iter().enumerate()
    {
        world.put(&format!("k{number}"), value.clone(), None);
        let entry = world.get(&format!("k{number}")).expect("the value that was put");
        assert!(entry.value == value[..], "value {number} came back changed");
    }
}

pub(crate) fn every_byte_of_a_key_is_significant(world: &World<'_>) {
    let longest = "k".repeat(KEY_BYTES_MAX);
    let nearly = "k".repeat(KEY_BYTES_MAX - 1);
    let texts = [
        "a", "A", "a/", "a//", "/a", "a-b", "a_b", "a.b", "a.", ".a", "a..b", "a=b", "a/b", "0", "00",
        &longest, &nearly,
    ];
    for text in texts {
        world.put(text, text.to_owned(), None);
    }
    for text in texts {
        assert_eq!(world.get(text).expect("a value of each key").value, text.as_bytes());
    }
    assert_eq!(world.list("", 100).len(), texts.len());
}

pub(crate) fn a_value_is_limited_to_960_kib(world: &World<'_>) {
    let largest = (0..=250_u8).cycle().take(VALUE_BYTES_MAX).collect::<Vec<_>>();
    world.put("a", largest.clone(), None);
    let entry = world.get("a").expect("the value that was put");
    assert!(entry.value == largest, "the largest value came back changed");
    let bytes = VALUE_BYTES_MAX + 1;
    let refused = world.try_put("a", vec![0; bytes], Some(entry.revision));
    assert_eq!(refused, Err(KeyValueError::TooLarge { bytes }));
    // The form is checked before the expectation.
    assert_eq!(
        world.try_put("b", vec![0; bytes], Some(entry.revision)),
        Err(KeyValueError::TooLarge { bytes })
    );
    assert_eq!((world.revision("a"), world.revision("b")), (Some(entry.revision), None));
}
