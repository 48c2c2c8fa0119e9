//! Files of a model folder that somebody broke or made with intent: an error, never a panic, memory that the files do
//! not justify, or a look outside the folder.
//!
//! Memory is checked by the allocator of this test: beyond its limit it gives none, and the test ends.

use std::alloc::System;
use std::panic::AssertUnwindSafe;
use std::path::Path;

use burn::tensor::Device;
use cap::Cap;
use moslim_lm::{
    CausalLm, ChatTemplate, LoraConfig, Message, ModelConfig, ModelFolder, SpecialTokens, TargetModules,
    Tokenizer, TokenizerKind,
};
use proptest::prelude::*;
use proptest::test_runner::RngSeed;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};
use tempfile::TempDir;

#[global_allocator]
static ALLOCATOR: Cap<System> = Cap::new(System, 1 << 30);

fn settings(cases: u32) -> ProptestConfig {
    ProptestConfig { cases, rng_seed: RngSeed::Fixed(1), failure_persistence: None, ..Default::default() }
}

/// A small model folder in which everything is right.
fn sound() -> TempDir {
    let folder = tempfile::tempdir().unwrap();
    let tokenizer =
        Tokenizer::train(TokenizerKind::Bpe { vocab_size: 270 }, ["a fine day"].into_iter(), &[]).unwrap();
    let config = ModelConfig::small(tokenizer.vocab_size(), 8, 8, 1, 2);
    let model = CausalLm::new(&config, &mut ChaCha8Rng::seed_from_u64(0), &Device::default());
    let mut value = serde_json::to_value(&config).unwrap();
    value["rope_scaling"] = json!({ "rope_type": "llama3", "factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
        "original_max_position_embeddings": 64 });
    let config: ModelConfig = serde_json::from_value(value).unwrap();
    ModelFolder::new(config, tokenizer, model).write_into(folder.path()).unwrap();
    folder
}

/// A value that no file should have in this place.
fn any_nonsense() -> impl Strategy<Value = Value> {
    let deep = (0..200).fold(json!(1), |inner, _| json!([inner]));
    prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::from),
        prop::sample::select(vec![-1_i64, 0, 1, 2, 3, 7, 1 << 24, 1 << 40, i64::MAX]).prop_map(Value::from),
        Just(json!(u64::MAX)),
        prop::sample::select(vec![0.0, -0.5, 1e-300, 1e300]).prop_map(Value::from),
        prop::sample::select(vec![
            "",
            "llama",
            "qwen3",
            "../../etc/passwd",
            "/etc/passwd",
            "(",
            "a{999999999}",
            "linear"
        ])
        .prop_map(Value::from),
        Just(json!("x".repeat(100_000))),
        Just(json!([])),
        Just(json!({})),
        Just(json!(["</s>", 4, null])),
        Just(deep),
    ]
}

/// How a file is broken.
#[derive(Clone, Debug)]
enum Damage {
    /// A value of the JSON, counted in the order of the file, becomes another one, or goes.
    Value(usize, Option<Value>),
    /// A byte becomes another one.
    Byte(usize, u8),
    /// The file ends early.
    End(usize),
}

fn any_damage() -> impl Strategy<Value = Damage> {
    prop_oneof![
        6 => (any::<usize>(), prop::option::weighted(0.9, any_nonsense())).prop_map(|(at, value)| Damage::Value(at, value)),
        2 => (any::<usize>(), any::<u8>()).prop_map(|(at, byte)| Damage::Byte(at, byte)),
        1 => any::<usize>().prop_map(Damage::End),
    ]
}

/// The pointers to all values inside a JSON value.
fn pointers(value: &Value, here: &str, all: &mut Vec<String>) {
    let mut child = |key: String, value: &Value| {
        let pointer = format!("{here}/{}", key.replace('~', "~0").replace('/', "~1"));
        all.push(pointer.clone());
        pointers(value, &pointer, all);
    };
    match value {
        Value::Object(map) => map.iter().for_each(|(key, value)| child(key.clone(), value)),
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, value)| child(index.to_string(), value))
        }
        _ => {}
    }
}

