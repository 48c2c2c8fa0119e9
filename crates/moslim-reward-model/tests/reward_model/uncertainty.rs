//! Where opinions on an answer come from, and where they differ.

use std::sync::Arc;

use burn::module::Module;
use burn::tensor::Device;
use moslim_data::LabeledResponse;
use moslim_lm::Precision;
use moslim_reward_model::*;
use rand::SeedableRng;
use rand::rngs::ChaCha8Rng;
use serde_json::{Value, json};

use crate::support::*;

fn judged(model: &RewardModelFolder, records: &[LabeledResponse]) -> Vec<Judgement> {
    let answers = exchanges(records);
    model.classify(&answers.iter().map(LabeledExchange::exchange).collect::<Vec<_>>())
}

/// A trained model with each kind of uncertainty.
fn uncertain() -> [RewardModelFolder; 3] {
    let train = records(300, 0, |_| [true, true]);
    let heads = both(HeadKind::Softmax);
    let model = fit_heads(&train, &heads, &config(2.0));
    let (set, config) = (data(&train, &heads), config(2.0));
    let posteriors = fit_posteriors(&model.model, &set, &config, None);
    let laplace = Uncertainty::Laplace { posteriors, draws: 32, seed: 5 };
    let features = Arc::new(Features::of(&model.model, &set, Precision::F32));
    let member = |seed| {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let drawn = set.bootstrapped(&mut rng);
        let fresh = model.model.clone().train().with_fresh_heads(&heads, &mut rng);
        let mut trainer = Trainer::on_features(fresh, &drawn, &config, seed, features.clone());
        while trainer.step().is_some() {}
        EnsembleMember { heads: trainer.model().valid().heads().to_vec(), readers: model.readers.clone() }
    };
    let ensemble = Uncertainty::Heads((1..4).map(member).collect());
    let other = fit_heads(&records(300, 8, |_| [true, true]), &heads, &config);
    [laplace, ensemble, Uncertainty::Models(vec![other])]
        .map(|uncertainty| RewardModelFolder { uncertainty: Some(uncertainty), ..model.clone() })
}

#[test]
fn opinions_survive_the_folder_and_are_those_of_the_model() {
    let held_out = records(12, 5, |_| [true, true]);
    for (model, n) in uncertain().iter().zip([32, 4, 2]) {
        let expected = judged(model, &held_out);
        assert!(expected.iter().all(|answer| answer.opinions.len() == n));
        let own: Vec<_> = expected.iter().map(|answer| answer.probabilities.0.clone()).collect();
        assert_eq!(own, probabilities(model, &held_out));
        let folder = tempfile::tempdir().unwrap();
        model.write_into(folder.path()).unwrap();
        let read = RewardModelFolder::read(folder.path(), &Device::default()).unwrap();
        assert_eq!(judged(&read, &held_out), expected);
        let (first, rest) = (judged(&read, &held_out[..1]), &expected[..1]);
        assert_eq!(first, rest, "an answer has the same opinions alone");
    }
}

#[test]
fn the_mean_of_many_draws_is_near_the_model_and_their_spread_is_the_posterior() {
    let [model, ..] = uncertain();
    let held_out = records(12, 5, |_| [true, true]);
    let answers = exchanges(&held_out);
    let answers: Vec<_> = answers.iter().map(LabeledExchange::exchange).collect();
    let closed = model.output_deviations(&answers).unwrap();
    for (answer, closed) in judged(&model, &held_out).iter().zip(&closed) {
        // Two centred logits are ± half of their gap, ln p₁ − ln p₀; draws come in opposite pairs of variance 1.
        let gap = |p: &[f64]| p[1].ln() - p[0].ln();
        let gaps: Vec<f64> = answer.opinions.iter().map(|opinion| gap(&opinion.0[1])).collect();
        let mean = gaps.iter().sum::<f64>() / gaps.len() as f64;
        assert!((mean - gap(&answer.probabilities.0[1])).abs() < 1e-3);
        let deviation = (gaps.iter().map(|g| (g - mean).powi(2)).sum::<f64>() / gaps.len() as f64).sqrt();
        assert!((deviation / (2.0 * closed[1][0]) - 1.0).abs() < 1e-3, "{deviation} {closed:?}");
        assert!((closed[1][0] - closed[1][1]).abs() < 1e-6);
    }
}

#[test]
fn strange_answers_divide_opinions() {
    let held_out = records(40, 5, |_| [true, true]);
    // Far more repetitions than any answer of training has.
    let strange: Vec<LabeledResponse> = (0..40)
        .map(|n| LabeledResponse::new("go", "pong ".repeat(6 + n % 5).trim().to_owned(), vec![None, None]))
        .collect();
    for (model, name) in uncertain().iter().zip(["Laplace", "heads", "models"]) {
        let mean = |records: &[LabeledResponse]| {
            let deviations = judged(model, records).into_iter().map(|answer| answer.level_deviations()[0]);
            deviations.sum::<f64>() / records.len() as f64
        };
        assert!(mean(&strange) > 1.2 * mean(&held_out), "{name}: {} {}", mean(&strange), mean(&held_out));
    }
}

#[test]
fn damaged_uncertainty_is_refused() {
    let [laplace, ensemble, models] = uncertain();
    let refused =
        |model: &RewardModelFolder, change: &dyn Fn(&std::path::Path, &mut Value), expected: &str| {
            let folder = tempfile::tempdir().unwrap();
            model.write_into(folder.path()).unwrap();
            let path = folder.path().join("objectives.json");
            let mut file: Value = serde_json::from_str(&std::fs::read_to_string(&path).unwrap()).unwrap();
            change(folder.path(), &mut file);
            std::fs::write(&path, file.to_string()).unwrap();
            let message = RewardModelFolder::read(folder.path(), &Device::default()).unwrap_err().to_string();
            assert!(message.contains(expected), "{message}");
        };
    let weights = "uncertainty.safetensors";
    refused(
        &laplace,
        &|_, file| file["uncertainty"]["laplace"]["draws"] = json!(3),
        "an even number of draws",
    );
    refused(&laplace, &|_, file| file["uncertainty"]["laplace"]["draws"] = json!(1u64 << 40), "1 to 4096");
    refused(&laplace, &|folder, _| std::fs::remove_file(folder.join(weights)).unwrap(), weights);
    refused(&laplace, &|folder, _| std::fs::write(folder.join(weights), "{}").unwrap(), weights);
    refused(&ensemble, &|_, file| file["uncertainty"]["head_ensemble"]["readers"] = json!([]), "0 opinions");
    refused(
        &ensemble,
        &|_, file| file["uncertainty"]["head_ensemble"]["readers"][0] = json!([]),
        "readers of 0 heads",
    );
    let one_more = |_: &std::path::Path, file: &mut Value| {
        let readers = file["uncertainty"]["head_ensemble"]["readers"].as_array_mut().unwrap();
        readers.push(readers[0].clone());
    };
    refused(&ensemble, &one_more, weights);
    refused(&models, &|_, file| file["uncertainty"]["model_ensemble"]["members"] = json!(2), "members/2");
}
