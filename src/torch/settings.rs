//! Merging the allocator defaults into the variables that PyTorch reads. Pure: text in, text
//! out. It never changes an option that the user set and never touches text that it cannot
//! read: a malformed setting can make `import torch` fail.

/// The values of the variables that PyTorch for ROCm reads its allocator settings from:
/// `PYTORCH_CUDA_ALLOC_CONF` (read from 2.8 on, where it hides the other two),
/// `PYTORCH_HIP_ALLOC_CONF` (read by every version, 1.13 to 2.15) and `PYTORCH_ALLOC_CONF`
/// (read from 2.10 on, where neither of the other two is set).
pub(crate) type Values = [Option<Vec<u8>>; 3];

/// The index of `PYTORCH_HIP_ALLOC_CONF`.
pub(crate) const HIP: usize = 1;
/// The index of `PYTORCH_ALLOC_CONF`.
const ALLOC: usize = 2;

/// What is set where the user set nothing: the two options that every version from 1.13 to
/// 2.15 accepts. The values are those of the patches for PyTorch.
pub(crate) const DEFAULTS: &[u8] = b"max_split_size_mb:128,garbage_collection_threshold:0.6";

/// The options of [`DEFAULTS`], and those of a user that keep each from being added. PyTorch
/// refuses a `max_split_size_mb` below the user's own `large_segment_size_mb` (2.14), and with
/// expandable segments never reuses free blocks above it (pytorch/pytorch#123548).
const OPTIONS: [(&[u8], &[&[u8]]); 2] = [
    (
        b"max_split_size_mb:128",
        &[b"max_split_size_mb", b"large_segment_size_mb", b"expandable_segments"],
    ),
    (b"garbage_collection_threshold:0.6", &[b"garbage_collection_threshold"]),
];

/// Longer values are left alone: with more at its end one could pass the kernel's limit for a
/// string (128 KiB, MAX_ARG_STRLEN of <linux/binfmts.h>), and no child would start.
const LONGEST: usize = 64 << 10;

/// The values that PyTorch is to find, from those that the user gave.
pub(crate) fn merged(given: &Values) -> Values {
    let mut wanted = given.clone();
    for value in wanted.iter_mut().flatten() {
        match with_defaults(value) {
            Some(text) => *value = text,
            // One of the variables says to keep off, and which of them is read depends on the
            // version: all are left alone.
            None => return given.clone(),
        }
    }
    // Beside CUDA's, because up to 2.7 only HIP's is read. Not beside the third, which HIP's
    // would hide from 2.10 on.
    if wanted[HIP].is_none() && wanted[ALLOC].is_none() {
        wanted[HIP] = Some(DEFAULTS.to_vec());
    }
    wanted
}

/// A user's setting with the options that it lacks. `None` if it is to be left alone: it is
/// empty, too long, names another allocator than the native one, or cannot be read.
fn with_defaults(value: &[u8]) -> Option<Vec<u8>> {
    let options = options(value).filter(|_| value.len() <= LONGEST)?;
    let other = options.iter().any(|(key, value)| *key == b"backend" && *value != b"native");
    if other {
        return None;
    }
    let mut text = value.to_vec();
    for (option, keys) in OPTIONS {
        let off =
            |(key, value): &(&[u8], &[u8])| *key == b"expandable_segments" && *value == b"False";
        if !options.iter().any(|option| keys.contains(&option.0) && !off(option)) {
            text.push(b',');
            text.extend_from_slice(option);
        }
    }
    Some(text)
}

/// The options of a setting, `key:value,key:[a:b,c:d]`, with spaces around any part. `None`
/// for anything else.
fn options(text: &[u8]) -> Option<Vec<(&[u8], &[u8])>> {
    let mut found = Vec::new();
    for option in parts(text)? {
        let colon = option.iter().position(|byte| *byte == b':')?;
        let (key, value) = (trimmed(&option[..colon]), trimmed(&option[colon + 1..]));
        let list = value.strip_prefix(b"[").map(|rest| rest.strip_suffix(b"]"));
        let good = match list {
            None => is_word(value),
            Some(list) => list?.split(|byte| *byte == b',').all(is_item),
        };
        if !is_word(key) || !good {
            return None;
        }
        found.push((key, value));
    }
    Some(found)
}

