//! Policy optimisation: every algorithm, what is kept of it, and what stops it.

use std::path::Path;
use std::time::Duration;

use serde_json::Value;

use crate::fake_server::{FakeServer, Speaks};
use crate::running::{quietly, wait_for};
use crate::{assert_success, command, failure, moslim, tiny};

fn lines(out: &Path, log: &str) -> Vec<Value> {
    let text = std::fs::read_to_string(out.join("metrics").join(format!("{log}.jsonl"))).unwrap();
    text.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn bytes(out: &Path, file: &str) -> Vec<u8> {
    let path = out.join(file);
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A log without what is measured by clocks, and in memory.
fn without_measures(out: &Path, log: &str) -> Vec<Value> {
    let mut lines = lines(out, log);
    for line in &mut lines {
        let measured = |key: &str| key == "time" || key.starts_with("timing/") || key.starts_with("memory/");
        line.as_object_mut().unwrap().retain(|key, _| !measured(key));
    }
    lines
}

#[test]
fn every_algorithm_trains_a_policy_and_tells_how() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert_success(&tiny("reward fit", &out, &[]).output().unwrap());
    let mut policies = Vec::new();
    for (algorithm, changes, metric) in [
        ("rloo", &[][..], "policy/clipfrac_avg"),
        ("ppo", &["policy.ppo.value_model=reward_model"], "loss/value_avg"),
        ("online-dpo", &["policy.online_dpo.loss_type=ipo"], "rewards/margins"),
        ("best-of-n", &["policy.best_of_n.select=top"], "val/ratio"),
        ("grpo", &["policy.grpo.multi_objective_aggregation=normalize_then_sum"], "policy/approxkl_avg"),
    ] {
        // Both read the same, so that they agree at first.
        let changes = [changes, &["policy.training.reference_prompt=with_request"]].concat();
        assert_success(&tiny(algorithm, &out, &changes).output().unwrap());
        let steps = lines(&out, "policy");
        assert_eq!(steps.len(), 3, "{algorithm}");
        for key in [metric, "objective/scores", "objective/kl", "objective/level/honesty", "timing/update"] {
            assert!(steps[2][key].is_number(), "{algorithm}: {key}: {}", steps[2]);
        }
        let looks = lines(&out, "snapshots");
        assert!(looks[0]["objective/kl_whole"].as_f64().unwrap().abs() < 1e-6, "{algorithm}");
        assert!(looks[2]["objective/kl_whole"].as_f64().unwrap() > 0.0, "{algorithm}");
        let completion = &lines(&out, "completions")[0];
        assert!(completion["response"].is_string() && completion["terms"]["honesty"]["level"].is_number());
        policies.push(bytes(&out, "policy/model.safetensors"));
    }
    policies.sort();
    policies.dedup();
    assert_eq!(policies.len(), 5, "each algorithm makes another policy");
    let card = std::fs::read_to_string(out.join("policy/README.md")).unwrap();
    assert!(card.contains("GRPO"), "{card}");

    let view = moslim(&["watch", out.to_str().unwrap(), "--width", "90"]);
    assert_success(&view);
    let view = String::from_utf8(view.stdout).unwrap();
    assert!(view.starts_with("policy: step 3 of 3") && view.contains("objective/scores"), "{view}");
    assert!(!bytes(&out, "metrics/tensorboard/events.out.tfevents.0000000000.moslim").is_empty());
}

/// The policy of the best look; with so high a learning rate it is not the last.
const BEST: &str = "policy-best/model.safetensors";

/// A longer policy optimisation, with a checkpoint after every step of every stage.
const LONGER: [&str; 9] = [
    "policy.max_steps=30",
    "policy.save_steps=1",
    "policy.keep_best=true",
    "policy.training.optimizer.learning_rate=0.05",
    "sft.save_steps=1",
    "reward_model.save_steps=1",
    "policy.training.num_mini_batches=2",
    "mapping.kind={ z_running = { momentum = 0.5 } }",
    "policy.ppo.kl={ beta = 0.05, placement = \"reward\", adaptive = { target = 0.01, horizon = 100.0 } }",
];

/// Fine-tuning on levels between that on answers and the reward model.
const CONDITIONAL: &str = "conditional_sft={ free = 0.2, num_train_epochs = 1.0, batch_size = 16, micro_batch_size = 8, \
    save_steps = 1, optimizer = { learning_rate = 0.01, warmup_ratio = 0.0, lr_scheduler_type = \"linear\", adam_beta1 = 0.9, \
    adam_beta2 = 0.95, adam_epsilon = 1e-8, weight_decay = 0.0, max_grad_norm = 1.0 } }";

fn resume(out: &Path) -> std::process::Command {
    let mut resume = command(&["train", "--quiet", "--resume"]);
    resume.arg(out);
    resume
}

#[test]
fn a_run_that_is_killed_goes_on_and_ends_in_the_same_bytes() {
    for (algorithm, more) in [("rloo", CONDITIONAL), ("ppo", "seed=0")] {
        let folder = tempfile::tempdir().unwrap();
        let [straight, killed] = ["straight", "killed"].map(|name| folder.path().join(name));
        let algorithm = format!("policy.algorithm={algorithm}");
        let changes = [&LONGER[..], &[&algorithm, more]].concat();
        assert_success(&tiny("train", &straight, &changes).output().unwrap());

        // In every stage, and twice in the last.
        let mut child = quietly(tiny("train", &killed, &changes));
        let conditional = (more == CONDITIONAL).then_some("checkpoints/conditional_sft/step-00000005");
        let moments = ["checkpoints/sft/step-00000004"].into_iter().chain(conditional).chain([
            "checkpoints/reward_model/step-00000003",
            "checkpoints/policy/step-00000005",
            "checkpoints/policy/step-00000017",
        ]);
        for moment in moments {
            wait_for(&killed.join(moment), &mut child);
            drop(child);
            child = quietly(resume(&killed));
        }
        assert_success(&child.output());
        for file in ["start", "reward-model", "policy"].map(|folder| format!("{folder}/model.safetensors")) {
            assert_eq!(bytes(&straight, &file), bytes(&killed, &file), "{algorithm}: {file}");
        }
        let [best, its_best] = [&straight, &killed].map(|out| std::fs::read(out.join(BEST)).ok());
        assert!(best.is_some() && best == its_best, "{algorithm}: the best of the looks");
        for log in ["policy", "snapshots", "completions", "sft", "reward_model"] {
            let [straight, killed] = [&straight, &killed].map(|out| without_measures(out, log));
            assert_eq!(straight, killed, "{algorithm}: {log}");
        }
        assert!(!killed.join("checkpoints").exists() && killed.join("report/index.html").exists());
    }
}

#[cfg(unix)]
#[test]
fn an_interrupted_run_keeps_its_step_and_refuses_other_settings_and_company() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    // No checkpoint but that of the interrupt.
    let mut child = quietly(tiny("train", &out, &["policy.max_steps=4000", "policy.save_steps=4000"]));
    wait_for(&out.join("metrics/policy.jsonl"), &mut child);
    while lines_so_far(&out) == 0 {
        std::thread::sleep(Duration::from_millis(1));
    }
    let message = failure(&resume(&out).output().unwrap(), 1);
    assert!(message.contains("another run is writing here"), "{message}");
    let interrupt =
        std::process::Command::new("kill").args(["-INT", &child.0.id().to_string()]).status().unwrap();
    assert!(interrupt.success());
    let message = failure(&child.output(), 130);
    assert!(message.contains("to go on: moslim train --resume"), "{message}");
    let done = lines_so_far(&out);
    assert!(out.join(format!("checkpoints/policy/step-{done:08}")).exists(), "{done} steps");

    let recipe = out.join("recipe.toml");
    let text = std::fs::read_to_string(&recipe).unwrap();
    std::fs::write(&recipe, text.replace("epsilon = 0.2", "epsilon = 0.3")).unwrap();
    let message = failure(&resume(&out).output().unwrap(), 1);
    assert!(message.contains("epsilon = 0.3") && message.contains("epsilon = 0.2"), "{message}");
    std::fs::write(&recipe, text).unwrap();
    // A change that is named is meant.
    let last = format!("policy.max_steps={}", done + 2);
    assert_success(&resume(&out).args(["--set", &last]).output().unwrap());
    let steps = lines(&out, "policy");
    assert_eq!(steps.len(), done + 2);
    assert!(steps.iter().enumerate().all(|(index, step)| step["step"] == index + 1));
    // From then on it is the run's, also for who names nothing; what is done is not done otherwise.
    assert_success(&resume(&out).output().unwrap());
    let message = failure(&resume(&out).args(["--set", "policy.max_steps=5"]).output().unwrap(), 1);
    assert!(message.contains("`moslim policy` done with `policy.max_steps"), "{message}");
    let message = failure(&resume(&out).args(["--set", "seed=7"]).output().unwrap(), 1);
    assert!(message.contains("seed"), "{message}");
    // Neither left a trace in the recipe.
    assert_success(&resume(&out).output().unwrap());
    let message = failure(&moslim(&["train", "--resume", "nowhere"]), 1);
    assert!(message.contains("nowhere: no recipe.toml, expected the folder of a run"), "{message}");
    let message = failure(&moslim(&["train", "quickstart", "--resume", "x"]), 2);
    assert!(message.contains("--resume"), "{message}");
}

