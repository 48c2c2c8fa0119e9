//! Prompt codecs and requests: the forms they write, what they refuse, and the law that what is written is read back.

use moslim_data::{CodecError, Objective, ObjectiveSchema, PromptCodec, PromptCodecConfig, Request, Turn};
use proptest::prelude::*;

fn schema() -> ObjectiveSchema {
    ObjectiveSchema::new(vec![
        Objective::with_scale("helpfulness", 1, 5),
        Objective::with_scale("honesty", 1, 15),
        Objective { name: "tone".into(), levels: vec!["cold".into(), "warm".into()] },
    ])
    .unwrap()
}

fn with_sentences() -> PromptCodecConfig {
    let sentences = ["Be cold.", "Be warm."].map(String::from).to_vec();
    PromptCodecConfig { sentences: [("tone".to_owned(), sentences)].into(), ..PromptCodecConfig::sentences() }
}

fn configs() -> Vec<PromptCodecConfig> {
    let framed = PromptCodecConfig {
        item: "{level} {objective}".into(),
        separator: "; ".into(),
        template: "[INST]{request}\n\n{prompt}[/INST]".into(),
        ..PromptCodecConfig::cpo_tokens()
    };
    let tight = PromptCodecConfig {
        item: "{objective}{level}".into(),
        separator: "".into(),
        template: "{prompt}{request}".into(),
        ..PromptCodecConfig::cpo_tokens()
    };
    let presets =
        [PromptCodecConfig::cpo_tokens(), PromptCodecConfig::one_token(), PromptCodecConfig::level_list()];
    presets.into_iter().chain([PromptCodecConfig::sentences(), with_sentences(), framed, tight]).collect()
}

#[test]
fn the_presets_write_their_forms() {
    let request = Request::parse("helpfulness=5,tone=warm", &schema()).unwrap();
    for (config, expected) in [
        (PromptCodecConfig::cpo_tokens(), "< helpfulness: 5 > < tone: warm > Why?"),
        (PromptCodecConfig::one_token(), "Why? <helpfulness:5><tone:warm>"),
        (PromptCodecConfig::level_list(), "Why?\nhelpfulness:5,tone:warm"),
        (PromptCodecConfig::sentences(), "Why? Answer with helpfulness 5. Answer with tone warm."),
        (with_sentences(), "Why? Answer with helpfulness 5. Be warm."),
    ] {
        let codec = PromptCodec::new(config, &schema()).unwrap();
        assert_eq!(codec.render("Why?", &request).unwrap(), expected);
        assert_eq!(codec.render("Why?", &Request::free(&schema())).unwrap(), "Why?");
    }
}

#[test]
fn a_request_is_written_into_its_turn_alone() {
    let request = Request::parse("helpfulness=5,tone=warm", &schema()).unwrap();
    let config = PromptCodecConfig { turn: Turn::System, ..with_sentences() };
    let codec = PromptCodec::new(config, &schema()).unwrap();
    for (turn, text, expected) in [
        (Turn::User, "Why?", "Why?"),
        (Turn::System, "Speak French.", "Speak French. Answer with helpfulness 5. Be warm."),
        (Turn::System, "", "Answer with helpfulness 5. Be warm."),
        // Only the turn that carries requests could be read differently.
        (Turn::User, "Why? Be cold.", "Why? Be cold."),
    ] {
        assert_eq!(codec.render_turn(turn, text, &request).unwrap(), expected);
    }
    assert_eq!(codec.parse("Answer with helpfulness 5. Be warm.").unwrap(), (String::new(), request));
    let free = Request::free(&schema());
    assert_eq!(codec.render_turn(Turn::System, "", &free).unwrap(), "");
    assert!(codec.render_turn(Turn::System, "Be cold.", &free).is_err());

    let file = r#"{"item": "{objective}{level}", "separator": "", "template": "{prompt}{request}", "turn": "system"}"#;
    assert_eq!(serde_json::from_str::<PromptCodecConfig>(file).unwrap().turn, Turn::System);
}

#[test]
fn the_items_are_those_of_all_whole_levels() {
    let codec = PromptCodec::new(PromptCodecConfig::one_token(), &schema()).unwrap();
    let items = codec.items();
    assert_eq!(items.len(), 5 + 15 + 2);
    assert_eq!(items[0], "<helpfulness:1>");
    assert_eq!(items[21], codec.item(2, 1));
    assert_eq!(items[21], "<tone:warm>");
}

