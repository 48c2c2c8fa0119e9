//! What each sign of trouble looks at, and what it usually means.

use super::state::MonitorState;
use super::{MonitorConfig, Sign, Vitals};
use crate::number::compact;

/// What a step says about a sign.
pub(super) enum Reading {
    /// Nothing: it was not measured, or there is no start to compare it with yet.
    Unknown,
    /// It is not there.
    Healthy,
    /// It is there.
    Sick {
        /// What is wrong.
        message: String,
        /// Whether one step is enough to be sure.
        at_once: bool,
    },
}

/// A step, and what it is compared with.
pub(super) struct Examination<'a> {
    pub(super) vitals: &'a Vitals,
    pub(super) state: &'a MonitorState,
    pub(super) config: &'a MonitorConfig,
}

impl Examination<'_> {
    /// What the step says about a sign.
    pub(super) fn read(&self, sign: Sign) -> Reading {
        match sign {
            Sign::EntropyCollapse => self.entropy_collapse(),
            Sign::LengthCollapse => self.length_collapse(),
            Sign::LengthExplosion => self.length_explosion(),
            Sign::RepeatedText => self.repeated_text(),
            Sign::KlDivergence => self.kl_divergence(),
            Sign::RatioDivergence => self.ratio_divergence(),
            Sign::GradientSpike => self.gradient_spike(),
            Sign::RewardHacking => self.reward_hacking(),
        }
    }

    fn entropy_collapse(&self) -> Reading {
        let now = self.vitals.entropy;
        let Some(start) = self.state.start.entropy.of(self.config.start_steps) else {
            return Reading::Unknown;
        };
        lasting(now, now < self.config.entropy_below * start, || {
            format!(
                "entropy is {} nats a token, {} at the start{}: the policy says nearly the same every time and has \
                 stopped exploring; a larger KL weight or a smaller learning rate slows this down",
                compact(now),
                compact(start),
                self.score_then_and_now(),
            )
        })
    }

    fn length_collapse(&self) -> Reading {
        let now = self.vitals.mean_length;
        let Some(start) = self.state.start.mean_length.of(self.config.start_steps) else {
            return Reading::Unknown;
        };
        lasting(now, now < self.config.length_below * start, || {
            format!(
                "answers have {} tokens on average, {} at the start{}: the reward prefers saying little or nothing, \
                 or the penalty on long answers is too high",
                compact(now),
                compact(start),
                self.score_then_and_now(),
            )
        })
    }

    fn length_explosion(&self) -> Reading {
        let [now, clipped_now] = [self.vitals.mean_length, self.vitals.clipped_ratio];
        let [start, clipped] = [&self.state.start.mean_length, &self.state.start.clipped_ratio]
            .map(|mean| mean.of(self.config.start_steps));
        let Some(start) = start else {
            return Reading::Unknown;
        };
        let never_ending = clipped.is_some_and(|clipped| {
            clipped_now > self.config.clipped_above && clipped_now >= self.config.growth * clipped
        });
        lasting(now, now > self.config.length_above * start || never_ending, || {
            format!(
                "answers have {} tokens on average, {} at the start, and {} of them do not end, {} at the start{}: the \
                 reward prefers long answers whatever they say, or the end token is being unlearnt; a penalty on a \
                 missing end token helps",
                compact(now),
                compact(start),
                percent(clipped_now),
                percent(clipped.unwrap_or(f64::NAN)),
                self.score_then_and_now(),
            )
        })
    }

    fn repeated_text(&self) -> Reading {
        let now = self.vitals.repeated;
        let Some(start) = self.state.start.repeated.of(self.config.start_steps) else {
            return Reading::Unknown;
        };
        let holds = now > self.config.repeated_above && now >= self.config.growth * start;
        lasting(now, holds, || {
            format!(
                "{} of the text repeats itself, {} at the start{}: the policy has found words that the reward model \
                 scores highly and says them again and again",
                percent(now),
                percent(start),
                self.score_then_and_now(),
            )
        })
    }

    fn kl_divergence(&self) -> Reading {
        let now = self.vitals.kl;
        let meaning = match now < 0.0 {
            true => {
                "so far below zero, the answers are not drawn from the policy that they are compared with: \
                 sampling leaves tokens out, or the log-probabilities are wrong"
            }
            false => {
                "the policy is far from the language it started with; a larger KL weight or a smaller learning \
                 rate holds it back"
            }
        };
        absolute("KL from the reference", now, self.config.kl_above, || {
            format!(
                "KL from the reference is {} nats an answer, the limit is {}: {meaning}",
                compact(now),
                compact(self.config.kl_above)
            )
        })
    }

    fn ratio_divergence(&self) -> Reading {
        let now = self.vitals.ratio_error;
        absolute("the probability ratio", now, self.config.ratio_error_above, || {
            format!(
                "the probability ratio of some token is off by {} before the first update, the limit is {}: sampling \
                 and training do not compute the same; precision, temperature, prompt or stale weights differ",
                compact(now),
                compact(self.config.ratio_error_above)
            )
        })
    }

    fn gradient_spike(&self) -> Reading {
        let now = self.vitals.grad_norm;
        let window = self.config.grad_norm_window;
        if !now.is_finite() {
            return not_finite("the gradient norm", now);
        }
        let Some(usual) = self.state.median_grad_norm(window) else {
            return Reading::Unknown;
        };
        if usual == 0.0 || now <= self.config.grad_norm_above * usual {
            return Reading::Healthy;
        }
        let message = format!(
            "the gradient norm is {}, the median of the {window} steps before is {}: one batch is unlike the others, or \
             the training is unstable; clipping the norm or a smaller learning rate helps if it happens often",
            compact(now),
            compact(usual),
        );
        Reading::Sick { message, at_once: true }
    }

    fn reward_hacking(&self) -> Reading {
        let looks = &self.state.looks;
        let looked = self.vitals.held_out.filter(|(proxy, gold)| proxy.is_finite() && gold.is_finite());
        let (Some(first), Some(last), Some(_)) = (looks.front(), looks.back(), looked) else {
            return Reading::Unknown;
        };
        if looks.len() < self.config.held_out_looks {
            return Reading::Unknown;
        }
        let apart = |((proxy, gold), next): (&(f64, f64), &(f64, f64))| next.0 > *proxy && next.1 < *gold;
        let enough = last.0 - first.0 > self.config.proxy_rise && first.1 - last.1 > self.config.gold_fall;
        if !(enough && looks.iter().zip(looks.iter().skip(1)).all(apart)) {
            return Reading::Healthy;
        }
        let message = format!(
            "over the last {} held-out looks the proxy score rose from {} to {} and the gold score fell from {} to {}: \
             the policy learns the mistakes of the reward model; an earlier checkpoint is probably better",
            looks.len(),
            compact(first.0),
            compact(last.0),
            compact(first.1),
            compact(last.1),
        );
        Reading::Sick { message, at_once: true }
    }

    /// Whether the reward liked what happened.
    fn score_then_and_now(&self) -> String {
        match self.state.start.score.of(self.config.start_steps) {
            Some(start) => {
                format!(" (score {}, {} at the start)", compact(self.vitals.score), compact(start))
            }
            None => String::new(),
        }
    }
}

/// A sign that has to last.
fn lasting(now: f64, holds: bool, message: impl FnOnce() -> String) -> Reading {
    match holds {
        _ if !now.is_finite() => Reading::Unknown,
        true => Reading::Sick { message: message(), at_once: false },
        false => Reading::Healthy,
    }
}

/// A sign that has to last unless the number is none.
fn absolute(what: &str, now: f64, limit: f64, message: impl FnOnce() -> String) -> Reading {
    match now.is_finite() {
        true => lasting(now, now.abs() > limit, message),
        false => not_finite(what, now),
    }
}

fn not_finite(what: &str, now: f64) -> Reading {
    let message = format!(
        "{what} is {now}: weights or activations have overflowed; go back to a checkpoint and take a smaller learning \
         rate or more precision"
    );
    Reading::Sick { message, at_once: true }
}

fn percent(share: f64) -> String {
    format!("{:.0} %", 100.0 * share)
}
