//! Which prompts are held out.

use crate::{LabeledResponse, Prompt};

/// Splits responses into those to train on and those held out, by prompt.
///
/// About `held_out_share` of the *prompts* are held out, with all their responses, and both parts keep the order.
/// A prompt's side depends on nothing but its text, `held_out_share` and `seed`: new data moves no old response,
/// and a larger share only adds to the held-out part.
///
/// # Panics
/// If `held_out_share` is not within 0 and 1.
///
/// ```
/// use moslim_data::{LabeledResponse, split_by_prompt};
///
/// let answer = |prompt: usize, response: &str| {
///     LabeledResponse::new(format!("question {prompt}"), response, vec![Some(0)])
/// };
/// let responses = (0..1000).flat_map(|i| [answer(i, "yes"), answer(i, "no")]).collect();
/// let (train, held_out) = split_by_prompt(responses, 0.1, 17);
/// assert!((150..250).contains(&held_out.len()));
/// assert!(held_out.iter().all(|held_out| train.iter().all(|train| train.prompt != held_out.prompt)));
/// ```
pub fn split_by_prompt(
    responses: Vec<LabeledResponse>,
    held_out_share: f64,
    seed: u64,
) -> (Vec<LabeledResponse>, Vec<LabeledResponse>) {
    responses.into_iter().partition(|response| !is_held_out(&response.prompt, held_out_share, seed))
}

/// Whether a prompt is among those that [`split_by_prompt`] holds out.
///
/// # Panics
/// If `held_out_share` is not within 0 and 1.
pub fn is_held_out(prompt: &Prompt, held_out_share: f64, seed: u64) -> bool {
    assert!(
        (0.0..=1.0).contains(&held_out_share),
        "held-out share {held_out_share}, expected a number from 0 to 1"
    );
    unit_interval(hash(seed, &prompt.text())) < held_out_share
}

/// A 64-bit hash that never changes with a compiler, a platform or a dependency, unlike the standard library's.
///
/// FNV-1a over the seed's little-endian bytes and the text, then [`avalanche`], since FNV-1a alone hardly spreads
/// a text's last bytes into the high bits.
fn hash(seed: u64, text: &str) -> u64 {
    avalanche(fnv1a(seed.to_le_bytes().into_iter().chain(text.bytes())))
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo).
fn fnv1a(bytes: impl Iterator<Item = u8>) -> u64 {
    const OFFSET_BASIS: u64 = 0xcbf2_9ce4_8422_2325;
    const PRIME: u64 = 0x0000_0100_0000_01b3;
    bytes.fold(OFFSET_BASIS, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(PRIME))
}

/// The finalizer of MurmurHash3's 128-bit variant (`fmix64`): every input bit changes every output bit with probability ½.
fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

/// The 53 high bits as a number in [0, 1).
fn unit_interval(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1_u64 << 53) as f64
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn responses(prompts: &[String]) -> Vec<LabeledResponse> {
        prompts
            .iter()
            .enumerate()
            .map(|(i, prompt)| LabeledResponse::new(prompt.as_str(), i.to_string(), vec![]))
            .collect()
    }

    #[test]
    fn the_hash_is_the_published_one() {
        // Test vectors of the FNV reference code and of MurmurHash3's fmix64.
        assert_eq!(fnv1a("".bytes()), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fnv1a("a".bytes()), 0xaf63_dc4c_8601_ec8c);
        assert_eq!(fnv1a("foobar".bytes()), 0x8594_4171_f739_67e8);
        assert_eq!(avalanche(0), 0);
        assert_eq!(avalanche(1), 0xb456_bcfc_34c2_cb2c);
    }

    #[test]
    fn shares_of_similar_prompts_come_out_even() {
        let prompts: Vec<String> = (0..20_000).map(|i| format!("question {i}")).collect();
        for seed in 0..3 {
            let (_, held_out) = split_by_prompt(responses(&prompts), 0.2, seed);
            // 5 standard deviations of a binomial count: 5 · sqrt(20000 · 0.2 · 0.8) = 283.
            assert!(held_out.len().abs_diff(4000) < 283, "{}", held_out.len());
        }
    }

    #[test]
    fn shares_of_none_and_all_are_exact() {
        let prompts: Vec<String> = (0..100).map(|i| i.to_string()).collect();
        assert_eq!(split_by_prompt(responses(&prompts), 0.0, 1).1.len(), 0);
        assert_eq!(split_by_prompt(responses(&prompts), 1.0, 1).0.len(), 0);
    }

    #[test]
    #[should_panic(expected = "held-out share 1.5, expected a number from 0 to 1")]
    fn a_share_above_one_is_a_mistake() {
        is_held_out(&"p".into(), 1.5, 0);
    }

    proptest! {
        #[test]
        fn no_prompt_crosses_and_no_old_response_moves(
            old in prop::collection::vec("[a-c]{1,2}", 0..30),
            new in prop::collection::vec("[a-c]{1,2}", 0..30),
            share in 0.0..=1.0,
            seed: u64,
        ) {
            let (train, held_out) = split_by_prompt(responses(&old), share, seed);
            prop_assert_eq!(train.len() + held_out.len(), old.len());
            prop_assert!(held_out.iter().all(|a| train.iter().all(|b| a.prompt != b.prompt)));

            let all: Vec<String> = old.iter().chain(&new).cloned().collect();
            let (more_train, more_held_out) = split_by_prompt(responses(&all), share, seed);
            prop_assert!(more_train.starts_with(&train));
            prop_assert!(more_held_out.starts_with(&held_out));
        }
    }
}
