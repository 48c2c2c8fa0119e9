use super::*;

/// A step of a run without trouble.
fn healthy(step: usize) -> Vitals {
    let done = step as f64 / 400.0;
    // Between -1 and 1, without a period that a window could hide.
    let noise = (step as f64 * 12.9898).sin();
    Vitals {
        step,
        score: -0.4 + done + 0.1 * noise,
        kl: 0.02 + 12.0 * done + 0.5 * noise,
        entropy: 4.6 - 3.0 * done + 0.2 * noise,
        mean_length: 32.0 + 20.0 * done + 6.0 * noise,
        grad_norm: 2.0 * noise.exp(),
        ratio_error: 0.1 + 0.1 * noise,
        repeated: 0.05 + 0.02 * noise,
        clipped_ratio: 0.25 + 0.1 * noise,
        held_out: step
            .is_multiple_of(25)
            .then_some((-0.4 + done + 0.02 * noise, -0.5 + 0.3 * done + 0.02 * noise)),
    }
}

/// What goes wrong with a step.
type Change = fn(&mut Vitals);

/// The steps of a sign that is not told of.
const NEVER: [usize; 0] = [];

fn monitor() -> Monitor {
    Monitor::new(MonitorConfig::default()).unwrap()
}

/// Sixty healthy steps, then what `change` makes of sixty more; returns what is told of, and when.
fn told(change: impl Fn(&mut Vitals)) -> Vec<(usize, Sign)> {
    let mut monitor = monitor();
    let vitals = (1..=120).map(|step| {
        let mut vitals = Vitals { held_out: None, ..healthy(step) };
        if step > 60 {
            change(&mut vitals);
        }
        vitals
    });
    vitals.flat_map(|vitals| monitor.observe(&vitals)).map(|warning| (warning.step, warning.sign)).collect()
}

#[test]
fn a_healthy_run_is_silent() {
    let mut monitor = monitor();
    for step in 1..=400 {
        assert_eq!(monitor.observe(&healthy(step)), [], "step {step}");
    }
    assert_eq!(monitor.active().count(), 0);
}

#[test]
fn each_sign_is_told_of_once_after_it_lasted() {
    let cases: [(Sign, Change); 8] = [
        (Sign::EntropyCollapse, |vitals| vitals.entropy = 0.4),
        (Sign::LengthCollapse, |vitals| vitals.mean_length = 5.0),
        (Sign::LengthExplosion, |vitals| vitals.mean_length = 120.0),
        (Sign::LengthExplosion, |vitals| vitals.clipped_ratio = 0.95),
        (Sign::RepeatedText, |vitals| vitals.repeated = 0.6),
        (Sign::KlDivergence, |vitals| vitals.kl = 51.0),
        (Sign::KlDivergence, |vitals| vitals.kl = -51.0),
        (Sign::RatioDivergence, |vitals| vitals.ratio_error = 1.5),
    ];
    for (sign, change) in cases {
        assert_eq!(told(change), [(63, sign)]);
    }
}

#[test]
fn the_opposite_is_no_sign() {
    let cases: [Change; 8] = [
        |vitals| vitals.entropy = 12.0,
        |vitals| vitals.mean_length = 90.0,
        |vitals| vitals.mean_length = 15.0,
        |vitals| vitals.clipped_ratio = 0.0,
        |vitals| vitals.repeated = 0.0,
        |vitals| vitals.kl = 0.0,
        |vitals| vitals.ratio_error = 0.0,
        |vitals| vitals.grad_norm = 0.0,
    ];
    for (index, change) in cases.into_iter().enumerate() {
        assert_eq!(told(change), [], "case {index}");
    }
}

#[test]
fn what_was_so_from_the_start_is_no_sign() {
    let mut monitor = monitor();
    for step in 1..=100 {
        let vitals =
            Vitals { repeated: 0.55, clipped_ratio: 0.95, entropy: 0.01, mean_length: 1.0, ..healthy(1) };
        assert_eq!(monitor.observe(&Vitals { step, ..vitals }), []);
    }
}

#[test]
fn a_gradient_spike_is_told_of_at_once_but_not_before_it_is_known_what_is_usual() {
    assert_eq!(
        told(|vitals| vitals.grad_norm *= if vitals.step == 80 { 60.0 } else { 1.0 }),
        [(80, Sign::GradientSpike)]
    );
    let mut monitor = monitor();
    // The median of 1 to 20 is 10.5.
    for step in 1..=20 {
        let grad_norm = if step == 20 { 20.0 } else { step as f64 };
        assert_eq!(monitor.observe(&Vitals { step, grad_norm, ..Vitals::default() }), []);
    }
    let spike = |grad_norm| monitor.clone().observe(&Vitals { step: 21, grad_norm, ..Vitals::default() });
    assert_eq!(spike(105.0), []);
    let message = spike(105.1)[0].message.clone();
    assert!(
        message.starts_with("the gradient norm is 105, the median of the 20 steps before is 10.5:"),
        "{message}"
    );
}