#[test]
fn a_number_may_run_into_a_full_stop() {
    let codec = PromptCodec::new(PromptCodecConfig::sentences(), &schema()).unwrap();
    let (prompt, request) = codec.parse("Why? Answer with helpfulness 3.5. Answer with honesty 15.").unwrap();
    assert_eq!(prompt, "Why?");
    assert_eq!(request.describe(&schema()), "helpfulness=3.5,honesty=15");

    // Only the number as it would be written is an item.
    let text = "Why? Answer with helpfulness 3.50.";
    assert_eq!(codec.parse(text).unwrap(), (text.to_owned(), Request::free(&schema())));
}

#[test]
fn items_are_read_in_any_order_but_each_objective_once() {
    let codec = PromptCodec::new(PromptCodecConfig::cpo_tokens(), &schema()).unwrap();
    let (prompt, request) = codec.parse("< tone: warm > < honesty: 3 > < tone: cold > Why?").unwrap();
    assert_eq!(prompt, "< tone: cold > Why?");
    assert_eq!(request.describe(&schema()), "honesty=3,tone=warm");
}

#[test]
fn a_prompt_with_an_item_where_the_request_stands_is_refused() {
    let codec = PromptCodec::new(PromptCodecConfig::cpo_tokens(), &schema()).unwrap();
    for (request, found) in [("", "tone=warm"), ("helpfulness=5", "helpfulness=5,tone=warm")] {
        let error =
            codec.render("< tone: warm > Why?", &Request::parse(request, &schema()).unwrap()).unwrap_err();
        let expected = CodecError::ReadsDifferently { asked: request.into(), found: found.into() };
        assert_eq!(error, expected);
    }
    let request = Request::parse("tone=cold", &schema()).unwrap();
    assert_eq!(
        codec.render("Is < tone: warm > warm?", &request).unwrap(),
        "< tone: cold > Is < tone: warm > warm?"
    );
}

#[test]
fn a_level_without_a_text_is_refused() {
    let codec = PromptCodec::new(with_sentences(), &schema()).unwrap();
    for (levels, message) in [
        ([None, None, Some(0.5)], "tone: no text for a level at position 0.5"),
        ([Some(5.0), None, None], "helpfulness: no text for a level at position 5"),
        ([Some(f64::NAN), None, None], "helpfulness: no text for a level at position NaN"),
    ] {
        let error = codec.render("Why?", &Request { levels: levels.into() }).unwrap_err();
        assert_eq!(error.to_string(), message);
    }
}

#[test]
fn a_config_that_cannot_work_is_refused() {
    let base = PromptCodecConfig::one_token;
    let sentences = |name: &str, texts: &[&str]| PromptCodecConfig {
        sentences: [(name.to_owned(), texts.iter().map(|&text| text.to_owned()).collect())].into(),
        ..base()
    };
    for (config, message) in [
        (
            PromptCodecConfig { item: "<{objective}>".into(), ..base() },
            "item `<{objective}>`: {level} found 0 time(s), expected exactly once",
        ),
        (
            PromptCodecConfig { template: "{request}".into(), ..base() },
            "template `{request}`: {prompt} found 0 time(s), expected exactly once",
        ),
        (
            PromptCodecConfig { template: "{prompt}{request}{request}".into(), ..base() },
            "template `{prompt}{request}{request}`: {request} found 2 time(s), expected exactly once",
        ),
        (
            PromptCodecConfig { item: "{level}".into(), ..base() },
            "`1` can be read as `helpfulness=1` and as `honesty=1`",
        ),
        (sentences("tone", &["same", "same"]), "`same` can be read as `tone=cold` and as `tone=warm`"),
        (
            sentences("tone", &["cold", "<helpfulness:1><honesty:1>"]),
            "`<helpfulness:1><honesty:1>` can be read as `helpfulness=1,honesty=1` and as `tone=warm`",
        ),
        (sentences("tone", &["", "warm"]), "tone: level cold has an empty text"),
        (sentences("tone", &["warm"]), "sentences: tone: 1 text(s), expected one for each of 2 levels"),
        (
            sentences("wit", &["dull", "witty"]),
            "sentences: unknown objective `wit`, expected one of helpfulness, honesty, tone",
        ),
    ] {
        assert_eq!(PromptCodec::new(config, &schema()).unwrap_err().to_string(), message);
    }
}

