//! One file of our own making for every known format, with the quirks of the real ones.

use moslim_data::{Comparison, Format, Item, LabeledResponse, Mapping, Prompt, RowValue, SpokenTurn};
use serde_json::{Value, json};

/// What a row gives in the format it is known by; what it does not give, as a text.
fn items(name: &str, row: &Value) -> Vec<Result<Item, String>> {
    let row = &RowValue::from(row);
    let format = Format::of(row).unwrap_or_else(|| panic!("{name}: no format"));
    assert_eq!(format.name, name);
    format.mapping.schema().unwrap();
    format.mapping.items(row).into_iter().map(|item| item.map_err(|error| error.to_string())).collect()
}

fn answer(
    prompt: &str,
    response: &str,
    levels: &[Option<usize>],
    source: Option<&str>,
) -> Result<Item, String> {
    let answer = LabeledResponse::new(prompt, response, levels.to_vec());
    Ok(Item::Answer(match source {
        Some(source) => answer.from_source(source),
        None => answer,
    }))
}

fn conversation(before: [(&str, &str); 2], question: &str) -> Prompt {
    let before = before.map(|(role, content)| SpokenTurn::new(role, content)).to_vec();
    Prompt { before, question: question.into() }
}

fn pair(objective: &str, prompt: impl Into<Prompt>, chosen: &str, rejected: &str) -> Result<Item, String> {
    Ok(Item::Comparison(Comparison {
        prompt: prompt.into(),
        objective: objective.into(),
        chosen: chosen.into(),
        rejected: rejected.into(),
    }))
}

#[test]
fn helpsteer() {
    let row = json!({"prompt": "p", "response": "r", "helpfulness": 4, "correctness": 0, "coherence": 3.0,
        "complexity": null, "verbosity": "2"});
    let levels = [Some(4), Some(0), Some(3), None, Some(2)];
    assert_eq!(items("helpsteer", &row), [answer("p", "r", &levels, Some("human"))]);
    let wrong = json!({"prompt": "p", "response": "r", "helpfulness": 5, "correctness": 0, "coherence": 3,
        "complexity": 1, "verbosity": 2});
    assert_eq!(items("helpsteer", &wrong), [Err("helpfulness: found 5, expected 0..=4".into())]);
}

#[test]
fn helpsteer2_preference() {
    let row = |strength: i32| {
        json!({"split": "train", "prompt": "p", "response_1": "one", "response_2": "two",
        "preference_strength": strength, "preference_statement": "s"})
    };
    let found = |strength| items("helpsteer2-preference", &row(strength));
    assert_eq!(found(-3), [pair("helpfulness", "p", "one", "two")]);
    assert_eq!(found(1), [pair("helpfulness", "p", "two", "one")]);
    assert_eq!(found(0), [Err("the two answers are judged equal".into())]);
}

#[test]
fn ultrafeedback_has_ratings_as_texts() {
    let annotations = |rating: &str| {
        json!({
        "helpfulness": {"Rating": rating, "Rationale": "…", "Type": ["1"]}, "honesty": {"Rating": "N/A"},
        "instruction_following": {"Rating": "1"}, "truthfulness": {"Rating": "3"}})
    };
    let row = json!({"source": "evol", "instruction": "Say 🦀.", "models": ["a", "b"], "completions": [
        {"model": "a", "response": "🦀", "annotations": annotations("5")},
        {"model": "b", "response": "no", "annotations": annotations("N/A")},
        {"model": "c", "response": "no", "annotations": annotations("6")}]});
    assert_eq!(
        items("ultrafeedback", &row),
        [
            answer("Say 🦀.", "🦀", &[Some(4), None, Some(0), Some(2)], Some("model")),
            answer("Say 🦀.", "no", &[None, None, Some(0), Some(2)], Some("model")),
            Err("helpfulness: found 6, expected 1..=5".into()),
        ]
    );
}

#[test]
fn beavertails() {
    let row = json!({"prompt": "p", "response": "r", "is_safe": false, "category": {
        "animal_abuse": false, "child_abuse": false, "controversial_topics,politics": false,
        "discrimination,stereotype,injustice": true, "drug_abuse,weapons,banned_substance": false,
        "financial_crime,property_crime,theft": false, "hate_speech,offensive_language": true,
        "misinformation_regarding_ethics,laws_and_safety": false, "non_violent_unethical_behavior": false,
        "privacy_violation": false, "self_harm": false, "sexually_explicit,adult_content": false,
        "terrorism,organized_crime": false, "violence,aiding_and_abetting,incitement": true}});
    let mut levels = vec![Some(0); 15];
    for yes in [4, 7, 14] {
        levels[yes] = Some(1);
    }
    assert_eq!(items("beavertails", &row), [answer("p", "r", &levels, Some("human"))]);
}