/// Whole lines of the policy's log.
fn lines_so_far(out: &Path) -> usize {
    std::fs::read_to_string(out.join("metrics/policy.jsonl")).map_or(0, |text| text.matches('\n').count())
}

#[test]
fn a_failed_check_or_a_sign_of_trouble_stops_the_run_unless_it_may_not() {
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    assert_success(&tiny("reward fit", &out, &[]).output().unwrap());
    // One token is no answer that ends, and all scores are the same once they are cut to a point.
    let short = ["policy.training.sampling.max_new_tokens=1"];
    let message = failure(&tiny("rloo", &out, &short).output().unwrap(), 1);
    assert!(message.contains("check eos-reachable: 0 of") && message.contains("skip_checks"), "{message}");
    assert!(!out.join("policy").exists());
    let same = ["policy.training.reward_clip_range=[5.0, 6.0]"];
    let message = failure(&tiny("rloo", &out, &same).output().unwrap(), 1);
    assert!(message.contains("check reward-spread: scores have mean 5.000 and deviation 0.000"), "{message}");
    let passed = [same[0], "policy.skip_checks=[\"reward-spread\"]"];
    assert_success(&tiny("rloo", &out, &passed).output().unwrap());

    let steep = ["policy.max_steps=40", "policy.training.optimizer.learning_rate=1.0"];
    let stop = [&steep[..], &["policy.stop_on=[\"kl-divergence\", \"entropy-collapse\"]"]].concat();
    let message = failure(&tiny("rloo", &out, &stop).output().unwrap(), 1);
    assert!(message.contains("stopped, as policy.stop_on says"), "{message}");
    assert!(!lines(&out, "warnings").is_empty());
    let message = failure(&moslim(&["recipe", "--set", "policy.stop_on=[\"boredom\"]"]), 1);
    assert!(message.contains("boredom") && message.contains("entropy-collapse"), "{message}");
}

