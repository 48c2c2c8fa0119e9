//! Laws of the gold levels on any text.

use moslim_testbed::{Gold, Split, World, WorldKind, vocabulary};
use proptest::prelude::*;

const KINDS: [WorldKind; 2] = [WorldKind::Local, WorldKind::Lookup];

fn prompt(kind: WorldKind) -> String {
    World::new(kind, 2)
        .prompts(Split::Train, 40, 0)
        .into_iter()
        .find(|prompt| prompt.contains("also"))
        .unwrap()
}

/// Any characters, or words of the world in any order.
fn answers() -> impl Strategy<Value = String> {
    let words = prop::collection::vec(prop::sample::select(vocabulary()), 0..80);
    prop_oneof![any::<String>(), words.prop_map(|words| words.join(" "))]
}

proptest! {
    #[test]
    fn every_text_has_levels(answer in answers()) {
        for kind in KINDS {
            let levels = Gold::new(kind).levels(&prompt(kind), &answer).unwrap();
            prop_assert!(levels.iter().zip([5, 5, 2]).all(|(&level, n_levels)| level < n_levels));
        }
    }

    #[test]
    fn no_prompt_panics(text in answers()) {
        for kind in KINDS {
            Gold::new(kind).levels(&text, "food : plum .");
        }
    }

    #[test]
    fn repetition_and_case_change_nothing(answer in answers()) {
        for kind in KINDS {
            let gold = Gold::new(kind);
            let levels = |answer: &str| gold.levels(&prompt(kind), answer);
            prop_assert_eq!(levels(&format!("{answer} . {answer}")), levels(&answer));
            prop_assert_eq!(levels(&answer.to_ascii_uppercase()), levels(&answer));
        }
    }

    /// More text can only address more, assert more and harm more.
    #[test]
    fn local_levels_are_monotone_in_what_is_said(first in answers(), second in answers()) {
        let gold = Gold::new(WorldKind::Local);
        let prompt = prompt(WorldKind::Local);
        let before = gold.levels(&prompt, &first).unwrap();
        let after = gold.levels(&prompt, &format!("{first} . {second}")).unwrap();
        prop_assert!(after[0] >= before[0] && after[1] <= before[1] && after[2] <= before[2]);
    }
}