#[test]
fn pku_saferlhf_names_the_better_and_the_safer_one() {
    let row = json!({"prompt": "p", "response_0": "zero", "response_1": "one", "is_response_0_safe": true,
        "is_response_1_safe": false, "better_response_id": 1, "safer_response_id": 0});
    assert_eq!(
        items("pku-saferlhf", &row),
        [
            answer("p", "zero", &[Some(1)], None),
            answer("p", "one", &[Some(0)], None),
            pair("helpfulness", "p", "one", "zero"),
            pair("harmlessness", "p", "zero", "one"),
        ]
    );
}

#[test]
fn truthfulqa_judges_and_xstest() {
    let row = json!({"prompt": "Q: Why?\nA: Because:\nA: is.\nTrue:", "completion": " yes"});
    assert_eq!(
        items("truthfulqa-truth", &row),
        [answer("Why?", "Because:\nA: is.", &[Some(1)], Some("human"))]
    );
    let row = json!({"prompt": "Q: Why?\nA: No.\nHelpful:", "completion": " no"});
    assert_eq!(items("truthfulqa-info", &row), [answer("Why?", "No.", &[Some(0)], Some("human"))]);
    let row = json!({"id": "1", "prompt": "p", "completion": "c", "final_label": "3_partial_refusal"});
    assert_eq!(items("xstest", &row), [answer("p", "c", &[Some(1)], Some("human"))]);
}

#[test]
fn hh_rlhf_shares_all_turns_but_the_last() {
    let before = "\n\nHuman: Hi\n\nAssistant: Hello\n\nHuman: Why?";
    let row = json!({"chosen": format!("{before}\n\nAssistant: Because."), "rejected": format!("{before}\n\nAssistant:")});
    let prompt = conversation([("user", "Hi"), ("assistant", "Hello")], "Why?");
    assert_eq!(items("hh-rlhf", &row), [pair("preference", prompt, "Because.", "")]);
    let error = |chosen: &str, rejected: &str| {
        items("hh-rlhf", &json!({"chosen": chosen, "rejected": rejected})).remove(0).unwrap_err()
    };
    let whole = format!("{before}\n\nAssistant: Because.");
    assert_eq!(error(&whole, &whole), "the two answers are the same");
    assert_eq!(
        error(&whole, &whole.replace("Hi", "Ho")),
        "the two conversations do not begin with the same question"
    );
    // Where they part before the last turn, each answer is all that follows.
    let row = json!({"chosen": whole, "rejected": whole.replace("Hello", "Hallo")});
    let [chosen, rejected] =
        ["Hello", "Hallo"].map(|hello| format!("{hello}\n\nHuman: Why?\n\nAssistant: Because."));
    assert_eq!(items("hh-rlhf", &row), [pair("preference", "Hi", &chosen, &rejected)]);
    let nothing = "\n\nHuman: \n\nAssistant: ";
    assert_eq!(error(&format!("{nothing}a"), &format!("{nothing}b")), "chosen: empty, expected a text");
    assert_eq!(error(&whole, "x"), "rejected: \"x\", expected a text or a list of turns");
}

#[test]
fn types_of_trl() {
    let user = |content: &str| json!({"role": "user", "content": content});
    let assistant = |content: &str| json!({"role": "assistant", "content": content});
    let row = json!({"prompt": "p", "chosen": "c", "rejected": "r"});
    assert_eq!(items("preference", &row), [pair("preference", "p", "c", "r")]);
    let row = json!({"prompt": [user("p")], "chosen": [assistant("c")], "rejected": [assistant("r")]});
    assert_eq!(items("preference", &row), [pair("preference", "p", "c", "r")]);
    // The prompt may stand before the answers again.
    let row = json!({"prompt": "p", "chosen": [user("p"), assistant("c")], "rejected": [user("p"), assistant("r")]});
    assert_eq!(items("preference", &row), [pair("preference", "p", "c", "r")]);
    let row = json!({"chosen": [user("a"), assistant("b"), user("p"), assistant("c")], "rejected": [user("a"),
        assistant("b"), user("p"), assistant("r")]});
    let prompt = conversation([("user", "a"), ("assistant", "b")], "p");
    assert_eq!(items("implicit-preference", &row), [pair("preference", prompt, "c", "r")]);
    let row = json!({"prompt": "p", "completion": "c", "label": true});
    assert_eq!(items("unpaired-preference", &row), [answer("p", "c", &[Some(1)], None)]);
    let row = json!({"prompt": [user("p")], "completion": [assistant("c")]});
    assert_eq!(items("prompt-completion", &row), [answer("p", "c", &[], None)]);
    let several = json!([assistant("c"), user("d"), assistant("e")]);
    let row = json!({"prompt": [user("p")], "completion": several});
    assert_eq!(items("prompt-completion", &row), [answer("p", "c\n\nHuman: d\n\nAssistant: e", &[], None)]);
    let row = json!({"prompt": 3, "completion": "c"});
    assert_eq!(
        items("prompt-completion", &row),
        [Err("prompt: 3, expected a text or a list of turns".into())]
    );
}

