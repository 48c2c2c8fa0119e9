use super::*;

const SMALL: [&str; 9] = [
    "data.sft_answers=64",
    "data.labeled_answers=64",
    "data.held_out_answers=20",
    "model.hidden_size=16",
    "model.intermediate_size=32",
    "model.num_hidden_layers=1",
    "model.num_attention_heads=2",
    "model.num_key_value_heads=1",
    "model.tie_word_embeddings=true",
];

fn plan(changes: &[&str]) -> Plan {
    let changes: Vec<String> = SMALL.iter().chain(changes).map(ToString::to_string).collect();
    let recipe = Recipe::read("quickstart", &changes).unwrap();
    Plan::of(&recipe, &Datasets::of(&recipe).unwrap(), &Device::flex()).unwrap()
}

#[test]
fn weights_gradients_and_moments_by_hand() {
    let plan = plan(&[]);
    let stages: Vec<&str> = plan.stages.iter().map(|stage| stage.stage).collect();
    assert_eq!(stages, ["fine-tuning", "reward model", "policy", "evaluation"]);
    let [sft, fit, policy, evaluation] = &plan.stages[..] else { panic!("four stages") };

    // One layer: q 16×16, k and v 16×8, o 16×16, gate, up and down 16×32, two norms of 16; one norm of 16 at the end.
    let of_layer = 16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32 + 2 * 16;
    let vocabulary = (sft.weights / 4.0 - f64::from(of_layer + 16)) / 16.0;
    assert!(vocabulary.fract() == 0.0 && vocabulary > 50.0, "{vocabulary} tokens");
    // Twelve rows of heads: five levels, five and two.
    let heads = 12.0 * 16.0 * 4.0;
    assert_eq!(fit.weights, sft.weights + heads);
    assert_eq!(policy.weights, 2.0 * sft.weights + fit.weights, "policy, reference and reward model");
    assert_eq!(evaluation.weights, policy.weights, "start policy, policy and reward model");
    for stage in [sft, policy] {
        // The embedding is the vocabulary matrix too: two sums of gradients.
        let gradients = sft.weights + 4.0 * 16.0 * vocabulary;
        assert_eq!((stage.gradients, stage.optimizer), (gradients, 2.0 * sft.weights));
    }
    assert_eq!((fit.gradients, fit.optimizer), (fit.weights, 2.0 * fit.weights));
    assert_eq!((evaluation.gradients, evaluation.optimizer, evaluation.activations), (0.0, 0.0, 0.0));
    // Eight answers to each of eight prompts in a batch; one key head of 8, keys and values.
    let columns = policy.cache / (64.0 * n_lanes(&Device::flex()) as f64 * 2.0 * 8.0 * 4.0);
    assert!(columns.fract() == 0.0 && columns > 60.0, "{columns} columns");
}

#[test]
fn packed_matrices_by_hand() {
    let packed = |changes: &[&str]| -> [f64; 4] {
        let plan = plan(changes);
        [0, 1, 2, 3].map(|stage| plan.stages[stage].packed)
    };
    let plan = plan(&[]);
    let layer = f64::from(16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32);
    // Beside the matrices a model has three norms of 16; its vocabulary matrix is the embedding.
    let vocabulary = plan.stages[0].weights / 4.0 - layer - 3.0 * 16.0;
    let whole = 4.0 * (layer + vocabulary);
    // An eighth of the prompts asks for nothing, and the reference answers it.
    assert_eq!(packed(&[]), [0.0, 0.0, 2.0 * whole, whole]);
    let asking = ["policy.requests.free=0.0", "policy.requests.one=0.75"];
    assert_eq!(packed(&asking), [0.0, 0.0, whole, whole]);
    // In 16 bits the vocabulary matrix alone is packed, but for looks, which have 32.
    let bf16 = "policy.training.precision=bf16";
    let [few, many] = ["policy.eval_answers=7", "policy.eval_answers=8"];
    assert_eq!(packed(&[bf16, few])[2], 2.0 * 4.0 * vocabulary);
    assert_eq!(packed(&[bf16, many, asking[0], asking[1]])[2], whole);
    // 7 answers in a step and in a look, 2 times 3 in the evaluation.
    let few = [few, "policy.prompts_per_step=1", "policy.training.num_generations=7", "evaluation.prompts=2"];
    assert_eq!(packed(&few), [0.0; 4]);
}

