//! Reading preference files, and writing requests into prompts and back.

use std::hint::black_box;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use moslim_data::{Objective, ObjectiveSchema, PromptCodec, PromptCodecConfig, RecordReader, Request};

fn schema() -> ObjectiveSchema {
    let [helpfulness, honesty] = ["helpfulness", "honesty"].map(|name| Objective::with_scale(name, 1, 5));
    ObjectiveSchema::new(vec![helpfulness, honesty, Objective::with_scale("harmlessness", 0, 1)])
        .expect("the schema is valid")
}

fn read_jsonl(criterion: &mut Criterion) {
    let schema = schema();
    let mut group = criterion.benchmark_group("read_jsonl");
    for n_records in [100, 10_000] {
        let line = |i: usize| {
            let text = "some words of an answer ".repeat(20);
            let [helpfulness, honesty] = [i % 5 + 1, i % 3 + 1];
            format!(
                r#"{{"prompt": "question {i}", "response": "{text}", "labels": {{"helpfulness": {helpfulness}, "honesty": {honesty}}}}}"#
            )
        };
        let file: String = (0..n_records).map(|i| line(i) + "\n").collect();
        group.throughput(Throughput::Bytes(file.len() as u64));
        group.bench_with_input(BenchmarkId::from_parameter(n_records), &file, |bencher, file| {
            bencher.iter(|| {
                let reader = RecordReader::new(black_box(file.as_bytes()), "bench.jsonl", &schema);
                assert_eq!(reader.filter(Result::is_ok).count(), n_records);
            });
        });
    }
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

criterion_group!(benches, read_jsonl, codec);
criterion_main!(benches);