/// The parts between commas that are in no list. `None` where brackets do not match.
fn parts(text: &[u8]) -> Option<Vec<&[u8]>> {
    let (mut parts, mut start, mut inside) = (Vec::new(), 0, false);
    for (at, byte) in text.iter().enumerate() {
        match byte {
            b'[' if !inside => inside = true,
            b']' if inside => inside = false,
            b'[' | b']' => return None,
            b',' if !inside => {
                parts.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    parts.push(&text[start..]);
    (!inside).then_some(parts)
}

/// Whether this is an item of a list, `256:1` or `>:8`.
fn is_item(item: &[u8]) -> bool {
    let mut words = item.split(|byte| *byte == b':').map(trimmed);
    let (first, second, third) = (words.next(), words.next(), words.next());
    first.is_some_and(|word| is_word(word) || word == b">")
        && second.is_some_and(is_word)
        && third.is_none()
}

fn is_word(text: &[u8]) -> bool {
    let letter = |byte: &u8| byte.is_ascii_alphanumeric() || b"_.+-".contains(byte);
    !text.is_empty() && text.iter().all(letter)
}

/// Without the spaces around it. PyTorch drops spaces wherever they are, and nothing else.
fn trimmed(mut text: &[u8]) -> &[u8] {
    while let [b' ', rest @ ..] | [rest @ .., b' '] = text {
        text = rest;
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn values(cuda: Option<&str>, hip: Option<&str>, alloc: Option<&str>) -> Values {
        [cuda, hip, alloc].map(|value| value.map(|text| text.as_bytes().to_vec()))
    }

    fn texts(values: &Values) -> [Option<&str>; 3] {
        values.each_ref().map(|value| value.as_deref().map(|text| str::from_utf8(text).unwrap()))
    }

    const BOTH: &str = "max_split_size_mb:128,garbage_collection_threshold:0.6";

    #[test]
    fn where_nothing_is_set_the_variable_of_every_version_is() {
        assert_eq!(texts(&merged(&values(None, None, None))), [None, Some(BOTH), None]);
    }

    #[test]
    fn only_what_the_user_did_not_set_is_added() {
        for (user, expected) in [
            ("max_split_size_mb:256", "max_split_size_mb:256,garbage_collection_threshold:0.6"),
            (
                "garbage_collection_threshold:0.9",
                "garbage_collection_threshold:0.9,max_split_size_mb:128",
            ),
            (BOTH, BOTH),
            (
                "expandable_segments:True",
                "expandable_segments:True,garbage_collection_threshold:0.6",
            ),
            ("expandable_segments:False", &format!("expandable_segments:False,{BOTH}")),
            ("a:1, b : 2", &format!("a:1, b : 2,{BOTH}")),
            (
                " max_split_size_mb : 64 ",
                " max_split_size_mb : 64 ,garbage_collection_threshold:0.6",
            ),
            ("backend:native", &format!("backend:native,{BOTH}")),
            (
                "roundup_power2_divisions:[256:1,512 : 2,>:8],x:y",
                &format!("roundup_power2_divisions:[256:1,512 : 2,>:8],x:y,{BOTH}"),
            ),
            (
                "large_segment_size_mb:512",
                "large_segment_size_mb:512,garbage_collection_threshold:0.6",
            ),
        ] {
            let got = merged(&values(None, Some(user), None));
            assert_eq!(texts(&got), [None, Some(expected), None]);
        }
    }

    #[test]
    fn beside_cuda_s_variable_hip_s_is_set_too() {
        let got = merged(&values(Some("a:1"), None, None));
        assert_eq!(texts(&got), [Some(&*format!("a:1,{BOTH}")), Some(BOTH), None]);
    }

    #[test]
    fn the_third_variable_is_never_hidden() {
        let added = format!("a:1,{BOTH}");
        let got = merged(&values(None, None, Some("a:1")));
        assert_eq!(texts(&got), [None, None, Some(&*added)]);
        let got = merged(&values(Some("a:1"), None, Some("a:1")));
        assert_eq!(texts(&got), [Some(&*added), None, Some(&*added)]);
    }

    const LEFT_ALONE: [&str; 23] = [
        "",
        " ",
        "backend:cudaMallocAsync",
        "max_split_size_mb:64, backend : hipMallocAsync",
        "backend:",
        "a",
        "a:",
        ":1",
        "a:1,",
        ",a:1",
        "a:1,,b:2",
        "a:b:c",
        "a b:1",
        "a:1 2",
        "a:1\tb:2",
        "a:[1:2",
        "a:1:2]",
        "a:[[1:2]]",
        "a:[]",
        "a:[1]",
        "a:[1:2:3]",
        "a:\u{e9}",
        "a:[1:2]x",
    ];

    #[test]
    fn an_opt_out_another_allocator_and_what_cannot_be_read_leave_everything_alone() {
        for text in LEFT_ALONE {
            for given in [
                values(Some(text), None, None),
                values(None, Some(text), None),
                values(None, None, Some(text)),
                values(Some("a:1"), Some(text), Some("b:2")),
            ] {
                assert_eq!(merged(&given), given, "{text:?}");
            }
        }
    }

    fn well_formed() -> impl Strategy<Value = String> {
        let word = "[A-Za-z0-9_.]{1,8}";
        let key = prop_oneof![
            4 => word.boxed(),
            1 => Just("max_split_size_mb".to_owned()),
            1 => Just("garbage_collection_threshold".to_owned()),
            1 => Just("backend".to_owned()),
        ];
        let item = ("[0-9>]", word).prop_map(|(left, right)| format!("{left}:{right}"));
        let list = proptest::collection::vec(item, 1..4)
            .prop_map(|items| format!("[{}]", items.join(",")));
        let value = prop_oneof![word.boxed(), list, Just("native".to_owned())];
        let option = (key, " ?", value).prop_map(|(key, gap, value)| format!("{key}{gap}:{value}"));
        proptest::collection::vec(option, 1..5).prop_map(|options| options.join(", "))
    }

    fn given() -> impl Strategy<Value = Values> {
        let any_bytes = proptest::collection::vec(1u8.., 0..40);
        let like = "[a-c:,\\[\\] ]{0,12}".prop_map(String::into_bytes);
        let value = prop_oneof![
            4 => well_formed().prop_map(String::into_bytes).boxed(),
            1 => any_bytes.boxed(),
            1 => like.boxed(),
        ];
        let value = proptest::option::of(value);
        [value.clone(), value.clone(), value].prop_map(|values| values)
    }

    proptest! {
        #[test]
        fn a_second_time_changes_nothing(given in given()) {
            let once = merged(&given);
            prop_assert_eq!(merged(&once), once);
        }

        #[test]
        fn what_the_user_set_stands_at_the_front_and_what_is_added_can_be_read(given in given()) {
            for (before, after) in given.iter().zip(&merged(&given)) {
                if before == after {
                    continue;
                }
                let after = after.as_deref().expect("nothing is taken away");
                let read = options(after).expect("well formed");
                let Some(before) = before else {
                    prop_assert_eq!(after, DEFAULTS);
                    continue;
                };
                prop_assert!(after.starts_with(before));
                let user = options(before).expect("what cannot be read is left alone");
                prop_assert_eq!(&read[..user.len()], &user[..]);
                for (key, _) in &read[user.len()..] {
                    prop_assert!(user.iter().all(|(set, _)| set != key));
                }
            }
        }

        #[test]
        fn a_well_formed_setting_is_read(text in well_formed()) {
            prop_assert!(options(text.as_bytes()).is_some(), "{}", text);
        }
    }
}