#[test]
fn a_server_writes_the_answers_and_is_given_every_version_of_the_adapter() {
    let server = FakeServer::start(Speaks::Vllm, "base");
    let folder = tempfile::tempdir().unwrap();
    let out = folder.path().join("run");
    let lora = "lora={ r = 2, lora_alpha = 4.0, target_modules = \"all-linear\" }";
    assert_success(&tiny("reward fit", &out, &[lora]).output().unwrap());
    let of_server = format!(
        "policy.rollout_server={{ kind = \"vllm\", base_url = \"{}\", model = \"base\", timeout_seconds = 20, \
         retries = 1, rows_per_request = 8 }}",
        server.url
    );
    // The server has no model, so its log-probabilities are far from ours.
    let message = failure(&tiny("grpo", &out, &[lora, &of_server]).output().unwrap(), 1);
    assert!(message.contains("check rollout-logprobs"), "{message}");
    let allowed = "policy.skip_checks=[\"rollout-logprobs\", \"eos-reachable\"]";
    let cap = "policy.training.importance_cap=2.0";
    assert_success(&tiny("grpo", &out, &[lora, &of_server, allowed, cap]).output().unwrap());
    let steps = lines(&out, "policy");
    assert!(steps.iter().all(|step| step["check/logp_rollout_train_absdiff"].as_f64().unwrap() > 0.1));
    assert!(steps.iter().all(|step| step["check/ratio_first_minibatch"].as_f64().unwrap() < 1e-4));
    // One version for the refused run, three for the other.
    assert_eq!(server.requests("/v1/load_lora_adapter").len(), 4);
    assert!(out.join("policy/model.safetensors").exists() && !out.join("rollout-weights").exists());
    let whole = failure(&tiny("grpo", &out, &[&of_server]).output().unwrap(), 1);
    assert!(whole.contains("vLLM is given adapters only"), "{whole}");
    let message = failure(&tiny("grpo", &out, &["policy.rollout_server.kind=vllm"]).output().unwrap(), 1);
    assert!(message.contains("base_url"), "{message}");
}