#[test]
fn numbers_that_are_not_finite_are_told_of_at_once_and_leave_the_state_readable() {
    for bad in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
        let mut monitor = monitor();
        let all = Vitals {
            step: 1,
            score: bad,
            kl: bad,
            entropy: bad,
            mean_length: bad,
            grad_norm: bad,
            ratio_error: bad,
            repeated: bad,
            clipped_ratio: bad,
            held_out: Some((bad, bad)),
        };
        let signs: Vec<Sign> = monitor.observe(&all).into_iter().map(|warning| warning.sign).collect();
        assert_eq!(signs, [Sign::KlDivergence, Sign::RatioDivergence, Sign::GradientSpike]);
        let text = serde_json::to_string(monitor.state()).unwrap();
        assert_eq!(serde_json::from_str::<MonitorState>(&text).unwrap(), *monitor.state());
    }
}

/// The steps at which reward hacking is told of, one look per step.
fn hacked(looks: &[(f64, f64)]) -> Vec<usize> {
    let config = MonitorConfig { held_out_looks: 3, proxy_rise: 0.05, ..MonitorConfig::default() };
    let mut monitor = Monitor::new(config).unwrap();
    let steps = looks.iter().enumerate().flat_map(|(step, &look)| {
        let between = monitor.observe(&Vitals { step, ..Vitals::default() });
        assert_eq!(between, [], "without a look there is nothing to say");
        monitor.observe(&Vitals { step, held_out: Some(look), ..Vitals::default() })
    });
    steps
        .inspect(|warning| assert_eq!(warning.sign, Sign::RewardHacking))
        .map(|warning| warning.step)
        .collect()
}

#[test]
fn reward_hacking_is_a_proxy_that_rises_while_gold_falls() {
    assert_eq!(hacked(&[(0.0, 1.0), (0.1, 0.9), (0.2, 0.8)]), [2]);
    assert_eq!(hacked(&[(0.0, 1.0), (0.1, 0.9)]), NEVER, "too few looks");
    assert_eq!(hacked(&[(0.0, 1.0), (0.1, 1.1), (0.2, 1.2)]), NEVER, "both rise");
    assert_eq!(hacked(&[(0.2, 1.0), (0.1, 0.9), (0.0, 0.8)]), NEVER, "both fall");
    assert_eq!(hacked(&[(0.2, 0.8), (0.1, 0.9), (0.0, 1.0)]), NEVER, "the opposite");
    assert_eq!(
        hacked(&[(0.0, 1.0), (0.02, 0.9), (0.04, 0.8)]),
        NEVER,
        "the proxy rises by less than the tolerance"
    );
    assert_eq!(
        hacked(&[(0.0, 1.0), (0.1, 0.98), (0.2, 0.96)]),
        NEVER,
        "gold falls by less than the tolerance"
    );
    assert_eq!(hacked(&[(0.0, 1.0), (0.1, 0.7), (0.2, 0.8)]), NEVER, "gold went up again");
    // Told of at look 2, gone at looks 3 to 5, there again at look 7.
    let again =
        [(0.0, 1.0), (0.1, 0.9), (0.2, 0.8), (0.2, 0.9), (0.2, 0.9), (0.2, 0.9), (0.3, 0.8), (0.4, 0.7)];
    assert_eq!(hacked(&again), [2, 7]);
}

#[test]
fn a_sign_is_told_of_again_only_after_it_was_gone_for_a_while() {
    let run = |sick: &dyn Fn(usize) -> bool| -> Vec<usize> {
        let mut monitor = monitor();
        let kl = |step| if sick(step) { 60.0 } else { 1.0 };
        let steps = (1..=200).map(|step| Vitals { step, kl: kl(step), ..Vitals::default() });
        steps.flat_map(|vitals| monitor.observe(&vitals)).map(|warning| warning.step).collect()
    };
    assert_eq!(run(&|step| step >= 10), [12]);
    assert_eq!(run(&|step| step % 3 != 0), NEVER, "never three in a row");
    assert_eq!(run(&|step| (10..50).contains(&step) || step >= 69), [12], "gone for 19 steps");
    assert_eq!(run(&|step| (10..50).contains(&step) || step >= 70), [12, 72], "gone for 20 steps");
}

#[test]
fn a_run_taken_up_again_goes_on_as_if_it_had_not_stopped() {
    let vitals = |step| Vitals { entropy: if step > 60 { 0.1 } else { 4.0 }, ..healthy(step) };
    let mut whole = monitor();
    let expected: Vec<Warning> = (1..=100).flat_map(|step| whole.observe(&vitals(step))).collect();
    assert_eq!(expected.iter().map(|warning| warning.step).collect::<Vec<_>>(), [63]);
    for stop in [0, 3, 61, 62, 63, 80] {
        let mut monitor = monitor();
        let mut found: Vec<Warning> = (1..=stop).flat_map(|step| monitor.observe(&vitals(step))).collect();
        let text = serde_json::to_string(monitor.state()).unwrap();
        let state = serde_json::from_str(&text).unwrap();
        let mut monitor = Monitor::resume(MonitorConfig::default(), state).unwrap();
        found.extend((stop + 1..=100).flat_map(|step| monitor.observe(&vitals(step))));
        assert_eq!((found, monitor.state()), (expected.clone(), whole.state()), "stopped after {stop}");
    }
}