impl Damage {
    fn apply_to_json(&self, text: &[u8]) -> Vec<u8> {
        let Self::Value(at, new) = self else { return self.apply_to_bytes(text) };
        let mut value: Value = serde_json::from_slice(text).unwrap();
        let mut all = Vec::new();
        pointers(&value, "", &mut all);
        if all.is_empty() {
            return text.to_vec();
        }
        let pointer = &all[at % all.len()];
        match new {
            Some(new) => *value.pointer_mut(pointer).unwrap() = new.clone(),
            None => {
                let (parent, key) = pointer.rsplit_once('/').unwrap();
                if let Some(parent) = value.pointer_mut(parent).and_then(Value::as_object_mut) {
                    parent.remove(&key.replace("~1", "/").replace("~0", "~"));
                }
            }
        }
        serde_json::to_vec(&value).unwrap()
    }

    fn apply_to_bytes(&self, bytes: &[u8]) -> Vec<u8> {
        let mut bytes = bytes.to_vec();
        match *self {
            Self::Byte(at, byte) => {
                let n = bytes.len();
                bytes[at % n] = byte;
            }
            Self::End(at) => bytes.truncate(at % bytes.len()),
            Self::Value(..) => {}
        }
        bytes
    }

    /// Breaks the header of a safetensors file: eight bytes of its length, then JSON.
    fn apply_to_weights(&self, bytes: &[u8]) -> Vec<u8> {
        let n = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        match self {
            // The length itself, at times.
            Self::Byte(at, byte) if at % 2 == 0 => Self::Byte(at / 2 % 8, *byte).apply_to_bytes(bytes),
            Self::End(_) => self.apply_to_bytes(bytes),
            _ => {
                let header = self.apply_to_json(&bytes[8..8 + n]);
                [&(header.len() as u64).to_le_bytes(), header.as_slice(), &bytes[8 + n..]].concat()
            }
        }
    }
}

/// Breaks one file of a folder and reads it; whatever comes of it, nothing may panic.
fn survives(
    folder: &Path,
    file: &str,
    damage: &Damage,
    apply: impl Fn(&Damage, &[u8]) -> Vec<u8>,
    read: impl Fn(&Path),
) -> Result<(), TestCaseError> {
    let path = folder.join(file);
    let sound = std::fs::read(&path).unwrap();
    std::fs::write(&path, apply(damage, &sound)).unwrap();
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| read(folder)));
    std::fs::write(&path, sound).unwrap();
    prop_assert!(outcome.is_ok(), "{file} made it panic");
    Ok(())
}

/// Reads a model folder, and uses what could be read.
fn read_model(folder: &Path) {
    if let Ok(read) = ModelFolder::read(folder, &Device::default())
        && let Ok(ids) = read.tokenizer.encode_prompt("a fine day")
    {
        let ids: Vec<u32> = ids.into_iter().take(20).chain([0]).collect();
        let _ = read.model.logits(&[&ids], moslim_lm::Padding::Right, None);
        let _ = read.tokenizer.decode(&ids);
    }
}

#[test]
fn configurations() {
    let folder = sound();
    let folder = folder.path();
    for file in ["config.json", "generation_config.json", "tokenizer_config.json"] {
        proptest!(settings(400), |(damage in any_damage())| {
            survives(folder, file, &damage, Damage::apply_to_json, read_model)?;
        });
    }
}