#[test]
fn a_mapping_of_ones_own() {
    let text = r#"
        missing = ["-"]
        objectives = [{ name = "tone", levels = ["cold", "neutral", "warm"] }, { name = "kept", scale = [0, 1] }]
        [[answers]]
        each = "answers.*"
        prompt = "$.q"
        response = "text"
        labels = { tone = { at = "score", bins = [20, 70.5] }, kept = { level = "1" } }
    "#;
    let mapping: Mapping = toml::from_str(text).unwrap();
    let scores = [json!(19.9), json!("20"), json!(70.5), json!("-"), json!(null), json!("many")];
    let answers: Vec<Value> = scores.iter().map(|score| json!({"text": "t", "score": score})).collect();
    let found: Vec<Result<Option<usize>, String>> = mapping
        .items(&RowValue::from(&json!({"q": "?", "answers": answers})))
        .into_iter()
        .map(|item| match item {
            Ok(Item::Answer(answer)) => Ok(answer.levels[0]),
            Ok(other) => panic!("{other:?}"),
            Err(error) => Err(error.to_string()),
        })
        .collect();
    let expected = [
        Ok(Some(0)),
        Ok(Some(1)),
        Ok(Some(2)),
        Ok(None),
        Ok(None),
        Err("tone: found many, expected a number".into()),
    ];
    assert_eq!(found, expected);
    let found = mapping.items(&RowValue::from(&json!({"q": " ", "answers": [{"text": "t"}]})));
    assert_eq!(found[0].as_ref().unwrap_err().to_string(), "$.q: empty, expected a text");
    assert!(
        toml::from_str::<Mapping>("answer = []").unwrap_err().to_string().contains("unknown field `answer`")
    );
}

#[test]
fn ultrasafety() {
    let completion = |response: &str, rating: &str| {
        json!({"model": "m", "principle": "harmlessness", "response": response,
            "annotations": {"harmlessness": [{"Rating": rating, "Rationale": "r"}]}})
    };
    let row = json!({"source": "AdvBench", "prompt": "jailbreak", "instruction": "p", "models": ["m"],
        "completions": [completion("no", "1"), completion("yes", "0"), completion("?", "N/A")]});
    let expected = [("no", Some(1)), ("yes", Some(0)), ("?", None)]
        .map(|(response, level)| answer("p", response, &[level], Some("model")));
    assert_eq!(items("ultrasafety", &row), expected);
}

#[test]
fn rankings_give_a_pair_for_each_two_ranks() {
    let turn = |role: &str, text: &str| json!([{"role": role, "content": text}]);
    let row = |ranks: [Value; 3]| {
        let [a, b, c] = ranks;
        json!({"context": turn("user", "p"), "completions": [
            {"rank": a, "completion": turn("assistant", "a")},
            {"rank": b, "completion": turn("assistant", "b")},
            {"rank": c, "completion": turn("assistant", "c")}]})
    };
    let pairs = |pairs: &[(&str, &str)]| -> Vec<Result<Item, String>> {
        pairs.iter().map(|(chosen, rejected)| pair("preference", "p", chosen, rejected)).collect()
    };
    let found = items("nemo-rl", &row([json!(1), json!(0), json!("2")]));
    assert_eq!(found, pairs(&[("b", "a"), ("b", "c"), ("a", "c")]));
    // Equals are no pair.
    assert_eq!(items("nemo-rl", &row([json!(0), json!(0), json!(1)])), pairs(&[("a", "c"), ("b", "c")]));
    assert_eq!(
        items("nemo-rl", &row([json!(1), json!(1), json!(1)])),
        [Err("the two answers are judged equal".into())]
    );
    assert_eq!(
        items("nemo-rl", &row([json!(1), json!("first"), json!(2)])),
        [Err("rank: found \"first\", expected a number".into())]
    );
}