#[test]
fn messages_say_the_number_and_what_it_was() {
    let mut monitor = monitor();
    let start =
        Vitals { entropy: 2.0, mean_length: 100.0, clipped_ratio: 0.1, score: 0.5, ..Vitals::default() };
    let sick = Vitals { entropy: 0.05, mean_length: 20.0, repeated: 0.75, score: 1.5, ..start };
    let warnings =
        (1..=8).flat_map(|step| monitor.observe(&Vitals { step, ..if step > 5 { sick } else { start } }));
    let messages: Vec<String> = warnings.map(|warning| warning.message).collect();
    let beginnings = [
        "entropy is 0.05 nats a token, 2 at the start (score 1.5, 0.5 at the start): ",
        "answers have 20 tokens on average, 100 at the start (score 1.5, 0.5 at the start): ",
        "75 % of the text repeats itself, 0 % at the start (score 1.5, 0.5 at the start): ",
    ];
    assert_eq!(messages.len(), beginnings.len());
    for (message, beginning) in messages.iter().zip(beginnings) {
        assert!(message.starts_with(beginning), "{message}");
    }
}

#[test]
fn names_and_tables_of_recipes() {
    let names: Vec<String> = Sign::ALL.iter().map(|sign| serde_json::to_string(sign).unwrap()).collect();
    assert_eq!(names, Sign::ALL.map(|sign| format!("\"{sign}\"")));
    let config: MonitorConfig = serde_json::from_str(r#"{"kl_above": 20.0}"#).unwrap();
    assert_eq!(config, MonitorConfig { kl_above: 20.0, ..MonitorConfig::default() });
    assert!(serde_json::from_str::<MonitorConfig>(r#"{"kl": 20.0}"#).is_err());
    assert_eq!(MonitorConfig::default().check(), Ok(()));
    let error = |config: MonitorConfig| Monitor::new(config).unwrap_err().to_string();
    let default = MonitorConfig::default;
    assert_eq!(
        error(MonitorConfig { entropy_below: 10.0, ..default() }),
        "entropy_below: 10, expected a share between 0 and 1"
    );
    assert_eq!(
        error(MonitorConfig { kl_above: f64::NAN, ..default() }),
        "kl_above: NaN, expected more than 0"
    );
    assert_eq!(
        error(MonitorConfig { held_out_looks: 1, ..default() }),
        "held_out_looks: 1, expected at least 2"
    );
}

#[test]
fn repeated_ngrams_of_an_answer() {
    assert_eq!(repeated_ngrams(&[], 4), 0.0);
    assert_eq!(repeated_ngrams(&[7, 7, 7], 4), 0.0, "too short");
    assert_eq!(repeated_ngrams(&[7, 7, 7], 0), 0.0);
    assert_eq!(repeated_ngrams(&[1, 2, 3, 4], 4), 0.0);
    // Five 4-grams, of which 1 2 3 4 occurs twice.
    assert_eq!(repeated_ngrams(&[1, 2, 3, 4, 1, 2, 3, 4], 4), 0.2);
    // Seven alike, six of which occurred before.
    assert_eq!(repeated_ngrams(&[5; 10], 4), 6.0 / 7.0);
    assert_eq!(repeated_ngrams(&[5], usize::MAX), 0.0);
}

/// Looks of a run that went wrong: a reward model of 1000 labels with noise of 0.3, and no weight on the divergence.
///
/// Its judge's score was highest after step 110; every tenth step was looked at.
#[test]
fn a_reward_that_was_gamed_is_noticed_soon_after_the_judges_score_was_highest() {
    const LOOKS: [(f64, f64); 21] = [
        (-0.062, -0.151),
        (-0.066, -0.140),
        (-0.060, -0.074),
        (-0.051, -0.068),
        (-0.039, -0.053),
        (-0.026, -0.112),
        (0.011, 0.052),
        (0.030, 0.119),
        (0.046, 0.061),
        (0.059, 0.030),
        (0.065, 0.084),
        (0.068, 0.122),
        (0.074, 0.004),
        (0.085, -0.026),
        (0.089, -0.044),
        (0.093, -0.086),
        (0.101, -0.081),
        (0.100, -0.093),
        (0.102, -0.078),
        (0.102, -0.070),
        (0.102, -0.079),
    ];
    let mut monitor = Monitor::new(MonitorConfig::default()).unwrap();
    let told: Vec<usize> = LOOKS
        .into_iter()
        .enumerate()
        .flat_map(|(index, look)| {
            let vitals = Vitals {
                step: 10 * index,
                entropy: 1.0,
                mean_length: 28.0,
                held_out: Some(look),
                ..Vitals::default()
            };
            monitor.observe(&vitals)
        })
        .filter(|warning| warning.sign == Sign::RewardHacking)
        .map(|warning| warning.step)
        .collect();
    assert_eq!(told, [140]);
}