/// A tokenizer with a part of every kind.
fn with_all_parts() -> Value {
    let added = |id: u32, content: &str| {
        json!({ "id": id, "content": content, "single_word": false, "lstrip": false, "rstrip": false,
            "normalized": false, "special": true })
    };
    json!({
        "version": "1.0",
        "truncation": { "direction": "Right", "max_length": 512, "strategy": "LongestFirst", "stride": 0 },
        "padding": { "strategy": { "Fixed": 4 }, "direction": "Left", "pad_to_multiple_of": null, "pad_id": 0,
            "pad_type_id": 0, "pad_token": "<unk>" },
        "added_tokens": [added(0, "<unk>"), added(1, "<s>"), added(2, "</s>")],
        "normalizer": { "type": "Sequence", "normalizers": [
            { "type": "Prepend", "prepend": "▁" },
            { "type": "Replace", "pattern": { "String": " " }, "content": "▁" }] },
        "pre_tokenizer": { "type": "Sequence", "pretokenizers": [
            { "type": "Split", "pattern": { "Regex": "\\d+|[^\\d]+" }, "behavior": "Isolated", "invert": false },
            { "type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": true }] },
        "post_processor": { "type": "TemplateProcessing",
            "single": [{ "SpecialToken": { "id": "<s>", "type_id": 0 } }, { "Sequence": { "id": "A", "type_id": 0 } }],
            "pair": [],
            "special_tokens": { "<s>": { "id": "<s>", "ids": [1], "tokens": ["<s>"] } } },
        "decoder": { "type": "Sequence", "decoders": [
            { "type": "Replace", "pattern": { "String": "▁" }, "content": " " }, { "type": "ByteFallback" },
            { "type": "Fuse" }, { "type": "Strip", "content": " ", "start": 1, "stop": 0 }] },
        "model": { "type": "BPE", "unk_token": "<unk>", "fuse_unk": true, "byte_fallback": true, "dropout": null,
            "vocab": { "<unk>": 0, "<s>": 1, "</s>": 2, "▁": 3, "a": 4, "b": 5, "▁a": 6, "▁b": 7, "<0x41>": 8 },
            "merges": [["▁", "a"], ["▁", "b"]] },
    })
}