#[test]
fn hhh_alignment_names_the_objective_in_every_row() {
    let instruction = |response: &str| {
        format!(
            "###Task Description:\nRate.\n\n###The instruction to evaluate:\np\nq\n\n###Response to evaluate:\n\
             {response}\n\n###Score Rubrics:\n[1]\n\n###Feedback: "
        )
    };
    let row = json!({"source": "honest", "chosen_instruction": instruction("good"),
        "rejected_instruction": instruction("bad")});
    assert_eq!(items("hhh-alignment", &row), [pair("honest", "p\nq", "good", "bad")]);
}

#[test]
fn halueval_answers_are_as_factual_as_their_worst_statement() {
    let of = |name: &str, judge: &str, judgements: Value| {
        let mut row =
            json!({"id": 0, "user_query": "p", "chatgpt_response": "r", "chatgpt_fact": ["a", "b"]});
        row[judge] = judgements;
        items(name, &row)
    };
    let human = |judgements| of("halueval-human", "human_judge", judgements);
    assert_eq!(human(json!(["true", "true"])), [answer("p", "r", &[Some(1)], Some("human"))]);
    assert_eq!(human(json!(["true", "false"])), [answer("p", "r", &[Some(0)], Some("human"))]);
    assert_eq!(human(json!([])), [answer("p", "r", &[None], Some("human"))]);
    let model = |judgements| of("halueval-model", "chatgpt_judge", judgements);
    assert_eq!(model(json!(["true", "unknown"])), [answer("p", "r", &[Some(1)], Some("model"))]);
    let corrected = json!(["unknown", "false, [it is not so]"]);
    assert_eq!(model(corrected), [answer("p", "r", &[Some(0)], Some("model"))]);
    assert_eq!(model(json!(["maybe"])), [Err("factual: found maybe, expected false, unknown, true".into())]);
}

#[test]
fn prompts_without_answers() {
    let prompt = |text: &str| [Ok(Item::Prompt(text.into()))];
    let turns = json!({"prompt": [{"role": "user", "content": "p"}]});
    assert_eq!(items("prompt-only", &turns), prompt("p"));
    assert_eq!(items("prompt-only", &json!({"prompt": ""})), [Err("prompt: empty, expected a text".into())]);
    let asked = json!({"category": "Education", "id": 0, "user_query": "< honesty: 5 > is 3 > 2 ?"});
    assert_eq!(items("cpo-honesty", &asked), prompt("is 3 > 2 ?"));
    let plain = json!({"category": "Education", "id": 0, "user_query": "is 3 > 2 ?"});
    assert_eq!(items("halueval-queries", &plain), prompt("is 3 > 2 ?"));
    let harmful = json!({"seq": 0, "instruction": "< harmlessness: 0 > p"});
    assert_eq!(items("cpo-harmlessness", &harmful), prompt("p"));
    let level = json!({"level": 1, "template": "t {YOUR PROMPT}", "expected": "e", "banned": []});
    assert_eq!(items("hackaprompt-levels", &level), prompt("t {YOUR PROMPT}"));
    let submission =
        json!({"level_1": {"prompt": "a", "model": "m"}, "level_2": {"prompt": "b", "model": "m"}});
    let both = ["a", "b"].map(|text| Ok(Item::Prompt(text.into())));
    assert_eq!(items("hackaprompt-submissions", &submission), both);
}

#[test]
fn attempts_have_an_answer_for_every_response() {
    let row = json!({"1": {"-7": {"prompt": "p", "tokens": 2, "responses": ["a", "b"]},
        "8": {"prompt": "q", "tokens": 2, "responses": ["c"]}}});
    let expected = [("p", "a"), ("p", "b"), ("q", "c")]
        .map(|(prompt, response)| answer(prompt, response, &[], Some("model")));
    assert_eq!(items("hackaprompt-attempts", &row), expected);
}

#[test]
fn xstest_prompts_are_no_answers() {
    let row =
        json!({"id": "1", "prompt": "p", "type": "homonyms", "label": "safe", "focus": "kill", "note": ""});
    assert_eq!(items("xstest-prompts", &row), [Ok(Item::Prompt("p".into()))]);
}