#[test]
fn a_config_file_is_complete_and_has_no_unknown_keys() {
    let file = r#"{"item": "<{objective}:{level}>", "separator": "", "template": "{prompt} {request}"}"#;
    assert_eq!(serde_json::from_str::<PromptCodecConfig>(file).unwrap(), PromptCodecConfig::one_token());
    let file = r#"{"item": "i", "separator": "", "template": "t", "prefix": ""}"#;
    assert!(serde_json::from_str::<PromptCodecConfig>(file).unwrap_err().to_string().contains("`prefix`"));
}

/// One to four objectives with scales or names, made of characters that item templates use as well.
fn any_schema() -> impl Strategy<Value = ObjectiveSchema> {
    let scale = (-3..3_i64, 1..6_i64)
        .prop_map(|(lowest, length)| (lowest..=lowest + length).map(|level| level.to_string()).collect());
    let names =
        prop::collection::btree_set("[a-c0-2.:{}é]{1,3}", 2..5).prop_map(|names| names.into_iter().collect());
    let levels = prop_oneof![scale, names];
    prop::collection::btree_map("[a-c:{}<é]{1,3}", levels, 1..5).prop_map(|objectives| {
        let objectives =
            objectives.into_iter().map(|(name, levels): (_, Vec<String>)| Objective { name, levels });
        ObjectiveSchema::new(objectives.collect()).unwrap()
    })
}

/// For each of up to four objectives, nothing, a whole or a fractional level, as shares of the highest level.
fn any_request() -> impl Strategy<Value = Vec<Option<(f64, bool)>>> {
    prop::collection::vec(prop::option::of((0.0..=1.0, any::<bool>())), 4)
}

fn request_for(schema: &ObjectiveSchema, shares: &[Option<(f64, bool)>]) -> Request {
    let levels = schema.objectives().iter().zip(shares).map(|(objective, share)| {
        let (share, is_whole) = (*share)?;
        let position = share * (objective.n_levels() - 1) as f64;
        let has_fractions = objective.position_name(0.5).is_some();
        Some(if is_whole || !has_fractions { position.round() } else { (position * 1000.0).round() / 1000.0 })
    });
    Request { levels: levels.collect() }
}

/// Prompts made of any text and of pieces of items.
fn any_prompt(codec: PromptCodec) -> impl Strategy<Value = String> {
    let piece = prop_oneof![
        2 => prop::sample::select(codec.items()),
        1 => prop::sample::select(vec![" ", "\n", "\n\n", ",", "; ", "<", ">", "[INST]", "[/INST]"]).prop_map(String::from),
        1 => ".{0,3}",
    ];
    prop::collection::vec(piece, 0..6).prop_map(|pieces| pieces.concat())
}

fn any_case() -> impl Strategy<Value = (PromptCodec, ObjectiveSchema, Request, String)> {
    (any_schema(), any_request(), prop::sample::select(configs()))
        .prop_filter_map("the items are ambiguous", |(schema, shares, config)| {
            let config = PromptCodecConfig { sentences: Default::default(), ..config };
            let codec = PromptCodec::new(config, &schema).ok()?;
            let request = request_for(&schema, &shares);
            Some((codec, schema, request))
        })
        .prop_flat_map(|(codec, schema, request)| {
            (Just(codec.clone()), Just(schema), Just(request), any_prompt(codec))
        })
}

proptest! {
    #[test]
    fn what_is_rendered_is_read_back((codec, _, request, prompt) in any_case()) {
        if let Ok(text) = codec.render(&prompt, &request) {
            prop_assert_eq!(codec.parse(&text).unwrap(), (prompt, request));
        }
    }

    #[test]
    fn an_ordinary_prompt_is_never_refused(
        shares in any_request(),
        prompt in "[A-Za-zäß ]{0,20}\\?\n?",
        config in prop::sample::select(configs()),
    ) {
        let request = request_for(&schema(), &shares);
        let codec = PromptCodec::new(config, &schema()).unwrap();
        let text = codec.render(&prompt, &request).unwrap();
        prop_assert_eq!(codec.parse(&text).unwrap(), (prompt, request));
    }

    #[test]
    fn a_described_request_is_parsed_back(schema in any_schema(), shares in any_request()) {
        let request = request_for(&schema, &shares);
        prop_assert_eq!(Request::parse(&request.describe(&schema), &schema).unwrap(), request);
    }
}