#[test]
fn logits_stop_growing_where_they_are_computed_again() {
    let activations = |n: usize| {
        let size = format!("sft.micro_batch_size={n}");
        plan(&[&size]).stages[0].activations / n_lanes(&Device::flex()) as f64
    };
    let StagePlan { gradients, optimizer, .. } = plan(&[]).stages[0];
    let embedding = gradients - optimizer / 2.0;
    // What every token keeps grows with the tokens; what does not grow is the gradient of the vocabulary matrix and the logits:
    // 2²³ of 4 bytes, in whole rows.
    let [once, twice, thrice] = [1, 2, 3].map(|n| activations(n * 100_000));
    assert!((thrice - twice - (twice - once)).abs() < 1.0);
    let logits = once - (twice - once) - embedding;
    assert!(logits <= 4.0 * f64::from(1 << 23) && logits > 3.99 * f64::from(1 << 23), "{logits} bytes");
}

#[test]
fn opinions_and_frozen_backbones_by_hand() {
    let [one, models, heads, posterior] =
        ["", "model_ensemble={members=3}", "head_ensemble={members=3}", "laplace={}"].map(
            |kind| match kind {
                "" => plan(&["reward_model.backbone=frozen"]),
                kind => plan(&[&format!("reward_model.uncertainty={{{kind}}}")]),
            },
        );
    // Twelve rows of heads for each of two more members; a basis of 16 by 16 for each of three heads.
    let of_heads = 12.0 * 16.0 * 4.0;
    let more = |plan: &Plan| plan.stages[2].weights - one.stages[2].weights;
    assert_eq!((more(&heads), more(&posterior)), (2.0 * of_heads, 3.0 * 16.0 * 16.0 * 4.0));
    assert_eq!(more(&models), 2.0 * one.stages[1].weights);
    assert_eq!(models.stages[1].weights, 3.0 * one.stages[1].weights);
    assert_eq!(one.stages[1].gradients, of_heads);
}

#[test]
fn a_value_model_is_a_second_policy_in_training() {
    let policy = |kind: &str| {
        let changes = ["policy.algorithm=ppo".into(), format!("policy.ppo.value_model={kind}")];
        plan(&changes.each_ref().map(String::as_str)).stages.remove(2)
    };
    let [of_its_own, shared, rloo] = [policy("policy"), policy("shared_trunk"), plan(&[]).stages.remove(2)];
    assert_eq!(shared, rloo);
    let weights = rloo.optimizer / 2.0;
    assert_eq!(
        (of_its_own.gradients, of_its_own.optimizer),
        (rloo.gradients + weights, 2.0 * rloo.optimizer)
    );
    assert_eq!(of_its_own.weights - rloo.weights, weights);
}

#[test]
fn adapters_spare_the_reference_and_most_of_training() {
    let adapted = plan(&["lora.r=2", "lora.lora_alpha=4", r#"lora.target_modules=["q_proj", "v_proj"]"#]);
    let [_, fit, policy, _] = &adapted.stages[..] else { panic!("four stages") };
    // r · (inputs + outputs) of the two maps.
    let adapter = f64::from(2 * (16 + 16) + 2 * (16 + 8)) * 4.0;
    assert_eq!((policy.adapters, policy.gradients, policy.optimizer), (adapter, adapter, 2.0 * adapter));
    assert_eq!(fit.gradients, adapter + 12.0 * 16.0 * 4.0, "heads are trained whole");
    assert_eq!(policy.weights, plan(&[]).stages[2].weights - adapted.stages[0].weights);
}

#[test]
fn sixteen_bits_halve_what_is_frozen_and_add_a_copy_to_what_is_trained() {
    let [whole, rounded] =
        [plan(&[]), plan(&["reward_model.precision=bf16", "policy.training.precision=bf16"])];
    let layer = f64::from(16 * 16 + 2 * 16 * 8 + 16 * 16 + 3 * 16 * 32);
    let lanes = n_lanes(&Device::flex()) as f64;
    let grown = |stage: usize| rounded.stages[stage].weights - whole.stages[stage].weights;
    assert_eq!(grown(0), 0.0);
    assert_eq!(grown(1), 2.0 * lanes * layer);
    assert_eq!(grown(2), 2.0 * lanes * layer - 2.0 * 2.0 * layer, "reference and reward model are rounded");
    assert_eq!(grown(3), -2.0 * layer, "the reward model is rounded");
    for (whole, rounded) in whole.stages.iter().zip(&rounded.stages) {
        assert_eq!((whole.gradients, whole.optimizer), (rounded.gradients, rounded.optimizer));
    }
}
