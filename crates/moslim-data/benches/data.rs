//! Reading preference files, and writing requests into prompts and back.

use std::hint::black_box;
use std::path::PathBuf;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use moslim_data::{
    InspectOptions, Inspection, Objective, ObjectiveSchema, PromptCodec, PromptCodecConfig, Request,
    read_records,
};

fn schema() -> ObjectiveSchema {
    let [helpfulness, honesty] = ["helpfulness", "honesty"].map(|name| Objective::with_scale(name, 1, 5));
    ObjectiveSchema::new(vec![helpfulness, honesty, Objective::with_scale("harmlessness", 0, 1)])
        .expect("the schema is valid")
}

/// Files of about 10 MB: MOSLIM's own format with and without its objectives, and HelpSteer's.
fn read(criterion: &mut Criterion) {
    let folder = tempfile::tempdir().expect("there is a temporary folder");
    let answer = "some words of an answer, \\\"quoted\\\"\\n".repeat(30);
    let own = |i: usize| {
        let [helpfulness, honesty] = [i % 5 + 1, i % 3 + 1];
        format!(
            r#"{{"prompt": "question {i}", "response": "{answer}", "labels": {{"helpfulness": {helpfulness}, "honesty": {honesty}}}}}"#
        )
    };
    let helpsteer = |i: usize| {
        let level = i % 5;
        format!(
            r#"{{"prompt": "question {i}", "response": "{answer}", "helpfulness": {level}, "correctness": 0, "coherence": 3, "complexity": 1, "verbosity": {level}}}"#
        )
    };
    let file = |name: &str, line: &dyn Fn(usize) -> String| {
        let path = folder.path().join(name);
        let text: String = (0..8000).map(|i| line(i) + "\n").collect();
        std::fs::write(&path, &text).expect("the folder can be written");
        (path, text.len() as u64)
    };
    let (own, own_bytes) = file("own.jsonl", &own);
    let (helpsteer, helpsteer_bytes) = file("helpsteer.jsonl", &helpsteer);
    let schema = schema();
    let mut group = criterion.benchmark_group("read");
    group.sample_size(20).throughput(Throughput::Bytes(own_bytes));
    group.bench_function("own", |bencher| {
        bencher.iter(|| assert_eq!(read_records(&own, &schema).expect("it is good").len(), 8000));
    });
    let inspect = |path: &PathBuf| {
        let found = Inspection::of(std::slice::from_ref(path), InspectOptions::default());
        assert_eq!(found.expect("it is good").records, 8000);
    };
    group.bench_function("own inspected", |bencher| bencher.iter(|| inspect(&own)));
    group.throughput(Throughput::Bytes(helpsteer_bytes));
    group.bench_function("HelpSteer inspected", |bencher| bencher.iter(|| inspect(&helpsteer)));
    group.finish();
}

fn codec(criterion: &mut Criterion) {
    let schema = schema();
    let request =
        Request::parse("helpfulness=5,honesty=3.5,harmlessness=1", &schema).expect("the request is valid");
    for (name, config) in
        [("cpo_tokens", PromptCodecConfig::cpo_tokens()), ("level_list", PromptCodecConfig::level_list())]
    {
        let codec = PromptCodec::new(config, &schema).expect("the presets are valid");
        for n_words in [10, 1000] {
            let prompt = "word ".repeat(n_words);
            let text = codec.render(&prompt, &request).expect("the prompt holds no items");
            criterion.bench_function(&format!("render/{name}/{n_words}"), |bencher| {
                bencher.iter(|| assert!(codec.render(black_box(&prompt), &request).is_ok()));
            });
            criterion.bench_function(&format!("parse/{name}/{n_words}"), |bencher| {
                bencher
                    .iter(|| assert!(codec.parse(black_box(&text)).is_ok_and(|(_, read)| read == request)));
            });
        }
    }
}

criterion_group!(benches, read, codec);
criterion_main!(benches);
