//! What the report says of methods that does not come from measuring them.

use crate::MethodName;

impl MethodName {
    /// What it trains, in words.
    pub(super) fn trainings(self) -> &'static str {
        match self {
            MethodName::Moslim | MethodName::PMorl => "one policy for every request",
            MethodName::Morlhf => "one policy per point",
            MethodName::RewardedSoups => "one policy per reward, mixed for every point",
            MethodName::PersonalizedSoups => "one policy per preference, merged for every point",
            MethodName::Ric => "one policy, fine-tuned offline and after every online round",
            MethodName::Cpo => "one policy, fine-tuned under conditions and then by DPO",
            MethodName::Modpo => "one policy per point, and a margin model for every reward but one",
            MethodName::RejectionSampling | MethodName::Dpa => "one policy, fine-tuned in every round",
            MethodName::SteerLm2 => "one conditional model, and one that learns from it",
        }
    }

    /// Whether it trains again for every further point.
    pub(super) fn trains_per_point(self) -> bool {
        matches!(self, MethodName::Morlhf | MethodName::Modpo)
    }

    /// What it trains beside a policy per point, once for all of them.
    pub(super) fn trainings_beside_points(self, n_objectives: usize) -> usize {
        match self {
            MethodName::Modpo => n_objectives - 1,
            _ => 0,
        }
    }

    /// The reward models that it needs as published, for N rewards.
    pub(super) fn published_reward_models(self) -> &'static str {
        match self {
            MethodName::Moslim => "1",
            MethodName::Cpo => "none: rated answers",
            MethodName::Modpo => "N − 1, as margins",
            MethodName::RejectionSampling => "1 or N",
            MethodName::Dpa | MethodName::SteerLm2 => "1",
            MethodName::Morlhf
            | MethodName::RewardedSoups
            | MethodName::PersonalizedSoups
            | MethodName::PMorl
            | MethodName::Ric => "N",
        }
    }
}
