//! Which of the GPUs that KFD has the user lets a program see. Pure.

/// What the variables say that hide GPUs.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Hiding {
    /// `ROCR_VISIBLE_DEVICES`
    pub(super) rocr: Option<Vec<u8>>,
    /// `HIP_VISIBLE_DEVICES`, or if that is not set `CUDA_VISIBLE_DEVICES`; it counts what the
    /// first leaves (clr 6.4.3 rocdevice.cpp:497).
    pub(super) hip: Option<Vec<u8>>,
}

/// The indices of the GPUs that may be used, of `count` in KFD's order, which is ROCr's. In
/// doubt a GPU may be used.
pub(super) fn visible(count: usize, hiding: &Hiding) -> Vec<usize> {
    let all = (0..count).collect();
    narrowed(narrowed(all, hiding.rocr.as_deref()), hiding.hip.as_deref())
}

/// The GPUs that a list of indices leaves. Only a list of plain, different, valid ones counts:
/// what ROCr and HIP make of others, and of unique ids, differs.
fn narrowed(gpus: Vec<usize>, list: Option<&[u8]>) -> Vec<usize> {
    let Some(text) = list.filter(|text| !text.is_empty()) else { return gpus };
    let mut left = Vec::new();
    for token in text.split(|byte| *byte == b',') {
        let index = str::from_utf8(token).ok().and_then(|text| {
            // `01` is octal to one of them, and no number to the other.
            text.parse().ok().filter(|index: &usize| index.to_string() == text)
        });
        match index.and_then(|index| gpus.get(index)) {
            Some(gpu) if !left.contains(gpu) => left.push(*gpu),
            _ => return gpus,
        }
    }
    left
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn seen(count: usize, rocr: &str, hip: &str) -> Vec<usize> {
        let value = |text: &str| (text != "-").then(|| text.as_bytes().to_vec());
        visible(count, &Hiding { rocr: value(rocr), hip: value(hip) })
    }

    #[test]
    fn plain_indices_hide_the_others() {
        assert_eq!(seen(3, "-", "-"), [0, 1, 2]);
        assert_eq!(seen(3, "-", "1"), [1]);
        assert_eq!(seen(3, "2,0", "-"), [2, 0]);
        assert_eq!(seen(3, "2,0", "1"), [0], "HIP counts what ROCr left");
        assert_eq!(seen(0, "0", "0"), [0; 0]);
    }

    #[test]
    fn what_is_not_plain_hides_nothing() {
        for list in ["", "-1", "3", "0,3", "0,0", "GPU-1234", "01", "+1", " 1", "0x1", "0,", "a"] {
            assert_eq!(seen(3, "-", list), [0, 1, 2], "{list}");
            assert_eq!(seen(3, list, "1"), [1], "{list}");
        }
    }

    proptest! {
        #[test]
        fn what_is_left_is_a_part_without_repetition(count in 0usize..5, rocr in "[0-5,]{0,5}", hip in "[0-5,]{0,5}") {
            let mut left = seen(count, &rocr, &hip);
            let many = left.len();
            left.sort_unstable();
            left.dedup();
            prop_assert_eq!(left.len(), many);
            prop_assert!(left.iter().all(|gpu| *gpu < count) && left.is_empty() == (count == 0));
        }
    }
}