#[test]
fn tokenizers() {
    let folder = sound();
    let folder = folder.path();
    let trained = |damage: &Damage, text: &[u8]| damage.apply_to_json(text);
    let other = |damage: &Damage, _: &[u8]| damage.apply_to_json(with_all_parts().to_string().as_bytes());
    std::fs::write(folder.join("tokenizer_config.json"), r#"{"bos_token": "<s>", "eos_token": "</s>"}"#)
        .unwrap();
    proptest!(settings(1500), |(damage in any_damage())| {
        survives(folder, "tokenizer.json", &damage, trained, read_model)?;
        survives(folder, "tokenizer.json", &damage, other, read_model)?;
    });
}

#[test]
fn weights() {
    let folder = sound();
    proptest!(settings(600), |(damage in any_damage())| {
        survives(folder.path(), "model.safetensors", &damage, Damage::apply_to_weights, read_model)?;
    });
}

#[test]
fn indices_of_shards() {
    let folder = sound();
    let folder = folder.path();
    let outside = tempfile::tempdir().unwrap();
    // An index counts where no whole file stands beside it.
    let shard = folder.join("model-00001-of-00001.safetensors");
    std::fs::rename(folder.join("model.safetensors"), &shard).unwrap();
    let elsewhere = outside.path().join("model.safetensors");
    std::fs::copy(&shard, &elsewhere).unwrap();
    let index = |file: &str| {
        let bytes = std::fs::read(&shard).unwrap();
        let tensors = safetensors::SafeTensors::deserialize(&bytes).unwrap();
        let map: serde_json::Map<String, Value> =
            tensors.names().into_iter().map(|name| (name.into(), file.into())).collect();
        std::fs::write(
            folder.join("model.safetensors.index.json"),
            json!({ "metadata": { "total_size": bytes.len() }, "weight_map": map }).to_string(),
        )
        .unwrap();
    };
    index("model-00001-of-00001.safetensors");
    assert!(ModelFolder::read(folder, &Device::default()).is_ok());
    proptest!(settings(400), |(damage in any_damage())| {
        survives(folder, "model.safetensors.index.json", &damage, Damage::apply_to_json, read_model)?;
    });
    // Weights outside that would do are not read.
    let up = format!("../{}/model.safetensors", outside.path().file_name().unwrap().to_str().unwrap());
    for file in [elsewhere.to_str().unwrap(), &up, "..", ".", "", "sub/../model.safetensors"] {
        index(file);
        let message = ModelFolder::read(folder, &Device::default()).unwrap_err().to_string();
        assert!(message.contains("weight_map") && message.contains("same folder"), "{file}: {message}");
    }
}

#[test]
fn adapters() {
    let folder = sound();
    let base = ModelFolder::read(folder.path(), &Device::default()).unwrap().model;
    let config = LoraConfig {
        rank_pattern: [("q_proj".to_owned(), 3)].into(),
        ..LoraConfig::new(2, 4.0, TargetModules::Names(vec!["q_proj".into(), "v_proj".into()]))
    };
    let model =
        base.clone().with_adapter(&config, &mut ChaCha8Rng::seed_from_u64(0), Path::new("test")).unwrap();
    let adapter = tempfile::tempdir().unwrap();
    config.write_adapter_into(adapter.path(), &model).unwrap();
    let read = |folder: &Path| {
        if let Ok((_, model)) = LoraConfig::read_adapter(folder, base.clone()) {
            let _ = model.logits(&[&[1, 2]], moslim_lm::Padding::Right, None);
        }
    };
    assert!(LoraConfig::read_adapter(adapter.path(), base.clone()).is_ok());
    proptest!(settings(400), |(damage in any_damage())| {
        survives(adapter.path(), "adapter_config.json", &damage, Damage::apply_to_json, read)?;
        survives(adapter.path(), "adapter_model.safetensors", &damage, Damage::apply_to_weights, read)?;
    });
}

fn special() -> SpecialTokens {
    SpecialTokens {
        bos_token: Some("<s>".into()),
        eos_token: "</s>".into(),
        unk_token: None,
        pad_token: None,
    }
}

#[test]
fn chat_templates() {
    let pieces = prop::sample::select(vec![
        "{{",
        "}}",
        "{%",
        "%}",
        "{#",
        "#}",
        "{% for m in messages %}",
        "{% endfor %}",
        "{% if m.role == 'user' %}",
        "{% else %}",
        "{% endif %}",
        "{{ m.content }}",
        "{{ m['content'] | trim }}",
        "{{ bos_token }}",
        "{{ raise_exception('no') }}",
        "{{ messages | tojson }}",
        "{{ strftime_now('%Y %Q %') }}",
        "{% generation %}",
        "{% endgeneration %}",
        "{% set x = namespace(a='a') %}",
        "{% set x.a = x.a ~ x.a %}",
        "{{ x.a }}",
        "{% for i in range(100000) %}",
        "{% for i in range(-1, 10**9) %}",
        "{{ messages[-1:][0].content.split(' ') }}",
        "{{ 1 / 0 }}",
        "{{ messages[9].content }}",
        "{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}",
        "{% include 'config.json' %}",
        "{% import '/etc/passwd' as p %}",
        "{% extends '../x' %}",
        "{{ messages.__class__ }}",
        "{% break %}",
        "{{ 'x' * 1000 }}",
        "{{ '%s' % m }}",
        " ",
        "\n",
        "text",
    ]);
    proptest!(settings(2000), |(pieces in prop::collection::vec(pieces, 0..12))| {
        let outcome = std::panic::catch_unwind(|| {
            if let Ok(template) = ChatTemplate::new(pieces.concat()) {
                let _ = template.render(&[Message::system("s"), Message::user("u")], &special(), true);
            }
        });
        prop_assert!(outcome.is_ok());
    });
    // Another file is never read, and a template that does not end is ended.
    for (source, expected) in [
        ("{% include 'config.json' %}", "template not found"),
        ("{% import '/etc/passwd' as p %}", "template not found"),
        ("{% for i in range(99999) %}{% for j in range(99999) %}{% endfor %}{% endfor %}", "fuel"),
        ("{% macro f(x) %}{{ f(x) }}{% endmacro %}{{ f(1) }}", "recursion limit"),
    ] {
        let template = ChatTemplate::new(source).unwrap();
        let message = template.render(&[Message::user("u")], &special(), true).unwrap_err().to_string();
        assert!(message.contains(expected), "{source}: {message}");
    }
}
