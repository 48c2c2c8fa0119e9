use serde_json::json;

use super::*;

fn lines(values: &[Value]) -> Vec<Map<String, Value>> {
    values.iter().map(|value| value.as_object().unwrap().clone()).collect()
}

fn series(values: &[f64]) -> Vec<Option<f64>> {
    values.iter().map(|value| Some(*value)).collect()
}

#[test]
fn a_small_run_exactly() {
    let line = |step: usize, score: Value, kl: f64, generate: f64| {
        json!({
            "step": step, "objective/kl": kl, "objective/scores": score, "objective/scores/brevity": -0.5,
            "timing/generate": generate, "timing/update": 1.0, "lr": 3e-6, "memory/peak_bytes": 13_200_000_000_u64,
        })
    };
    let lines = lines(&[
        line(1, json!(0.0), 0.02, 2.0),
        line(2, json!(null), 0.5, 3.0),
        line(3, json!(7.0), 1.25, 4.0),
        line(4, json!(3.5), 1.0, 3.0),
    ]);
    let expected = "\
policy: step 4 of 100, 4 %, about 6 min 24 s left, 16 s so far
reward                                 first    last     min     max
  objective/scores          ▁ █▅           0     3.5       0       7
  objective/scores/brevity  ▄▄▄▄        -0.5    -0.5    -0.5    -0.5
distance
  objective/kl              ▁▄█▇        0.02       1    0.02    1.25
training
  lr                        ▄▄▄▄        3e-6    3e-6    3e-6    3e-6
memory
  memory/peak_bytes         ▄▄▄▄       13.2G   13.2G   13.2G   13.2G
time                                   share  a step
  timing/generate           ██████      75 %     3 s
  timing/update             ██          25 %     1 s
";
    assert_eq!(view(&lines, "policy", 80, Some(100)), expected);
    let narrow = "\
policy: step 4, 16 s so far
reward                                 first
  objective/scores          ▁ █▅           0
";
    assert!(view(&lines, "policy", 46, None).starts_with(narrow));
}

#[test]
fn lines_fill_the_width() {
    let line = |step: i32| json!({"objective/kl": -2.63e-6 * f64::from(step), "timing/update": 1.0});
    let values: Vec<Value> = (1..=500).map(line).collect();
    for width in [60, 80, 200] {
        let text = view(&lines(&values), "policy", width, None);
        assert_eq!(text.lines().map(|line| line.chars().count()).max(), Some(width));
    }
    // Behind "  timing/update  " and before four columns of "-2.63e-6" with two blanks each.
    let text = view(&lines(&values), "policy", 80, None);
    assert_eq!(text.chars().filter(|char| "▁▂▃▄▅▆▇█".contains(*char)).count(), 2 * (80 - 17 - 40));
}

#[test]
fn long_names_lose_their_beginning() {
    let name = |n: usize| format!("objective/scores/{}", "x".repeat(n - 17));
    let label = |n| Row::new(&[], &name(n)).label;
    assert_eq!(label(32), name(32));
    assert_eq!(label(33), format!("…{}", &name(33)[2..]));
}

#[test]
fn sparklines() {
    assert_eq!(sparkline(&series(&[0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, 7.0]), 8), "▁▂▃▄▅▆▇█");
    assert_eq!(sparkline(&series(&[-1.0, 1.0, -1.0]), 9), "▁█▁", "no more cells than values");
    assert_eq!(sparkline(&series(&[0.0, 2.0, 5.0, 9.0]), 2), "▁█", "the means 1 and 7");
    // Means 1, 4, 8 of 1; 3 and 5; 8.
    assert_eq!(sparkline(&[Some(1.0), None, Some(3.0), Some(5.0), Some(8.0), None], 3), "▁▄█");
    assert_eq!(sparkline(&[Some(2.0), None, None, Some(2.0)], 4), "▄  ▄");
    assert_eq!(sparkline(&[None, None, Some(1.0), Some(3.0)], 2), " ▄");
    assert_eq!(sparkline(&series(&[f64::MIN, 0.0, f64::MAX]), 3), "▁▅█");
    assert_eq!(sparkline(&series(&[f64::MAX; 4]), 2), "▄▄");
    assert_eq!(sparkline(&[], 4), "");
    assert_eq!(sparkline(&series(&[1.0, 2.0]), 0), "");
}

#[test]
fn bars() {
    let cases =
        [(0.0, ""), (0.5, "██"), (1.0, "████"), (7.0, "████"), (0.3125, "█▎"), (0.03, "▏"), (f64::NAN, "")];
    for (share, expected) in cases {
        assert_eq!(bar(share, 4), expected, "{share}");
    }
}

#[test]
fn durations() {
    let cases = [
        (0.25, "0.25 s"),
        (59.2, "59.2 s"),
        (59.97, "1 min 0 s"),
        (754.0, "12 min 34 s"),
        (3.0 * 3600.0 + 359.0, "3 h 5 min"),
        (200_000.0, "2 d 7 h"),
    ];
    for (seconds, expected) in cases {
        assert_eq!(duration(seconds), expected);
    }
}

#[test]
fn the_time_left_is_by_the_latest_steps() {
    let seconds = |step| if step <= 50 { 100.0 } else { 2.0 };
    let values: Vec<Value> =
        (1..=100).map(|step| json!({"step": step, "timing/update": seconds(step)})).collect();
    let first = |total| view(&lines(&values), "policy", 100, Some(total)).lines().next().unwrap().to_owned();
    assert_eq!(first(130), "policy: step 100 of 130, 77 %, about 1 min 0 s left, 1 h 25 min so far");
    assert_eq!(first(100), "policy: step 100 of 100, 100 %, 1 h 25 min so far");
    assert_eq!(first(0), "policy: step 100 of 0, 100 %, 1 h 25 min so far");
}

#[test]
fn nothing_that_a_file_may_hold_makes_it_panic() {
    assert_eq!(view(&[], "policy", 80, Some(10)), "policy: no step yet\n");
    assert_eq!(view(&lines(&[json!({})]), "a\u{1b}[2Jb\n", 80, None), "a?[2Jb?: step 1\n");
    let values = [
        json!(null),
        json!("NaN"),
        json!([1]),
        json!(-1),
        json!(1e308),
        json!(u64::MAX),
        json!(5e-324),
        json!(true),
    ];
    let names = [
        "step",
        "objective/scores",
        "objective/scores/",
        "objective/level/ü\n名前 with a name that is far longer than anybody would like to read",
        "lr",
        "timing/",
        "timing/a",
        "memory/peak_bytes",
    ];
    for shift in 0..values.len() {
        let line = |row: usize| {
            let pairs = names.iter().enumerate();
            let pairs = pairs.map(|(index, name)| {
                ((*name).to_owned(), values[(index * (row + 1) + shift + row) % values.len()].clone())
            });
            pairs.collect::<Map<String, Value>>()
        };
        let lines: Vec<_> = (0..70).map(line).collect();
        for width in [0, 1, 7, 20, 41, 80, 1000, usize::MAX] {
            for total in [None, Some(0), Some(usize::MAX)] {
                for n in [1, 2, 70] {
                    let text = view(&lines[..n], "policy", width, total);
                    assert!(text.lines().all(|line| line.chars().count() <= width));
                }
            }
        }
    }
}
